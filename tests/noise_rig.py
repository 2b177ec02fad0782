"""Two sides of a handshake and of a session, with a clock that stands until it is moved."""

import secrets
from datetime import UTC, datetime, timedelta

from hive_a2a.crypto import KeyPair, exchange_pair, new_exchange_pair
from hive_a2a.noise import (
    AES,
    AnyHandshake,
    Handshake,
    HybridHandshake,
    NoiseSession,
    SessionLimits,
    wire_suite,
)

CALLER: KeyPair = exchange_pair(b"\x01" * 32)
SERVER: KeyPair = exchange_pair(b"\x02" * 32)
PROLOGUE = b"what both agree on"
START = datetime(2030, 1, 1, tzinfo=UTC)


class StillClock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


def two_sides(
    pattern: str = "IK",
    suite: str = AES,
    *,
    hybrid: bool = False,
    caller: KeyPair = CALLER,
    server: KeyPair = SERVER,
    prologues: tuple[bytes, bytes] = (PROLOGUE, PROLOGUE),
) -> tuple[AnyHandshake, AnyHandshake]:
    """Return the initiator and the responder of IK or XX, before the first message."""
    kind = HybridHandshake if hybrid else Handshake
    known = server.public if pattern == "IK" else None
    return (
        kind(
            pattern,
            wire_suite(suite),
            initiator=True,
            prologue=prologues[0],
            static=caller,
            remote_static=known,
        ),
        kind(pattern, wire_suite(suite), initiator=False, prologue=prologues[1], static=server),
    )


def shake(one: AnyHandshake, other: AnyHandshake) -> list[bytes]:
    """Exchange all messages; return them."""
    said = []
    while not one.finished:
        said.append(one.write(b"payload %d" % len(said)))
        assert other.read(said[-1]) == b"payload %d" % (len(said) - 1)
        one, other = other, one
    assert other.finished
    return said


def two_sessions(
    limits: SessionLimits | None = None,
    clock: StillClock | None = None,
    suite: str = AES,
    *,
    caller: KeyPair = CALLER,
) -> tuple[NoiseSession, NoiseSession]:
    """Return the two ends of one session, the caller's first."""
    sides = two_sides(suite=suite, caller=caller)
    shake(*sides)
    session_id = secrets.token_bytes(16)
    clock = clock or StillClock()
    one, other = (NoiseSession.of(side, session_id, limits=limits, clock=clock) for side in sides)
    return one, other


def new_sessions(
    limits: SessionLimits, clock: StillClock, suite: str = AES, *, same_peer: bool = True
) -> tuple[NoiseSession, NoiseSession]:
    """Return the two ends of one session, of the usual caller or of one never seen before."""
    caller = CALLER if same_peer else new_exchange_pair()
    return two_sessions(limits, clock, suite, caller=caller)
