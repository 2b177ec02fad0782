"""What a durable line of the ledger costs: alone, and with many callers at once."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

import anyio

from hive.engines import load_migrations
from hive.ledger.entry import EntryKind
from hive.observability import SpanFeed, Tracer
from hive.testing.engines import open_database
from hive.testing.ledger import line, open_ledger

NAME: Final = "ledger_append"
VALUE: Final = "append_p50_ms"
UNIT: Final = "ms"
PEER: Final = "bare_commit_p50_ms"
PEER_IS: Final = "one bare commit of the same database"
SINGLES: Final = 500
CALLERS: Final = 200
LINES_PER_CALLER: Final = 40
SPANS: Final = 20_000


def run() -> dict[str, float]:
    """Measure on an embedded PostgreSQL of its own; times in milliseconds, CPU in microseconds."""
    return anyio.run(_measure, backend_options={"use_uvloop": True})


async def _measure() -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="hive-") as folder:
        async with open_database(Path(folder), load_migrations("hive.ledger")) as database:
            bare = [
                await _timed(
                    database.execute, "INSERT INTO epoch VALUES ($1, $2, '', now(), now())", "b", n
                )
                for n in range(200)
            ]
            async with open_ledger(database) as writer:

                async def append(number: int) -> None:
                    await writer.append(
                        line(
                            "invoke tool",
                            kind=EntryKind.INTENT,
                            body={"n": number, "argument_hash": "a" * 64, "principal": "agent:x"},
                            call=f"c-{number}",
                            task=f"t-{number}",
                            content=b"%d" % number * 20,
                        )
                    )

                singles = [await _timed(append, number) for number in range(SINGLES)]

                async def caller(start: int) -> None:
                    for number in range(start, start + LINES_PER_CALLER):
                        await append(number)

                began, cpu = time.perf_counter(), time.process_time()
                async with anyio.create_task_group() as tasks:
                    for number in range(CALLERS):
                        tasks.start_soon(caller, SINGLES + number * LINES_PER_CALLER)
                took, cpu = time.perf_counter() - began, time.process_time() - cpu
    lines = CALLERS * LINES_PER_CALLER
    return {
        "bare_commit_p50_ms": statistics.median(bare),
        "append_p50_ms": statistics.median(singles),
        "append_p99_ms": statistics.quantiles(singles, n=100)[98],
        "entries_per_s": lines / took,
        "cpu_us_per_entry": cpu / lines * 1e6,
        "span_us": _span_us(),
    }


async def _timed(deed: object, *arguments: object) -> float:
    began = time.perf_counter()
    await deed(*arguments)  # type: ignore[operator]
    return (time.perf_counter() - began) * 1000


def _span_us() -> float:
    tracer = Tracer(SpanFeed(buffer_max_spans=SPANS))
    attributes = {"gen_ai.agent.id": "a", "hive.call.id": "c", "hive.owner": "o"}
    began = time.process_time()
    for _ in range(SPANS):
        with tracer.start("execute_tool x", attributes=attributes):
            pass
    return (time.process_time() - began) / SPANS * 1e6
