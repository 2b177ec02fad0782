"""A stolen key: on another sandbox's socket, from outside, and after the turn it was made for."""

import contextlib
import json
import re
import threading
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.attacks.living import living_node

GEMINI_WAYS = ("query", "header")
HANDLE = re.compile(rb"hive-[0-9a-f]{48}")


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


@pytest.mark.parametrize("way", GEMINI_WAYS)
def test_gemini_shows_an_agents_own_key_in_the_query_or_in_a_header(node, way):
    status, body = json.loads(node.ask(node.deploy("use_handle_as_gemini"), f"{way} own"))
    assert status == 200
    assert "scripted answer" in body


@pytest.mark.parametrize("way", GEMINI_WAYS)
def test_another_sandboxs_key_is_worth_nothing_as_gemini_shows_it(node, way):
    victim, thief = node.deploy("tell_handle_and_wait"), node.deploy("use_handle_as_gemini")
    stolen = node.ask(node.deploy("tell_handle"))
    node.process.send(victim, "x", wait=False)
    for key in (stolen, printed_key(node, victim)):
        status, body = json.loads(node.ask(thief, f"{way} {key}"))
        assert status == 401
        assert "scripted answer" not in body
        assert key not in body


def test_a_key_between_turns_asks_nothing_as_gemini_shows_it(node):
    agent = node.deploy("go_on_as_gemini")
    assert node.ask(agent) == "left"
    give_it_time(0.6)  # the thread that was left behind calls twenty times a second
    assert asked_by(node, agent) == []


@pytest.mark.parametrize("way", GEMINI_WAYS)
@pytest.mark.parametrize("path", ["/v1beta/models/scripted:generateContent", "/api/status"])
def test_a_key_opens_nothing_on_the_public_port_as_gemini_shows_it(node, way, path):
    stolen = node.ask(node.deploy("tell_handle"))
    request = Request(
        node.process.url + path + (f"?key={stolen}" if way == "query" else ""),
        data=None if path.startswith("/api") else b'{"contents":[{"parts":[{"text":"hi"}]}]}',
        headers={"Content-Type": "application/json"}
        | ({"x-goog-api-key": stolen} if way == "header" else {}),
    )
    with pytest.raises(HTTPError) as caught:
        urlopen(request, timeout=10)
    with caught.value as answer:
        assert answer.code in (401, 403, 404)
        assert stolen.encode() not in answer.read()


def test_a_key_that_was_shown_in_every_way_stands_nowhere(tmp_path):
    """The agent that tells its key shows that the search finds one; what an agent says is its own to say."""
    with living_node(tmp_path, {"HIVE_LOG_LEVEL": "debug"}) as node:
        quiet = node.deploy("show_own_key_everywhere")
        task = node.sent(quiet)
        assert json.loads(task.answer) == [200, 200, 200, 200]
        printed = [
            node.process.hive("audit", "tail", "-n", "2000", "--json"),
            node.process.hive("logs", quiet),
            node.process.hive("trace", task.id, "--json"),
            node.process.hive("journal", "last", "--json"),
            *(
                node.process.hive("journal", "last", "--show", str(step), "--json")
                for step in (1, 2, 3, 4)
            ),
        ]
        assert any("generateContent" in told for told in printed), "the journal has the question"
        assert [told for told in printed if HANDLE.search(told.encode())] == []
        assert files_with_a_key(node.process.state) == []
        node.ask(node.deploy("tell_handle"))
        node.process.send(node.deploy("tell_handle_and_wait"), "x", wait=False)
        assert printed_key(node, "tell-handle-and-wait")
        assert files_with_a_key(node.process.state) != [], "the search finds nothing at all"


def files_with_a_key(state) -> list[str]:
    """Return the files of a node's state that hold a key, but for the places of running sandboxes."""
    found = []
    for path in state.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and not path.is_symlink() and HANDLE.search(path.read_bytes()):
                found.append(str(path))
    return found


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
