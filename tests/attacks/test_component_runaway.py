"""A component that never ends, eats memory, floods, or calls itself: it is stopped, and nobody else notices."""

import time
from contextlib import AsyncExitStack

import anyio
import pytest

from hive.core.errors import GuestError
from hive.core.ids import TurnId
from hive.execution.component.host import THREADS_MAX
from hive.execution.drivers.wasm import WasmDriver
from hive.execution.ports import TurnFailed
from hive.testing.sandbox_suite import answer_of, make_turn
from tests.wasm_rig import compiled, events_of, instance_of, needs_wasmtime

pytestmark = [pytest.mark.anyio, needs_wasmtime]


@pytest.fixture
async def pair(anyio_backend, tmp_path):
    """A bad one, and a good one in the same process."""
    made = await compiled(tmp_path)
    limits = {"memory_bytes": 32 << 20, "cpu_s": 2}
    async with (
        WasmDriver() as driver,
        instance_of(driver, made, tmp_path, "bad", **limits) as bad,
        instance_of(driver, made, tmp_path, "good", **limits) as good,
    ):
        yield bad, good


async def test_an_endless_loop_ends_at_its_deadline(pair):
    bad, good = pair
    began = time.monotonic()
    (failed,) = await events_of(bad, "loop", timeout_s=0.2)
    assert "deadline" in failed.error
    assert 0.2 <= time.monotonic() - began < 1.5
    assert "deadline" in await bad.wait_dead()
    assert answer_of(await events_of(good, "hello")) == "hello"


async def test_an_endless_loop_ends_when_its_processor_time_is_used_up(pair):
    bad, good = pair
    with anyio.fail_after(30):
        (failed,) = await events_of(bad, "loop", timeout_s=60)
    assert "processor time" in failed.error
    assert answer_of(await events_of(good, "hello")) == "hello"


async def test_memory_ends_at_the_limit_and_is_the_components_own_problem(pair):
    bad, good = pair
    assert answer_of(await events_of(bad, "memory")) == "full"
    assert answer_of(await events_of(good, "hello")) == "hello"
    assert (await good.stats()).memory_bytes < 128 << 20


async def test_a_call_without_end_is_a_trap(pair):
    bad, good = pair
    (failed,) = await events_of(bad, "stack")
    assert "stack" in failed.error
    assert answer_of(await events_of(good, "hello")) == "hello"


async def test_a_flood_waits_for_its_reader_and_then_ends(pair):
    bad, good = pair
    turn = make_turn("flood", timeout_s=30)
    events = bad.run_turn(turn)
    seen = 0
    with anyio.fail_after(25):
        try:
            async for event in events:
                seen += 1
                if seen % 100 == 0:
                    assert answer_of(await events_of(good, "hello")) == "hello"
                if isinstance(event, TurnFailed):
                    break
        except GuestError as error:
            assert "frames" in error.why  # noqa: PT017 - either end is one
    with anyio.fail_after(5):
        await bad.wait_dead()
    assert answer_of(await events_of(good, "hello")) == "hello"


async def test_more_loops_than_the_host_has_threads_still_end(tmp_path, anyio_backend):
    made = await compiled(tmp_path)
    many = THREADS_MAX + 6
    ended, first = [], anyio.Event()
    async with WasmDriver() as driver, AsyncExitStack() as stack:
        seats = []
        for number in range(many):
            spawned = instance_of(driver, made, tmp_path, f"loop{number}", cpu_s=60)
            seats.append(await stack.enter_async_context(spawned))

        async def loop(one, number):
            (last,) = await events_of(one, "loop", turn_id=f"turn-{number}", timeout_s=3)
            ended.append(last)
            first.set()

        with anyio.fail_after(25):
            async with anyio.create_task_group() as tasks:
                for number, one in enumerate(seats):
                    tasks.start_soon(loop, one, number)
                await anyio.sleep(0.5)
                await seats[0].cancel(TurnId("turn-0"))
                with anyio.fail_after(2):
                    await first.wait()
                assert ended[0] == TurnFailed(error="canceled", canceled=True)
    assert len(ended) == many
