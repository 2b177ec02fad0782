"""The kernel on a real ledger, killed and begun again: budgets, yeses and turns survive as they were."""

from collections.abc import AsyncIterator, Sequence

import anyio
import pytest
from tests.kernel_rig import (
    ALICE,
    OPERATOR,
    Stage,
    StagedSandbox,
    ask,
    deploy,
    nothing,
    running_kernel,
    said,
    send,
)

from hive.core.call import EffectClass, Outcome, Refused
from hive.core.errors import HiveError
from hive.core.ids import AgentId
from hive.core.task import TaskState
from hive.engines import Migration, load_migrations
from hive.execution.ports import GuestEvent, InputNeeded, Turn, TurnDone
from hive.node.build import SCHEMAS

pytestmark = pytest.mark.anyio
CEILING = 3


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


class Thinker:
    """Plays turns that make inner calls through the real gate, as an agent inside would."""

    def __init__(self) -> None:
        self.kernel = None
        self.acted: list[str] = []
        self.answers: list[str] = []
        self.asks: list[str] = []
        self.effect = EffectClass.IDEMPOTENT
        self.hang_in_act = False
        self.hang_after: anyio.Event | None = None
        self.needs_input = False
        self.reached = anyio.Event()

    async def play(self, sandbox: StagedSandbox, turn: Turn) -> AsyncIterator[GuestEvent]:
        principal = self.kernel.dispatcher.resolve_handle(sandbox.id, sandbox.handle)
        for text in self.asks:
            self.answers.append(await self.ask(principal, text))
        if self.hang_after is not None:
            self.reached.set()
            await self.hang_after.wait()
        if self.needs_input:
            yield InputNeeded(message=said("more?"))
        else:
            yield TurnDone(message=said(",".join(self.answers)))

    async def ask(self, principal, text: str) -> str:
        async def act() -> AsyncIterator[bytes]:
            self.acted.append(text)
            if self.hang_in_act:
                self.reached.set()
                await anyio.sleep_forever()
            yield b"yes"

        attempt = ask(principal, text, effect=self.effect)
        async with self.kernel.dispatcher.deliver(attempt, act) as passage:
            if isinstance(passage, Refused):
                return f"refused by {passage.check}"
            frames = [frame async for frame in passage]
            passage.settle(Outcome.OK)
            return b"".join(frames).decode()


async def settled(kernel, delivery):
    with anyio.fail_after(30):
        return await delivery.settled()


async def settled_task(kernel, task):
    with anyio.fail_after(30):
        async with kernel.dispatcher.follow(ALICE, task.id) as events:
            async for _ in events:
                pass
    return await kernel.dispatcher.task(ALICE, task.id)


async def test_a_continued_task_has_one_ceiling_over_all_its_turns_and_restarts(database, tmp_path):
    thinker = Thinker()
    thinker.asks, thinker.needs_input = ["1", "2", "3", "4"], True
    async with running_kernel(database, tmp_path, Stage(play=thinker.play)) as kernel:
        thinker.kernel = kernel
        await deploy(kernel, model_calls_max=CEILING)
        task = await settled(kernel, await send(kernel, "go"))
        assert task.state is TaskState.INPUT_REQUIRED
        assert thinker.answers == ["yes", "yes", "yes", "refused by budget"]
    thinker.answers = []
    async with running_kernel(database, tmp_path, Stage(play=thinker.play)) as kernel:
        thinker.kernel = kernel
        await kernel.supervisor.find(AgentId("worker"))
        await settled(kernel, await send(kernel, "more", task=task.id))
    assert thinker.answers == ["refused by budget"] * 4
    assert len(thinker.acted) == CEILING


async def test_a_crash_in_a_later_turn_of_a_task_runs_that_turn_again_with_its_own_record(
    database, tmp_path
):
    thinker = Thinker()
    thinker.asks, thinker.needs_input, thinker.effect = ["first"], True, EffectClass.ONCE
    async with running_kernel(database, tmp_path, Stage(play=thinker.play)) as kernel:
        thinker.kernel = kernel
        await deploy(kernel)
        task = await settled(kernel, await send(kernel, "go"))
        thinker.asks, thinker.needs_input = ["second"], False
        thinker.hang_after, thinker.reached = anyio.Event(), anyio.Event()
        await send(kernel, "more", task=task.id)
        with anyio.fail_after(30):
            await thinker.reached.wait()
    assert thinker.acted == ["first", "second"]
    thinker.hang_after.set()
    thinker.answers = []
    async with running_kernel(database, tmp_path, Stage(play=thinker.play)) as kernel:
        thinker.kernel = kernel
        await kernel.supervisor.find(AgentId("worker"))
        done = await settled_task_or_now(kernel, task)
    assert done.state is TaskState.COMPLETED
    assert thinker.acted == ["first", "second"]


async def settled_task_or_now(kernel, task):
    with anyio.fail_after(30):
        while True:
            held = await kernel.dispatcher.task(ALICE, task.id)
            if held.state.terminal or held.state.interrupted:
                return held
            live = kernel.feed.get(task.id)
            if live is not None:
                await live.wait_settled()
            await anyio.lowlevel.checkpoint()


async def test_one_yes_lets_a_once_effect_happen_once_more_and_no_oftener(database, tmp_path):
    thinker = Thinker()
    thinker.asks, thinker.effect, thinker.hang_in_act = ["pay"], EffectClass.ONCE, True
    async with running_kernel(database, tmp_path, Stage(play=thinker.play)) as kernel:
        thinker.kernel = kernel
        await deploy(kernel)
        task = (await send(kernel, "go")).task
        with anyio.fail_after(30):
            await thinker.reached.wait()
        for live in kernel.supervisor.hosted():
            live.kill("crash")
    # The result of a call that was cut is not known.
    thinker.hang_in_act = False
    thinker.hang_after, thinker.reached = anyio.Event(), anyio.Event()
    async with running_kernel(database, tmp_path, Stage(play=thinker.play)) as kernel:
        thinker.kernel = kernel
        await kernel.supervisor.find(AgentId("worker"))
        with anyio.fail_after(30):
            await thinker.reached.wait()
            thinker.hang_after.set()
        assert (await settled_task_or_now(kernel, task)).state is TaskState.AUTH_REQUIRED
        thinker.hang_after, thinker.reached = anyio.Event(), anyio.Event()
        await kernel.supervisor.decide(OPERATOR, task.id, repeat=True)
        with anyio.fail_after(30):
            await thinker.reached.wait()
    assert thinker.acted == ["pay", "pay"]
    thinker.hang_after.set()
    thinker.answers = []
    async with running_kernel(database, tmp_path, Stage(play=thinker.play)) as kernel:
        thinker.kernel = kernel
        await kernel.supervisor.find(AgentId("worker"))
        done = await settled_task_or_now(kernel, task)
    assert done.state is TaskState.COMPLETED
    assert thinker.answers == ["yes"]
    assert thinker.acted == ["pay", "pay"]


async def test_two_people_who_decide_at_once_let_an_effect_happen_once(database, tmp_path):
    thinker = Thinker()
    thinker.asks, thinker.effect, thinker.hang_in_act = ["pay"], EffectClass.ONCE, True
    async with running_kernel(database, tmp_path, Stage(play=thinker.play)) as kernel:
        thinker.kernel = kernel
        await deploy(kernel)
        task = (await send(kernel, "go")).task
        with anyio.fail_after(30):
            await thinker.reached.wait()
    thinker.hang_in_act = False
    async with running_kernel(database, tmp_path, Stage(play=thinker.play)) as kernel:
        thinker.kernel = kernel
        await kernel.supervisor.find(AgentId("worker"))
        assert (await settled_task_or_now(kernel, task)).state is TaskState.AUTH_REQUIRED
        failed = []

        async def decide() -> None:
            try:
                await kernel.supervisor.decide(OPERATOR, task.id, repeat=True)
            except HiveError as error:
                failed.append(error)

        async with anyio.create_task_group() as people:
            people.start_soon(decide)
            people.start_soon(decide)
        await settled_task_or_now(kernel, task)
        assert len(failed) == 1
    assert thinker.acted == ["pay", "pay"]


async def test_a_task_canceled_while_its_agent_returns_never_runs(database, tmp_path):
    thinker = Thinker()
    thinker.hang_after = anyio.Event()
    async with running_kernel(database, tmp_path, Stage(play=thinker.play)) as kernel:
        thinker.kernel = kernel
        await deploy(kernel)
        task = (await send(kernel, "go")).task
    stage = Stage(play=thinker.play)
    async with running_kernel(database, tmp_path, stage) as kernel:
        thinker.kernel = kernel
        reading, go_on = anyio.Event(), anyio.Event()
        real = kernel.recovery.job

        async def slow_job(one):
            job = await real(one)
            reading.set()
            await go_on.wait()
            return job

        kernel.supervisor._recovery.job = slow_job
        with anyio.fail_after(30):
            await reading.wait()
            canceled = await kernel.dispatcher.cancel(ALICE, task.id)
            go_on.set()
            await kernel.supervisor.find(AgentId("worker"))
        assert canceled.state is TaskState.CANCELED
        await anyio.wait_all_tasks_blocked()
        assert stage.turns == []


async def test_a_message_whose_sender_leaves_in_the_wrong_moment_is_not_forgotten(
    database, tmp_path
):
    stage = Stage()
    async with running_kernel(database, tmp_path, stage) as kernel:
        await deploy(kernel)
        for wait in range(12):
            async with anyio.create_task_group() as sender:
                sender.start_soon(send, kernel, f"m{wait}")
                with anyio.move_on_after(wait * 0.0005):
                    await anyio.sleep_forever()
                sender.cancel_scope.cancel()
        with anyio.fail_after(30):
            while True:
                page = await kernel.store.page(limit=50)
                if all(one.state is TaskState.COMPLETED for one in page.tasks):
                    break
        assert len(kernel.feed) == 0


async def test_a_task_that_cannot_be_read_keeps_no_agent_from_coming_back(database, tmp_path):
    thinker = Thinker()
    thinker.hang_after = anyio.Event()
    async with running_kernel(database, tmp_path, Stage(play=thinker.play)) as kernel:
        thinker.kernel = kernel
        await deploy(kernel)
        task = (await send(kernel, "go")).task
    rows = await database.fetch("SELECT id FROM content_key")
    for row in rows:
        await database.execute(
            "UPDATE content_key SET wrapped = NULL, forgotten_at = now() WHERE id = $1", row["id"]
        )
    async with running_kernel(database, tmp_path, Stage(on_ready=nothing)) as kernel:
        view = await kernel.supervisor.find(AgentId("worker"))
        assert view.state == "ready"
        assert (await kernel.dispatcher.task(ALICE, task.id)).state is TaskState.FAILED
