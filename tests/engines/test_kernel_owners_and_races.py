"""The kernel on a real ledger: whose conversation is whose, turns that are over, races of ends."""

from collections.abc import AsyncIterator, Sequence

import anyio
import pytest
from tests.kernel_rig import (
    ALICE,
    BOB,
    OPERATOR,
    Stage,
    StagedSandbox,
    answer,
    ask,
    deploy,
    running_kernel,
    said,
    send,
)

from hive.core.call import Outcome, Principal, Refused
from hive.core.errors import HiveError
from hive.core.ids import AgentId
from hive.core.task import StatusChanged, TaskState
from hive.engines import Migration, load_migrations
from hive.execution.ports import GuestEvent, InputNeeded, TextChunk, Turn, TurnDone
from hive.node.build import SCHEMAS

pytestmark = pytest.mark.anyio


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


async def settled(delivery):
    with anyio.fail_after(30):
        return await delivery.settled()


async def need_input(_sandbox: StagedSandbox, _turn: Turn) -> AsyncIterator[GuestEvent]:
    yield InputNeeded(message=said("more?"))


async def deliver(kernel, principal: Principal, text: str = "?") -> str:
    async def act() -> AsyncIterator[bytes]:
        yield b"yes"

    async with kernel.dispatcher.deliver(ask(principal, text), act) as passage:
        if isinstance(passage, Refused):
            return passage.check
        frames = [frame async for frame in passage]
        passage.settle(Outcome.OK)
        return b"".join(frames).decode()


async def test_a_turn_that_is_over_asks_no_model(database, tmp_path):
    seen = []

    async def remember(sandbox, turn):
        seen.append(kernel.dispatcher.resolve_handle(sandbox.id, sandbox.handle))
        yield TurnDone(message=said("done"))

    async with running_kernel(database, tmp_path, Stage(play=remember)) as kernel:
        await deploy(kernel, model_calls_max=1)
        await settled(await send(kernel, "go"))
        # The request began in the turn; its body came after it.
        assert await deliver(kernel, seen[0]) == "identity"


async def test_nobody_reads_another_owners_conversation_by_naming_its_context(database, tmp_path):
    stage = Stage()
    async with running_kernel(database, tmp_path, stage) as kernel:
        await deploy(kernel)
        await settled(await send(kernel, "alice's secret", context="main"))
        await settled(await send(kernel, "and?", by=BOB, context="main"))
        await settled(await send(kernel, "again", context="main"))
    assert stage.turns[1].history == ()
    assert [one.text for one in stage.turns[2].history] == ["alice's secret", "alice's secret"]


async def test_an_agent_does_not_hear_what_its_owner_told_another_agent(database, tmp_path):
    stage = Stage()
    answers = []

    async def play(sandbox, turn):
        if turn.message.text != "spy":
            async for event in answer(sandbox, turn):
                yield event
            return
        principal = kernel.dispatcher.resolve_handle(sandbox.id, sandbox.handle)
        inner = await send(kernel, "what did she say?", by=principal, context="main")
        answers.append(await inner.settled())
        yield TurnDone(message=said("ok"))

    stage.play = play
    async with running_kernel(database, tmp_path, stage) as kernel:
        await deploy(kernel)
        await deploy(kernel, "spy")
        await settled(await send(kernel, "the secret", context="main"))
        await settled(await send(kernel, "spy", to="spy", context="main"))
        await settled(await send(kernel, "after", context="main"))
    told = {turn.message.text: [one.text for one in turn.history] for turn in stage.turns}
    assert told["what did she say?"] == []
    assert told["after"] == ["the secret", "the secret"]


async def test_whoever_watches_hears_that_a_waiting_task_was_canceled(database, tmp_path):
    heard = []

    async def observe(event):
        if isinstance(event, StatusChanged):
            heard.append(event.state)

    async with running_kernel(database, tmp_path, Stage(play=need_input)) as kernel:
        await deploy(kernel)
        kernel.dispatcher.on_change(observe)
        task = await settled(await send(kernel, "go"))
        await kernel.dispatcher.cancel(ALICE, task.id)
        await anyio.wait_all_tasks_blocked()
    assert heard[-1] is TaskState.CANCELED


async def test_canceled_tasks_leave_no_budget_behind(database, tmp_path):
    async def think(sandbox, turn):
        principal = kernel.dispatcher.resolve_handle(sandbox.id, sandbox.handle)
        assert await deliver(kernel, principal) == "yes"
        yield InputNeeded(message=said("more?"))

    async with running_kernel(database, tmp_path, Stage(play=think)) as kernel:
        await deploy(kernel)
        task = await settled(await send(kernel, "go"))
        await kernel.dispatcher.cancel(ALICE, task.id)
        claims = kernel.dispatcher._admission._claims
        assert claims._spent == {}


async def test_a_message_that_races_a_cancel_never_runs_a_canceled_task(database, tmp_path):
    stage = Stage(play=need_input)
    async with running_kernel(database, tmp_path, stage) as kernel:
        await deploy(kernel)
        for _ in range(10):
            task = await settled(await send(kernel, "go"))
            async with anyio.create_task_group() as both:
                both.start_soon(quietly, send(kernel, "more", task=task.id))
                both.start_soon(quietly, kernel.dispatcher.cancel(ALICE, task.id))
            with anyio.fail_after(30):
                while (live := kernel.feed.get(task.id)) is not None:
                    await live.wait_settled()
            rows = await database.fetch(
                "SELECT body::jsonb->>'outcome' AS outcome FROM entry"
                " WHERE task = $1 AND kind = 'result'",
                task.id,
            )
            state = (await kernel.dispatcher.task(ALICE, task.id)).state
            assert state in (TaskState.CANCELED, TaskState.INPUT_REQUIRED)
            assert len(rows) <= 2
        assert kernel.supervisor.get(AgentId("worker")).restarts == 0


async def quietly(question) -> None:
    try:
        await question
    except HiveError:
        return


async def test_a_canceled_queue_entry_is_not_lost_when_the_one_who_cancels_leaves(
    database, tmp_path
):
    hold = anyio.Event()

    async def play(_sandbox, turn):
        await hold.wait()
        yield TurnDone(message=said(turn.message.text))

    async with running_kernel(database, tmp_path, Stage(play=play)) as kernel:
        await deploy(kernel)
        await send(kernel, "first")
        for step in range(10):
            waiting = (await send(kernel, "second")).task
            async with anyio.create_task_group() as leaver:
                leaver.start_soon(kernel.dispatcher.cancel, ALICE, waiting.id)
                with anyio.move_on_after(step * 0.001):
                    await anyio.sleep_forever()
                leaver.cancel_scope.cancel()
        hold.set()
        with anyio.fail_after(30):
            while True:
                page = await kernel.store.page(limit=50)
                if all(one.state.terminal for one in page.tasks):
                    break
        assert len(kernel.feed) == 0


async def test_a_target_that_cannot_be_written_is_refused_on_the_record(database, tmp_path):
    found = []

    async def play(sandbox, turn):
        principal = kernel.dispatcher.resolve_handle(sandbox.id, sandbox.handle)
        attempt = ask(principal)
        for target in ("a\0b", "x" * 2_000_000):
            call = attempt.__class__(
                **{
                    **{name: getattr(attempt, name) for name in attempt.__slots__},
                    "target": target,
                }
            )
            async with kernel.dispatcher.deliver(call, None) as passage:
                found.append(passage.check)
        yield TurnDone(message=said("ok"))

    async with running_kernel(database, tmp_path, Stage(play=play)) as kernel:
        await deploy(kernel)
        await settled(await send(kernel, "go"))
        rows = await database.fetch(
            "SELECT name FROM entry WHERE body::jsonb->>'decision' = 'refused'"
        )
    assert found == ["schema", "schema"]
    assert len(rows) == 2


async def test_an_open_call_is_not_made_again_under_a_grant_that_shrank(database, tmp_path):
    acted = []
    reached = anyio.Event()

    async def play(sandbox, turn):
        principal = kernel.dispatcher.resolve_handle(sandbox.id, sandbox.handle)

        async def act():
            acted.append(1)
            reached.set()
            await anyio.sleep_forever()
            yield b""

        async with kernel.dispatcher.deliver(ask(principal), act) as passage:
            if isinstance(passage, Refused):
                yield TurnDone(message=said(passage.check))
                return
            async for _ in passage:
                pass

    async with running_kernel(database, tmp_path, Stage(play=play)) as kernel:
        await deploy(kernel)
        task = (await send(kernel, "go")).task
        with anyio.fail_after(30):
            await reached.wait()
    await database.execute(
        "UPDATE agent SET agent_grant = jsonb_set(agent_grant, '{models}', '[]')"
    )
    async with running_kernel(database, tmp_path, Stage(play=play)) as kernel:
        await kernel.supervisor.find(AgentId("worker"))
        with anyio.fail_after(30):
            while (live := kernel.feed.get(task.id)) is not None:
                await live.wait_settled()
        done = await kernel.dispatcher.task(ALICE, task.id)
    assert done.artifacts[0].parts[0].text == "grant"
    assert len(acted) == 1


async def test_an_agent_that_could_not_be_hosted_can_still_be_removed(database, tmp_path):
    async with running_kernel(database, tmp_path, Stage()) as kernel:
        real = kernel.recovery.open_tasks

        async def broken(_agent):
            raise RuntimeError("no")

        kernel.supervisor._recovery.open_tasks = broken
        with pytest.raises(RuntimeError):
            await deploy(kernel)
        kernel.supervisor._recovery.open_tasks = real
        with anyio.fail_after(30):
            await kernel.supervisor.remove(OPERATOR, AgentId("worker"))
        assert kernel.supervisor.all() == []


async def test_whatever_a_sandbox_driver_raises_no_turn_is_lost_and_the_node_lives(
    database, tmp_path
):
    places = ("on_spawn", "on_ready", "on_watch", "on_leave", "play")
    errors = (RuntimeError("r"), ValueError("v"), OSError("o"), KeyError("k"), StopAsyncIteration())
    stage = Stage()
    async with running_kernel(database, tmp_path, stage) as kernel:
        await deploy(kernel)
        for place in places:
            for error in errors:
                left = [1]

                async def fail(*_args, error=error, left=left):
                    if left:
                        left.pop()
                        raise error

                async def failing_play(sandbox, turn, error=error, left=left):
                    yield TextChunk(text="x")
                    if left:
                        left.pop()
                        raise error
                    yield TurnDone(message=said(turn.message.text))

                setattr(stage, place, failing_play if place == "play" else fail)
                for sandbox in tuple(stage.live):
                    sandbox.kill("begin anew")
                await anyio.wait_all_tasks_blocked()
                task = await settled(await send(kernel, "hello"))
                assert task.state is TaskState.COMPLETED, (place, error, task.status_message)
                setattr(stage, place, Stage.__dataclass_fields__[place].default)
        assert kernel.supervisor.get(AgentId("worker")).state == "ready"
        assert len(kernel.feed) == 0


async def test_no_sandbox_of_a_pool_ever_serves_two_owners(database, tmp_path):
    owners: dict[str, set[str]] = {}
    at_once = most = 0

    async def note(sandbox, turn):
        nonlocal at_once, most
        principal = kernel.dispatcher.resolve_handle(sandbox.id, sandbox.handle)
        owners.setdefault(sandbox.id, set()).add(principal.owner)
        at_once += 1
        most = max(most, at_once)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        at_once -= 1
        yield TurnDone(message=said(turn.message.text))

    async with running_kernel(database, tmp_path, Stage(play=note)) as kernel:
        await deploy(kernel, sandboxes_max=3)
        async with anyio.create_task_group() as clients:
            for number in range(30):
                by = (ALICE, BOB, OPERATOR)[number % 3]
                clients.start_soon(settled_send, kernel, f"m{number}", by)
    assert all(len(served) == 1 for served in owners.values())
    assert most > 1


async def settled_send(kernel, text: str, by: Principal) -> None:
    assert (await settled(await send(kernel, text, by=by))).state is TaskState.COMPLETED


async def test_deploying_the_same_agent_twice_at_once_hosts_it_once(database, tmp_path):
    hold = anyio.Event()

    async def play(_sandbox, turn):
        await hold.wait()
        yield TurnDone(message=said(turn.message.text))

    stage = Stage(play=play)
    async with running_kernel(database, tmp_path, stage) as kernel:
        await deploy(kernel)
        task = (await send(kernel, "go")).task
        async with anyio.create_task_group() as people:
            people.start_soon(deploy, kernel)
            people.start_soon(deploy, kernel)
        hold.set()
        with anyio.fail_after(30):
            while (live := kernel.feed.get(task.id)) is not None:
                await live.wait_settled()
        assert len(stage.live) == 1
        rows = await database.fetch(
            "SELECT 1 AS one FROM entry WHERE task = $1 AND kind = 'result'", task.id
        )
        assert len(rows) == 1
