"""Agents that blow up, fill up, or never end: their task fails and says why, and nobody else notices."""

import pytest

from hive.core.task import TaskState
from tests.attacks.living import living_node

SMALL = "[limits]\nmemory_bytes = 134217728\nprocesses_max = 40\ndisk_bytes = 33554432\n"
SHORT = "[limits]\nturn_timeout_s = 1.0\n"


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with living_node(tmp_path_factory.mktemp("broken")) as node:
        node.deploy("echo")
        yield node


@pytest.fixture(autouse=True)
def the_neighbour_goes_on(node):
    pid = node.process.pid
    yield
    assert node.ask("echo", "still here") == "still here"
    assert node.process.pid == pid
    assert '"ready":true' in node.process.hive("status", "--json").replace(" ", "")


def test_a_memory_bomb_fails_and_says_why(node):
    task = node.sent(node.deploy("eat_memory", spec=SMALL))
    assert task.state is TaskState.FAILED
    assert "memory" in task.said.lower()


def test_a_fork_bomb_meets_its_limit(node):
    told = node.ask(node.deploy("fork_without_end", spec=SMALL))
    assert told.startswith("stopped at"), told
    assert int(told.split()[2].rstrip(":")) <= 40


def test_what_fills_the_disk_meets_its_limit(node):
    told = node.ask(node.deploy("fill_disk", spec=SMALL))
    assert told.startswith("stopped at"), told
    assert int(told.split()[2].rstrip(":")) <= 40 << 20


def test_an_agent_that_ends_its_process_fails_after_some_tries(node):
    task = node.sent(node.deploy("leave"))
    assert task.state is TaskState.FAILED
    assert "status 3" in task.said or "ended" in task.said, task.said


def test_an_agent_that_raises_fails_with_its_words(node):
    agent = node.deploy("fail")
    task = node.sent(agent)
    assert task.state is TaskState.FAILED
    assert "on purpose" in task.said


def test_an_agent_that_prints_much_still_answers(node):
    agent = node.deploy("print_much")
    assert node.ask(agent) == "printed"
    kept = list((node.process.state / "logs").glob(f"{agent}.log*"))
    assert kept
    assert sum(path.stat().st_size for path in kept) < 20 << 20


def test_an_answer_of_fifty_megabytes_fails_and_says_why(node):
    task = node.sent(node.deploy("answer_much"))
    assert task.state is TaskState.FAILED
    assert "large" in task.said or "limit" in task.said or "bytes" in task.said, task.said


def test_a_turn_that_never_ends_is_ended_at_its_deadline(node):
    task = node.sent(node.deploy("never_end", spec=SHORT))
    assert task.state is TaskState.FAILED
    assert "deadline" in task.said


def test_an_agent_that_ignores_a_cancellation_is_killed_after_a_grace(node):
    agent = node.deploy("never_end", name="never-cancels")
    task = node.process.send(agent, "x", wait=False)
    answer = node.process.rpc(agent, "CancelTask", {"id": task.id})
    assert answer["result"]["status"]["state"] == "TASK_STATE_CANCELED"
    assert node.process.task(agent, task.id).state is TaskState.CANCELED
