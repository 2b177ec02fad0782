"""Whom to trust: the five answers, each a `CardTrust`.

    Tofu            the key of the first meeting, and whom it names as its successor
    Pinned          keys that we were given
    Jwks            keys at addresses that we were given; a card's `jku` only picks one of them
    SpiffeBundle    a key whose certificate leads to the bundle of a trust domain (in `spiffe`)
    Unsigned        nobody: an explicit weakening, for agents whose cards are not signed

With a store each of them also remembers a peer, and refuses its card when it became weaker.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from hive_a2a.cards.errors import CardError, CardFault, not_taken
from hive_a2a.cards.jwk import CardKey, read_key_set
from hive_a2a.cards.trust import MemoryTrust, PeerPin, TrustStore
from hive_a2a.cards.verify import (
    CardTrust,
    CardVerdict,
    PresentedCard,
    TrustedBy,
    require_signatures,
    vouched,
)
from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.origins import beneath, origin_of

FetchKeys: TypeAlias = Callable[[str], Awaitable[bytes]]
"""Fetch a key set from an address that is allowed; `resolve.key_fetcher` makes one."""

KEY_SET_PATH: Final = "/.well-known/jwks.json"
KEPT_S: Final = 300.0
KEPT_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Pinned:
    """Trust keys that we were given, and whom they name as their successors on the same card."""

    keys: Sequence[CardKey]
    store: TrustStore | None = None

    async def gather(self, signed: PresentedCard) -> tuple[CardKey, ...]:
        """Return nothing: the keys are here."""
        return ()

    def judge(
        self, signed: PresentedCard, found: tuple[CardKey, ...], pin: PeerPin | None
    ) -> CardVerdict:
        """Take the card where one of the keys signed it."""
        require_signatures(signed, pin)
        return vouched(signed, self.keys, TrustedBy.PINNED) or _unknown(signed)


@dataclass(frozen=True, slots=True)
class Tofu:
    """Trust the key that signed the first card we saw of a peer.

    The key comes in the signature's header, or with `fetch` from the peer's own origin: its `jku` where that
    is of the same origin, else the well-known path. `jku_allowed` are further addresses for it, exact, or a
    prefix where they end in a slash.
    """

    store: TrustStore = field(default_factory=MemoryTrust)
    fetch: FetchKeys | None = None
    jku_allowed: Sequence[str] = ()

    async def gather(self, signed: PresentedCard) -> tuple[CardKey, ...]:
        """Return the keys in the headers, and those at the peer's own origin where a header has none."""
        keys = [one.jwk for one in signed.signatures if one.jwk is not None]
        wanted = [one for one in signed.signatures if one.algorithm and one.jwk is None]
        if wanted and self.fetch is not None and origin_of(signed.peer):
            parts = urlsplit(signed.peer)
            own = f"{parts.scheme}://{parts.netloc}/"
            for jku in sorted({one.jku or own[:-1] + KEY_SET_PATH for one in wanted}):
                _check_jku(jku, (own, *self.jku_allowed))
                keys += read_key_set(await self.fetch(jku))
        return tuple(keys)

    def judge(
        self, signed: PresentedCard, found: tuple[CardKey, ...], pin: PeerPin | None
    ) -> CardVerdict:
        """Take the first card of a peer; later ones only from a key that the first one leads to."""
        require_signatures(signed, pin)
        if pin is None or not pin.keys:
            return vouched(signed, found, TrustedBy.FIRST_SEEN) or _unknown(signed)
        verdict = vouched(signed, pin.keys, TrustedBy.SEEN_BEFORE)
        if verdict is None:
            raise not_taken(
                CardFault.KEY_CHANGED,
                "None of the keys that this agent signed with before signed this card.",
                "Ask its owner whether the keys changed; if so, forget the peer.",
            )
        known = pin.thumbprints
        if any(key.thumbprint not in known for key in verdict.keys):
            verdict = replace(verdict, trusted_by=TrustedBy.ROTATED)
        return replace(verdict, first_seen=pin.first_seen)


class Jwks:
    """Trust the keys at addresses that we were given: exact ones, or a prefix where one ends in a slash.

    A card's `jku` must be one of them; a card without it is tried with the exact ones. Key sets are kept for a
    while, and fetched again when a card names a key that is not in them.
    """

    def __init__(
        self,
        allowed: Sequence[str],
        fetch: FetchKeys,
        *,
        store: TrustStore | None = None,
        clock: WallClock | None = None,
        kept_s: float = KEPT_S,
    ) -> None:
        for url in allowed:
            if urlsplit(url).scheme != "https" or not origin_of(url):
                raise CardError(
                    CardFault.FOREIGN_KEY_SET,
                    "A key set cannot be trusted.",
                    why=f"{url!r} is no https address.",
                    fix="Name key sets by https; whoever is between could change them otherwise.",
                )
        self.store = store
        self._allowed = tuple(allowed)
        self._fetch = fetch
        self._clock = clock or MachineClock()
        self._kept_s = kept_s
        self._kept: dict[str, tuple[float, tuple[CardKey, ...]]] = {}

    async def gather(self, signed: PresentedCard) -> tuple[CardKey, ...]:
        """Return the keys of the addresses that the card names, as far as they are allowed."""
        keys: list[CardKey] = []
        for signature in signed.signatures:
            if signature.algorithm is None:
                continue
            urls = [signature.jku] if signature.jku else self._exact()
            for url in urls:
                _check_jku(url, self._allowed)
                keys += await self._keys_at(url, signature.kid)
        return tuple(dict.fromkeys(keys))

    def judge(
        self, signed: PresentedCard, found: tuple[CardKey, ...], pin: PeerPin | None
    ) -> CardVerdict:
        """Take the card where a key of those sets signed it."""
        require_signatures(signed, pin)
        return vouched(signed, found, TrustedBy.KEY_SET) or _unknown(signed)

    def _exact(self) -> list[str]:
        return [url for url in self._allowed if not url.endswith("/")]

    async def _keys_at(self, url: str, kid: str) -> tuple[CardKey, ...]:
        now = self._clock.monotonic()
        fetched_at, keys = self._kept.get(url, (-self._kept_s, ()))
        fresh = now - fetched_at < self._kept_s
        # An unknown kid may be a new key; asking again is bounded, since anybody can invent kids.
        asked_lately = now - fetched_at < self._kept_s / 10
        if (fresh and any(key.kid == kid for key in keys)) or asked_lately:
            return keys
        keys = read_key_set(await self._fetch(url))
        if url not in self._kept and len(self._kept) >= KEPT_MAX:
            self._kept.pop(next(iter(self._kept)))
        self._kept[url] = (now, keys)
        return keys


@dataclass(frozen=True, slots=True)
class Unsigned:
    """Take cards that nobody signed: for plain agents, and visible in the verdict.

    A card that is signed is judged by `signed`, where given. A peer whose card was signed before cannot go
    back to an unsigned one.
    """

    signed: CardTrust | None = None

    @property
    def store(self) -> TrustStore | None:
        """Return where peers are remembered: where signed ones are."""
        return self.signed.store if self.signed else None

    async def gather(self, signed: PresentedCard) -> tuple[CardKey, ...]:
        """Return the keys for a card that is signed."""
        if self.signed is None or not signed.signatures:
            return ()
        return await self.signed.gather(signed)

    def judge(
        self, signed: PresentedCard, found: tuple[CardKey, ...], pin: PeerPin | None
    ) -> CardVerdict:
        """Take the card; a signed one only where its signature is to be trusted."""
        if self.signed is not None and (signed.signatures or (pin is not None and pin.keys)):
            return self.signed.judge(signed, found, pin)
        return CardVerdict(trusted_by=TrustedBy.UNSIGNED, epoch=signed.noise_epoch)


def _check_jku(jku: str, allowed: Sequence[str]) -> None:
    if not any(beneath(jku, one) for one in allowed):
        raise not_taken(
            CardFault.FOREIGN_KEY_SET,
            "Its signature wants a key from an address that is not allowed.",
            "Allow the address if the owner of the agent confirms it.",
        )


def _unknown(signed: PresentedCard) -> CardVerdict:
    kids = ", ".join(sorted(one.kid for one in signed.signatures))
    raise not_taken(
        CardFault.UNKNOWN_KEY,
        f"None of its signatures ({kids}) is by a key that is trusted.",
        "Ask its owner for the key, and pin it.",
    )
