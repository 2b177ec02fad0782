"""On a terminal the command asks, stays, and ends at Ctrl-C at once, wherever it stands."""

import os
import pty
import select
import sys
import time
from pathlib import Path

import pytest

from tests.end_to_end.test_cli_node import ENVIRONMENT, free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
BOUND_S = 40
INTERRUPT = b"\x03"


def converse(
    state: Path, arguments: list[str], *answers: tuple[bytes, bytes]
) -> tuple[str, int, float]:
    """Run a command on a terminal; type each answer once its cue was printed.

    Returns the output, the exit code, and the seconds from the last answer to the end.
    """
    environment = {**ENVIRONMENT, "HIVE_PORT": str(free_port())}
    pid, terminal = pty.fork()
    if pid == 0:
        command = [sys.executable, "-m", "hive", "--state", str(state), *arguments]
        os.execve(sys.executable, command, environment)
    told, waiting, answered = b"", list(answers), 0.0
    deadline = time.monotonic() + BOUND_S
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                told += os.read(terminal, 4096)
            except OSError:  # the terminal's other side is closed: the command has ended
                break
        if waiting and waiting[0][0] in told:
            os.write(terminal, waiting.pop(0)[1])
            answered = time.monotonic()
    ended = time.monotonic()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    return told.decode().replace("\r", ""), code, ended - answered


def test_run_stays_until_ctrl_c_and_then_ends_with_one_line(tmp_path):
    arguments = ["run", str(EXAMPLES / "hello.py:agent")]
    told, code, seconds = converse(tmp_path, arguments, (b"Next:", INTERRUPT))
    assert code == 0
    assert "/a2a/hello" in told
    assert told.endswith("^CStopped.\n")
    assert seconds < 2


@pytest.mark.parametrize(
    ("answer", "code", "ending"),
    [(b"n\n", 1, "Nothing was deployed.\n"), (INTERRUPT, 0, "^CStopped.\n")],
)
def test_what_a_person_does_not_grant_is_not_deployed(tmp_path, answer, code, ending):
    mount = tmp_path / "data"
    mount.mkdir()
    arguments = ["run", str(EXAMPLES / "hello.py:agent"), "--mount", str(mount)]
    told, ended_with, seconds = converse(tmp_path / "state", arguments, (b"[y/N]", answer))
    assert f"reads {mount}" in told
    assert ended_with == code
    assert told.endswith(ending)
    assert "ready" not in told
    assert seconds < 3


def test_a_yes_deploys_and_is_not_asked_for_again(tmp_path):
    mount = tmp_path / "data"
    mount.mkdir()
    arguments = ["run", str(EXAMPLES / "hello.py:agent"), "--mount", str(mount)]
    first, _, _ = converse(tmp_path / "state", arguments, (b"[y/N]", b"y\n"), (b"Next:", INTERRUPT))
    second, _, _ = converse(tmp_path / "state", arguments, (b"Next:", INTERRUPT))
    assert "[y/N]" in first
    assert "[y/N]" not in second


def test_the_demo_stays_on_a_terminal_and_names_its_page(tmp_path):
    told, code, seconds = converse(tmp_path, ["demo"], (b"Next:", INTERRUPT))
    assert code == 0
    assert "verified: 2 agents agree" in told
    assert "http://127.0.0.1:" in told
    assert seconds < 2
