"""What a durable line of the ledger costs: alone, with many callers at once, and in full batches.

Beside the batches stand plain rows, 100 a commit, of the same database in the same run: they are not chained, not checked and
have one index.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

import anyio

from hive.core.json import Json
from hive.engines import load_migrations
from hive.engines.ports import Database
from hive.ledger.entry import EntryKind
from hive.ledger.writer import LedgerWriter
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
BATCHED: Final = 30_000
BATCHED_AT_ONCE: Final = 4096
PLAIN_ROWS: Final = 20_000
PLAIN_A_COMMIT: Final = 100


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
                batched, batched_cpu = await _batched(writer)
                kept = await database.fetch("SELECT count(*) AS n FROM entry")
                acknowledged = 1 + SINGLES + CALLERS * LINES_PER_CALLER + BATCHED
                if kept[0]["n"] != acknowledged:
                    message = f"{acknowledged} entries were acknowledged, {kept[0]['n']} are there"
                    raise RuntimeError(message)
            plain = await _plain_rows(database)
    lines = CALLERS * LINES_PER_CALLER
    return {
        "bare_commit_p50_ms": statistics.median(bare),
        "append_p50_ms": statistics.median(singles),
        "append_p99_ms": statistics.quantiles(singles, n=100)[98],
        "entries_per_s": lines / took,
        "cpu_us_per_entry": cpu / lines * 1e6,
        "batched_entries_per_s": batched,
        "batched_cpu_us_per_entry": batched_cpu,
        "plain_rows_per_s": plain,
        "span_us": _span_us(),
    }


async def _batched(writer: LedgerWriter) -> tuple[float, float]:
    """Return durable entries a second with thousands of callers waiting, and the CPU of each in microseconds."""
    numbers = iter(range(BATCHED))
    began, cpu = time.perf_counter(), time.process_time()

    async def caller() -> None:
        for number in numbers:
            body: dict[str, Json] = {"n": number, "argument_hash": "a" * 64, "principal": "agent:x"}
            await writer.append(
                line("invoke tool", kind=EntryKind.INTENT, body=body, call=f"b-{number}")
            )

    async with anyio.create_task_group() as tasks:
        for _ in range(BATCHED_AT_ONCE):
            tasks.start_soon(caller)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    return BATCHED / took, cpu / BATCHED * 1e6


async def _plain_rows(database: Database) -> float:
    """Return rows a second, 100 a commit, of a table with one index and nothing to check."""
    statement = (
        "INSERT INTO epoch (node, epoch, instance, opened_at, lease_until) "
        "SELECT 'plain', n, body, now(), now() FROM unnest($1::bigint[], $2::text[]) AS t (n, body)"
    )
    began = time.perf_counter()
    for start in range(0, PLAIN_ROWS, PLAIN_A_COMMIT):
        numbers = list(range(start, start + PLAIN_A_COMMIT))
        await database.execute(statement, numbers, [f"{n}" + "a" * 300 for n in numbers])
    return PLAIN_ROWS / (time.perf_counter() - began)


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
