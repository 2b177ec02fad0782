"""A node or a tool server is killed in the middle of a call: nothing happens twice without somebody's yes."""

import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from hive.core.task import TaskState
from hive.testing.node_process import free_port, node_process

HERE = Path(__file__).parent
PATIENCE_S = 90.0


class Tills:
    """The tool server as a process that can be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def start(self) -> None:
        command = [sys.executable, str(HERE / "tills.py"), str(self.folder), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline().strip() == "ready"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def counts(self) -> Counter[str]:
        asked = self.folder / "asked"
        return Counter(asked.read_text().splitlines()) if asked.exists() else Counter()

    def wait_for(self, call: str, times: int = 1) -> None:
        ends_at = time.monotonic() + PATIENCE_S
        while self.counts()[call] < times:
            assert time.monotonic() < ends_at, f"{call} was not asked {times} times"
            time.sleep(0.02)

    def let(self, label: str) -> None:
        (self.folder / f"go-{label}").touch()


@pytest.fixture(scope="module")
def tills(tmp_path_factory):
    found = Tills(tmp_path_factory.mktemp("tills"))
    yield found
    found.kill()


@pytest.fixture(scope="module")
def node(tills, tmp_path_factory):
    with node_process(tmp_path_factory.mktemp("node") / "state") as running:
        running.hive("tool", "add", "tills", "--url", tills.url, "--trusted", "--yes")
        source = tmp_path_factory.mktemp("agent")
        shutil.copy(HERE / "agents" / "cashier.py", source)
        running.hive("run", f"{source / 'cashier.py'}:cashier", "--yes", "--tool", "tills")
        yield running


def settled(node, task):
    return node.wait_settled("cashier", task.id, timeout_s=PATIENCE_S)


def crash(node) -> None:
    node.kill()
    node.start()


def test_without_a_crash_a_call_is_done_once(node, tills):
    tills.let("calm")
    assert node.send("cashier", "tills__charge calm").answer == "told charge calm"
    assert tills.counts()["charge calm"] == 1


@pytest.mark.parametrize(
    ("verb", "state", "times"), [("repeat", "completed", 2), ("end", "failed", 1)]
)
def test_a_node_that_dies_in_a_call_parks_it_until_a_person_decides(
    node, tills, verb, state, times
):
    task = node.send("cashier", f"tills__charge {verb}", wait=False)
    tills.wait_for(f"charge {verb}")
    crash(node)
    tills.let(verb)
    assert settled(node, task).state is TaskState.AUTH_REQUIRED
    crash(node)
    assert tills.counts()[f"charge {verb}"] == 1
    node.hive("parked", verb, task.id)
    assert settled(node, task).state == state
    assert tills.counts()[f"charge {verb}"] == times


def test_a_call_that_only_looks_is_made_again_by_itself(node, tills):
    task = node.send("cashier", "tills__look again", wait=False)
    tills.wait_for("look again")
    crash(node)
    tills.let("again")
    ended = settled(node, task)
    assert (ended.state, ended.answer) == (TaskState.COMPLETED, "told look again")
    assert tills.counts()["look again"] == 2


def test_an_answer_on_record_is_told_again_and_not_asked_for(node, tills):
    tills.let("first")
    task = node.send("cashier", "tills__charge first")
    assert task.answer == "told charge first"
    crash(node)
    assert settled(node, task).answer == "told charge first"
    assert tills.counts()["charge first"] == 1


def test_a_server_that_dies_in_a_call_is_not_asked_twice_and_comes_back(node, tills):
    task = node.send("cashier", "tills__charge broken", wait=False)
    tills.wait_for("charge broken")
    tills.kill()
    ended = settled(node, task)
    assert ended.state is TaskState.COMPLETED
    assert ended.answer.startswith("failed")
    tills.start()
    tills.let("after")
    ends_at = time.monotonic() + PATIENCE_S
    while not (ended := node.send("cashier", "tills__look after")).answer.startswith("told"):
        assert time.monotonic() < ends_at, ended.answer
    assert tills.counts()["charge broken"] == 1
