"""Tasks as the ledger's projection has them: read whole in two queries, contents opened.

The projection is written by the ledger's own transaction, so a task that is read here is never newer or
older than its entries. Contents of a forgotten owner are left out, and the metadata says so.
"""

import base64
import binascii
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, cast

from hive.core.errors import BadInputError, LedgerError
from hive.core.ids import AgentId, CallId, ContextId, OwnerId, TaskId
from hive.core.task import MessageAdded, Task, TaskMove, TaskState, moved
from hive.engines.ports import Database, Row
from hive.ledger.contents import Contents, SealedContent
from hive.ledger.entry import time_text
from hive.ledger.moves import ARTIFACT, MESSAGE
from hive.ledger.stored import artifact_of, message_of, metadata_of

PAGE_MAX_TASKS: Final = 100
FORGOTTEN_KEY: Final = "hive.forgotten"
_COLUMNS: Final = (
    "id, context_id, agent, owner, caller, call, state, created_at, updated_at, "
    "status_content, data_content"
)
_CONTENTS_SQL: Final = (
    "SELECT l.task, l.kind, l.position, c.id, c.key_id, c.sealed "
    "FROM task_content l JOIN content c ON c.id = l.content_id WHERE l.task = ANY($1::text[]) "
    "UNION ALL SELECT '', '', 0, c.id, c.key_id, c.sealed FROM content c "
    "WHERE c.id = ANY($2::text[]) ORDER BY 1, 3"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTasks:
    """One page of tasks, newest change first; `next_cursor` is empty on the last one."""

    tasks: tuple[Task, ...]
    total: int
    next_cursor: str = ""


class TaskStore:
    """Reads tasks; nothing here writes."""

    def __init__(self, database: Database, contents: Contents) -> None:
        self._database = database
        self._contents = contents

    async def get(self, task: TaskId) -> Task | None:
        """Return a task with its history and artifacts, or None."""
        rows = await self._database.fetch(f"SELECT {_COLUMNS} FROM task WHERE id = $1", task)  # noqa: S608
        tasks = await self._whole(rows)
        return tasks[0] if tasks else None

    async def open_tasks(self) -> list[Task]:
        """Return all tasks that have not ended, oldest first: what a start must go on with."""
        rows = await self._database.fetch(
            f"SELECT {_COLUMNS} FROM task WHERE state NOT IN "  # noqa: S608
            "('completed', 'failed', 'canceled', 'rejected') ORDER BY created_at, id"
        )
        return await self._whole(rows)

    async def page(
        self,
        *,
        owner: OwnerId | None = None,
        caller: str | None = None,
        context_id: ContextId | None = None,
        state: TaskState | None = None,
        agent: AgentId | None = None,
        changed_after: datetime | None = None,
        limit: int = 50,
        cursor: str = "",
    ) -> StoredTasks:
        """Return tasks that fit, newest change first; None asks for all.

        Raises:
            BadInputError: the cursor is none that a page gave.

        """
        limit = max(1, min(limit, PAGE_MAX_TASKS))
        after_at, after_id = _position_of(cursor) if cursor else (None, "")
        values = (owner, caller, context_id, None if state is None else state.value, agent)
        rows = await self._database.fetch(
            f"SELECT {_COLUMNS} FROM task WHERE {_FITS} "  # noqa: S608
            "AND ($7::timestamptz IS NULL OR (updated_at, id) < ($7, $8::text)) "
            "ORDER BY updated_at DESC, id DESC LIMIT $9",
            *values,
            changed_after,
            after_at,
            after_id,
            limit + 1,
        )
        counted = await self._database.fetch(
            f"SELECT count(*) AS total FROM task WHERE {_FITS}",  # noqa: S608
            *values,
            changed_after,
        )
        more = len(rows) > limit
        tasks = await self._whole(rows[:limit])
        return StoredTasks(
            tasks=tuple(tasks),
            total=cast("int", counted[0]["total"]),
            next_cursor=_cursor_of(tasks[-1]) if more else "",
        )

    async def _whole(self, rows: Sequence[Row]) -> list[Task]:
        if not rows:
            return []
        loose = [
            cast("str", row[column])
            for row in rows
            for column in ("status_content", "data_content")
            if row[column]
        ]
        stored = await self._database.fetch(_CONTENTS_SQL, [row["id"] for row in rows], loose)
        opened = await self._contents.unseal([_sealed(row) for row in stored])
        links: defaultdict[str, list[tuple[str, bytes | None]]] = defaultdict(list)
        for row in stored:
            if row["kind"]:
                content = opened[cast("str", row["id"])]
                links[cast("str", row["task"])].append((cast("str", row["kind"]), content))
        return [_task_of(row, opened, links[cast("str", row["id"])]) for row in rows]


_FITS: Final = (
    "($1::text IS NULL OR owner = $1) AND ($2::text IS NULL OR caller = $2) "
    "AND ($3::text IS NULL OR context_id = $3) AND ($4::text IS NULL OR state = $4) "
    "AND ($5::text IS NULL OR agent = $5) AND ($6::timestamptz IS NULL OR updated_at > $6)"
)


def _sealed(row: Row) -> SealedContent:
    return SealedContent(
        id=cast("str", row["id"]),
        key_id=cast("str", row["key_id"]),
        sealed=cast("bytes", row["sealed"]),
    )


def _task_of(
    row: Row, opened: Mapping[str, bytes | None], links: list[tuple[str, bytes | None]]
) -> Task:
    status = opened.get(cast("str", row["status_content"]))
    data = opened.get(cast("str", row["data_content"]))
    updated_at = cast("datetime", row["updated_at"])
    task = Task(
        id=TaskId(cast("str", row["id"])),
        context_id=ContextId(cast("str", row["context_id"])),
        agent=AgentId(cast("str", row["agent"])),
        owner=OwnerId(cast("str", row["owner"])),
        caller=cast("str", row["caller"]),
        call=CallId(cast("str", row["call"])),
        state=TaskState(cast("str", row["state"])),
        created_at=cast("datetime", row["created_at"]),
        updated_at=updated_at,
        status_message=None if status is None else message_of(status),
        metadata={} if data is None else metadata_of(data),
    )
    for kind, content in links:
        if content is not None:
            task = moved(task, _move_of(task, kind, content), updated_at)
    named = [cast("str", row["status_content"]), cast("str", row["data_content"])]
    forgotten = [content for _, content in links] + [opened.get(one) for one in named if one]
    if None in forgotten:
        task = replace(task, metadata={**task.metadata, FORGOTTEN_KEY: True})
    return task


def _move_of(task: Task, kind: str, content: bytes) -> TaskMove:
    if kind == ARTIFACT:
        return artifact_of(content, task=task.id, context=task.context_id)
    if kind == MESSAGE:
        return MessageAdded(
            task_id=task.id, context_id=task.context_id, message=message_of(content)
        )
    raise LedgerError(
        f"Task {task.id} holds content of an unknown kind.",
        why="A newer version may have written it.",
        fix="Run the version of Hive that wrote this database.",
    )


def _cursor_of(task: Task) -> str:
    return base64.urlsafe_b64encode(f"{time_text(task.updated_at)} {task.id}".encode()).decode()


def _position_of(cursor: str) -> tuple[datetime, str]:
    try:
        text = base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
        at_text, _, task = text.partition(" ")
        at = datetime.fromisoformat(at_text)
        if at.tzinfo is None or not task or "\0" in task:
            raise ValueError(cursor)  # noqa: TRY301
    except (ValueError, binascii.Error) as error:
        raise BadInputError(
            "The page token is not valid.",
            why="It is none that a page gave.",
            fix="Ask for the first page, then follow its tokens.",
        ) from error
    return at, task
