"""What a Noise handshake costs, both sides together, in one process; beside `noiseprotocol`."""

import statistics
import time
from collections.abc import Callable
from typing import Any, Final

from noise.connection import Keypair, NoiseConnection

from hive_a2a.crypto import new_exchange_pair
from hive_a2a.noise import AES, WIRE_SUITES, Handshake, HybridHandshake, wire_suite

NAME: Final = "noise_handshake"
SUMMARY: Final = "Noise IK handshake with AES-GCM, both sides (details: XX, ChaCha20, hybrid)"
UNIT: Final = "us"
ROUNDS: Final = 300
SERVER: Final = new_exchange_pair()
CALLER: Final = new_exchange_pair()


def run() -> dict[str, Any]:
    """Measure both in turns, so that both see the same machine; medians in microseconds."""
    deeds: dict[str, Callable[[], None]] = {}
    for suite in WIRE_SUITES:
        for pattern in ("IK", "XX"):
            name = f"{pattern}_{suite.split('_')[1]}"
            deeds[name] = lambda p=pattern, s=suite: ours(p, s, Handshake)
            deeds[f"peer_{name}"] = lambda p=pattern, s=suite: theirs(p, s)
            deeds[f"hybrid_{name}"] = lambda p=pattern, s=suite: ours(p, s, HybridHandshake)
    taken: dict[str, list[float]] = {name: [] for name in deeds}
    for _ in range(ROUNDS):
        for name, deed in deeds.items():
            began = time.perf_counter()
            deed()
            taken[name].append((time.perf_counter() - began) * 1e6)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    chosen = f"IK_{AES.split('_')[1]}"
    cuts = statistics.quantiles(taken[chosen], n=100)
    return {
        "value": medians[chosen],
        "peer": medians[f"peer_{chosen}"],
        "peer_is": "noiseprotocol, the same pattern and suite",
        "percentiles": {"p50": cuts[49], "p90": cuts[89], "p99": cuts[98]},
        "details": medians,
    }


def ours(pattern: str, suite: str, kind: type[Handshake | HybridHandshake]) -> None:
    """Shake hands with the SDK's own Noise."""
    primitives = wire_suite(suite)
    known = SERVER.public if pattern == "IK" else None
    one = kind(pattern, primitives, initiator=True, static=CALLER, remote_static=known)
    other = kind(pattern, primitives, initiator=False, static=SERVER)
    writer, reader = one, other
    while not writer.finished:
        reader.read(writer.write(b""))
        writer, reader = reader, writer
    if one.split() != other.split()[::-1]:
        raise RuntimeError("the two sides disagree")


def theirs(pattern: str, suite: str) -> None:
    """Shake hands with the peer."""
    sides = []
    for initiator, own in ((True, CALLER), (False, SERVER)):
        side = NoiseConnection.from_name(f"Noise_{pattern}_{suite}".encode())
        side.set_as_initiator() if initiator else side.set_as_responder()
        side.set_keypair_from_private_bytes(Keypair.STATIC, own.private)
        if initiator and pattern == "IK":
            side.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, SERVER.public)
        side.start_handshake()
        sides.append(side)
    writer, reader = sides
    while not writer.handshake_finished:
        reader.read_message(writer.write_message(b""))
        writer, reader = reader, writer
