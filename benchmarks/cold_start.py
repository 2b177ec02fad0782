"""From the order to the first answer of a fresh sandbox, on every tier that probes well here; memory of one at rest.

The value is what the walls of the process tier add to a plain start of the same interpreter, in the same run (bar: 8 ms).
`details` has a row for each tier: the walls alone (a program that does nothing), the first answer of a small agent, a
second answer in the same sandbox, and the memory of the sandbox. Cold is the first start after the launcher's; warm are those after it.

The rows of components go through the whole driver: the host process, its socket, the instance. `micro` is the component of the
tier's probe, `python` and `javascript` are those of examples/components, built here (JavaScript where its tools are found).
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import anyio

from benchmarks import components
from hive.core.grant import Grant
from hive.execution.drivers import DRIVERS
from hive.testing.sandbox_suite import SMALL, WAIT_S, make_opening, make_turn, prepare_agent

NAME: Final = "cold_start"
SUMMARY: Final = (
    "walls of the process tier over a plain start of the interpreter, p50; a row for each tier"
)
UNIT: Final = "ms"
TIERS: Final = ("process", "gvisor")
STARTS: Final = 40
AGENTS: Final = 15
NOTHING: Final = "pass"
AGENT: Final = "def answer(text):\n    return text\n"


def run() -> dict[str, Any]:
    """Measure a plain start, then each tier."""
    plain = _plain()
    rows = anyio.run(_rows)
    walls = rows["process"]["start_ms"]["p50"]
    return {
        "value": walls - plain["p50"],
        "percentiles": rows["process"]["start_ms"],
        "peer": plain["p50"],
        "peer_is": "a plain start of the same interpreter, without walls",
        "details": {"plain_ms": plain, **rows},
    }


def _plain() -> dict[str, float]:
    taken = []
    for _ in range(STARTS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-S", "-c", NOTHING], check=True)
        taken.append(time.perf_counter() - began)
    return _cuts(taken)


async def _rows() -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for scheme in TIERS:
        driver = DRIVERS.load(f"{scheme}:")()
        async with driver:
            probe = await driver.probe()
            if not probe.available:
                rows[scheme] = {"not_here": probe.reason}
                continue
            with tempfile.TemporaryDirectory(prefix="hive-cold-") as folder:
                rows[scheme] = await _row(driver, Path(folder))
    rows.update(await components.rows())
    return rows


async def _row(driver: Any, folder: Path) -> dict[str, Any]:
    async def nothing() -> None:
        await driver.run(
            (sys.executable, "-I", "-S", "-c", NOTHING),
            mounts=(),
            opening=make_opening(folder),
            limits=SMALL,
            timeout_s=WAIT_S,
            on_line=lambda _: None,
        )

    first, *warm = [await _timed(nothing) for _ in range(STARTS + 1)]
    prepared = prepare_agent(folder, AGENT)
    firsts, seconds, memory = [], [], []
    for _ in range(AGENTS):
        began = time.perf_counter()
        async with driver.spawn(prepared, Grant(limits=SMALL), make_opening(folder)) as sandbox:
            await sandbox.ready(WAIT_S)
            await _answer(sandbox, "one")
            firsts.append(time.perf_counter() - began)
            seconds.append(await _timed(lambda box=sandbox: _answer(box, "two")))
            memory.append((await sandbox.stats()).memory_bytes)
    return {
        "cold_start_ms": first * 1000,
        "start_ms": _cuts(warm),
        "first_answer_ms": _cuts(firsts),
        "second_answer_ms": _cuts(seconds),
        "memory_mib": statistics.median(memory) / (1 << 20),
    }


async def _answer(sandbox: Any, text: str) -> None:
    async for _ in sandbox.run_turn(make_turn(text, turn_id=f"turn-{text}")):
        pass


async def _timed(deed: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await deed()
    return time.perf_counter() - began


def _cuts(taken: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(taken, n=100)
    return {"p50": cuts[49] * 1000, "p95": cuts[94] * 1000, "best": min(taken) * 1000}
