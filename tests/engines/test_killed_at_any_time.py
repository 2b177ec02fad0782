"""Engines and nodes are killed; nothing that was acknowledged is lost and nothing is left running."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import anyio
import msgspec
import pytest
from tests.engines.some_node import TABLE

from hive.core.errors import ConfigError, EngineUnavailableError
from hive.engines import open_engines
from hive.engines.embedded.leftovers import end_leftover, record, recorded, start_time
from hive.testing.engines import copy_template, open_database, open_messaging, settings_in

pytestmark = pytest.mark.anyio
NODE = Path(__file__).with_name("some_node.py")


@pytest.fixture
def start_node():
    """Start the small node of `some_node.py`; it is killed at the end whatever happens."""
    started = []

    def start(state, *, before=()):
        path = os.pathsep.join(["packages/hive-os/src", "."])
        process = subprocess.Popen(
            [*before, sys.executable, str(NODE), str(state)],
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


async def gone(pid, *, within_s):
    with anyio.fail_after(within_s):
        while start_time(pid):  # noqa: ASYNC110 - no event tells of a grandchild
            await anyio.sleep(0.01)


async def until_back(ask):
    """Ask until the engine is back; return how often it was away."""
    away = 0
    with anyio.fail_after(20):
        while True:
            try:
                await ask()
            except EngineUnavailableError:
                away += 1
                await anyio.sleep(0.002)
            else:
                return away


async def another(database, pid):
    """Ask who answers; a process of the dead server that has not noticed yet is not the new one."""
    if pid in ((await database.report()).pids or (pid,)):
        raise EngineUnavailableError("The killed server still answers.")


async def test_a_killed_postgres_comes_back_with_every_row(tmp_path):
    async with open_database(tmp_path, [TABLE]) as database:
        for number in range(3):
            await database.execute("INSERT INTO things VALUES ($1)", number)
            pid = (await database.report()).pids[0]
            os.kill(pid, signal.SIGKILL)
            await gone(pid, within_s=2)
            await until_back(partial(another, database, pid))
            assert len(await database.fetch("SELECT * FROM things")) == number + 1


async def test_a_transaction_cut_by_a_kill_is_an_engine_that_is_away_and_leaves_nothing(tmp_path):
    async with open_database(tmp_path, [TABLE]) as database:
        pid = (await database.report()).pids[0]

        async def work():
            async with database.transaction() as transaction:
                await transaction.execute("INSERT INTO things VALUES (1)")
                os.kill(pid, signal.SIGKILL)
                await gone(pid, within_s=2)
                while True:
                    await transaction.execute("SELECT 1")

        with pytest.raises(EngineUnavailableError):
            await work()
        await until_back(lambda: database.fetch("SELECT 1"))
        assert not await database.fetch("SELECT * FROM things")


async def test_a_listener_learns_that_its_connection_is_gone(tmp_path):
    async with open_database(tmp_path) as database, database.listen("news") as notices:
        os.kill((await database.report()).pids[0], signal.SIGKILL)
        with anyio.fail_after(30), pytest.raises(EngineUnavailableError):
            await anext(aiter(notices))


async def test_a_killed_nats_server_comes_back_and_every_subscription_with_it(tmp_path):
    async with open_messaging(tmp_path) as messaging:
        bus = messaging.bus
        async with bus.subscribe("echo") as subscription, anyio.create_task_group() as tasks:

            async def echo():
                async for message in subscription:
                    await bus.publish(message.reply, message.data)

            tasks.start_soon(echo)
            for number in range(3):
                await messaging.events.append("things", str(number).encode())
                pid = (await bus.report()).pids[0]
                os.kill(pid, signal.SIGKILL)
                await gone(pid, within_s=2)
                away = await until_back(lambda: bus.request("echo", b"there?", timeout_s=5))
                assert away > 0
                assert await messaging.events.last("things") == number + 1
            tasks.cancel_scope.cancel()


async def test_a_request_in_flight_fails_at_once_when_the_server_dies(tmp_path):
    async with open_messaging(tmp_path) as messaging, messaging.bus.subscribe("silent") as silent:
        pid = (await messaging.bus.report()).pids[0]

        async def kill_when_asked():
            await anext(aiter(silent))
            os.kill(pid, signal.SIGKILL)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kill_when_asked)
            with anyio.fail_after(30), pytest.raises(EngineUnavailableError):
                await messaging.bus.request("silent", b"", timeout_s=60)


async def test_a_killed_node_leaves_no_process_and_loses_no_acknowledged_row(tmp_path, start_node):
    await copy_template(tmp_path)
    node = start_node(tmp_path)
    postgres, nats = (int(pid) for pid in node.stdout.readline().split())
    acknowledged = [int(node.stdout.readline()) for _ in range(50)][-1]
    assert start_time(postgres)
    assert start_time(nats)
    node.kill()
    await gone(postgres, within_s=2)
    await gone(nats, within_s=2)
    async with open_engines(settings_in(tmp_path), migrations=[TABLE]) as engines:
        rows = await engines.database.fetch("SELECT max(id) AS last, count(*) AS many FROM things")
        assert rows[0]["last"] >= acknowledged
        assert rows[0]["many"] == rows[0]["last"] + 1
        assert await engines.messaging.events.last("things") >= acknowledged + 1


@pytest.mark.parametrize("after_ms", [150, 300, 450, 600])
async def test_a_node_killed_while_it_makes_its_database_begins_again(
    tmp_path, start_node, after_ms
):
    node = start_node(tmp_path)
    home = tmp_path / "engines" / "postgres"
    with anyio.fail_after(30):
        while not home.exists():  # noqa: ASYNC110 - another process makes it
            await anyio.sleep(0.005)
    await anyio.sleep(after_ms / 1000)
    node.kill()
    node.wait()
    async with open_engines(settings_in(tmp_path)) as engines:
        assert await engines.database.fetch("SELECT 1")


async def test_a_half_made_database_is_thrown_away(tmp_path):
    half = tmp_path / "engines" / "postgres" / "data.fresh-1" / "base"
    half.mkdir(parents=True)
    (half / "1").write_text("half")
    async with open_engines(settings_in(tmp_path)) as engines:
        assert await engines.database.fetch("SELECT 1")
    assert not half.exists()


async def test_a_second_node_on_the_same_state_is_told_who_is_there(tmp_path):
    async with open_database(tmp_path):
        with pytest.raises(ConfigError, match="another node uses this state folder") as refused:
            async with open_database(tmp_path):
                pass
        assert str(os.getpid()) in refused.value.why
    async with open_messaging(tmp_path):
        with pytest.raises(ConfigError, match="another node uses this state folder"):
            async with open_messaging(tmp_path):
                pass


async def test_a_stranger_who_got_the_pid_of_a_dead_server_is_left_alone(tmp_path):
    await copy_template(tmp_path)
    home = tmp_path / "engines" / "postgres"
    async with await anyio.open_process(["/usr/bin/sleep", "60"]) as stranger:
        old = {"pid": stranger.pid, "started": "1", "program": "/somewhere/postgres"}
        (home / "child.json").write_bytes(msgspec.json.encode(old))
        (home / "data" / "postmaster.pid").write_text(
            f"{stranger.pid}\n/proc/self/cwd\n1\n5432\n\n\n"
        )
        (home / "data" / ".s.PGSQL.5432.lock").write_text(f"{stranger.pid}\n")
        async with open_database(tmp_path) as database:
            assert await database.fetch("SELECT 1")
        assert stranger.returncode is None
        assert start_time(stranger.pid)
        stranger.kill()


async def test_a_leftover_that_is_really_ours_is_ended(tmp_path):
    file = tmp_path / "child.json"
    async with await anyio.open_process(["/usr/bin/sleep", "60"]) as leftover:
        record(file, pid=leftover.pid, program="/usr/bin/sleep")
        assert recorded(file) is not None
        assert await end_leftover(file, (signal.SIGTERM,))
        assert await leftover.wait() == -signal.SIGTERM
    assert not file.exists()
    assert not await end_leftover(file, (signal.SIGTERM,))


async def test_a_connection_that_broke_as_it_was_given_back_hurts_nobody(tmp_path):
    """The pool has taken it back by itself, in the moment between; asyncpg calls that an internal error."""
    async with open_database(tmp_path) as database:
        await database.fetch("SELECT 1")
        database._kept._holder._in_use = None
