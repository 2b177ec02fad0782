"""Runs again on a real node: a replay without any model, a changed source, a fork, a comparison."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from hive.core.task import TaskState
from hive.testing.node_process import HIVE, NodeProcess, node_process
from tests.end_to_end.counter import counting_server

SOURCE = Path(__file__).parent / "agents" / "recalling.py"
NOWHERE = "openai:http://127.0.0.1:9/v1"


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "agent"
    folder.mkdir()
    return Path(shutil.copy(SOURCE, folder / "recalling.py"))


@pytest.fixture
def node(tmp_path):
    with node_process(tmp_path / "state") as running:
        yield running


def hive(node: NodeProcess, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [*HIVE, *words, "--state", str(node.state)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout + done.stderr


def lines_of(output: str) -> list[dict]:
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def test_a_run_is_replayed_without_a_model_diverges_when_changed_and_forks(node, source, tmp_path):
    node.hive("run", f"{source}:recall", "--name", "recall", "--yes")
    task = node.send("recall", "bees")
    assert task.state is TaskState.COMPLETED
    node.stop()
    node._environment["HIVE_MODELS"] = NOWHERE
    node.start()

    code, told = hive(node, "replay", task.id[:13], "--json")
    assert code == 0, told
    end = lines_of(told)[-1]
    assert (end["identical"], end["step"], end["steps"]) == (True, 5, 5)
    assert end["masks"] == {"uuid": 1}
    code, journal = hive(node, "journal", "last", "--json")
    assert [step["verb"] for step in lines_of(journal)[0]["steps"]] == ["ask"] * 5
    code, shown = hive(node, "journal", "last", "--show", "1")
    assert "request" in shown
    assert "bees" in shown

    source.write_text(source.read_text().replace("in short", "at length"))
    code, told = hive(node, "replay", task.id)
    assert code == 1
    assert "the source has changed since the run" in told
    assert "differs at step 5" in told
    assert "in short" in told
    assert "at length" in told
    assert hive(node, "replay", task.id, "--recorded-source")[0] == 0


def test_a_runs_answers_become_a_cassette_that_gives_the_same_bytes(node, source, tmp_path):
    node.hive("run", f"{source}:recall", "--name", "recall", "--yes")
    task = node.send("recall", "bees")
    file = tmp_path / "bees.json"
    code, told = hive(node, "journal", task.id, "--cassette", str(file), "--json")
    assert code == 0, told
    assert lines_of(told)[0]["exchanges"] == 5
    assert file.stat().st_mode & 0o077 == 0
    _, before = hive(node, "journal", task.id, "--show", "5", "--json")
    node.stop()
    node._environment["HIVE_MODELS"] = f"replay:{file}"
    node.start()

    again = node.send("recall", "bees")
    assert again.answer == task.answer
    _, after = hive(node, "journal", again.id, "--show", "5", "--json")
    assert lines_of(after)[0]["answer"] == lines_of(before)[0]["answer"]
    assert node.send("recall", "wasps").answer != task.answer, "another question has no answer"


def test_a_fork_costs_only_what_follows_and_is_compared(node, source):
    node.hive("run", f"{source}:recall", "--name", "recall", "--yes")
    task = node.send("recall", "bees")
    code, told = hive(node, "fork", task.id, "--at", "5", "--json")
    assert code == 0, told
    fork = lines_of(told)[0]["run"]
    ended = node.wait_settled("recall", fork)
    assert ended.answer == task.answer
    _, journal = hive(node, "journal", fork, "--json")
    steps = lines_of(journal)[0]["steps"]
    assert [step["origin"] for step in steps] == [task.id] * 4 + [""]
    assert hive(node, "diff", task.id, fork)[0] == 0
    other = node.send("recall", "wasps")
    code, told = hive(node, "diff", task.id, other.id)
    assert code == 1
    assert "bees" in told
    assert "wasps" in told


def test_a_plain_request_is_served_from_the_record_and_nothing_goes_out(node, source):
    with counting_server() as counter:
        node.hive(
            "run", f"{source}:reach_out", "--name", "out", "--yes", "--host-allow", counter.address
        )
        task = node.send("out", counter.address)
        before = dict(counter.counts)
        assert before["/count"] == 1
        code, told = hive(node, "replay", task.id)
        assert code == 1
        assert "tunnel" in told
        assert dict(counter.counts) == before
