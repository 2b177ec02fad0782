"""The wasm tier: a component gives results and errors, streams, asks, is stopped, killed and kept apart from others."""

import time

import anyio
import pytest
from tests.wasm_rig import compiled, events_of, instance_of, needs_wasmtime

from hive.core.errors import SandboxError, SpecError
from hive.core.grant import Tier
from hive.core.ids import TurnId
from hive.execution.drivers import DRIVERS
from hive.execution.drivers.wasm import WasmDriver
from hive.execution.ports import InputNeeded, TextChunk, TurnDone, TurnFailed
from hive.testing.sandbox_suite import SMALL, answer_of, make_opening, make_turn

pytestmark = [pytest.mark.anyio, needs_wasmtime]


@pytest.fixture
async def driver(anyio_backend):
    async with WasmDriver() as driver:
        yield driver


@pytest.fixture
async def prepared(tmp_path):
    return await compiled(tmp_path)


async def test_the_probe_runs_a_component_and_tells_the_walls(driver):
    probe = await driver.probe()
    assert probe.tier is Tier.WASM
    assert probe.available, probe.reason
    assert {"component", "seccomp", "landlock", "no-network"} <= probe.standing
    assert probe.start_ms


async def test_it_serves_one_turn_after_the_other_and_keeps_its_state(driver, prepared, tmp_path):
    async with instance_of(driver, prepared, tmp_path) as one:
        assert one.tier is Tier.WASM
        assert one.walls[0].name == "component"
        assert [answer_of(await events_of(one, "c")) for _ in range(3)] == ["1", "2", "3"]
        assert answer_of(await events_of(one, "hello")) == "hello"
        assert (await one.stats()).memory_bytes > 0


async def test_instances_share_a_process_and_nothing_else(driver, prepared, tmp_path):
    async with (
        instance_of(driver, prepared, tmp_path, "one") as one,
        instance_of(driver, prepared, tmp_path, "two") as two,
    ):
        assert one.pid == two.pid > 0
        assert answer_of(await events_of(one, "c")) == "1"
        assert answer_of(await events_of(two, "c")) == "1"


async def test_another_agent_has_another_process(driver, prepared, tmp_path):
    from dataclasses import replace

    other = replace(prepared, spec=replace(prepared.spec, name="other"))
    async with (
        instance_of(driver, prepared, tmp_path, "one") as one,
        instance_of(driver, other, tmp_path, "two") as two,
    ):
        assert one.pid != two.pid


async def test_errors_and_questions_are_told(driver, prepared, tmp_path):
    async with instance_of(driver, prepared, tmp_path) as one:
        (failed,) = await events_of(one, "eh")
        assert failed == TurnFailed(error="eh")
        (asked,) = await events_of(one, "aye?")
        assert isinstance(asked, InputNeeded)
        assert asked.message.text == "aye?"
        assert answer_of(await events_of(one, "hello")) == "hello"


async def test_a_trap_ends_the_turn_and_the_instance_but_no_other(driver, prepared, tmp_path):
    async with (
        instance_of(driver, prepared, tmp_path, "one") as one,
        instance_of(driver, prepared, tmp_path, "two") as two,
    ):
        (failed,) = await events_of(one, "trap")
        assert "unreachable" in failed.error
        assert "unreachable" in await one.wait_dead()
        with pytest.raises(SandboxError):
            await events_of(one, "hello")
        assert answer_of(await events_of(two, "hello")) == "hello"


async def test_a_canceled_turn_ends_soon(driver, prepared, tmp_path):
    async with instance_of(driver, prepared, tmp_path) as one:
        seen = []

        async def run():
            seen.extend(await events_of(one, "loop", timeout_s=60))

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run)
                await anyio.sleep(0.1)
                await one.cancel(TurnId("turn-1"))
        assert seen == [TurnFailed(error="canceled", canceled=True)]


async def test_it_is_killed_from_any_thread_with_the_first_reason(driver, prepared, tmp_path):
    async with instance_of(driver, prepared, tmp_path) as one:
        await anyio.to_thread.run_sync(one.kill, "an operator stopped it")
        one.kill("a second reason that comes too late")
        with anyio.fail_after(5):
            assert await one.wait_dead() == "an operator stopped it"


async def test_a_killed_host_is_told_and_the_next_instance_gets_another(driver, prepared, tmp_path):
    import os
    import signal

    async with instance_of(driver, prepared, tmp_path) as one:
        before = one.pid
        os.kill(before, signal.SIGKILL)
        with anyio.fail_after(5):
            assert "host process" in await one.wait_dead()
    async with instance_of(driver, prepared, tmp_path, "next") as another:
        assert another.pid != before
        assert answer_of(await events_of(another, "hello")) == "hello"


async def test_a_host_that_nobody_uses_goes(tmp_path, anyio_backend):
    made = await compiled(tmp_path)
    async with WasmDriver(idle_s=0.05) as driver:
        async with instance_of(driver, made, tmp_path) as one:
            launched = one._seat.host.launched
        with anyio.fail_after(5):
            await launched.dead.wait()
        assert not list(tmp_path.glob("*/*.gate"))


async def test_nothing_is_left_when_the_driver_closes(tmp_path, anyio_backend):
    made = await compiled(tmp_path)
    async with WasmDriver() as driver, instance_of(driver, made, tmp_path) as one:
        launched, folder = one._seat.host.launched, one._seat.host.folder
    assert launched.dead.is_set()
    assert not folder.exists()


async def test_it_runs_no_commands(driver, tmp_path):
    with pytest.raises(SandboxError, match="runs no commands"):
        await driver.run(
            ("/bin/true",), mounts=(), opening=make_opening(tmp_path), limits=SMALL, timeout_s=1, on_line=print
        )  # fmt: skip


async def test_what_is_no_agent_is_refused_by_name(driver, tmp_path):
    world = '(import "wasi:cli/environment@0.2.0" (instance (export "get-arguments" (func (result (list string))))))'
    with pytest.raises(SpecError, match="wasi:cli/environment"):
        async with instance_of(driver, await compiled(tmp_path, world), tmp_path):
            pass


async def test_what_is_no_component_is_refused_when_it_is_compiled(tmp_path, anyio_backend):
    from hive.execution.components import Components
    from hive.execution.drivers.process import ProcessDriver

    source = tmp_path / "not.wasm"
    source.write_bytes(b"\0asm\x01\0\0\0")
    async with ProcessDriver() as walls:
        with pytest.raises(SpecError, match="no component"):
            await Components(tmp_path / "state", walls).ensure(source, on_line=print)


async def test_without_wasmtime_the_tier_says_what_to_install(monkeypatch, anyio_backend):
    monkeypatch.setattr("hive.execution.components.PACKAGE", "no-such-package")
    probe = await DRIVERS.load("wasm:")().probe()
    assert not probe.available
    assert "wasmtime is not installed" in probe.reason


async def test_pieces_come_while_it_runs(driver, prepared, tmp_path):
    async with instance_of(driver, prepared, tmp_path) as one:
        turn = make_turn("flood", timeout_s=20)
        events = one.run_turn(turn)
        began = time.monotonic()
        first = await anext(events)
        assert first == TextChunk(text="flood ")
        assert time.monotonic() - began < 5
        await one.cancel(turn.id)
        ends = [event async for event in events]
        assert not isinstance(ends[-1], TurnDone)
