"""Budgets on a real ledger: shared by a whole tree of agents, exact under concurrency and after a crash."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import anyio
import anyio.lowlevel
import pytest
from tests.kernel_rig import Stage, StagedSandbox, ask, deploy, running_kernel, said, send

from hive.core.budget import Budget, BudgetScope, Period, Unit
from hive.core.call import Outcome, Refused
from hive.core.errors import HiveError
from hive.core.task import TaskState
from hive.engines import Migration, load_migrations
from hive.execution.ports import GuestEvent, Turn, TurnDone
from hive.kernel.ports import Attempt
from hive.ledger.journal import body_of
from hive.ledger.rows import COLUMNS, entry_of
from hive.node.build import SCHEMAS

pytestmark = pytest.mark.anyio
MANY = {"model_calls_per_task": 1_000_000, "requests_per_s": 1_000_000}


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


def ceiling(
    limit: int, *, name: str = "root", scope: BudgetScope = BudgetScope.AGENT, **more
) -> Budget:
    return Budget(scope=scope, name=name, unit=more.pop("unit", Unit.TOKENS), limit=limit, **more)


class Tree:
    """Plays `root`, which hands its work to children that ask models side by side."""

    def __init__(self, *, children: int, calls: int, lie: int = 1) -> None:
        self.children, self.calls, self.lie = children, calls, lie
        self.kernel = None
        self.random = random.Random(7)
        self.done = self.refused = self.in_flight = self.in_flight_max = 0
        self.spent: list[int] = []
        self.highest = 0
        self.watched = ""
        self.stop_after: int | None = None
        self.stopped = anyio.Event()

    async def play(self, sandbox: StagedSandbox, turn: Turn) -> AsyncIterator[GuestEvent]:
        principal = self.kernel.dispatcher.resolve_handle(sandbox.id, sandbox.handle)
        async with anyio.create_task_group() as tasks:
            if turn.message.parts[0].text == "root":
                for number in range(self.children):
                    tasks.start_soon(self._send_down, principal, f"child-{number}")
            else:
                for _ in range(10):
                    tasks.start_soon(self._ask_often, principal, self.calls // 10)
        yield TurnDone(message=said("done"))

    async def _send_down(self, principal, name: str) -> None:
        delivery = await send(self.kernel, "work", to=name, by=principal)
        assert not isinstance(delivery, Refused), delivery
        await delivery.settled()

    async def _ask_often(self, principal, times: int) -> None:
        for number in range(times):
            bound = self.random.randint(50, 400)
            attempt = ask(principal, f"{number}", reserve={Unit.TOKENS: bound})
            await self._ask(attempt, bound)

    async def _ask(self, attempt: Attempt, bound: int) -> None:
        async def act() -> AsyncIterator[bytes]:
            self.in_flight += 1
            self.in_flight_max = max(self.in_flight_max, self.in_flight)
            await anyio.lowlevel.checkpoint()
            yield b"answer"
            self.in_flight -= 1

        async with self.kernel.dispatcher.deliver(attempt, act) as passage:
            if isinstance(passage, Refused):
                assert passage.check == "budget"
                self.refused += 1
                return
            async with aclosing(aiter(passage)) as frames:
                async for _ in frames:
                    pass
            used = self.random.randint(0, bound) * self.lie
            passage.settle(Outcome.OK, spent={Unit.TOKENS: used})
            if self.stop_after is not None and self.done >= self.stop_after:
                self.stopped.set()
                await anyio.sleep_forever()
        self.done += 1
        self.spent.append(used)
        if self.watched:
            self.highest = max(self.highest, self.state().spent)

    def state(self):
        return next(one for one in self.kernel.budgets.states() if one.who == "root")


async def grow(kernel, tree: Tree) -> None:
    tree.kernel = kernel
    for number in range(tree.children):
        await deploy(kernel, f"child-{number}", model_calls_max=1_000_000)
    await deploy(kernel, "root", model_calls_max=1_000_000)


async def told(database, name: str) -> list[dict]:
    rows = await database.fetch(f"SELECT {COLUMNS} FROM entry WHERE name = $1 ORDER BY at", name)
    return [body_of(entry_of(row)) for row in rows]


async def paid(database) -> int:
    rows = await database.fetch(
        "SELECT coalesce(sum((body::jsonb -> 'spent' ->> 'tokens')::bigint), 0) AS tokens"
        " FROM entry WHERE kind = 'result' AND name = 'ask gpt'"
    )
    return int(rows[0]["tokens"])


@pytest.mark.parametrize(
    ("children", "calls"), [(5, 40), pytest.param(20, 500, marks=pytest.mark.peers)]
)
async def test_a_tree_of_agents_never_spends_a_token_more_than_the_ceiling(
    database, tmp_path, children, calls
):
    limit = children * calls * 60
    stage = Stage()
    tree = Tree(children=children, calls=calls)
    stage.play = tree.play
    async with running_kernel(database, tmp_path, stage, **MANY) as kernel:
        await grow(kernel, tree)
        await kernel.budgets.put(ceiling(limit), by="me")
        tree.watched = "root"
        delivery = await send(kernel, "root", to="root")
        with anyio.fail_after(300):
            task = await delivery.settled()
        state = tree.state()

    assert task.state is TaskState.COMPLETED
    assert tree.done + tree.refused == children * calls
    assert tree.refused > 0, "the ceiling was never felt"
    assert sum(tree.spent) == state.spent == await paid(database)
    assert limit // 2 < tree.highest <= limit
    assert state.reserved == 0


async def test_an_upstream_that_lies_overruns_once_for_each_call_in_flight(database, tmp_path):
    stage = Stage()
    tree = Tree(children=3, calls=100, lie=50)
    stage.play = tree.play
    async with running_kernel(database, tmp_path, stage, **MANY) as kernel:
        await grow(kernel, tree)
        await kernel.budgets.put(ceiling(10_000), by="me")
        with anyio.fail_after(120):
            await (await send(kernel, "root", to="root")).settled()
        state = tree.state()
        assert state.closed
        overruns = await told(database, "budget.overrun")
        assert 0 < len(overruns) <= tree.in_flight_max
        assert overruns[0]["budget"] == state.sum_name
        assert tree.done <= len(overruns) + tree.in_flight_max
        assert sum(tree.spent) == state.spent == await paid(database)

    async with running_kernel(database, tmp_path, Stage(), **MANY) as kernel:
        tree.kernel = kernel
        assert tree.state().closed, "a restart opened what an overrun closed"
        await kernel.budgets.reopen(tree.state().sum_name, by="me")
    async with running_kernel(database, tmp_path, Stage(), **MANY) as kernel:
        tree.kernel = kernel
        assert not tree.state().closed


@pytest.mark.parametrize("after", [3, 57, 119])
async def test_a_kill_at_any_time_counts_nothing_twice_and_gives_reservations_back(
    database, tmp_path, after
):
    stage = Stage()
    tree = Tree(children=2, calls=100)
    tree.stop_after = after
    stage.play = tree.play
    with anyio.CancelScope() as scope:
        async with running_kernel(database, tmp_path, stage, **MANY) as kernel:
            await grow(kernel, tree)
            for budget in (
                ceiling(10_000_000),
                ceiling(10_000_000, name="*", scope=BudgetScope.TASK),
            ):
                await kernel.budgets.put(budget, by="me")
            await send(kernel, "root", to="root")
            with anyio.fail_after(60):
                await tree.stopped.wait()
            scope.cancel()

    tree.stop_after = None
    async with running_kernel(database, tmp_path, stage, **MANY) as kernel:
        tree.kernel = kernel
        tasks = [one.spent for one in kernel.budgets.states() if one.budget.name == "*"]
        assert max(tasks) == tree.state().spent == await paid(database) > 0
        await grow(kernel, tree)
        with anyio.fail_after(120):
            while await kernel.store.open_tasks():  # noqa: ASYNC110  a store tells nobody
                await anyio.sleep(0.05)
        state = tree.state()
    assert state.spent == await paid(database)
    assert state.reserved == 0
    # An answer that was cut says so, and its call is asked again: `grow` cuts what was taken up.
    twice = await database.fetch(
        "SELECT call FROM entry WHERE kind = 'result' AND call IS NOT NULL"
        " AND body::jsonb ->> 'outcome' <> 'canceled' GROUP BY call HAVING count(*) > 1"
    )
    assert not twice


async def test_what_a_child_spends_is_its_parents_and_its_tasks(database, tmp_path):
    stage = Stage()
    tree = Tree(children=1, calls=10)
    stage.play = tree.play
    each_task = ceiling(1_000_000, name="*", scope=BudgetScope.TASK)
    async with running_kernel(database, tmp_path, stage, **MANY) as kernel:
        await grow(kernel, tree)
        for budget in (ceiling(1_000_000), ceiling(1_000_000, name="child-0"), each_task):
            await kernel.budgets.put(budget, by="me")
        await (await send(kernel, "root", to="root")).settled()
        spent = {one.who: one.spent for one in kernel.budgets.states()}
    assert spent["root"] == spent["child-0"] == sum(tree.spent) > 0


async def test_a_ceiling_that_is_set_later_counts_what_was_spent_before(database, tmp_path):
    stage = Stage()
    tree = Tree(children=1, calls=10)
    stage.play = tree.play
    async with running_kernel(database, tmp_path, stage, **MANY) as kernel:
        await grow(kernel, tree)
        await (await send(kernel, "root", to="root")).settled()
        for period in Period:
            await kernel.budgets.put(ceiling(50, period=period), by="me")
        assert {one.spent for one in kernel.budgets.states()} == {sum(tree.spent)}
        await (await send(kernel, "root", to="root")).settled()
        assert tree.refused == 10
        await kernel.budgets.remove(ceiling(0), by="me")
        with pytest.raises(HiveError):
            await kernel.budgets.remove(ceiling(0), by="me")
    sums = sum(tree.spent)
    async with running_kernel(database, tmp_path, Stage(), **MANY) as kernel:
        states = kernel.budgets.states()
    assert {(one.budget.period, one.spent) for one in states} == {
        (Period.MONTH, sums),
        (Period.FOREVER, sums),
    }


async def test_warnings_are_told_once_for_each_threshold(database, tmp_path):
    stage = Stage()
    tree = Tree(children=1, calls=100)
    stage.play = tree.play
    async with running_kernel(database, tmp_path, stage, **MANY) as kernel:
        await grow(kernel, tree)
        await kernel.budgets.put(ceiling(9_000), by="me")
        await (await send(kernel, "root", to="root")).settled()
    warned = [one["percent"] for one in await told(database, "budget.warning")]
    assert warned == sorted(set(warned))
    assert set(warned) <= {50, 80, 95}
    assert 80 in warned


@pytest.mark.parametrize(
    ("reaction", "answered"), [("off", 9), ("warn", 9), ("pause", 5), ("stop", 5)]
)
async def test_an_agent_that_asks_the_same_again_and_again_is_noticed(
    database, tmp_path, reaction, answered
):
    stage = Stage()
    answers: list[str] = []

    async def play(sandbox: StagedSandbox, _turn: Turn) -> AsyncIterator[GuestEvent]:
        principal = kernel.dispatcher.resolve_handle(sandbox.id, sandbox.handle)

        async def act() -> AsyncIterator[bytes]:
            yield b"again"

        for _ in range(9):
            async with kernel.dispatcher.deliver(ask(principal, "same"), act) as passage:
                if isinstance(passage, Refused):
                    answers.append(passage.check)
                    continue
                answers.extend([frame.decode() async for frame in passage])
        yield TurnDone(message=said("done"))

    stage.play = play
    settings = {"model_loop": reaction, "model_loop_calls": 5}
    async with running_kernel(database, tmp_path, stage, **settings) as kernel:
        await deploy(kernel)
        await (await send(kernel, "go")).settled()
    assert answers.count("again") == answered
    assert answers.count("loop") == 9 - answered
    events = await told(database, "budget.loop")
    assert len(events) == (0 if reaction == "off" else 1)


async def test_room_is_what_the_tightest_ceiling_leaves(database, tmp_path):
    stage = Stage()
    rooms = []

    async def play(sandbox: StagedSandbox, _turn: Turn) -> AsyncIterator[GuestEvent]:
        principal = kernel.dispatcher.resolve_handle(sandbox.id, sandbox.handle)
        rooms.append(kernel.dispatcher.room(principal))
        yield TurnDone(message=said("done"))

    stage.play = play
    async with running_kernel(database, tmp_path, stage) as kernel:
        await deploy(kernel)
        await (await send(kernel, "go")).settled()
        await kernel.budgets.put(ceiling(900, name="worker"), by="me")
        await kernel.budgets.put(ceiling(700, name="all", scope=BudgetScope.NODE), by="me")
        await (await send(kernel, "go")).settled()
    assert rooms == [{}, {Unit.TOKENS: 700}]


async def test_a_name_of_its_own_takes_over_the_sum_of_each(database, tmp_path):
    stage = Stage()
    tree = Tree(children=1, calls=10)
    stage.play = tree.play
    async with running_kernel(database, tmp_path, stage, **MANY) as kernel:
        await grow(kernel, tree)
        await kernel.budgets.put(ceiling(1_000_000, name="*"), by="me")
        await (await send(kernel, "root", to="root")).settled()
        await kernel.budgets.put(ceiling(2_000_000), by="me")
        spent = {one.who: (one.spent, one.budget.limit) for one in kernel.budgets.states()}
    total = sum(tree.spent)
    assert spent == {"root": (total, 2_000_000), "child-0": (total, 1_000_000)}


async def test_a_ceiling_that_is_set_while_agents_spend_misses_nothing(database, tmp_path):
    stage = Stage()
    tree = Tree(children=3, calls=200)
    stage.play = tree.play
    async with running_kernel(database, tmp_path, stage, **MANY) as kernel:
        await grow(kernel, tree)
        delivery = await send(kernel, "root", to="root")
        for limit in (10**9, 10**9 + 1):
            before = tree.done
            with anyio.fail_after(60):
                while tree.done < before + 50:  # noqa: ASYNC110  calls tell nobody
                    await anyio.sleep(0.001)
            await kernel.budgets.put(ceiling(limit), by="me")
        await delivery.settled()
        assert tree.state().spent == sum(tree.spent) == await paid(database)
        assert tree.state().reserved == 0
