"""Another owner's data: in a process that is used again, in its files, and behind the real door."""

import json

import pytest

from tests.attacks.living import living_node


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with living_node(tmp_path_factory.mktemp("owners")) as node:
        yield node


@pytest.fixture(scope="module")
def owners(node):
    return {name: node.token(name)[0] for name in ("alice", "bob")}


def test_one_owners_turns_share_a_process(node, owners):
    """Without this the next test would pass with a process a turn, and prove nothing."""
    agent = node.deploy("remember", name="remember-one")
    node.ask(agent, "alice-first", token=owners["alice"])
    assert "alice-first" in node.ask(agent, "alice-second", token=owners["alice"])


def test_what_one_owner_said_is_not_there_for_the_next(node, owners):
    agent = node.deploy("remember")
    node.ask(agent, "alice-secret", token=owners["alice"])
    seen = node.ask(agent, "bob-hello", token=owners["bob"])
    assert json.loads(seen)[-1] == ""
    assert "alice-secret" not in seen
    seen = node.ask(agent, "alice-again", token=owners["alice"])
    assert "bob-hello" not in seen


def test_the_operators_turn_leaves_nothing_to_a_client(node, owners):
    agent = node.deploy("remember", name="remember-two")
    node.ask(agent, "operators-secret")
    assert "operators-secret" not in node.ask(agent, "hi", token=owners["bob"])


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("GetTask", lambda task: {"id": task}),
        ("CancelTask", lambda task: {"id": task}),
        ("SubscribeToTask", lambda task: {"id": task}),
        ("CreateTaskPushNotificationConfig", lambda task: {"taskId": task, "url": "https://x.io/"}),
        ("ListTaskPushNotificationConfigs", lambda task: {"taskId": task}),
    ],
)
def test_another_owners_task_is_not_there(node, owners, method, params):
    agent = node.deploy("echo")
    task = node.sent(agent, "alice-secret", token=owners["alice"])
    mine = node.process.rpc(agent, "GetTask", {"id": task.id}, token=owners["alice"])
    assert "alice-secret" in json.dumps(mine)
    answer = node.process.rpc(agent, method, params(task.id), token=owners["bob"])
    assert answer["error"]["code"] == -32001
    assert "alice" not in json.dumps(answer)


def test_another_owners_tasks_are_in_no_list(node, owners):
    agent = node.deploy("echo")
    task = node.sent(agent, "alice-secret", token=owners["alice"])
    mine = json.dumps(node.process.rpc(agent, "ListTasks", {}, token=owners["alice"]))
    theirs = json.dumps(node.process.rpc(agent, "ListTasks", {}, token=owners["bob"]))
    assert task.id in mine
    assert task.id not in theirs
    assert "alice" not in theirs


def test_another_owners_context_tells_nothing(node, owners):
    agent = node.deploy("echo")
    task = node.sent(agent, "alice-secret", token=owners["alice"])
    said = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}
    message = {"message": {**said, "contextId": task.context_id}}
    answer = json.dumps(node.process.rpc(agent, "SendMessage", message, token=owners["bob"]))
    assert "alice-secret" not in answer


def test_another_owners_waiting_task_cannot_be_continued(node, owners):
    agent = node.deploy("echo")
    task = node.sent(agent, "hi", token=owners["alice"])
    said = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}
    message = {"message": {**said, "taskId": task.id}}
    answer = node.process.rpc(agent, "SendMessage", message, token=owners["bob"])
    assert answer["error"]["code"] == -32001
