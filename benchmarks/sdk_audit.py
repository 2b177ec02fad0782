"""What the SDK's durable record costs: entries a second with 16 calls at once, and CPU an entry."""

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

import anyio

from hive_a2a.crypto import new_signing_pair
from hive_a2a.stages.audit import AuditKind, CallRecord
from hive_a2a.stages.audit_file import FileAudit
from hive_a2a.stages.audit_verify import verify

NAME: Final = "sdk_audit"
VALUE: Final = "entries_per_s"
UNIT: Final = "entries/s"
PEER: Final = "bare_writes_per_s"
PEER_IS: Final = "bare synced writes of one entry each"
CALLERS: Final = 16
CALLS_PER_CALLER: Final = 1000
SINGLES: Final = 500
BARE: Final = 500
CONTENT: Final = "c" * 64


def run() -> dict[str, float]:
    """Measure on the disk that holds temporary files."""
    return anyio.run(_measure, backend_options={"use_uvloop": True})


async def _measure() -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="hive-") as folder:
        bare = _bare_writes_per_s(Path(folder) / "bare")
        key = new_signing_pair()
        async with FileAudit(Path(folder) / "audit", key.private) as audit:
            singles = [await _timed(audit, number) for number in range(SINGLES)]
            waits: list[float] = []

            async def caller() -> None:
                waits.extend([await _timed(audit, number) for number in range(CALLS_PER_CALLER)])

            began, cpu = time.perf_counter(), time.process_time()
            async with anyio.create_task_group() as tasks:
                for _ in range(CALLERS):
                    tasks.start_soon(caller)
            took, cpu = time.perf_counter() - began, time.process_time() - cpu
        began = time.perf_counter()
        verdict = verify(Path(folder) / "audit", key.public)
        checked = time.perf_counter() - began
    if not verdict.whole:
        raise RuntimeError(verdict.problem)
    entries = CALLERS * CALLS_PER_CALLER * 2
    return {
        "entries_per_s": entries / took,
        "cpu_us_per_entry": cpu / entries * 1e6,
        "attempt_p50_ms": statistics.median(waits),
        "attempt_p99_ms": statistics.quantiles(waits, n=100)[98],
        "attempt_alone_p50_ms": statistics.median(singles),
        "bare_writes_per_s": bare,
        "verified_entries_per_s": verdict.entries / checked,
    }


async def _timed(audit: FileAudit, number: int) -> float:
    call = f"{number:024x}"
    attempt = CallRecord(
        kind=AuditKind.ATTEMPT,
        call=call,
        method="SendMessage",
        binding="JSONRPC",
        version="1.0",
        caller="bearer:https://issuer.example#somebody",
        scheme="bearer",
        skill="summarise",
        body_bytes=400,
        content=CONTENT,
        peer=CONTENT,
    )
    began = time.perf_counter()
    await audit.attempt(attempt)
    waited = time.perf_counter() - began
    audit.outcome(CallRecord(kind=AuditKind.OUTCOME, call=call, ending="completed", answer=CONTENT))
    return waited * 1000


def _bare_writes_per_s(path: Path) -> float:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_DSYNC)
    began = time.perf_counter()
    for _ in range(BARE):
        os.write(fd, b"x" * 500)
    took = time.perf_counter() - began
    os.close(fd)
    return BARE / took
