"""Engines never run as root, see no more than they must, and their secrets are in nobody's reach."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from hive.core.errors import ConfigError, EngineError
from hive.engines import open_database, open_engines, open_messaging
from hive.engines.binaries import find_nats, find_postgres
from hive.engines.embedded.demotion import UNPRIVILEGED_UID, Demotion, demotion_here
from hive.testing.engines import copy_template, settings_in

pytestmark = pytest.mark.anyio
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the demotion of root is tested")
NODE = Path(__file__).with_name("some_node.py")


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def internet_sockets(pid):
    own = {str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()}
    lines = [
        line
        for table in ("tcp", "tcp6", "udp", "udp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return [line for line in lines if f"socket:[{line.split()[9]}]" in own]


def test_an_ordinary_user_stays_what_it_is():
    assert demotion_here(uid=1000, named=True) == Demotion()


def test_a_user_without_a_name_borrows_one_in_a_namespace():
    assert demotion_here(uid=1000, named=False) == Demotion(namespace=True)


def test_root_becomes_nobody_where_nobody_is_mapped():
    assert demotion_here(uid=0, uid_map="0 0 4294967295\n") == Demotion(uid=UNPRIVILEGED_UID)


def test_root_of_a_small_namespace_hides_in_another_one():
    assert demotion_here(uid=0, uid_map="0 1000 1\n1 100000 65000\n") == Demotion(namespace=True)


@as_root
async def test_root_s_engines_have_another_uid_no_group_and_no_capability(tmp_path):
    await copy_template(tmp_path)
    async with open_engines(settings_in(tmp_path)) as engines:
        for report in (await engines.database.report(), await engines.messaging.bus.report()):
            status = status_of(report.pids[0])
            assert set(status["Uid"].split()) == {str(UNPRIVILEGED_UID)}
            assert set(status["Gid"].split()) == {str(UNPRIVILEGED_UID)}
            assert status["Groups"].strip() == ""
            assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
            assert status["NoNewPrivs"] == "1"


async def test_nothing_of_the_state_is_readable_by_others(tmp_path):
    async with open_engines(settings_in(tmp_path)):
        for path in (tmp_path / "engines").rglob("*"):
            mode = path.lstat().st_mode
            inside_data = "data" in path.relative_to(tmp_path / "engines").parts[:2]
            if not inside_data or path.name == "data":
                assert not mode & (stat.S_IRWXG | stat.S_IRWXO), path
        passwords = tmp_path / "engines" / "postgres" / "passwords.json"
        assert stat.S_IMODE(passwords.stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "engines" / "postgres" / "data").stat().st_mode) == 0o700


async def test_neither_credentials_nor_passwords_stand_in_a_command_line(tmp_path):
    await copy_template(tmp_path)
    secret = (tmp_path / "engines" / "postgres" / "passwords.json").read_text().split('"')[3]
    async with open_engines(settings_in(tmp_path)) as engines:
        for report in (await engines.database.report(), await engines.messaging.bus.report()):
            for name in ("cmdline", "environ"):
                shown = await anyio.Path(f"/proc/{report.pids[0]}/{name}").read_bytes()
                assert secret.encode() not in shown
                assert b"assword" not in shown.replace(b"password_encryption", b"")


async def test_postgres_listens_on_no_address(tmp_path):
    await copy_template(tmp_path)
    async with open_database(settings_in(tmp_path)) as database:
        rows = await database.fetch("SELECT current_setting('listen_addresses') AS addresses")
        assert rows[0]["addresses"] == ""
        pid = (await database.report()).pids[0]
        assert not internet_sockets(pid)


async def test_nats_listens_on_loopback_alone_and_refuses_a_stranger(tmp_path):
    async with open_messaging(settings_in(tmp_path)) as messaging:
        pid = (await messaging.bus.report()).pids[0]
        listening = [line for line in internet_sockets(pid) if line.split()[3] == "0A"]
        assert [line.split()[1].split(":")[0] for line in listening] == ["0100007F"]
        port = int(listening[0].split()[1].split(":")[1], 16)
        stranger = settings_in(tmp_path, mesh_url=f"nats://hive:guess@127.0.0.1:{port}")
        with anyio.move_on_after(1) as waiting:
            async with open_messaging(stranger):
                pass
        assert waiting.cancelled_caught


async def test_postgres_never_trusts_anybody(tmp_path):
    async with open_database(settings_in(tmp_path)):
        rules = (tmp_path / "engines" / "postgres" / "data" / "pg_hba.conf").read_text()
        methods = {line.split()[-1] for line in rules.splitlines() if line and line[0] != "#"}
        assert methods == {"scram-sha-256"}


async def test_a_very_long_state_path_is_no_obstacle(tmp_path):
    state = tmp_path / ("long" * 30) / ("longer" * 20)
    await copy_template(state)
    async with open_database(settings_in(state)) as database:
        assert await database.fetch("SELECT 1")


@as_root
async def test_a_binary_in_a_closed_folder_is_shown_to_the_child_alone(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "bin").mkdir(mode=0o755)
    original = find_nats(settings_in(tmp_path), remembered_in=tmp_path / "memory.json")
    copy = shutil.copy(original.program, closed / "bin" / "nats-server")
    async with open_messaging(settings_in(tmp_path, nats_bin=str(copy))) as messaging:
        pid = (await messaging.bus.report()).pids[0]
        assert set(status_of(pid)["Uid"].split()) == {str(UNPRIVILEGED_UID)}
        assert "closed" in (await messaging.bus.report()).detail
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert "closed" not in await anyio.Path("/proc/self/mounts").read_text()


@as_root
async def test_a_binary_that_others_may_not_enter_is_a_clear_error(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    original = find_nats(settings_in(tmp_path), remembered_in=tmp_path / "memory.json")
    copy = shutil.copy(original.program, closed / "nats-server")
    with pytest.raises(EngineError, match="unprivileged user") as refused:
        async with open_messaging(settings_in(tmp_path, nats_bin=str(copy))):
            pass
    assert str(closed) in refused.value.why


@as_root
def test_root_of_a_user_namespace_runs_both_engines_without_capabilities(tmp_path):
    if subprocess.run(["/usr/bin/unshare", "-Ur", "true"], check=False).returncode != 0:
        pytest.skip("this kernel gives no user namespace")
    node = subprocess.Popen(
        ["/usr/bin/unshare", "-Ur", sys.executable, str(NODE), str(tmp_path)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": "packages/hive-os/src:.", "PATH": "/usr/bin:/bin"},
    )
    try:
        for pid in node.stdout.readline().split():
            status = status_of(int(pid))
            assert int(status["CapEff"], 16) == 0
        assert [node.stdout.readline() for _ in range(3)] == [b"0\n", b"1\n", b"2\n"]
    finally:
        node.kill()
        node.wait()
        node.stdout.close()


def test_a_postgres_without_pgvector_is_passed_over(tmp_path):
    folder = tmp_path / "pg" / "bin"
    folder.mkdir(parents=True)
    for name, answer in (("postgres", "postgres (PostgreSQL) 17.2"), ("initdb", "")):
        (folder / name).write_text(f"#!/bin/sh\necho '{answer}'\n")
        (folder / name).chmod(0o755)
    named = settings_in(tmp_path, postgres_bin=str(folder / "postgres"))
    with pytest.raises(ConfigError, match="No usable PostgreSQL") as refused:
        find_postgres(named, remembered_in=tmp_path / "memory.json")
    assert "it has no pgvector" in refused.value.why


def test_an_old_nats_server_is_passed_over(tmp_path):
    program = tmp_path / "nats-server"
    program.write_text("#!/bin/sh\necho 'nats-server: v2.9.10'\n")
    program.chmod(0o755)
    with pytest.raises(ConfigError) as refused:
        find_nats(settings_in(tmp_path, nats_bin=str(program)), remembered_in=tmp_path / "m.json")
    assert "older than 2.11" in refused.value.why


def test_a_warm_start_runs_no_binary_to_find_it(tmp_path, monkeypatch):
    memory = tmp_path / "memory.json"
    first = find_postgres(settings_in(tmp_path), remembered_in=memory)

    def never(*_arguments, **_more):
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "run", never)
    assert find_postgres(settings_in(tmp_path), remembered_in=memory) == first
    assert len(first.sha256()) == 64


async def test_data_of_another_major_version_is_never_opened(tmp_path):
    await copy_template(tmp_path)
    (tmp_path / "engines" / "postgres" / "data" / "PG_VERSION").write_text("13\n")
    with pytest.raises(ConfigError) as refused:
        async with open_database(settings_in(tmp_path)):
            pass
    assert "the data was written by 13" in refused.value.why


async def test_lost_passwords_are_an_error_and_no_reason_to_begin_again(tmp_path):
    await copy_template(tmp_path)
    (tmp_path / "engines" / "postgres" / "passwords.json").unlink()
    with pytest.raises(EngineError, match="passwords are lost"):
        async with open_database(settings_in(tmp_path)):
            pass
    assert (tmp_path / "engines" / "postgres" / "data" / "PG_VERSION").exists()
