"""The command in the shells and homes that people have: no home, no colour, plain C, a closed pipe."""

import os
import subprocess
import sys

import pytest

from hive.testing.node_process import free_port, node_process

BARE = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
BOUND_S = 60


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agent")
    (folder / "agent.py").write_text("def agent(text):\n    return text.upper()\n", "utf-8")
    with node_process(tmp_path_factory.mktemp("node")) as running:
        running.hive("run", str(folder), "--name", "shouter", "--yes")
        yield running


def hive(node, *words, environment=BARE, shell=""):
    command = [sys.executable, "-m", "hive", "--state", str(node.state), *words]
    if shell:
        command = ["bash", "-c", f'set -o pipefail; "$0" "$@" {shell}', *command]
    return subprocess.run(
        command,
        env=environment,
        capture_output=True,
        timeout=BOUND_S,
        stdin=subprocess.DEVNULL,
        check=False,
    )


HOMES = {
    "no home": {},
    "a home that is not there": {"HOME": "/nonexistent"},
    "a home that cannot be written": {"HOME": "/proc"},
    "plain C": {"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "no colour": {"NO_COLOR": "1", "TERM": "xterm-256color"},
    "a dumb terminal": {"TERM": "dumb"},
}


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize(
    "words",
    [["call", "shouter", "h\u00e4llo"], ["ps"], ["trace"], ["status"], ["call", "nobody", "x"]],
)
def test_every_command_speaks_in_every_home(node, home, words):
    if words[1:2] == ["shouter"]:
        words = [*words[:2], "hello"] if home == "plain C" else words
    done = hive(node, *words, environment={**BARE, **HOMES[home]})
    assert b"Traceback" not in done.stderr
    assert b"\x1b" not in done.stdout + done.stderr
    assert done.returncode == (1 if "nobody" in words else 3 if "status" in words else 0)


@pytest.mark.parametrize("shell", ["| head -1", "| true", ">&-", "2>&-", "> /dev/full"])
@pytest.mark.parametrize("words", [["ps"], ["audit", "tail", "-n", "100"], ["status"], ["--help"]])
def test_a_reader_that_goes_away_is_no_crash(node, words, shell):
    done = hive(node, *words, shell=shell)
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert b"did not expect" not in done.stderr


@pytest.mark.parametrize("more", [[], ["-f"]])
def test_the_log_of_an_agent_that_is_not_there_is_an_error(node, more):
    done = hive(node, "logs", "nobody", *more)
    assert done.returncode == 1
    assert b"There is no agent 'nobody'" in done.stderr
    assert hive(node, "logs", "shouter").returncode == 0


def test_a_mistyped_verb_names_the_one_that_was_meant(node):
    done = hive(node, "statsu")
    assert done.returncode == 2
    assert b"Did you mean:  hive status" in done.stderr


def test_the_default_state_lies_in_the_home_and_says_so_when_it_cannot(tmp_path):
    environment = {**BARE, "HOME": "/proc/1/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-m", "hive", "up", "--port", str(free_port())],
        env=environment,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode not in (0, -9)
    assert "Traceback" not in done.stderr
    assert "/proc/1/nonexistent" in done.stderr
    assert "--state" in done.stderr or "HIVE_STATE_DIR" in done.stderr
    assert not os.path.exists("/proc/1/nonexistent")  # noqa: PTH110
