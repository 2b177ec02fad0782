"""Whom a client seals to: the interfaces of the cards that were verified and pinned.

One of these serves the httpx transport and the gRPC channels alike. It is the only place that lets
something go in the clear: never to a peer whose card requires Noise, nor to one who is remembered to have
spoken it, unless the policy says `fallback`; and what goes in the clear is told to `on_plain`.
"""

from collections.abc import Callable
from typing import Final

import httpx

from hive_a2a.call import Proto
from hive_a2a.cards.noise_params import NoiseParams, noise_of
from hive_a2a.clock import WallClock
from hive_a2a.crypto import KeyPair
from hive_a2a.errors import SealError
from hive_a2a.noise.session import SessionLimits
from hive_a2a.origins import same_host
from hive_a2a.policy import Sealing
from hive_a2a.sealed.errors import DowngradeError
from hive_a2a.sealed.initiator import Exchange, Initiator, SealedPeer
from hive_a2a.sealed.memory import PeerMemory, PeersInMemory, SpokenNoise

PINS_MAX: Final = 10_000
STEMS_MAX: Final = 16
_OF_HTTP: Final = ("JSONRPC", "HTTP+JSON")

OnPlain = Callable[[str, str], None]
"""Hears (address, reason) of whatever is sent in the clear; for the audit."""


class PinnedPeers:
    """Knows how each pinned peer is spoken to, and keeps the session with each.

    `static` is the key that the peers know this client by. `sealing`: REQUIRED seals or refuses, OFFERED
    seals where the card offers it, OFF only where the card requires it.
    """

    def __init__(
        self,
        *,
        static: KeyPair,
        sealing: Sealing = Sealing.OFFERED,
        memory: PeerMemory | None = None,
        fallback: bool = False,
        hybrid: bool = False,
        on_plain: OnPlain | None = None,
        limits: SessionLimits | None = None,
        clock: WallClock | None = None,
    ) -> None:
        self._static = static
        self._sealing = sealing
        self._memory = memory or PeersInMemory()
        self._fallback = fallback
        self._hybrid = hybrid
        self._on_plain = on_plain or (lambda _address, _reason: None)
        self._limits = limits
        self._clock = clock
        self._peers: dict[str, dict[str, SealedPeer | None]] = {}
        self._initiators: dict[str, Initiator] = {}

    @property
    def sealing(self) -> Sealing:
        """Return what the policy says."""
        return self._sealing

    async def pin(self, card: Proto, *, address: str = "") -> None:
        """Take a verified card: what is sent to its interfaces is sealed from now on, if it offers that.

        `address` is where the card came from; a peer is remembered by it too.

        Raises:
            DowngradeError: the card does not offer Noise, or goes back to an older key, and the policy or
                what is remembered wants otherwise.
            SealError: what the card says of Noise is not valid.

        """
        from hive_a2a.cards.jcs import card_hash

        params = noise_of(card)
        names = _names_of(card, address)
        for name in names:
            self._compare(name, await self._memory.recall(name), params)
        if params is None and self._sealing is Sealing.REQUIRED:
            raise plain_forbidden("Its card does not offer Noise, and the policy requires it.")
        digest = card_hash(card)
        fresh: dict[str, SealedPeer | None] = {}
        for one in card.supported_interfaces:
            peer = None
            if params is not None and (params.required or self._sealing is not Sealing.OFF):
                peer = SealedPeer(
                    address=one.url,
                    version=one.protocol_version,
                    card_hash=digest,
                    params=params,
                    names=_names_near(names, one.url, address),
                )
            # Of two versions at one address the first counts: the header of each request says its own.
            fresh.setdefault(_normal(one.url, one.protocol_binding), peer)
        self._take(fresh)

    def find(self, url: str) -> tuple[str, SealedPeer | None]:
        """Return the pinned interface that a URL lies under, the longest, and how it is sealed to."""
        pinned = self._peers.get(_origin(url), {})
        fits = [one for one in pinned if _under(url, one)]
        if not fits:
            return "", None
        best = max(fits, key=len)
        return best, pinned[best]

    def initiator(self, peer: SealedPeer, exchange: Exchange) -> Initiator:
        """Return the one who seals to a peer; `exchange` carries its handshakes."""
        found = self._initiators.get(peer.address)
        if found is not None and found.peer == peer:
            found.exchange = exchange  # the way it came by may be closed by now
            return found
        if found is not None:
            found.close()
        made = Initiator(
            peer,
            static=self._static,
            memory=self._memory,
            exchange=exchange,
            hybrid=self._hybrid,
            limits=self._limits,
            clock=self._clock,
        )
        self._initiators[peer.address] = made
        return made

    async def admit_plain(self, url: str, *, known: str) -> None:
        """Let something go in the clear to a URL; `known` is the pinned interface it lies under, if any.

        Raises:
            DowngradeError: it must not.

        """
        if self._sealing is Sealing.REQUIRED:
            raise plain_forbidden("No pinned card says how to seal to it; the policy requires it.")
        if known:  # its card was compared with what is remembered when it was pinned
            self._on_plain(known, "the peer's card does not offer Noise")
            return
        for name in _stems(url):
            if await self._memory.recall(name) is not None:
                self._fall_back(name, "a request in the clear")
                return
        self._on_plain(_origin(url), "the peer is not known to speak Noise")

    def admit_plain_channel(self, address: str) -> None:
        """Let a gRPC channel be opened in the clear to a pinned interface that offers no Noise.

        Raises:
            DowngradeError: it was not pinned, or the policy requires sealing.

        """
        known, _ = self.find(address)
        if not known or self._sealing is Sealing.REQUIRED:
            raise plain_forbidden(
                "No pinned card says that this address is spoken to in the clear."
            )
        self._on_plain(address, "the peer's card does not offer Noise")

    def close(self) -> None:
        """Drop all keys of sessions."""
        for one in self._initiators.values():
            one.close()
        self._initiators.clear()

    def _compare(self, name: str, found: SpokenNoise | None, params: NoiseParams | None) -> None:
        """Compare a card with what is remembered of one of its names."""
        if found is None:
            return
        if params is None:
            self._fall_back(name, "its card no longer offers Noise")
        else:
            older = params.epoch < found.epoch
            named = params.static_key not in (None, found.static_key)
            changed = params.epoch == found.epoch and named
            if older or changed:
                raise DowngradeError(
                    "The peer's card names another key than before.",
                    why=f"Epoch {found.epoch} is remembered; the card has {params.epoch}.",
                    fix="A new key needs a higher epoch. If the peer began anew, forget it on purpose.",
                )

    def _fall_back(self, name: str, reason: str) -> None:
        if not self._fallback:
            raise plain_forbidden(f"It is remembered to have spoken Noise: {reason}.")
        self._on_plain(name, reason)

    def _take(self, fresh: dict[str, SealedPeer | None]) -> None:
        for url, peer in fresh.items():
            pinned = self._peers.setdefault(_origin(url), {})
            if url not in pinned and sum(map(len, self._peers.values())) >= PINS_MAX:
                raise SealError(
                    f"At most {PINS_MAX} interfaces are pinned.", fix="Make another one."
                )
            pinned[url] = peer


def plain_forbidden(why: str) -> DowngradeError:
    """Say that something would go in the clear and must not."""
    return DowngradeError(
        "Nothing is sent to this peer in the clear.",
        why=why,
        fix="Fetch and verify its card again; allow the plain standard by policy only if it is meant.",
    )


def _normal(url: str, binding: str) -> str:
    """Write a URL as httpx writes those it sends to; gRPC's are names of its own."""
    return str(httpx.URL(url)) if binding in _OF_HTTP else url


def _names_of(card: Proto, address: str) -> tuple[str, ...]:
    """Return by what a card's owner is remembered: its interfaces, and where the card came from."""
    found = {_normal(one.url, one.protocol_binding) for one in card.supported_interfaces}
    return tuple(sorted(found | ({str(httpx.URL(address))} if address else set())))


def own_names_of(card: Proto, address: str) -> tuple[str, ...]:
    """Return by what the agent at an address is remembered: names of its own host alone.

    A card that lists the address of another agent has no say in what is remembered of that one.
    """
    return tuple(
        one
        for one in _names_of(card, address)
        if same_host(one if "://" in one else f"http://{one}", address)
    )


def _names_near(names: tuple[str, ...], url: str, address: str) -> tuple[str, ...]:
    """Return the names that a handshake at an interface may be remembered by.

    Those of other origins are the card's word alone: an agent that lists another's address would have its own
    key remembered there, and nobody would get through to the other any more.
    """
    own = {_origin(url), *([str(httpx.URL(address))] if address else ())}
    return tuple(one for one in names if one in own or _origin(one) in own)


def _origin(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0].partition('#')[0]}"


def _stems(url: str) -> list[str]:
    """Return the names under which a URL may be remembered: itself, and the folders it lies in."""
    origin = _origin(url)
    parts = url[len(origin) :].partition("?")[0].split("/")[1 : STEMS_MAX + 1]
    found = []
    for count in range(len(parts) + 1):
        stem = "/".join((origin, *parts[:count]))
        found += [stem, f"{stem}/"]
    return found


def _under(url: str, interface: str) -> bool:
    stem = interface.rstrip("/")
    return url.startswith(stem) and url[len(stem) : len(stem) + 1] in ("", "/", "?", "#")
