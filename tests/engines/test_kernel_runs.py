"""Runs again, on a real ledger: replays that touch nothing, forks that go live from a step."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from uuid import uuid4

import anyio
import pytest
from tests.kernel_rig import (
    ALICE,
    BOB,
    OPERATOR,
    Stage,
    StagedSandbox,
    ask,
    deploy,
    running_kernel,
    said,
    send,
)

from hive.core.call import EffectClass, Outcome, Refused, Verb
from hive.core.errors import BadInputError, NotFoundError
from hive.core.grant import HostRule
from hive.core.ids import AgentId, TaskId
from hive.core.task import TaskState
from hive.engines import Migration, load_migrations
from hive.execution.ports import GuestEvent, InputNeeded, Turn, TurnDone, TurnFailed
from hive.kernel.ports import Attempt
from hive.node.build import SCHEMAS

pytestmark = pytest.mark.anyio
SEEN = "SELECT count(*) AS n FROM entry WHERE kind IN ('intent', 'result')"


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


class Worker:
    """Plays a turn that asks its questions; `acted` is what was really done."""

    def __init__(self) -> None:
        self.kernel = None
        self.asks: list[list[str]] = [["one"], ["two"], ["three"]]
        self.effect = EffectClass.IDEMPOTENT
        self.verb = Verb.ASK
        self.acted: list[str] = []
        self.heard: list[str] = []
        self.delays: dict[str, float] = {}
        self.die_after: str | None = None
        self.silent = False
        self.hang_on = ""
        self.hung = anyio.Event()

    async def play(self, sandbox: StagedSandbox, turn: Turn) -> AsyncIterator[GuestEvent]:
        principal = self.kernel.dispatcher.resolve_handle(sandbox.id, sandbox.handle)
        heard: dict[str, str] = {}

        async def one(text: str) -> None:
            heard[text] = await self.ask(principal, text, turn)

        for group in self.asks:
            async with anyio.create_task_group() as tasks:
                for text in group:
                    tasks.start_soon(one, text)
            if self.die_after in group:
                self.die_after = None
                sandbox.kill("killed by the test")
                return
        self.heard = [heard[text] for group in self.asks for text in group]
        if any(answer.startswith("refused") for answer in self.heard):
            yield TurnFailed(error="a call was refused")
        else:
            yield TurnDone(message=said(",".join(self.heard)))

    async def ask(self, principal, text: str, turn: Turn) -> str:
        async def act() -> AsyncIterator[bytes]:
            if text == self.hang_on:
                self.hung.set()
                await anyio.sleep_forever()
            await anyio.sleep(self.delays.get(text, 0))
            self.acted.append(text)
            if not self.silent:
                yield f"{text.split()[0]}-{len(self.acted)}".encode()

        body = {"messages": [{"role": "user", "content": f"{turn.message.text}: {text}"}]}
        attempt = replace(
            ask(principal, effect=self.effect),
            verb=self.verb,
            target="gpt:443" if self.verb is Verb.REACH else "gpt",
            arguments=json.dumps(body).replace("RANDOM", str(uuid4())).encode(),
        )
        async with self.kernel.dispatcher.deliver(attempt, act) as passage:
            if isinstance(passage, Refused):
                return f"refused by {passage.check}"
            frames = [frame async for frame in passage]
            passage.settle(Outcome.OK)
            return b"".join(frames).decode()


async def recorded(kernel, text: str = "go", *, of=ALICE):
    with anyio.fail_after(30):
        return await (await send(kernel, text, by=of)).settled()


async def replayed(kernel, task, *, by=OPERATOR, **more):
    deployment = (await kernel.registry.all())[0]
    with anyio.fail_after(30):
        return await kernel.runs.replay(
            by, task.id, spec=deployment.spec, grant=deployment.grant, **more
        )


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
async def kernel(database, tmp_path, worker):
    async with running_kernel(database, tmp_path, Stage(play=worker.play)) as kernel:
        worker.kernel = kernel
        await deploy(kernel)
        yield kernel


async def lines(database) -> int:
    return (await database.fetch(SEEN))[0]["n"]


async def test_a_replay_is_identical_does_nothing_and_writes_no_call(kernel, worker, database):
    worker.asks = [["one RANDOM"], ["a", "b", "c"], ["last RANDOM"]]
    worker.delays = {"a": 0.03, "b": 0.0, "c": 0.01}
    task = await recorded(kernel)
    assert task.state is TaskState.COMPLETED
    acted, before, first = list(worker.acted), await lines(database), list(worker.heard)
    worker.delays = {}
    served = []
    outcome = await replayed(kernel, task, on_served=served.append)
    assert outcome.divergence is None
    assert worker.heard == first
    assert worker.acted == acted
    assert await lines(database) == before
    assert sorted(one.how for one in served) == ["exact"] * 3 + ["masked"] * 2
    assert outcome.playback.masks_used == {"uuid": 2}
    said_so = [one for one in await kernel.journal.events(task.id) if one.name == "run.replayed"]
    assert len(said_so) == 1


@pytest.mark.parametrize(
    ("changed", "path"),
    [([["one"], ["two!"], ["three"]], "messages[0].content"), ([["one"], ["2"], ["three"]], "")],
)
async def test_a_changed_prompt_is_the_first_divergence(kernel, worker, changed, path):
    task = await recorded(kernel)
    worker.asks = changed
    acted = list(worker.acted)
    outcome = await replayed(kernel, task)
    assert outcome.divergence.step == 2
    assert path in outcome.divergence.difference.path
    assert "two" in outcome.divergence.difference.expected
    assert changed[1][0] in outcome.divergence.difference.actual
    assert worker.acted == acted


async def test_a_step_left_out_and_a_step_too_many_are_divergences(kernel, worker):
    task = await recorded(kernel)
    worker.asks = [["one"], ["two"]]
    shorter = await replayed(kernel, task)
    assert shorter.divergence.step == 3
    assert "ended before" in shorter.divergence.reason
    worker.asks = [["one"], ["two"], ["three"], ["four"]]
    longer = await replayed(kernel, task)
    assert longer.divergence.step == 0
    assert "asks for more" in longer.divergence.reason


async def test_a_fork_is_served_what_came_before_and_lives_from_its_step(kernel, worker):
    worker.effect = EffectClass.ONCE
    task = await recorded(kernel)
    assert worker.acted == ["one", "two", "three"]
    fork = await kernel.runs.fork(OPERATOR, task.id, at=3)
    with anyio.fail_after(30):
        ended = await (await kernel.dispatcher._desk.live(ALICE, fork.id)).wait_settled()
    assert ended.state is TaskState.COMPLETED
    assert worker.acted == ["one", "two", "three", "three"]
    assert worker.heard == ["one-1", "two-2", "three-4"]
    run = await kernel.runs.read(OPERATOR, fork.id)
    assert [(one.number, one.origin) for one in run.steps] == [(1, task.id), (2, task.id), (3, "")]
    assert (run.forked_from, run.forked_at) == (task.id, 3)
    again = await replayed(kernel, fork)
    assert again.divergence is None


async def test_a_fork_with_another_message_is_served_by_position_before_its_step(kernel, worker):
    task = await recorded(kernel)
    fork = await kernel.runs.fork(OPERATOR, task.id, at=2, text="other")
    with anyio.fail_after(30):
        ended = await (await kernel.dispatcher._desk.live(ALICE, fork.id)).wait_settled()
    assert ended.history[0].text == "other"
    assert worker.heard == ["one-1", "two-4", "three-5"]


async def test_a_fork_that_leaves_the_record_before_its_step_fails_and_does_nothing(kernel, worker):
    task = await recorded(kernel)
    worker.asks = [["uno"], ["two"], ["three"]]
    fork = await kernel.runs.fork(OPERATOR, task.id, at=3)
    with anyio.fail_after(30):
        ended = await (await kernel.dispatcher._desk.live(ALICE, fork.id)).wait_settled()
    assert ended.state is TaskState.FAILED
    assert "left the record at step 1" in ended.status_message.text
    assert worker.acted == ["one", "two", "three"]


async def test_a_fork_whose_sandbox_dies_is_served_the_same_again(kernel, worker):
    task = await recorded(kernel)
    worker.effect, worker.die_after = EffectClass.ONCE, "two"
    fork = await kernel.runs.fork(OPERATOR, task.id, at=2)
    with anyio.fail_after(30):
        ended = await (await kernel.dispatcher._desk.live(ALICE, fork.id)).wait_settled()
    assert ended.state is TaskState.COMPLETED
    assert worker.acted == ["one", "two", "three", "two", "three"]
    assert worker.heard == ["one-1", "two-4", "three-5"]


async def test_a_replay_that_is_cut_off_leaves_nothing(kernel, worker, database):
    task = await recorded(kernel)
    before = await lines(database)
    worker.die_after = "two"
    outcome = await replayed(kernel, task)
    assert outcome.divergence.step == 3
    assert await lines(database) == before
    assert (await kernel.store.get(task.id)).state is TaskState.COMPLETED
    assert (await replayed(kernel, task)).divergence is None
    assert kernel.turns.running(None) is None
    assert len(kernel.turns._bound) == 1


async def test_another_owners_run_is_not_replayed_read_or_forked(kernel):
    task = await recorded(kernel)
    for deed in (
        lambda: replayed(kernel, task, by=BOB),
        lambda: kernel.runs.read(BOB, task.id),
        lambda: kernel.runs.fork(BOB, task.id, at=1),
    ):
        with pytest.raises(NotFoundError):
            await deed()
    assert (await replayed(kernel, task, by=ALICE)).divergence is None


async def test_a_step_that_is_not_there_cannot_be_forked_at(kernel):
    task = await recorded(kernel)
    with pytest.raises(BadInputError):
        await kernel.runs.fork(OPERATOR, task.id, at=5)
    with pytest.raises(NotFoundError):
        await kernel.runs.read(OPERATOR, TaskId("none"))


async def test_what_went_through_a_tunnel_is_said_to_be_missing(kernel, worker):
    worker.verb, worker.silent = Verb.REACH, True
    deployment = (await kernel.registry.all())[0]
    grant = replace(deployment.grant, hosts=(HostRule(host="gpt", ports=(443,)),))
    await kernel.supervisor.deploy(OPERATOR, deployment.spec, grant)
    task = await recorded(kernel)
    assert worker.acted == ["one", "two", "three"]
    acted = list(worker.acted)
    outcome = await replayed(kernel, task)
    assert outcome.divergence.step == 1
    assert "tunnel" in outcome.divergence.reason
    assert worker.acted == acted


async def test_a_refused_call_is_refused_again_without_being_judged(kernel, worker):
    await deploy(kernel, model_calls_max=2)
    task = await recorded(kernel)
    assert worker.heard == ["one-1", "two-2", "refused by budget"]
    assert task.state is TaskState.FAILED
    run = await kernel.runs.read(OPERATOR, task.id)
    assert [one.outcome for one in run.steps] == ["ok", "ok", "refused"]
    outcome = await replayed(kernel, task)
    assert outcome.divergence is None
    assert worker.heard == ["one-1", "two-2", "refused by budget"]


async def test_equal_questions_of_one_owner_are_stored_once(kernel, worker, database):
    worker.asks = [["same"], ["same"]]
    await recorded(kernel)
    await recorded(kernel)
    asked = await database.fetch(
        "SELECT count(*) AS n, count(DISTINCT content_id) AS stored FROM entry "
        "WHERE kind = 'intent' AND content_id <> '' AND name LIKE 'ask %'"
    )
    assert (asked[0]["n"], asked[0]["stored"]) == (4, 1)


async def test_a_run_whose_questions_were_not_kept_is_replayed_while_they_are_the_same(
    database, tmp_path, worker
):
    stage = Stage(play=worker.play)
    async with running_kernel(database, tmp_path, stage, journal="results") as kernel:
        worker.kernel = kernel
        await deploy(kernel)
        task = await recorded(kernel)
        run = await kernel.runs.read(OPERATOR, task.id)
        assert [one.step.asked for one in run.steps] == [None] * 3
        assert (await replayed(kernel, task)).divergence is None
        worker.asks = [["one"], ["other"], ["three"]]
        outcome = await replayed(kernel, task)
        assert outcome.divergence.step == 2
        assert "not kept" in outcome.divergence.reason


async def test_what_is_redacted_is_not_on_record_and_the_run_is_replayed_all_the_same(
    database, tmp_path, worker
):
    worker.asks = [["my key is sk-secret, RANDOM"], ["two"]]
    stage = Stage(play=worker.play)
    rules = ("sk-[a-z]+",)
    async with running_kernel(database, tmp_path, stage, journal_redactions=rules) as kernel:
        worker.kernel = kernel
        await deploy(kernel)
        task = await recorded(kernel)
        run = await kernel.runs.read(OPERATOR, task.id)
        assert run.redacted
        assert b"sk-secret" not in run.steps[0].step.asked.arguments
        assert (await replayed(kernel, task)).divergence is None


async def test_a_fork_that_a_crash_cut_is_served_the_same_after_the_restart(
    database, tmp_path, worker
):
    async with running_kernel(database, tmp_path, Stage(play=worker.play)) as kernel:
        worker.kernel = kernel
        await deploy(kernel)
        task = await recorded(kernel)
        worker.hang_on = "three"
        fork = await kernel.runs.fork(OPERATOR, task.id, at=2)
        with anyio.fail_after(30):
            await worker.hung.wait()
    worker.hang_on = ""
    assert worker.acted == ["one", "two", "three", "two"]
    async with running_kernel(database, tmp_path, Stage(play=worker.play)) as kernel:
        worker.kernel = kernel
        await kernel.supervisor.find(AgentId("worker"))
        with anyio.fail_after(30):
            ended = await (await kernel.dispatcher._desk.live(ALICE, fork.id)).wait_settled()
    assert ended.state is TaskState.COMPLETED
    assert worker.acted == ["one", "two", "three", "two", "three"]
    assert worker.heard == ["one-1", "two-4", "three-5"]


async def test_a_replay_serves_what_another_agent_answered_and_does_not_wake_it(database, tmp_path):
    woken: list[str] = []

    async def play(sandbox: StagedSandbox, turn: Turn) -> AsyncIterator[GuestEvent]:
        principal = kernel.dispatcher.resolve_handle(sandbox.id, sandbox.handle)
        if principal.agent == "worker":
            woken.append(turn.message.text)
            yield TurnDone(message=said(f"did {turn.message.text}"))
            return
        attempt = Attempt(
            principal=principal,
            verb=Verb.SEND,
            target="worker",
            effect=EffectClass.IDEMPOTENT,
            arguments=b"the part",
        )
        delivery = await kernel.dispatcher.send(attempt, AgentId("worker"), said("a part"))
        child = await delivery.settled()
        yield TurnDone(message=said(f"it {child.artifacts[0].parts[0].text}"))

    async with running_kernel(database, tmp_path, Stage(play=play)) as kernel:
        await deploy(kernel, "worker")
        await deploy(kernel, "planner")
        with anyio.fail_after(30):
            task = await (await send(kernel, "plan", to="planner")).settled()
        assert task.artifacts[0].parts[0].text == "it did a part"
        before = (await kernel.store.page(limit=50)).total
        planner = next(one for one in await kernel.registry.all() if one.spec.name == "planner")
        with anyio.fail_after(30):
            outcome = await kernel.runs.replay(
                OPERATOR, task.id, spec=planner.spec, grant=planner.grant
            )
        assert outcome.divergence is None
        assert len(outcome.playback.served) == 1
        assert woken == ["a part"]
        assert (await kernel.store.page(limit=50)).total == before


async def test_of_several_turns_the_last_is_replayed_with_what_was_said_before(database, tmp_path):
    histories: list[list[str]] = []

    async def play(sandbox: StagedSandbox, turn: Turn) -> AsyncIterator[GuestEvent]:
        histories.append([one.text for one in turn.history])
        if len(turn.history) == 0:
            yield InputNeeded(message=said("which?"))
        else:
            yield TurnDone(message=said(f"took {turn.message.text}"))

    async with running_kernel(database, tmp_path, Stage(play=play)) as kernel:
        await deploy(kernel)
        first = await recorded(kernel, "choose")
        assert first.state is TaskState.INPUT_REQUIRED
        assert (await replayed(kernel, first)).divergence is None
        with anyio.fail_after(30):
            done = await (await send(kernel, "red", task=first.id)).settled()
            await (await send(kernel, "later", context=done.context_id)).settled()
        outcome = await replayed(kernel, done)
        assert outcome.divergence is None
        assert len(outcome.run.turns) == 2
        assert histories[-1] == ["choose", "which?"]


async def test_a_replay_cannot_wake_an_agent_that_the_run_did_not_wake(
    kernel, worker, database, tmp_path
):
    async def play(sandbox: StagedSandbox, turn: Turn) -> AsyncIterator[GuestEvent]:
        principal = kernel.dispatcher.resolve_handle(sandbox.id, sandbox.handle)
        attempt = Attempt(
            principal=principal,
            verb=Verb.SEND,
            target="worker",
            effect=EffectClass.IDEMPOTENT,
            arguments=b"{}",
        )
        sent = await kernel.dispatcher.send(attempt, AgentId("worker"), said("wake up"))
        assert isinstance(sent, Refused)
        yield TurnDone(message=said("done"))

    task = await recorded(kernel)
    stage = kernel.supervisor._placement
    stage.play = play
    before = (await kernel.store.page(limit=50)).total
    outcome = await replayed(kernel, task)
    assert outcome.divergence.step == 1
    assert outcome.divergence.reason == "another call is made"
    assert (await kernel.store.page(limit=50)).total == before
