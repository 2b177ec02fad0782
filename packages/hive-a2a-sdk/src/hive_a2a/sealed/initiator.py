"""The client's side of sealing, for every binding: one peer, its session, and what is sealed to it.

A peer is made of a card that was verified and pinned. Its session is made when it is first needed, by IK
where the key is in the card, else by XX, where the key that shows must be the remembered one. A session
that the server lost is replaced once, however many requests find out at the same time.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, cast

import anyio

from hive_a2a.cards.noise_params import NOISE_URI, NoiseParams, chosen_suite
from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.crypto import KeyPair
from hive_a2a.errors import SealError
from hive_a2a.noise.cipher import wire_suite
from hive_a2a.noise.errors import NoiseError, SessionSpentError
from hive_a2a.noise.frame import encode_frame
from hive_a2a.noise.handshake import Handshake
from hive_a2a.noise.hybrid import HYBRID_PATTERNS, HybridHandshake
from hive_a2a.noise.prologue import prologue
from hive_a2a.noise.session import ID_BYTES, NoiseSession, SessionLimits
from hive_a2a.sealed.answers import AnswerOpener
from hive_a2a.sealed.binding import InnerRequest, RequestBinding, answer_label, call_name
from hive_a2a.sealed.errors import DowngradeError
from hive_a2a.sealed.memory import PeerMemory, SpokenNoise
from hive_a2a.sealed.responder import handshake_end, handshake_request

Exchange = Callable[[bytes], Awaitable[bytes]]
"""Carries one message of a handshake to the peer and brings its answer."""
HANDSHAKE_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedPeer:
    """An interface of a pinned card, as it is sealed to; `version` is the interface's protocol version.

    `names` are what it is remembered by: its interfaces, and where the card came from.
    """

    address: str
    version: str
    card_hash: bytes
    params: NoiseParams
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRequest:
    """A request as it goes out; `name` is what the server knows it by."""

    frame: bytes
    name: bytes
    opener: AnswerOpener
    session: NoiseSession


class Initiator:
    """Shakes hands with one peer and seals to it."""

    def __init__(
        self,
        peer: SealedPeer,
        *,
        static: KeyPair,
        memory: PeerMemory,
        exchange: Exchange,
        hybrid: bool = False,
        limits: SessionLimits | None = None,
        clock: WallClock | None = None,
    ) -> None:
        self._peer = peer
        self._static = static
        self._memory = memory
        self.exchange = exchange
        self._hybrid = hybrid and peer.params.hybrid
        self._limits = limits or SessionLimits()
        self._clock = clock or MachineClock()
        self._session: NoiseSession | None = None
        self._lock = anyio.Lock()
        self.handshakes = 0

    @property
    def peer(self) -> SealedPeer:
        """Return whom it seals to."""
        return self._peer

    async def session(self, *, instead_of: NoiseSession | None = None) -> NoiseSession:
        """Return the session, shaking hands where there is none; `instead_of` was lost by the peer.

        Raises:
            SealError: no session can be made.

        """
        async with self._lock:
            found = self._session
            if found is not None and found is not instead_of and not found.expired(self._now()):
                return found
            if found is not None:
                found.close()
            self._session = None
            with anyio.move_on_after(HANDSHAKE_TIMEOUT_S):
                self._session = await self._shake()
            if self._session is None:
                raise _slow()
            return self._session

    async def seal(
        self,
        inner: InnerRequest,
        binding: RequestBinding,
        *,
        instead_of: NoiseSession | None = None,
    ) -> SealedRequest:
        """Seal a request to the peer.

        Raises:
            SealError: no session can be made, or the request is too long to seal.

        """
        session = await self.session(instead_of=instead_of)
        try:
            return _sealed(session, inner, binding)
        except SessionSpentError:
            # Its last number was used between two requests: there is a fresh one for this.
            return _sealed(await self.session(instead_of=session), inner, binding)

    def close(self) -> None:
        """Drop the keys."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _now(self) -> float:
        return self._clock.monotonic()

    async def _shake(self) -> NoiseSession:
        self.handshakes += 1
        peer, known = self._peer, self._peer.params.static_key
        pattern = "XX" if known is None else "IK"
        suite = chosen_suite(peer.params)
        handshake = (HybridHandshake if self._hybrid else Handshake)(
            pattern,
            wire_suite(suite),
            initiator=True,
            prologue=prologue(NOISE_URI, peer.card_hash, peer.address, peer.version),
            static=self._static,
            remote_static=known,
        )
        kind = HYBRID_PATTERNS[pattern] if self._hybrid else pattern
        try:
            first = handshake.write(b"")
            answer = await self.exchange(
                handshake_request(kind, suite, peer.card_hash, peer.address, peer.version, first)
            )
            session_id = handshake.read(answer)
            if len(session_id) != ID_BYTES:
                raise _failed()
            await self._admit(cast("bytes", handshake.remote_static))
            if not handshake.finished:
                await self.exchange(handshake_end(session_id, handshake.write(b"")))
        except NoiseError:
            raise _failed() from None
        return NoiseSession.of(handshake, session_id, limits=self._limits, clock=self._clock)

    async def _admit(self, key: bytes) -> None:
        """Let the key be the peer's: the card's or the remembered one, or the first that is seen."""
        peer = self._peer
        spoken = SpokenNoise(static_key=key, epoch=peer.params.epoch)
        remembered = [await self._memory.recall(one) for one in peer.names]
        others = [one for one in remembered if one is not None and one.static_key != key]
        if others and peer.params.static_key is None:
            raise DowngradeError(
                "The peer shows another key than before.",
                why="Its card names none, so nothing but the memory of it says which is right.",
                fix="If the change is meant, have the card name the new key, signed, with a higher epoch.",
            )
        for name, known in zip(peer.names, remembered, strict=True):
            if known != spoken:
                await self._memory.remember(name, spoken)


def _sealed(session: NoiseSession, inner: InnerRequest, binding: RequestBinding) -> SealedRequest:
    try:
        sealed = session.seal(inner.encode(), binding.associated(session.id))
    except SessionSpentError:
        raise
    except NoiseError as error:
        raise SealError(error.what, why=error.why, fix=error.fix) from None
    name = call_name(session.id, sealed.nonce)
    return SealedRequest(
        frame=encode_frame(session.id, sealed.nonce, sealed.data),
        name=name,
        opener=AnswerOpener(session.suite, inner.answer_key, answer_label(session.hash, name)),
        session=session,
    )


def _failed() -> SealError:
    return SealError(
        "The handshake with the peer failed.",
        why="Its answer does not open: it is not the holder of the key, or something on the way changed it.",
        fix="Fetch and verify the peer's card again.",
    )


def _slow() -> SealError:
    return SealError(
        "The handshake with the peer took too long.",
        why=f"It was not complete after {HANDSHAKE_TIMEOUT_S:g} seconds.",
        fix="Try again; look whether the peer answers at all.",
    )
