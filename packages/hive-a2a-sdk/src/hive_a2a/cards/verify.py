"""Is this card signed by somebody whom we trust, and no weaker than the one before?

What a card says of its own signatures (`kid`, `jku`, `jwk`, `x5c`) only says which of the keys that we
have reason to trust to try; the reason is the policy's (see `policies`). The algorithm is the key's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from hive_a2a.base64url import to_base64url_text
from hive_a2a.call import Proto
from hive_a2a.cards.errors import CardError, CardFault, malformed, not_taken
from hive_a2a.cards.jcs import canonical_card, card_hash, exact_card
from hive_a2a.cards.jwk import CardKey
from hive_a2a.cards.noise_params import NoiseParams, noise_of
from hive_a2a.cards.sign import SIGNATURES_MAX
from hive_a2a.cards.signature import CardSignature, read_signature
from hive_a2a.cards.trust import PeerPin, TrustStore
from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.errors import A2AError


class TrustedBy(StrEnum):
    """Why a card is taken."""

    PINNED = "pinned"
    FIRST_SEEN = "first-seen"
    SEEN_BEFORE = "seen-before"
    ROTATED = "rotated"
    SPIFFE = "spiffe"
    KEY_SET = "key-set"
    UNSIGNED = "unsigned"


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedCard:
    """A card with its signatures read, and the peer that it came from; nothing of it is believed."""

    card: Proto
    peer: str
    signatures: tuple[CardSignature, ...]
    payload: str
    sha256: bytes
    exact: bool
    noise_key: str
    noise_offered: bool
    noise_required: bool
    noise_epoch: int

    def proves(self, signature: CardSignature, key: CardKey) -> bool:
        """Tell whether a signature is this key's, by the key's own algorithm."""
        if signature.algorithm is not key.algorithm:
            return False
        signed = f"{signature.protected}.{self.payload}".encode()
        return key.verifies(signature.signature, signed)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardVerdict:
    """A card that is taken, and why.

    `keys` are those that vouch for the peer from now on. `exact`: the signature covers every member; a
    foreign SDK's leaves out empty ones. `epoch` is 0 where the owner says none.
    """

    trusted_by: TrustedBy
    kid: str = ""
    keys: tuple[CardKey, ...] = ()
    exact: bool = False
    epoch: int = 0
    spiffe_id: str = ""
    first_seen: str = ""

    @property
    def signed(self) -> bool:
        """Tell whether a signature vouches for it."""
        return self.trusted_by is not TrustedBy.UNSIGNED

    @property
    def known_before(self) -> bool:
        """Tell whether the key was trusted before this card was seen."""
        return self.trusted_by not in (TrustedBy.UNSIGNED, TrustedBy.FIRST_SEEN)


class CardTrust(Protocol):
    """Whom to trust. `gather` may ask elsewhere for keys; `judge` decides, and only looks."""

    @property
    def store(self) -> TrustStore | None:
        """Return where peers are remembered; None where nothing is."""
        ...

    async def gather(self, signed: PresentedCard) -> tuple[CardKey, ...]:
        """Return keys that could have signed the card."""
        ...

    def judge(
        self, signed: PresentedCard, found: tuple[CardKey, ...], pin: PeerPin | None
    ) -> CardVerdict:
        """Say by whose word the card is taken.

        Raises:
            CardError: by nobody's.

        """
        ...


async def verify_card(
    card: Proto,
    trust: CardTrust,
    *,
    peer: str = "",
    extended: bool = False,
    check: Callable[[CardVerdict], None] | None = None,
    clock: WallClock | None = None,
) -> CardVerdict:
    """Say by whose word a card is taken, and remember the peer where the trust has a store.

    `peer` is the URL that the card came from. `extended`: it is the peer's second card, which must hold to
    what the first one said, and is not remembered. `check` looks at the verdict before the peer is remembered,
    and raises where the card must not be taken for another reason.

    Raises:
        CardError: it is not taken; `fault` says why.

    """
    signed = read_signed(card, peer)
    found = await trust.gather(signed)
    verdicts: list[CardVerdict] = []

    def judged(pin: PeerPin | None) -> CardVerdict:
        verdict = trust.judge(signed, found, pin)
        if pin is not None:
            _refuse_weaker(signed, verdict, pin)
        if check is not None:
            check(verdict)
        return verdict

    store = trust.store
    if store is None:
        return judged(None)
    if extended:
        pin = await store.get(peer)
        if pin is None:
            raise not_taken(CardFault.UNKNOWN_KEY, "Its public card was not seen before this one.")
        return judged(pin)
    now = (clock or MachineClock()).now().isoformat(timespec="seconds")

    def decide(pin: PeerPin | None) -> PeerPin:
        verdicts.append(judged(pin))
        return _pin_of(signed, verdicts[-1], now if pin is None else pin.first_seen)

    await store.settle(peer, decide)
    return verdicts[-1]


def read_signed(card: Proto, peer: str = "") -> PresentedCard:
    """Read the signatures of a card.

    Raises:
        CardError: a signature is not what its standard wants, there are too many, or two of one kid.

    """
    if len(card.signatures) > SIGNATURES_MAX:
        raise malformed(f"It has more than {SIGNATURES_MAX} signatures.")
    signatures = tuple(read_signature(one) for one in card.signatures)
    if len({one.kid for one in signatures}) != len(signatures):
        raise malformed("Two of its signatures have the same kid.")
    canonical = canonical_card(card)
    noise = _noise_of(card)
    static_key = noise.static_key if noise is not None else None
    return PresentedCard(
        card=card,
        peer=peer,
        signatures=signatures,
        payload=to_base64url_text(canonical),
        sha256=card_hash(card),
        exact=canonical == exact_card(card),
        noise_key=(static_key or b"").hex(),
        noise_offered=noise is not None,
        noise_required=noise is not None and noise.required,
        noise_epoch=noise.epoch if noise is not None else 0,
    )


def vouched(
    signed: PresentedCard, keys: Sequence[CardKey], by: TrustedBy, *, spiffe_id: str = ""
) -> CardVerdict | None:
    """Return the verdict where one of these trusted keys signed the card; None where none is named.

    Raises:
        CardError: a trusted key is named, and the signature is not its own: the card was altered.

    """
    verdict: CardVerdict | None = None
    for signature in signed.signatures:
        key = _named(signature, keys)
        if key is None:
            continue
        if not signed.proves(signature, key):
            raise _not_its_own(signature, key)
        if signature.sha256 and signature.sha256 != signed.sha256:
            raise not_taken(
                CardFault.NOT_COVERED,
                "Empty members were added or taken after it was signed.",
                "Fetch it again over another way; somebody between alters it.",
            )
        if verdict is None:
            verdict = CardVerdict(
                trusted_by=by,
                kid=signature.kid,
                keys=(key, *_successors(signed, signature, key)),
                exact=signed.exact or bool(signature.sha256),
                epoch=max(signature.epoch, signed.noise_epoch),
                spiffe_id=spiffe_id,
            )
    return verdict


def require_signatures(signed: PresentedCard, pin: PeerPin | None = None) -> None:
    """Refuse a card that has no signature by an algorithm that we know.

    Raises:
        CardError: it has none; the fault is another where the peer's card had one before.

    """
    if any(one.algorithm for one in signed.signatures):
        return
    if pin is not None and pin.keys:
        raise not_taken(
            CardFault.STRIPPED,
            "This agent's card was signed before, and is not any more.",
            "Somebody between may have taken the signature; forget the peer only if its owner says so.",
        )
    if signed.signatures:
        raise not_taken(CardFault.ALGORITHM, "None of its signatures is by EdDSA or ES256.")
    raise not_taken(
        CardFault.UNSIGNED,
        "It is not signed.",
        "Ask its owner to sign it, or take unsigned cards from this peer with `Unsigned()`.",
    )


def _named(signature: CardSignature, keys: Sequence[CardKey]) -> CardKey | None:
    own = signature.jwk.thumbprint if signature.jwk else None
    for key in keys:
        if key.thumbprint == own:
            return key
    return next((key for key in keys if key.kid == signature.kid), None)


def _not_its_own(signature: CardSignature, key: CardKey) -> CardError:
    if signature.algorithm is not key.algorithm:
        return not_taken(CardFault.ALGORITHM, "Its header names another algorithm than its key's.")
    if signature.jwk is not None and signature.jwk.thumbprint != key.thumbprint:
        return not_taken(
            CardFault.KEY_CHANGED,
            "Another key than the trusted one signed it, under the same kid.",
            "Ask its owner whether the key changed; if so, trust the new one.",
        )
    return not_taken(
        CardFault.BAD_SIGNATURE,
        "Its signature is not the trusted key's: it was altered after it was signed.",
        "Fetch it again over another way; somebody between may alter it.",
    )


def _successors(
    signed: PresentedCard, signature: CardSignature, key: CardKey
) -> tuple[CardKey, ...]:
    """Return the other keys that this signature itself names and that signed the card too."""
    return tuple(
        other.jwk
        for other in signed.signatures
        if other.jwk is not None
        and other.jwk.thumbprint != key.thumbprint
        and other.jwk.thumbprint in signature.names
        and signed.proves(other, other.jwk)
    )


def _refuse_weaker(signed: PresentedCard, verdict: CardVerdict, pin: PeerPin) -> None:
    if pin.keys and not verdict.signed:
        raise not_taken(
            CardFault.STRIPPED, "This agent's card was signed before, and is not any more."
        )
    if verdict.epoch < pin.epoch:
        raise not_taken(
            CardFault.OLDER,
            f"It is of epoch {verdict.epoch}, and epoch {pin.epoch} was seen before.",
            "Somebody may serve an old card again; ask the owner of the agent.",
        )
    if (pin.noise_offered and not signed.noise_offered) or (
        pin.noise_required and not signed.noise_required
    ):
        raise not_taken(
            CardFault.NOISE_STRIPPED,
            "Its card required Noise before, and offers it only now."
            if signed.noise_offered
            else "Its card offered Noise before, and does not now.",
            "If its owner says that this is meant, forget what is remembered of it: "
            "hive-a2a card verify URL --forget. An owner keeps clients with Sealing.REQUIRED.",
        )
    if not verdict.signed and pin.noise_key and pin.noise_key != signed.noise_key:
        raise not_taken(
            CardFault.KEY_CHANGED,
            "Its Noise key changed, and no signature vouches for the new one.",
        )


def _pin_of(signed: PresentedCard, verdict: CardVerdict, first_seen: str) -> PeerPin:
    return PeerPin(
        name=signed.card.name[:256],
        keys=verdict.keys,
        first_seen=first_seen,
        card_sha256=signed.sha256.hex(),
        epoch=verdict.epoch,
        noise_key=signed.noise_key,
        noise_offered=signed.noise_offered,
        noise_required=signed.noise_required,
    )


def _noise_of(card: Proto) -> NoiseParams | None:
    try:
        return noise_of(card)
    except A2AError as error:
        raise malformed(f"{error.what} {error.why}") from None
