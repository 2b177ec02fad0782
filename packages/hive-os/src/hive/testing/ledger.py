"""A ledger for tests: a writer on a real database, drafts with little to say, and the owner's access."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from hive.core.clock import SystemClock
from hive.core.ids import AgentId, CallId, ContextId, MessageId, NodeId, OwnerId, TaskId
from hive.core.json import Json
from hive.core.task import Message, Part, Role, Task, TaskMove, TaskState
from hive.engines.open import open_database
from hive.engines.ports import Database
from hive.ledger.contents import Contents
from hive.ledger.entry import Draft, EntryKind
from hive.ledger.writer import LedgerWriter, Observer
from hive.testing.engines import DatabaseServer, settings_in

MASTER_KEY: Final = b"m" * 32
ALICE: Final = OwnerId("alice")
NODE: Final = NodeId("node-1")
_CLOCK: Final = SystemClock()


def contents_in(database: Database, *, master_key: bytes = MASTER_KEY) -> Contents:
    """Return contents under a fixed master key."""
    return Contents(database, master_key=master_key)


@asynccontextmanager
async def open_ledger(
    database: Database,
    *,
    node: NodeId = NODE,
    observer: Observer | None = None,
    disk_floor_bytes: int = 0,
    patience_s: float = 10.0,
) -> AsyncIterator[LedgerWriter]:
    """Open a writer with its own key cache."""
    async with LedgerWriter.open(
        database,
        contents_in(database),
        node=node,
        state_dir=Path("/"),
        observer=observer,
        disk_floor_bytes=disk_floor_bytes,
        patience_s=patience_s,
    ) as writer:
        yield writer


@asynccontextmanager
async def open_as_owner(database: Database, server: DatabaseServer) -> AsyncIterator[Database]:
    """Open the same database as its owner: what an attacker with the database's keys can do."""
    rows = await database.fetch("SELECT current_database() AS name")
    url = server.url(str(rows[0]["name"]), app_role="")
    async with open_database(settings_in(server.state, database_url=url)) as owner:
        yield owner


def line(
    name: str = "something.happened",
    *,
    kind: EntryKind = EntryKind.EVENT,
    body: Mapping[str, Json] | None = None,
    owner: OwnerId = ALICE,
    call: str | None = None,
    task: str | None = None,
    content: bytes | None = None,
    moves: tuple[TaskMove, ...] = (),
) -> Draft:
    """Return a draft."""
    return Draft(
        kind=kind,
        name=name,
        body=dict(body or {}),
        at=_CLOCK.now(),
        owner=owner,
        call=None if call is None else CallId(call),
        task=None if task is None else TaskId(task),
        content=content,
        moves=moves,
    )


def said(text: str, *, role: Role = Role.USER) -> Message:
    """Return a message with one text part."""
    return Message(id=MessageId(f"m-{text[:20]}"), role=role, parts=(Part(text=text),))


def submitted(task: str = "t-1", *, text: str = "hello", owner: OwnerId = ALICE) -> Task:
    """Return a task that was just accepted."""
    now = _CLOCK.now()
    return Task(
        id=TaskId(task),
        context_id=ContextId("c-1"),
        agent=AgentId("echo"),
        owner=owner,
        caller="client:alice",
        call=CallId(f"call-{task}"),
        state=TaskState.SUBMITTED,
        created_at=now,
        updated_at=now,
        history=(said(text),),
        metadata={"purpose": "test"},
    )
