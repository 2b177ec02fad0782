"""Warrants in a kernel on a real ledger: made with the task, handed on narrower, revoked, and the same after a crash."""

from collections.abc import Sequence

import anyio
import pytest
from tests.kernel_rig import ALICE, OPERATOR, Stage, running_kernel
from tests.warrant_play import Noted, Players, book_on
from tests.warrant_rig import rule

from hive.core.grant import Grant
from hive.core.ids import AgentId
from hive.engines import Migration, load_migrations
from hive.kernel.lines import warrant_of
from hive.kernel.ports import TaskQuery
from hive.node.build import SCHEMAS
from hive.security.capability import MintOrder
from hive.security.capability.grammar import terms_in
from hive_a2a.crypto import new_signing_pair

pytestmark = pytest.mark.anyio
READ = ("invoke", "fs.read", {"path": "/data/x/1"})
OTHER = ("invoke", "fs.read", {"path": "/data/y/1"})
MAIL = ("invoke", "mail.send", {"to": "x"})
TO_B, TO_C = ("send", "b", None), ("send", "c", None)
WIDE = Grant(tools=("*",), agents=("*",), models=("*",))


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


@pytest.fixture
async def players(database, tmp_path):
    players = Players()
    async with running_kernel(
        database, tmp_path, Stage(play=players.play), labels="watch"
    ) as kernel:
        players.kernel = kernel
        yield players


def narrow(**more: object) -> Grant:
    return Grant(tools=("fs.read",), rules=(rule("fs.read", path="under:/data/x"),), **more)


async def test_an_agent_is_held_to_the_conditions_of_its_grant(players):
    await players.deploy("a", narrow(), READ, OTHER, MAIL)
    assert await players.send() == "completed"
    assert players.done == ["invoke fs.read"]
    assert [line.split(":")[1].strip() for line in players.heard] == [
        "ok",
        "denied by warrant",
        "denied by grant",
    ]


async def test_who_is_asked_may_no_more_than_who_asks(players):
    await players.deploy("a", narrow(agents=("b",)), TO_B)
    await players.deploy("b", WIDE, READ, OTHER, MAIL)
    await players.send()
    assert players.done == ["invoke fs.read"]
    assert await players.send(to="b") == "completed"
    assert players.done[1:] == ["invoke fs.read", "invoke fs.read", "invoke mail.send"]


async def test_a_tool_may_be_passed_on_by_whoever_may_not_use_it(players):
    grant = Grant(agents=("b",), rules=(rule("mail.send", pass_on=True),))
    await players.deploy("a", grant, MAIL, TO_B)
    await players.deploy("b", WIDE, MAIL, READ)
    await players.send()
    assert players.done == ["invoke mail.send"]
    assert "a: denied by grant" in players.heard[0]
    assert "b: denied by warrant" in players.heard[2]


async def test_a_warrant_that_a_caller_shows_bounds_its_tasks_and_theirs(players, database):
    book = book_on(database)
    holder = new_signing_pair()
    order = MintOrder(
        terms=(terms_in(["agent a", "agent b", "tool fs.read path=under:/data"]),),
        holder=holder.public,
        ttl_s=60,
        depth=2,
    )
    warrant = await book.mint(order, by="operator")
    await players.deploy("a", WIDE, READ, MAIL, TO_B, TO_C)
    await players.deploy("b", WIDE, OTHER, MAIL)
    await players.deploy("c", WIDE, MAIL)
    assert await players.send(warrant=warrant) == "completed"
    assert players.done == ["invoke fs.read", "invoke fs.read"]
    assert "denied by warrant" in players.heard[-1]
    assert "denied by warrant" in await players.send(to="c", warrant=warrant)
    assert await players.send() == "completed"
    assert players.done[2:].count("invoke mail.send") == 3


async def test_what_is_revoked_stops_at_its_next_call(players, database):
    noted = Noted()
    book = book_on(database, noted=noted)
    players.kernel.guards.warrants.revocations = book
    players.before_last = anyio.Event()
    await players.deploy("a", WIDE, READ, MAIL)
    answers: list[str] = []

    async def sending() -> None:
        answers.append(await players.send())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sending)
        with anyio.fail_after(60):
            await players.reached.wait()
        task = (await players.kernel.store.open_tasks())[0]
        assert await book.revoke("task", task.id, by="operator", reason="stop")
        players.before_last.set()
    assert players.done == ["invoke fs.read"]
    assert "revoked" in players.heard[-1]
    assert noted.lines[-1][0] == "warrant.revoked"
    again = book_on(database)
    await again.load()
    assert [one.value for one in again.revocations()] == [task.id]


async def test_an_agent_that_is_revoked_keeps_nothing_and_may_be_asked_anew(players, database):
    book = book_on(database)
    players.kernel.guards.warrants.revocations = book
    players.before_last = anyio.Event()
    await players.deploy("a", WIDE, TO_B)
    await players.deploy("b", WIDE, MAIL)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(players.send)
        with anyio.fail_after(60):
            await players.reached.wait()
        await book.revoke("agent", "a", by="operator")
        players.before_last.set()
    assert players.done == []
    assert "revoked" in players.heard[0]
    players.before_last = None
    await players.send()
    assert players.done == ["invoke mail.send"]


async def test_a_turn_after_a_crash_has_the_same_warrant(database, tmp_path):
    players = Players()
    players.before_last = anyio.Event()
    async with running_kernel(
        database, tmp_path, Stage(play=players.play), labels="watch"
    ) as kernel:
        players.kernel = kernel
        await players.deploy("a", narrow(), READ, MAIL)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(players.send)
            with anyio.fail_after(60):
                await players.reached.wait()
            before = next(iter(kernel.turns._turns.values())).warrant
            tasks.cancel_scope.cancel()
    assert before is not None
    async with running_kernel(
        database, tmp_path, Stage(play=players.play), labels="watch"
    ) as kernel:
        players.kernel = kernel
        players.reached = anyio.Event()
        await kernel.supervisor.find(AgentId("a"))
        with anyio.fail_after(60):
            await players.reached.wait()
        after = next(iter(kernel.turns._turns.values())).warrant
        players.before_last.set()
    assert after == before


async def test_a_task_that_goes_on_may_no_more_than_before(players, database):
    book = book_on(database)
    order = MintOrder(
        terms=(terms_in(["agent a", "tool fs.*"]),),
        holder=new_signing_pair().public,
        ttl_s=60,
    )
    warrant = await book.mint(order, by="operator")
    players.asks_back = True
    await players.deploy("a", WIDE, MAIL)
    assert await players.send(warrant=warrant) == "input_required"
    task = (await players.kernel.store.open_tasks())[0]
    players.asks_back = False
    assert await players.send(task=task.id) == "completed"
    assert players.done == []


async def test_the_intent_holds_the_warrant_and_calls_name_it(players):
    await players.deploy("a", WIDE, READ)
    await players.send()
    [task] = await _tasks(players.kernel)
    steps = await players.kernel.journal.task(task)
    opening = warrant_of(steps[0].intent)
    assert opening is not None
    assert opening.task == task
    inner = await players.kernel.journal.children(steps[0].call)
    assert f'"warrant":"{opening.id}"' in inner[0].intent.body


async def _tasks(kernel):
    return [one.id for one in (await kernel.dispatcher.tasks(ALICE, TaskQuery())).tasks]


async def test_the_operator_is_bound_by_nothing_but_the_grant(players):
    await players.deploy("a", WIDE, MAIL)
    assert await players.send(OPERATOR) == "completed"
    assert players.done == ["invoke mail.send"]


async def test_a_client_that_shows_a_warrant_calls_tools_under_it(players, database):
    order = MintOrder(
        terms=(terms_in(["tool fs.read path=under:/data/x"]),),
        holder=new_signing_pair().public,
        ttl_s=60,
    )
    warrant = await book_on(database).mint(order, by="operator")
    told = [await players.take(ALICE, step, warrant=warrant) for step in (READ, OTHER, MAIL)]
    assert [one.partition(":")[0] for one in told] == [
        "ok",
        "denied by warrant",
        "denied by warrant",
    ]
    assert await players.take(ALICE, MAIL) == "ok"


async def test_a_warrant_for_one_task_opens_no_other(players, database):
    order = MintOrder(
        terms=(terms_in(["agent a", "tool *"]),),
        holder=new_signing_pair().public,
        ttl_s=60,
        depth=1,
        task="another-task",
    )
    warrant = await book_on(database).mint(order, by="operator")
    await players.deploy("a", WIDE, MAIL)
    assert "another task" in await players.send(warrant=warrant)
    assert players.done == []
