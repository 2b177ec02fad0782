"""A console for records while no node runs: reading works, commanding says that nobody is there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn, cast

from hive.core.errors import NodeUnreachableError, NotFoundError
from hive.core.ids import AgentId, ContextId, TaskId
from hive.core.settings import Settings
from hive.core.task import TaskState
from hive.node.alone import open_records
from hive.node.records import Records
from hive.node.views import task_report, task_summary
from hive.web.ports import Console
from hive.web.values import (
    AuditRecord,
    AuditVerdict,
    BackupDone,
    TaskFilter,
    TaskReport,
    TaskSummaries,
    TraceTree,
)


class OfflineConsole:
    """Reads the records of a node that does not run."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def __getattr__(self, name: str) -> NoReturn:
        raise NodeUnreachableError(
            "No node runs here.", why=f"{name} needs one.", fix="Start one: hive up"
        )

    async def tasks(self, query: TaskFilter) -> TaskSummaries:
        """List tasks, newest change first."""
        page = await self._records.store.page(
            agent=AgentId(query.agent) if query.agent else None,
            state=TaskState(query.state) if query.state else None,
            context_id=ContextId(query.context_id) if query.context_id else None,
            limit=query.limit,
            cursor=query.cursor,
        )
        return TaskSummaries(
            tasks=[task_summary(task) for task in page.tasks],
            total=page.total,
            next_cursor=page.next_cursor,
        )

    async def task(self, task_id: str) -> TaskReport:
        """Return one task whole. Raises NotFoundError."""
        held = await self._records.store.get(TaskId(task_id))
        if held is None:
            raise NotFoundError(f"There is no task {task_id!r}.")
        return task_report(held)

    async def trace(self, task_id: str) -> TraceTree:
        """Return the trace of a task. Raises NotFoundError."""
        return await self._records.trace(task_id)

    async def audit_verify(self) -> AuditVerdict:
        """Recompute every hash, link and root."""
        return await self._records.verify()

    @asynccontextmanager
    async def audit_tail(
        self, *, last: int, follow: bool
    ) -> AsyncIterator[AsyncIterator[AuditRecord]]:
        """Read the newest entries; nothing new comes while no node runs."""
        del follow
        yield self._records.tail(last=last, follow=False)

    async def backup(self, path: str) -> BackupDone:
        """Write a backup and verify it."""
        return await self._records.backup(Path(path))


@asynccontextmanager
async def open_offline(settings: Settings) -> AsyncIterator[Console]:
    """Open the records of a node that does not run.

    Raises:
        ConfigError: a node holds the state folder.
        EngineError: the database does not start.

    """
    async with open_records(settings) as records:
        yield cast("Console", OfflineConsole(records))
