"""Whoever is killed: no acknowledged task is lost, and no *once* effect happens twice."""

import subprocess
from pathlib import Path

import pytest

from hive.core.task import TaskState
from hive.testing.node_process import NodeProcess, WrongAnswerError, node_process
from tests.end_to_end.counter import counting_server

AGENTS = Path(__file__).parent / "agents" / "counting.py"


@pytest.fixture
def node(tmp_path):
    with node_process(tmp_path / "state") as running:
        yield running


def deploy(node: NodeProcess, attribute: str, *more: str) -> str:
    name = attribute.replace("_", "-")
    node.hive("run", f"{AGENTS}:{attribute}", "--name", name, "--yes", *more)
    return name


def crash(node: NodeProcess) -> None:
    node.kill()
    node.start()


def test_a_turn_that_a_crash_cut_runs_again_with_what_it_was_told(node):
    agent = deploy(node, "think_then_wait")
    task = node.send(agent, "x", wait=False)
    wait_for_results(node, task.id, 1)
    crash(node)
    done = node.wait_settled(agent, task.id)
    assert done.state is TaskState.COMPLETED
    assert "first x" in done.answer
    assert "second x" in done.answer
    asked = [line for line in entries(node, task.id) if line["kind"] == "intent"]
    assert sum(line["name"].startswith("ask") for line in asked) == 2


def test_a_finished_once_effect_is_served_from_the_record(node):
    with counting_server() as counter:
        agent = deploy(node, "count_then_wait", "--host-allow", counter.address)
        task = node.send(agent, f"{counter.address}/done 2", wait=False)
        wait_for_results(node, task.id, 1)
        crash(node)
        done = node.wait_settled(agent, task.id)
        assert done.state is TaskState.COMPLETED
        assert done.answer.startswith("counted ")
        assert "refused" not in done.answer
        assert counter.counts["/done"] == 1


def test_an_open_once_effect_is_parked_and_never_repeated_by_itself(node):
    with counting_server() as counter:
        agent = deploy(node, "count_then_wait", "--host-allow", counter.address)
        task = node.send(agent, f"{counter.address}/slow 0", wait=False)
        counter.wait_for("/slow")
        crash(node)
        held = node.wait_settled(agent, task.id)
        assert held.state is TaskState.AUTH_REQUIRED
        assert "Parked" in held.said
        crash(node)
        assert node.task(agent, task.id).state is TaskState.AUTH_REQUIRED
        assert counter.counts["/slow"] == 1


@pytest.mark.parametrize(
    ("verb", "state", "count"), [("repeat", "completed", 2), ("end", "failed", 1)]
)
def test_a_person_decides_about_a_parked_effect(node, verb, state, count):
    with counting_server() as counter:
        agent = deploy(node, "count_then_wait", "--host-allow", counter.address)
        task = node.send(agent, f"{counter.address}/slow 0", wait=False)
        counter.wait_for("/slow")
        crash(node)
        node.wait_settled(agent, task.id)
        assert task.id in node.hive("parked")
        node.hive("parked", verb, task.id)
        assert node.wait_settled(agent, task.id).state == state
        assert counter.counts["/slow"] == count
        assert task.id not in node.hive("parked")


def test_a_parked_task_takes_no_message(node):
    with counting_server() as counter:
        agent = deploy(node, "count_then_wait", "--host-allow", counter.address)
        task = node.send(agent, f"{counter.address}/slow 0", wait=False)
        counter.wait_for("/slow")
        crash(node)
        held = node.wait_settled(agent, task.id)
        with pytest.raises(WrongAnswerError):
            node.send(agent, "go on", taskId=held.id, contextId=held.context_id)
        assert counter.counts["/slow"] == 1


def test_a_task_that_waited_in_the_queue_is_not_forgotten(node):
    agent = deploy(node, "slowly")
    tasks = [node.send(agent, "0.3", wait=False) for _ in range(5)]
    crash(node)
    assert [node.wait_settled(agent, task.id).answer for task in tasks] == ["done"] * 5


def test_killing_the_sandbox_runs_the_turn_again(node):
    agent = deploy(node, "slowly")
    task = node.send(agent, "1.5", wait=False)
    wait_for_state(node, agent, task.id, TaskState.WORKING)
    for pid in sandbox_pids(agent):
        subprocess.run(["kill", "-9", str(pid)], check=False)
    assert node.wait_settled(agent, task.id).answer == "done"


def test_the_chain_verifies_after_every_crash(node):
    agent = deploy(node, "slowly")
    for _ in range(3):
        node.send(agent, "0.2", wait=False)
        crash(node)
    assert "ok" in node.hive("audit", "verify")


def test_nothing_is_left_running_when_the_node_is_killed(node, tmp_path):
    deploy(node, "slowly")
    node.kill()
    ends = deadline(3)
    while processes_of(tmp_path) and next(ends):
        pass
    assert processes_of(tmp_path) == []
    node.start()


def test_an_interrupted_node_ends_at_once_and_well(node):
    deploy(node, "slowly")
    assert node.stop() == 0
    node.start()


def entries(node: NodeProcess, task: str) -> list[dict]:
    import json

    lines = node.hive("audit", "tail", "-n", "500", "--json").splitlines()
    return [entry for entry in map(json.loads, lines) if entry.get("task") == task]


def wait_for_results(node: NodeProcess, task: str, count: int) -> None:
    ends = deadline(20)
    while next(ends):
        results = [entry for entry in entries(node, task) if entry["kind"] == "result"]
        if len(results) >= count:
            return
    pytest.fail("no result was written in time")


def wait_for_state(node: NodeProcess, agent: str, task: str, state: TaskState) -> None:
    ends = deadline(10)
    while next(ends):
        if node.task(agent, task).state is state:
            return
    pytest.fail(f"the task never became {state}")


def deadline(seconds: float):
    import time

    ends_at = time.monotonic() + seconds
    while True:
        yield time.monotonic() < ends_at
        time.sleep(0.05)


def sandbox_pids(agent: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if b"hive_guest" in words and agent.replace("-", "_").encode() in words:
            found.append(int(path.parts[2]))
    return found


def processes_of(folder: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(folder) in words and "pytest" not in words:
            found.append(words)
    return found
