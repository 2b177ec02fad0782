"""The command starts light, tells errors well, and ends with the documented codes."""

import json
import os
import resource
import socket
import subprocess
import sys

import pytest

from hive.cli.entry import run_command
from hive.core.errors import all_errors
from hive.web.port_holder import port_in_use

HEAVY = ("asyncio", "anyio", "msgspec", "http.client", "starlette", "uvicorn", "nats", "asyncpg")
HELP_CPU_S = 0.1


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_imports_no_engine_and_no_event_loop(argument):
    code = (
        "import sys; from hive.cli.entry import run_command; "
        f"run_command([{argument!r}]); "
        f"sys.stderr.write(','.join(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout
    assert done.stderr == ""


def test_help_costs_less_than_a_tenth_of_a_second_of_cpu():
    costs = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "hive", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(costs) < HELP_CPU_S


def test_an_unknown_verb_is_wrong_usage():
    assert run_command(["nosuch"]) == 2


def test_without_a_node_the_error_names_the_command_that_starts_one(tmp_path, capsys):
    assert run_command(["ps", "--state", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "HIVE-E080" in told.err
    assert "hive up" in told.err


def test_production_lists_every_missing_setting_at_once_and_binds_nothing(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("HIVE_MODE", "production")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert run_command(["up", "--state", str(tmp_path), "--port", str(port)]) == 78
    told = capsys.readouterr().err
    for name in ("HIVE_MASTER_KEY", "HIVE_OPERATOR_TOKEN", "HIVE_WALLS_MIN"):
        assert name in told
    assert list(tmp_path.iterdir()) == []


def test_a_traceback_is_shown_on_request_only(tmp_path, capsys):
    run_command(["ps", "--state", str(tmp_path)])
    assert "Traceback" not in capsys.readouterr().err
    run_command(["ps", "--state", str(tmp_path), "--debug"])
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("kind", list(all_errors()), ids=lambda kind: kind.code)
def test_every_error_code_has_a_page(kind, capsys):
    assert run_command(["explain", f"HIVE-{kind.code}"]) == 0
    assert kind.__name__ in capsys.readouterr().out


def test_an_example_is_written_once_and_never_over_a_file(tmp_path, capsys):
    folder = tmp_path / "Word Counter"
    assert run_command(["init", str(folder)]) == 0
    spec = (folder / "hive-agent.toml").read_text()
    assert 'name = "word-counter"' in spec
    (folder / "agent.py").write_text("mine")
    assert run_command(["init", str(folder)]) == 1
    assert (folder / "agent.py").read_text() == "mine"


def test_the_written_example_is_a_spec_that_hive_reads_and_an_agent_that_answers(tmp_path):
    from pathlib import Path

    from hive.execution.source import find_source

    assert run_command(["init", str(tmp_path / "counter")]) == 0
    found = find_source("./counter", cwd=tmp_path, home=Path.home())
    assert found.spec.name == "counter"
    namespace: dict[str, object] = {}
    exec((tmp_path / "counter" / "agent.py").read_text(), namespace)
    assert "3 words" in namespace["agent"]("one two three")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_each_shell(shell, capsys):
    assert run_command(["completion", shell]) == 0
    assert "_HIVE_COMPLETE" in capsys.readouterr().out


def test_completion_offers_the_verbs():
    environment = {
        "_HIVE_COMPLETE": "bash_complete",
        "COMP_WORDS": "hive a",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", "from hive.cli import main; main()"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == {
        "agent",
        "approve",
        "audit",
    }


def test_a_port_in_use_names_its_holder():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        error = port_in_use(port)
    assert f"(pid {os.getpid()})" in error.what
    assert f"kill {os.getpid()}" in error.fix
    assert f"--port {port + 1}" in error.fix


def test_no_color_is_honoured_even_on_a_terminal(tmp_path):
    import pty

    def output(**extra: str) -> bytes:
        leader, follower = pty.openpty()
        environment = {"LANG": "C.UTF-8", **extra}
        with subprocess.Popen(
            [sys.executable, "-m", "hive", "ps", "--state", str(tmp_path)],
            stdout=follower,
            stderr=follower,
            stdin=follower,
            env=environment,
        ) as child:
            child.wait()
        os.close(follower)
        told = os.read(leader, 4000)
        os.close(leader)
        return told

    assert b"\x1b[" in output(NO_COLOR="")
    assert b"\x1b[" not in output(NO_COLOR="1")


def test_json_errors_are_one_object(tmp_path, capsys):
    run_command(["ps", "--state", str(tmp_path), "--json"])
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "HIVE-E080"
