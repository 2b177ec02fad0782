"""Fifty turns under way keep no node from ending, and none of them is forgotten."""

import time
from collections.abc import AsyncIterator, Sequence

import anyio
import pytest
from tests.kernel_rig import ALICE, OPERATOR, Stage, StagedSandbox, deploy, running_kernel, send

from hive.core.task import TaskState
from hive.engines import Migration, load_migrations
from hive.execution.ports import GuestEvent, Turn
from hive.node.build import SCHEMAS

pytestmark = pytest.mark.anyio
TURNS = 50


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


async def test_a_node_with_fifty_turns_under_way_ends_at_once_and_runs_them_again(
    database, tmp_path
):
    under_way = 0
    all_run = anyio.Event()

    async def deaf(_sandbox: StagedSandbox, _turn: Turn) -> AsyncIterator[GuestEvent]:
        nonlocal under_way
        under_way += 1
        if under_way == TURNS:
            all_run.set()
        await anyio.sleep_forever()
        yield

    async with running_kernel(database, tmp_path, Stage(play=deaf)) as kernel:
        await deploy(kernel, sandboxes_max=TURNS)
        tasks = [(await send(kernel, f"m{number}")).task for number in range(TURNS)]
        with anyio.fail_after(20):
            await all_run.wait()
        began = time.monotonic()
    assert time.monotonic() - began < 1.0
    stage = Stage()
    async with running_kernel(database, tmp_path, stage) as kernel:
        await kernel.supervisor.find(kernel.supervisor.all()[0].spec.name)
        with anyio.fail_after(20):
            for task in tasks:
                while (live := kernel.feed.get(task.id)) is not None:
                    await live.wait_settled()
                state = (await kernel.dispatcher.task(ALICE, task.id)).state
                assert state is TaskState.COMPLETED
    assert len(stage.turns) == TURNS


async def test_a_stopped_agent_leaves_nothing_behind_but_its_record(database, tmp_path):
    begun = anyio.Event()

    async def deaf(_sandbox: StagedSandbox, _turn: Turn) -> AsyncIterator[GuestEvent]:
        begun.set()
        await anyio.sleep_forever()
        yield

    stage = Stage(play=deaf)
    async with running_kernel(database, tmp_path, stage) as kernel:
        await deploy(kernel)
        task = (await send(kernel, "go")).task
        with anyio.fail_after(30):
            await begun.wait()
            await kernel.supervisor.stop(OPERATOR, task.agent)
        assert stage.live == []
        assert kernel.turns._turns == {}
        assert kernel.turns._bound == {}
        canceled = await kernel.dispatcher.cancel(ALICE, task.id)
        assert canceled.state is TaskState.CANCELED
        assert len(kernel.feed) == 0
        await kernel.supervisor.start(OPERATOR, task.agent)
        await anyio.wait_all_tasks_blocked()
        assert len(stage.turns) == 1
