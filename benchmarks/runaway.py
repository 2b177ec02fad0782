"""How the node answers while agents run away: a loop, a bomb of processes, one of memory, a flood of output.

The value is the worst 99th percentile of the node's own answers (the control call of a warm client) while one of
them runs, as a multiple of its idle one, in the same run. The bar of the house is 2. Calls of a well-behaved
agent are told beside it: its sandbox competes with the bombs for the same processors.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.ground import ECHO, RunningNode, load, node
from benchmarks.stop_under_flood import WarmClient, begin

NAME: Final = "runaway"
SUMMARY: Final = (
    "the node's p99 while an agent runs away, as a multiple of its idle p99; worst of four"
)
UNIT: Final = "times"
ASKED: Final = 400
CALLS: Final = 200
WARM_UP: Final = 100
SETTLE_S: Final = 1.0
BOMBS: Final = '''
import os, sys


def loop(text):
    """Never end."""
    while True:
        pass


def processes(text):
    """Fork as often as the walls let it, and never end in any of them."""
    while True:
        try:
            os.fork()
        except OSError:
            pass


def memory(text):
    """Take memory until the walls end it."""
    taken = []
    while True:
        taken.append(bytearray(os.urandom(1 << 16) * 256))


def output(text):
    """Print without end."""
    while True:
        sys.stdout.write("x" * 4000 + "\\n")
'''
NAMES: Final = ("loop", "processes", "memory", "output")


def run() -> dict[str, Any]:
    """Measure idle, then with each bomb by itself."""
    with tempfile.TemporaryDirectory(prefix="hive-runaway-", ignore_cleanup_errors=True) as folder:
        source = Path(folder) / "agents"
        source.mkdir()
        (source / "bombs.py").write_text(BOMBS)
        (source / "echo.py").write_text(ECHO)
        with node(Path(folder) / "state") as (running, _):
            running.deploy("echo.py:agent", source, name="echo")
            for name in NAMES:
                running.deploy(f"bombs.py:{name}", source, name=name)
            return _measured(running)


def _measured(running: RunningNode) -> dict[str, Any]:
    client = WarmClient(running.folder / "control.sock")
    load(running.port, "/a2a/echo", running.token, clients=1, calls=WARM_UP)
    _ask(client, WARM_UP)
    idle, idle_calls = _ask(client, ASKED), _call(running)
    found: dict[str, dict[str, float]] = {}
    for name in NAMES:
        link = begin(running, name)
        time.sleep(SETTLE_S)
        asked, called = _ask(client, ASKED), _call(running)
        client.ask("POST", f"/api/agents/{name}/stop")
        link.close()
        time.sleep(SETTLE_S)
        found[name] = {
            "p50_ms": _cut(asked, 50),
            "p99_ms": _cut(asked, 99),
            "times_idle_p99": _cut(asked, 99) / _cut(idle, 99),
            "call_p50_ms": _cut(called, 50),
            "call_p99_ms": _cut(called, 99),
            "call_times_idle_p99": _cut(called, 99) / _cut(idle_calls, 99),
        }
    return {
        "value": max(one["times_idle_p99"] for one in found.values()),
        "percentiles": {"idle_p50_ms": _cut(idle, 50), "idle_p99_ms": _cut(idle, 99)},
        "details": {
            "idle_call_p50_ms": _cut(idle_calls, 50),
            "idle_call_p99_ms": _cut(idle_calls, 99),
            **found,
        },
    }


def _ask(client: WarmClient, times: int) -> list[float]:
    return [client.ask("GET", "/api/tasks?limit=1") for _ in range(times)]


def _call(running: RunningNode) -> list[float]:
    return load(running.port, "/a2a/echo", running.token, clients=1, calls=CALLS)[1]


def _cut(taken: list[float], percent: int) -> float:
    return statistics.quantiles(taken, n=100)[percent - 1] * 1000
