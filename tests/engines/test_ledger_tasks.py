"""The projection of tasks, contents and the journal, on a real PostgreSQL."""

from collections.abc import Sequence
from datetime import timedelta

import anyio
import pytest

from hive.core.errors import BadInputError, LedgerError, StateError
from hive.core.ids import AgentId, CallId, ContextId, OwnerId, TaskId
from hive.core.task import (
    Artifact,
    ArtifactAdded,
    MessageAdded,
    Part,
    Role,
    StatusChanged,
    Task,
    TaskState,
)
from hive.engines import Migration, load_migrations
from hive.engines.ports import Database
from hive.ledger.audit import verify
from hive.ledger.entry import EntryKind
from hive.ledger.journal import Journal
from hive.ledger.tasks import FORGOTTEN_KEY, TaskStore
from hive.testing.ledger import ALICE, contents_in, line, open_ledger, said, submitted

pytestmark = pytest.mark.anyio


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return load_migrations("hive.ledger")


@pytest.fixture
def store(database: Database) -> TaskStore:
    return TaskStore(database, contents_in(database))


def status(task: Task, state: TaskState, text: str = "") -> StatusChanged:
    return StatusChanged(
        task_id=task.id,
        context_id=task.context_id,
        state=state,
        at=task.updated_at + timedelta(seconds=1),
        message=said(text, role=Role.AGENT) if text else None,
    )


def piece(task: Task, text: str, *, append: bool = True, artifact: str = "a-1") -> ArtifactAdded:
    made = Artifact(id=artifact, parts=(Part(text=text),), name="answer")
    return ArtifactAdded(task_id=task.id, context_id=task.context_id, artifact=made, append=append)


async def test_a_task_is_read_as_its_entries_made_it(database: Database, store: TaskStore) -> None:
    task = submitted()
    reply = MessageAdded(
        task_id=task.id, context_id=task.context_id, message=said("more?", role=Role.AGENT)
    )
    rich = Artifact(
        id="a-2",
        parts=(
            Part(raw=b"\x00\xff", media_type="image/png", filename="x.png"),
            Part(url="https://example.org/x"),
            Part(data={"n": [1, None, "ä"]}, has_data=True, metadata={"k": 1}),
        ),
    )
    async with open_ledger(database) as writer:
        await writer.append(line("accepted", moves=(task,)))
        await writer.append(line("moved", moves=(status(task, TaskState.WORKING), reply)))
        await writer.append(line("streamed", moves=(piece(task, "one, ", append=False),)))
        await writer.append(line("streamed", moves=(piece(task, "two"),)))
        more = ArtifactAdded(task_id=task.id, context_id=task.context_id, artifact=rich)
        end = status(task, TaskState.COMPLETED, "done")
        await writer.append(line("ended", moves=(more, end)))
    read = await store.get(task.id)
    assert read is not None
    assert read.state is TaskState.COMPLETED
    assert read.status_message == said("done", role=Role.AGENT)
    assert read.history == (said("hello"), said("more?", role=Role.AGENT))
    assert read.artifacts[0].parts == (Part(text="one, two"),)
    assert read.artifacts[1] == rich
    assert read.metadata == {"purpose": "test"}
    assert (read.created_at, read.updated_at) == (task.created_at, end.at)
    assert (read.owner, read.agent, read.caller, read.call) == (
        task.owner,
        task.agent,
        task.caller,
        task.call,
    )
    assert await store.get(TaskId("t-none")) is None
    assert (await verify(database)).tasks == 1


async def test_no_text_of_a_message_stands_in_the_database_in_clear(database: Database) -> None:
    async with open_ledger(database) as writer:
        task = submitted(text="the password is swordfish")
        await writer.append(line(moves=(task,), content=b"swordfish"))
    for table in ("entry", "task", "task_content", "content", "content_key"):
        rows = await database.fetch(
            f"SELECT {table}::text AS t, encode({_bytes(table)}, 'escape') AS b FROM {table}"
        )
        assert rows
        assert not [row for row in rows if "swordfish" in f"{row['t']}{row['b']}"]


def _bytes(table: str) -> str:
    return {"content": "sealed", "content_key": "wrapped"}.get(table, "''::bytea")


async def test_a_task_that_has_ended_does_not_move_again(
    database: Database, store: TaskStore
) -> None:
    task = submitted()
    async with open_ledger(database) as writer:
        await writer.append(line(moves=(task, status(task, TaskState.CANCELED))))
        with pytest.raises(LedgerError):
            await writer.append(line(moves=(status(task, TaskState.WORKING),)))
        with pytest.raises(LedgerError):
            await writer.append(line(moves=(submitted(),)))
        other = submitted("t-2")
        ended = status(other, TaskState.FAILED)
        with pytest.raises(StateError):
            await writer.append(line(moves=(other, ended, status(other, TaskState.WORKING))))
    read = await store.get(task.id)
    assert read is not None
    assert read.state is TaskState.CANCELED
    assert (await verify(database)).ok


async def test_moves_of_one_task_in_one_commit_keep_their_order(
    database: Database, store: TaskStore
) -> None:
    task = submitted()
    async with open_ledger(database) as writer:

        async def stream(number: int) -> None:
            await writer.append(line(moves=(piece(task, f"{number} ", append=number > 0),)))

        await writer.append(line(moves=(task,)))
        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(stream, number)
    read = await store.get(task.id)
    assert read is not None
    assert read.artifacts[0].parts[0].text == "".join(f"{number} " for number in range(40))


async def test_racing_ends_of_a_task_let_one_win(database: Database, store: TaskStore) -> None:
    task = submitted()
    won: list[TaskState] = []
    async with open_ledger(database) as writer:

        async def end(state: TaskState) -> None:
            try:
                await writer.append(line(moves=(status(task, state),)))
                won.append(state)
            except LedgerError:
                pass

        await writer.append(line(moves=(task,)))
        async with anyio.create_task_group() as tasks:
            for state in (TaskState.COMPLETED, TaskState.CANCELED, TaskState.FAILED):
                tasks.start_soon(end, state)
    read = await store.get(task.id)
    assert read is not None
    assert won == [read.state]
    assert (await verify(database)).ok


async def test_pages_are_filtered_counted_and_followed(
    database: Database, store: TaskStore
) -> None:
    async with open_ledger(database) as writer:
        for number in range(7):
            await writer.append(line(moves=(submitted(f"t-{number}"),)))
        bob = OwnerId("bob")
        await writer.append(line(owner=bob, moves=(submitted("t-bob", owner=bob),)))
        end = status(submitted("t-3"), TaskState.COMPLETED)
        await writer.append(line(moves=(end,)))
    seen: list[str] = []
    cursor = ""
    while True:
        page = await store.page(owner=ALICE, limit=3, cursor=cursor)
        assert page.total == 7
        seen += [task.id for task in page.tasks]
        cursor = page.next_cursor
        if not cursor:
            break
    assert seen == ["t-3", "t-6", "t-5", "t-4", "t-2", "t-1", "t-0"]
    assert (await store.page()).total == 8
    assert (await store.page(owner=bob)).tasks[0].history == (said("hello"),)
    assert (await store.page(state=TaskState.COMPLETED)).total == 1
    assert (await store.page(caller="agent:other")).total == 0
    assert (await store.page(context_id=ContextId("c-2"))).total == 0
    assert (await store.page(agent=AgentId("echo"), changed_after=end.at)).total == 0
    assert [task.id for task in await store.open_tasks()][:2] == ["t-0", "t-1"]
    assert "t-3" not in [task.id for task in await store.open_tasks()]


@pytest.mark.parametrize("cursor", ["x", "!!!", "AAAA", "MjAyNg==", "\x00"])
async def test_a_page_token_that_nobody_gave_is_refused(store: TaskStore, cursor: str) -> None:
    with pytest.raises(BadInputError):
        await store.page(cursor=cursor)


async def test_forgetting_an_owner_leaves_the_chain_whole(database: Database) -> None:
    contents = contents_in(database)
    store, bob = TaskStore(database, contents), OwnerId("bob")
    async with open_ledger(database) as writer:
        mine = await writer.append(line(content=b"kept", moves=(submitted("t-1"),)))
        his = await writer.append(
            line(owner=bob, content=b"gone", moves=(submitted("t-2", owner=bob),))
        )
    assert await contents.open(his.content_id) == b"gone"
    assert await contents.forget(bob) == 1
    assert await contents.open(his.content_id) is None
    assert await contents.open(mine.content_id) == b"kept"
    forgotten = await store.get(TaskId("t-2"))
    assert forgotten is not None
    assert (forgotten.history, forgotten.metadata) == ((), {FORGOTTEN_KEY: True})
    report = await verify(database)
    assert (report.ok, report.contents_forgotten) == (True, 1)
    rows = await database.fetch("SELECT wrapped FROM content_key WHERE owner = 'bob'")
    assert [row["wrapped"] for row in rows] == [None]
    async with open_ledger(database) as writer:
        again = await writer.append(line(owner=bob, content=b"gone"))
    assert again.content_id != his.content_id


async def test_equal_contents_are_one_within_an_owner_and_never_across(database: Database) -> None:
    contents = contents_in(database)
    first = await contents.seal(ALICE, b"same")
    assert (await contents.seal(ALICE, b"same")).id == first.id
    assert (await contents.seal(ALICE, b"other")).id != first.id
    assert (await contents.seal(OwnerId("bob"), b"same")).id != first.id
    assert (await contents.seal(ALICE, b"same", retention="short")).id != first.id


async def test_contents_do_not_open_with_another_master_key(database: Database) -> None:
    async with open_ledger(database) as writer:
        entry = await writer.append(line(content=b"secret"))
    with pytest.raises(LedgerError, match="unwrapped"):
        await contents_in(database, master_key=b"x" * 32).open(entry.content_id)


async def test_the_journal_tells_intents_with_their_results_in_order(database: Database) -> None:
    journal = Journal(database, contents_in(database))
    inner = {"verb": "invoke", "target": "x", "parent": "turn", "decision": "admitted"}
    async with open_ledger(database) as writer:

        async def intent(call: str, task: str = "t-1", **body: str) -> None:
            await writer.append(
                line(call, kind=EntryKind.INTENT, call=call, task=task, body={**inner, **body})
            )

        await intent("turn", parent="")
        await intent("one")
        await intent("two", verb="send", task="t-child")
        await intent("three")
        await intent("refused", decision="refused")
        for call, content in (("two", b"2"), ("one", b"1")):
            await writer.append(line(kind=EntryKind.RESULT, call=call, task="t-1", content=content))
        await writer.append(line("turn.recovered", task="t-1"))
        chain = writer.chain
    steps = await journal.children(CallId("turn"))
    assert [(step.call, step.open, step.content) for step in steps] == [
        ("one", False, b"1"),
        ("two", False, b"2"),
        ("three", True, None),
    ]
    assert [step.call for step in await journal.task(TaskId("t-1"))] == ["turn", "one", "three"]
    assert [entry.name for entry in await journal.events(TaskId("t-1"))] == ["turn.recovered"]
    assert [entry.call for entry in await journal.open_intents(chain)] == ["turn", "three"]
    recorded = await journal.recorded([CallId("two"), CallId("none"), CallId("refused")])
    assert {call: step.content for call, step in recorded.items()} == {"two": b"2"}


async def test_ending_a_task_does_not_read_all_the_others(database: Database) -> None:
    """A plan that was made while the table was small must not read it whole when it has grown."""
    async with open_ledger(database) as writer:
        for number in range(300):
            task = submitted(f"t-{number}")
            await writer.append(line(task=task.id, moves=(task,)))
            await writer.append(line(task=task.id, moves=(status(task, TaskState.COMPLETED),)))
    with anyio.fail_after(30):
        read = None
        while read is None:
            # The counters of a session are told when it ends or rests for a moment.
            rows = await database.fetch(
                "SELECT seq_tup_read, n_tup_upd FROM pg_stat_user_tables WHERE relname = 'task'"
            )
            if rows[0]["n_tup_upd"] == 300:
                read = rows[0]["seq_tup_read"]
            await anyio.sleep(0.1)
    assert read < 300
