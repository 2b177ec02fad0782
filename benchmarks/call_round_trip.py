"""A message over a kept connection to a function in its sandbox and back, everything on record.

The peer is the bare echo server of the official SDK, in the same run: no sandbox, no disk, tasks in memory.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.ground import ECHO, free_port, load, node, percentiles_ms

NAME: Final = "call_round_trip"
SUMMARY: Final = "A2A message to an agent in its sandbox and back, one client, p50"
UNIT: Final = "ms"
WARM_UP: Final = 100
CALLS: Final = 500
CLIENTS: Final = 16
CALLS_EACH: Final = 60
PEER_START_MAX_S: Final = 30.0


def run() -> dict[str, Any]:
    """Measure how long one call takes, here and at the peer."""
    found = measure_both()
    return {
        "value": statistics.median(found.taken) * 1000,
        "percentiles": percentiles_ms(found.taken),
        "peer": statistics.median(found.peer_taken) * 1000,
        "peer_is": "the official SDK's echo server",
        "details": {"first_call_ms": found.first_s * 1000, "sandboxes": 1},
    }


class Both(NamedTuple):
    """Calls a second with one client and with many, and the seconds of each call of one client."""

    first_s: float
    one: float
    many: float
    taken: list[float]
    peer_one: float
    peer_many: float
    peer_taken: list[float]


def measure_both() -> Both:
    """Measure the peer and Hive, one client and sixteen."""
    peer_one, peer_many, peer_taken = _peer()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as source:
        Path(source, "echo.py").write_text(ECHO)
        with node(Path(folder, "state")) as (running, _):
            running.deploy("echo.py:agent", Path(source))
            token = running.token
            first = load(running.port, "/a2a/echo", token, clients=1, calls=1)[1][0]
            load(running.port, "/a2a/echo", token, clients=1, calls=WARM_UP)
            one, taken = load(running.port, "/a2a/echo", token, clients=1, calls=CALLS)
            many, _ = load(running.port, "/a2a/echo", token, clients=CLIENTS, calls=CALLS_EACH)
    return Both(first, one, many, taken, peer_one, peer_many, peer_taken)


def _peer() -> tuple[float, float, list[float]]:
    port = free_port()
    server = Path(__file__).with_name("official_echo_server.py")
    process = subprocess.Popen([sys.executable, str(server), str(port)])
    try:
        began = time.perf_counter()
        while True:
            try:
                load(port, "/", "", clients=1, calls=1)
                break
            except OSError:
                if time.perf_counter() - began > PEER_START_MAX_S:
                    raise
                time.sleep(0.05)
        load(port, "/", "", clients=1, calls=WARM_UP)
        one, taken = load(port, "/", "", clients=1, calls=CALLS)
        many, _ = load(port, "/", "", clients=CLIENTS, calls=CALLS_EACH)
        return one, many, taken
    finally:
        process.terminate()
        process.wait(30)
