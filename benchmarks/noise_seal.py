"""What sealing a text and opening it costs, window and clock included; beside `noiseprotocol`."""

import statistics
import time
from typing import Any, Final

from noise.connection import NoiseConnection

from hive_a2a.crypto import new_exchange_pair
from hive_a2a.noise import AES, WIRE_SUITES, Handshake, NoiseSession, wire_suite

NAME: Final = "noise_seal"
SUMMARY: Final = (
    "Seal and open 256 bytes under an explicit number (details: both ciphers, 4 and 60 KiB)"
)
UNIT: Final = "us"
ROUNDS: Final = 40
TEXTS: Final = 500
SIZES: Final = (256, 4096, 61440)
BOUND: Final = bytes(32)


def run() -> dict[str, Any]:
    """Measure both in turns; the peer counts its numbers itself and keeps no window."""
    figures: dict[str, list[float]] = {}
    for suite in WIRE_SUITES:
        sessions, peers = two_sessions(suite), two_peers(suite)
        cipher = suite.split("_")[1]
        for _ in range(ROUNDS):
            for size in SIZES:
                figures.setdefault(f"{cipher}_{size}", []).append(ours(*sessions, bytes(size)))
                figures.setdefault(f"peer_{cipher}_{size}", []).append(theirs(*peers, bytes(size)))
    medians = {name: statistics.median(times) for name, times in figures.items()}
    chosen = f"{AES.split('_')[1]}_{SIZES[0]}"
    cuts = statistics.quantiles(figures[chosen], n=10)
    return {
        "value": medians[chosen],
        "peer": medians[f"peer_{chosen}"],
        "peer_is": "noiseprotocol, in order and without a replay window",
        "percentiles": {"p50": cuts[4], "p90": cuts[8]},
        "details": medians,
    }


def ours(one: NoiseSession, other: NoiseSession, text: bytes) -> float:
    """Return the microseconds of one text, there and opened."""
    texts = max(20, TEXTS * 256 // len(text))
    began = time.perf_counter()
    for _ in range(texts):
        number, data = one.seal(text, BOUND)
        other.open(number, data, BOUND)
    return (time.perf_counter() - began) / texts * 1e6


def theirs(one: NoiseConnection, other: NoiseConnection, text: bytes) -> float:
    """Return the same of the peer, whose transport binds nothing."""
    texts = max(20, TEXTS * 256 // len(text))
    began = time.perf_counter()
    for _ in range(texts):
        other.decrypt(one.encrypt(text))
    return (time.perf_counter() - began) / texts * 1e6


def two_sessions(suite: str) -> tuple[NoiseSession, NoiseSession]:
    """Return the two ends of a session."""
    server = new_exchange_pair()
    primitives = wire_suite(suite)
    one = Handshake(
        "IK", primitives, initiator=True, static=new_exchange_pair(), remote_static=server.public
    )
    other = Handshake("IK", primitives, initiator=False, static=server)
    other.read(one.write(b""))
    one.read(other.write(b""))
    return NoiseSession.of(one, bytes(16)), NoiseSession.of(other, bytes(16))


def two_peers(suite: str) -> tuple[NoiseConnection, NoiseConnection]:
    """Return the two ends of the peer's connection."""
    sides = [NoiseConnection.from_name(f"Noise_NN_{suite}".encode()) for _ in range(2)]
    sides[0].set_as_initiator()
    sides[1].set_as_responder()
    for side in sides:
        side.start_handshake()
    sides[1].read_message(sides[0].write_message(b""))
    sides[0].read_message(sides[1].write_message(b""))
    return sides[0], sides[1]
