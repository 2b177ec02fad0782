"""The rows of the wasm tier in `cold_start`: components built, compiled, started, called, and counted."""

import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from anyio import to_thread

import hive
from hive.core.errors import HiveError
from hive.core.grant import Grant, Limits
from hive.core.ids import AgentId
from hive.core.spec import AgentSpec, EntryPoint, StartKind
from hive.execution.component_build import BuildOrder, build_component
from hive.execution.components import Components
from hive.execution.drivers import DRIVERS
from hive.execution.ports import Prepared
from hive.testing.sandbox_suite import make_opening, make_turn

EXAMPLES: Final = Path(__file__).parents[1] / "examples" / "components"
MICRO: Final = Path(hive.__file__).parent / "execution" / "component" / "probe.wat"
STARTS: Final = 200
LIVE: Final = 1000
LIMITS: Final = Limits(memory_bytes=256 << 20)
DEADLINE_S: Final = 0.2


async def rows() -> dict[str, Any]:
    """Measure each component; what cannot be built here is told."""
    found: dict[str, Any] = {}
    async with DRIVERS.load("wasm:")() as driver, DRIVERS.load("process:")() as walls:
        probe = await driver.probe()
        if not probe.available:
            return {"wasm": {"not_here": probe.reason}}
        found["wasm_host_start_ms"] = probe.start_ms
        with tempfile.TemporaryDirectory(prefix="hive-components-") as top:
            folder = Path(top)
            await to_thread.run_sync(folder.chmod, 0o711)
            store = Components(folder / "state", walls)
            for name in ("micro", "javascript", "python"):
                try:
                    source = MICRO if name == "micro" else await _built(name, folder, walls)
                    began = time.perf_counter()
                    compiled = await store.ensure(source, on_line=lambda _line: None)
                    took = time.perf_counter() - began
                except HiveError as error:
                    found[f"wasm_{name}"] = {"not_here": str(error)}
                    continue
                entry = EntryPoint(kind=StartKind.COMPONENT)
                prepared = Prepared(
                    spec=AgentSpec(name=AgentId(name), entry=entry),
                    argv=(str(compiled),),
                    reads=(),
                    digest=name,
                )
                row = await _row(driver, prepared, folder)
                found[f"wasm_{name}"] = {"compiled_once_s": took, **row}
            return found


async def _built(name: str, folder: Path, walls: Any) -> Path:
    file = "greeter.js" if name == "javascript" else "greeter.py:agent"
    tools = Path.home() / ".cache" / "hive-tests" / "componentize-js@0.23.0"
    order = BuildOrder(
        source=str(EXAMPLES / file),
        target=folder / f"{name}.wasm",
        cwd=folder,
        home=Path.home(),
        toolchain=tools if tools.is_dir() else None,
    )
    return (await build_component(order, walls, on_line=lambda _line: None)).path


async def _row(driver: Any, prepared: Prepared, folder: Path) -> dict[str, Any]:
    taken: list[float] = []
    warm: list[float] = []
    live = LIVE if prepared.digest == "micro" else 50
    first = await _one(driver, prepared, folder, "first", taken, warm)
    taken.clear()
    for number in range(STARTS):
        await _one(driver, prepared, folder, f"n{number}", taken, warm)
    async with AsyncExitStack() as stack:
        sandbox = None
        for number in range(live):
            opening = make_opening(folder, sandbox_id=f"{prepared.digest}-live{number}")
            spawned = driver.spawn(prepared, Grant(limits=LIMITS), opening)
            sandbox = await stack.enter_async_context(spawned)
            await sandbox.ready(30)
            await _answer(sandbox, "hello")
        stats = await sandbox.stats() if sandbox else None
    row = {
        "host_and_first_answer_ms": first * 1000,
        "first_answer_ms": _cuts(taken),
        "second_answer_ms": _cuts(warm),
        "live": live,
        "memory_of_all_mib": (stats.memory_bytes * live / (1 << 20)) if stats else None,
    }
    if prepared.digest == "micro":
        row["loop_stopped_after_deadline_ms"] = await _loop(driver, prepared, folder)
    return row


async def _one(
    driver: Any, prepared: Prepared, folder: Path, name: str, taken: list[float], warm: list[float]
) -> float:
    opening = make_opening(folder, sandbox_id=f"{prepared.digest}-{name}")
    began = time.perf_counter()
    async with driver.spawn(prepared, Grant(limits=LIMITS), opening) as sandbox:
        await sandbox.ready(30)
        await _answer(sandbox, "hello")
        taken.append(time.perf_counter() - began)
        again = time.perf_counter()
        await _answer(sandbox, "again")
        warm.append(time.perf_counter() - again)
    return taken[-1]


async def _loop(driver: Any, prepared: Prepared, folder: Path) -> float:
    late = []
    for number in range(20):
        opening = make_opening(folder, sandbox_id=f"loop{number}")
        async with driver.spawn(prepared, Grant(limits=LIMITS), opening) as sandbox:
            await sandbox.ready(30)
            began = time.perf_counter()
            turn = make_turn("x" * 2000, timeout_s=DEADLINE_S)
            async for _ in sandbox.run_turn(turn):
                pass
            late.append(time.perf_counter() - began - DEADLINE_S)
    return max(late) * 1000


async def _answer(sandbox: Any, text: str) -> None:
    async for _ in sandbox.run_turn(make_turn(text, turn_id=f"turn-{text}")):
        pass


def _cuts(taken: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(taken, n=100)
    return {"p50": cuts[49] * 1000, "p95": cuts[94] * 1000, "best": min(taken) * 1000}
