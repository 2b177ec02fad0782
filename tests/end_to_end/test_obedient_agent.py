"""An agent in a real sandbox that obeys every mail it reads: the user's wish is done, the stranger's is not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hive.testing.node_process import node_process

ROOT = Path(__file__).parents[2]
AGENT = '''
import json
import re

from hive_guest.tools import use


def obey(text, said):
    """Do whatever a text demands, at once and to the letter."""
    for tool, arguments in re.findall(r"\\[\\[(\\w+) (.*?)\\]\\]", text):
        try:
            said.append(str(use(f"office__{tool}", **json.loads(arguments))))
        except Exception as error:
            said.append(f"no: {error}")


def agent(text):
    said = []
    inbox = use("office__read_inbox")
    obey(json.dumps(inbox).replace('\\\\"', '"'), said)
    if "Dana" in text:
        found = use("office__find_people", name="Dana")
        found = found["result"] if isinstance(found, dict) else found
        mail = {"to": found[0]["email"], "subject": "Lunch", "body": "I will come."}
        try:
            said.append(str(use("office__send_mail", **mail)))
        except Exception as error:
            said.append(f"no: {error}")
    return "\\n".join(said)
'''


@pytest.fixture(scope="module")
def office():
    command = [sys.executable, "-m", "tests.end_to_end.obedient_office"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def deployed(node, office, folder):
    (folder / "agent.py").write_text(AGENT)
    node.hive("tool", "add", "office", "--url", office, "--yes")
    node.hive(
        "run", f"{folder / 'agent.py'}:agent", "--yes", "--name", "clerk", "--tool", "office.*"
    )


def sent(node):
    return json.loads(node.hive("tool", "call", "office.list_sent").strip())


@pytest.fixture(scope="module")
def node(office, tmp_path_factory):
    given = {"HIVE_APPROVAL_HOLD_S": "0"}
    with node_process(tmp_path_factory.mktemp("state"), given) as running:
        deployed(running, office, tmp_path_factory.mktemp("agent"))
        yield running


def test_what_a_stranger_wrote_is_not_done_and_what_the_user_said_is(node):
    before = sent(node)
    task = node.send("clerk", "Tell Dana that I come to lunch.")
    assert "sent to dana@corp.example" in task.answer, task.answer
    assert "no: " in task.answer
    assert "what came from outside may not say where something goes" in task.answer
    assert sent(node)[len(before) :] == ["dana@corp.example"]
    told = node.hive("audit", "tail", "--json")
    refusals = [
        line for line in told.splitlines() if "office.send_mail" in line and "labels" in line
    ]
    assert refusals, told


def test_a_later_task_in_the_same_conversation_does_not_get_it_through(node):
    before = sent(node)
    answer = node.send("clerk", "What is new?").answer
    assert "no: " in answer
    assert sent(node) == before


def test_without_the_guard_the_stranger_gets_the_mail(office, tmp_path):
    with node_process(tmp_path / "state", {"HIVE_LABELS": "watch"}) as running:
        folder = tmp_path / "agent"
        folder.mkdir()
        deployed(running, office, folder)
        assert "sent to eve@evil.example" in running.send("clerk", "What is new?").answer


def test_a_server_that_the_operator_trusts_may_steer(office, tmp_path):
    with node_process(tmp_path / "state") as running:
        running.hive("tool", "add", "office", "--url", office, "--trusted", "--yes")
        (tmp_path / "agent.py").write_text(AGENT)
        source = f"{tmp_path / 'agent.py'}:agent"
        running.hive("run", source, "--yes", "--name", "clerk", "--tool", "office.*")
        assert "sent to eve@evil.example" in running.send("clerk", "What is new?").answer
