"""A stolen key: on another sandbox's socket, from outside, and after the turn it was made for."""

import json
import re
import threading
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.attacks.living import living_node


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with living_node(tmp_path_factory.mktemp("handles")) as node:
        yield node


def test_an_agents_own_key_opens_its_own_socket(node):
    thief = node.deploy("use_handle")
    status, body = json.loads(node.ask(thief, "own"))
    assert status == 200
    assert "scripted answer" in body


def test_another_sandboxs_key_is_worth_nothing_on_ones_own_socket(node):
    victim, thief = node.deploy("tell_handle"), node.deploy("use_handle")
    stolen = node.ask(victim)
    assert stolen.startswith("hive-")
    status, body = json.loads(node.ask(thief, stolen))
    assert status == 401
    assert "scripted answer" not in body


def test_a_key_is_worth_nothing_elsewhere_while_its_own_turn_runs(node):
    victim, thief = node.deploy("tell_handle_and_wait"), node.deploy("use_handle")
    node.process.send(victim, "x", wait=False)
    status, body = json.loads(node.ask(thief, printed_key(node, victim)))
    assert status == 401
    assert "scripted answer" not in body


@pytest.mark.parametrize("path", ["/a2a/tell-handle", "/v1/chat/completions", "/api/status"])
def test_a_key_opens_nothing_on_the_public_port(node, path):
    stolen = node.ask(node.deploy("tell_handle"))
    said = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": said}}
    request = Request(
        node.process.url + path,
        data=None if path.startswith("/api") else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {stolen}",
            "Content-Type": "application/json",
            "A2A-Version": "1.0",
        },
    )
    with pytest.raises(HTTPError) as caught:
        urlopen(request, timeout=10)
    with caught.value as answer:
        assert answer.code in (401, 403, 404)


def test_what_goes_on_calling_after_its_turn_is_refused_and_loses_its_sandbox(node):
    agent = node.deploy("go_on")
    assert json.loads(node.ask(agent))["turns"] == 1
    give_it_time(0.6)  # the thread that was left behind calls ten times a second
    assert asked_by(node, agent) == []
    again = json.loads(node.ask(agent))
    assert again["turns"] == 1, "the unclean process was used again"


def printed_key(node, agent: str) -> str:
    for _ in range(100):
        words = node.process.hive("logs", agent).split()
        keys = [word for word in words if re.fullmatch(r"hive-[0-9a-f]{48}", word)]
        if keys:
            return keys[-1]
    pytest.fail("the victim told nothing")


def give_it_time(seconds: float) -> None:
    threading.Event().wait(seconds)


def asked_by(node, agent: str) -> list[dict]:
    lines = [line for line in node.entries() if line["name"].startswith("ask")]
    return [line for line in lines if line["agent"] == agent and '"admitted"' in str(line["body"])]
