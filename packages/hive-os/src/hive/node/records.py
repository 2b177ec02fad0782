"""What the ledger tells an operator: traces, verification, the newest entries, backups."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final, Literal

import anyio

from hive.core.clock import Clock
from hive.core.errors import NotFoundError
from hive.core.ids import TaskId
from hive.engines.ports import Database
from hive.kernel.ports import AgentView
from hive.ledger.audit import AuditReport, verify
from hive.ledger.checkpoints import Checkpointer
from hive.ledger.notes import NoteKey
from hive.ledger.ports import Witness
from hive.ledger.rows import tail
from hive.ledger.tasks import TaskStore
from hive.node.backup import Dump, write_backup
from hive.node.state import StateFolder
from hive.node.views import audit_record
from hive.observability.ports import SpanStore
from hive.observability.trace import TraceNode, trace_tree
from hive.web.values import (
    AuditRecord,
    AuditVerdict,
    BackupDone,
    ChainVerdict,
    TracedStep,
    TraceTree,
)

TAIL_MAX: Final = 100_000
STEPS_MAX: Final = 5000
FOLLOW_PAUSE_S: Final = 0.3
_ORIGINS: Final[dict[str, Literal["ledger", "node", "agent"]]] = {
    "ledger": "ledger",
    "view": "node",
    "span": "node",
    "agent": "agent",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Reads the ledger."""

    database: Database
    store: TaskStore
    spans: SpanStore
    state: StateFolder
    dump: Dump
    clock: Clock
    key: NoteKey
    witness: Witness
    checkpointer: Checkpointer | None
    entries_written: Callable[[], int]
    why_tier: Callable[[AgentView], str]

    async def verify(self) -> AuditVerdict:
        """Recompute every hash, link and root."""
        began = self.clock.monotonic()
        if self.checkpointer is not None:
            await self.checkpointer.write()
        report = await verify(self.database, key=self.key, witness=self.witness)
        took_ms = (self.clock.monotonic() - began) * 1000
        return AuditVerdict(
            ok=report.ok, entries=report.entries, chains=_chains(report), took_ms=round(took_ms, 1)
        )

    async def tail(self, *, last: int, follow: bool) -> AsyncIterator[AuditRecord]:
        """Yield the newest entries, oldest first, then those that come."""
        seen: set[tuple[str, int]] = set()
        limit = last or TAIL_MAX
        while True:
            for entry in await tail(self.database, limit=limit):
                place = (entry.chain, entry.sequence)
                if place not in seen:
                    seen.add(place)
                    yield audit_record(entry)
            if not follow:
                return
            limit = 1000
            await anyio.sleep(FOLLOW_PAUSE_S)

    async def trace(self, task_id: str) -> TraceTree:
        """Return the trace of a task (empty: of the last one). Raises NotFoundError."""
        if not task_id:
            newest = (await self.store.page(limit=1)).tasks
            if not newest:
                raise NotFoundError("No task was ever made.", fix="hive call AGENT TEXT")
            task_id = newest[0].id
        task = await self.store.get(TaskId(task_id))
        if task is None:
            raise NotFoundError(f"There is no task {task_id!r}.", fix="See `hive ps`.")
        tree = await trace_tree(self.database, task_id, spans=self.spans)
        walked = list(islice(tree.walk(), STEPS_MAX + 1))
        return TraceTree(
            trace_id=await self._trace_id(task_id),
            task_id=task_id,
            agent=task.agent,
            state=task.state.value,
            started_at=_moment(tree.start),
            duration_ms=tree.duration_ms,
            steps=[_step(number, depth, node) for number, (depth, node) in enumerate(walked)][
                :STEPS_MAX
            ],
            truncated=len(walked) > STEPS_MAX,
        )

    async def backup(self, path: Path) -> BackupDone:
        """Write a backup and verify it."""
        return await write_backup(
            path, dump=self.dump, state=self.state, clock=self.clock, verify=self.verify
        )

    async def _trace_id(self, task_id: str) -> str:
        rows = await self.database.fetch(
            "SELECT trace_id FROM entry WHERE task = $1 AND trace_id <> '' LIMIT 1", task_id
        )
        return str(rows[0]["trace_id"]) if rows else ""


def _step(number: int, depth: int, node: TraceNode) -> TracedStep:
    verb, _, target = node.name.partition(" ")
    return TracedStep(
        id=node.call or f"{number}",
        depth=depth,
        name=node.name,
        started_at=_moment(node.start),
        duration_ms=node.duration_ms,
        agent=node.agent,
        verb=verb,
        target=target,
        outcome=node.state,
        detail=node.note,
        origin=_ORIGINS.get(node.source, "agent"),
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _chains(report: AuditReport) -> list[ChainVerdict]:
    problem = report.problem
    found = [
        ChainVerdict(chain=one.chain, entries=one.entries, head=one.head, ok=True)
        for one in report.chains
    ]
    if problem is not None:
        found.append(
            ChainVerdict(
                chain=problem.chain,
                entries=problem.sequence,
                head="",
                ok=False,
                first_bad=problem.sequence,
                reason=problem.what,
            )
        )
    return found
