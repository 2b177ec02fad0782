"""The server's side of sealing, for every binding: shake hands, open each request once, seal its answer.

A session belongs to the card that it was made for, and opens nothing at another agent. What a session opened is remembered by name for a
while, so that a client who was told by a stranger on the way that nothing was opened does not make it
happen twice.
"""

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from hive_a2a.buckets import RateKey, TokenBuckets, network_of
from hive_a2a.call import Proto
from hive_a2a.cards.noise_params import HANDSHAKE_PATH, NOISE_URI, NoiseParams
from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.crypto import KeyPair
from hive_a2a.noise.cipher import WIRE_SUITES, wire_suite
from hive_a2a.noise.errors import NoiseError, ReplayedError, SessionSpentError
from hive_a2a.noise.frame import SealedFrame, decode_frame
from hive_a2a.noise.handshake import Handshake
from hive_a2a.noise.hybrid import HYBRID_PATTERNS, AnyHandshake, HybridHandshake
from hive_a2a.noise.prologue import prologue
from hive_a2a.noise.session import ID_BYTES, NoiseSession, SessionLimits
from hive_a2a.noise.store import SessionStore, StoreLimits
from hive_a2a.policy import RateLimits, WireLimits
from hive_a2a.sealed.answers import AnswerSealer
from hive_a2a.sealed.binding import (
    InnerRequest,
    RequestBinding,
    answer_label,
    call_name,
    read_inner_request,
)
from hive_a2a.sealed.errors import SealCode, SealFault
from hive_a2a.sealed.fields import pack_fields, read_fields

HANDSHAKE_BYTES_MAX: Final = 16 << 10
GOES_ON: Final = b"XX3"
_PLAIN_OF: Final = {hybrid.encode(): plain for plain, hybrid in HYBRID_PATTERNS.items()}
_KINDS: Final = {b"IK": "IK", b"XX": "XX", **_PLAIN_OF}


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedAgent:
    """A card that is served, the private half of the key in it, and the addresses that it lists.

    `interfaces` are the pairs of URL and protocol version of the card's interfaces.
    """

    card_hash: bytes
    static: KeyPair
    interfaces: frozenset[tuple[str, str]]
    suites: tuple[str, ...] = WIRE_SUITES
    handshake_path: str = HANDSHAKE_PATH
    hybrid: bool = False

    @classmethod
    def of_card(cls, card: Proto, params: NoiseParams, static: KeyPair) -> "SealedAgent":
        """Make one of a card as it is served, `params` having been put into it."""
        from hive_a2a.cards.jcs import card_hash

        return cls(
            card_hash=card_hash(card),
            static=static,
            interfaces=frozenset(
                (one.url, one.protocol_version) for one in card.supported_interfaces
            ),
            suites=params.suites,
            handshake_path=params.handshake_path,
            hybrid=params.hybrid,
        )


Agents = Sequence[SealedAgent]
"""The cards of one agent that are honoured, the current one first; none where nothing is sealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponderLimits:
    """How much is remembered of requests that were opened: a retry comes within seconds."""

    opened_max: int = 16_384


class ServedSession(NoiseSession):
    """A session that knows for which card and address it was made."""

    agent: SealedAgent


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRequest:
    """A request that opened: what was inside, who sealed it, and the way to answer."""

    inner: InnerRequest
    initiator: bytes
    handshake_hash: bytes
    sealer: AnswerSealer


class Responder:
    """Answers handshakes and opens requests; one serves any number of agents."""

    def __init__(
        self,
        *,
        sessions: SessionLimits | None = None,
        store: StoreLimits | None = None,
        limits: ResponderLimits | None = None,
        clock: WallClock | None = None,
        wire: WireLimits | None = None,
    ) -> None:
        self._clock = clock or MachineClock()
        self._begun_by = _buckets(wire or WireLimits(), self._clock)
        self._session_limits = sessions or SessionLimits()
        self._limits = limits or ResponderLimits()
        self.store = SessionStore(store or StoreLimits(), self._clock)
        self._pending_agents: OrderedDict[bytes, SealedAgent] = OrderedDict()
        self._pending_max = (store or StoreLimits()).pending_max
        self._opened: OrderedDict[bytes, None] = OrderedDict()

    def shake(self, body: bytes, agents: Agents, *, address: str | None = None) -> bytes:
        """Answer one message of a handshake; of one `address` only so many are begun.

        Raises:
            SealFault: it does not fit, or does not open.

        """
        if len(body) > HANDSHAKE_BYTES_MAX:
            raise SealFault(SealCode.TOO_LARGE)
        kind, *rest = read_fields(body, least=1, most=6)
        if kind == GOES_ON and len(rest) == 2:
            return self._finish(rest[0], rest[1], agents)
        if kind not in _KINDS or len(rest) != 5:
            raise SealFault(SealCode.MALFORMED)
        agent = _agent_of(kind, rest, agents)
        if address is not None:
            key = RateKey(network_of(address), stranger=True)
            if self._begun_by.take_now(key) is not None:
                raise SealFault(SealCode.TOO_MANY)
        handshake = _begun(kind, agent, rest)
        try:
            payload = handshake.read(rest[4])
            # Nothing is asked for before both sides are there: no early data.
            if payload:
                raise SealFault(SealCode.MALFORMED)
            session_id = secrets.token_bytes(ID_BYTES)
            message = handshake.write(session_id)
        except NoiseError:
            raise SealFault(SealCode.HANDSHAKE_FAILED) from None
        if handshake.finished:
            self.store.add(self._session(handshake, session_id, agent))
        else:
            self.store.begin(session_id, handshake)
            self._pending_agents[session_id] = agent
            while len(self._pending_agents) > self._pending_max:
                self._pending_agents.popitem(last=False)
        return message

    def open(self, frame: bytes, binding: RequestBinding, agents: Agents) -> OpenedRequest:
        """Open a request, once.

        Raises:
            SealFault: it does not open, was opened before, or its session is not known here.

        """
        try:
            sealed = decode_frame(frame)
        except NoiseError:
            raise SealFault(SealCode.MALFORMED) from None
        session = self._session_of(sealed.session_id, agents)
        name = call_name(sealed.session_id, sealed.nonce)
        # By initiator, since the names of others' requests are no secret.
        whose = session.remote_static or b""
        if whose + name in self._opened:
            raise SealFault(SealCode.REPLAYED)
        inner = read_inner_request(_opened(session, sealed, binding))
        self._remember(whose + name)
        # A stranger on the way may have said "not opened" of what was; then it must not happen again,
        # and if it was not, it must not happen later.
        if inner.retry_of:
            self._claim(whose, inner.retry_of)
        return OpenedRequest(
            inner=inner,
            initiator=whose,
            handshake_hash=session.hash,
            sealer=AnswerSealer(session.suite, inner.answer_key, answer_label(session.hash, name)),
        )

    def _claim(self, whose: bytes, name: bytes) -> None:
        """Take the name of an earlier sealing, so that of both only one happens.

        While its session is here, that knows for sure. What is remembered beside it is of sessions that are
        gone, and others can fill that memory.
        """
        session = self.store.get(name[:ID_BYTES])
        if session is not None and (session.remote_static or b"") == whose:
            fresh = session.claim(int.from_bytes(name[ID_BYTES:], "big"))
        else:
            fresh = whose + name not in self._opened
        if not fresh:
            raise SealFault(SealCode.REPLAYED)
        self._remember(whose + name)

    def close(self) -> None:
        """Drop all keys."""
        self.store.close()
        self._pending_agents.clear()

    def _session(
        self, handshake: AnyHandshake, session_id: bytes, agent: SealedAgent
    ) -> ServedSession:
        made = ServedSession.of(
            handshake, session_id, limits=self._session_limits, clock=self._clock
        )
        session = cast("ServedSession", made)
        session.agent = agent
        return session

    def _finish(self, session_id: bytes, message: bytes, agents: Agents) -> bytes:
        agent = self._pending_agents.pop(session_id, None)
        handshake = self.store.take(session_id)
        if handshake is None or agent not in agents:
            raise SealFault(SealCode.SESSION_UNKNOWN)
        try:
            payload = handshake.read(message)
        except NoiseError:
            raise SealFault(SealCode.HANDSHAKE_FAILED) from None
        if payload:
            raise SealFault(SealCode.MALFORMED)
        self.store.add(self._session(handshake, session_id, cast("SealedAgent", agent)))
        return b""

    def _session_of(self, session_id: bytes, agents: Agents) -> ServedSession:
        found = self.store.get(session_id)
        if found is None:
            raise SealFault(SealCode.SESSION_UNKNOWN)
        session = cast("ServedSession", found)
        # A card that is no longer honoured, or another agent's, has no sessions.
        if session.agent not in agents:
            raise SealFault(SealCode.SESSION_UNKNOWN)
        return session

    def _remember(self, name: bytes) -> None:
        self._opened[name] = None
        if len(self._opened) > self._limits.opened_max:
            self._opened.popitem(last=False)


def _buckets(limits: WireLimits, clock: WallClock) -> TokenBuckets:
    rates = RateLimits(
        stranger_per_s=limits.handshakes_per_s, stranger_burst=limits.handshakes_burst
    )
    return TokenBuckets(rates, clock)


def _agent_of(kind: bytes, rest: list[bytes], agents: Agents) -> SealedAgent:
    """Return the agent whose card the initiator has; each mismatch has a word that helps an honest one."""
    suite, card_hash, audience, version, _ = rest
    agent = next((one for one in agents if one.card_hash == card_hash), None)
    if agent is None:
        raise SealFault(SealCode.CARD_UNKNOWN)
    if (_text(audience), _text(version)) not in agent.interfaces:
        raise SealFault(SealCode.AUDIENCE_UNKNOWN)
    if _text(suite) not in agent.suites or _text(suite) not in WIRE_SUITES:
        raise SealFault(SealCode.SUITE_UNKNOWN)
    if kind in _PLAIN_OF and not agent.hybrid:
        raise SealFault(SealCode.SUITE_UNKNOWN)
    return agent


def _begun(kind: bytes, agent: SealedAgent, rest: list[bytes]) -> AnyHandshake:
    make = HybridHandshake if kind in _PLAIN_OF else Handshake
    return make(
        _KINDS[kind],
        wire_suite(_text(rest[0])),
        initiator=False,
        prologue=prologue(NOISE_URI, agent.card_hash, _text(rest[2]), _text(rest[3])),
        static=agent.static,
    )


def _opened(session: NoiseSession, sealed: SealedFrame, binding: RequestBinding) -> bytes:
    try:
        return session.open(sealed.nonce, sealed.data, binding.associated(sealed.session_id))
    except ReplayedError:
        raise SealFault(SealCode.REPLAYED) from None
    except SessionSpentError:
        raise SealFault(SealCode.SESSION_UNKNOWN) from None
    except NoiseError:
        raise SealFault(SealCode.NOT_OPENED) from None


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise SealFault(SealCode.MALFORMED) from None


def handshake_request(
    kind: str, suite: str, card_hash: bytes, audience: str, version: str, message: bytes
) -> bytes:
    """Write the first message of a handshake as it travels."""
    return pack_fields(
        kind.encode(), suite.encode(), card_hash, audience.encode(), version.encode(), message
    )


def handshake_end(session_id: bytes, message: bytes) -> bytes:
    """Write the third message of XX as it travels."""
    return pack_fields(GOES_ON, session_id, message)
