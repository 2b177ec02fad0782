"""What an agent says cannot drive the operator's terminal: names, logs, answers, errors, artifacts."""

import re

import pytest

from hive.testing.node_process import WrongAnswerError
from tests.attacks.living import living_node

UGLY = ("\x1b", "\x07", "\x9b", "\u202e", "\u2066", "\r", "\x00")


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with living_node(tmp_path_factory.mktemp("escapes")) as node:
        yield node


@pytest.fixture(scope="module")
def painter(node) -> str:
    agent = node.deploy("paint")
    node.sent(agent, "go")
    node.sent(agent, "fail")
    return agent


def test_the_ugly_text_really_arrives_over_a2a(node, painter):
    """Without this the other tests would pass with an agent that paints nothing."""
    assert "\x1b[31m" in node.ask(painter, "go")


@pytest.mark.parametrize(
    "command",
    [
        ("logs", "paint"),
        ("logs", "paint", "--json"),
        ("ps",),
        ("ps", "--json"),
        ("agent", "show", "paint"),
        ("agent", "explain", "paint"),
        ("trace",),
        ("trace", "--json"),
        ("audit", "tail", "-n", "200"),
        ("audit", "tail", "-n", "200", "--json"),
        ("call", "paint", "hello"),
        ("call", "paint", "hello", "--json"),
        ("status",),
    ],
)
def test_no_command_shows_what_drives_a_terminal(node, painter, command):
    shown = node.process.hive(*command)
    assert shown.strip()
    assert [mark for mark in UGLY if mark in shown] == []


def test_a_failure_is_told_without_them(node, painter):
    with pytest.raises(RuntimeError) as told:
        node.process.hive("call", "paint", "fail")
    assert "broke" in str(told.value)
    assert [mark for mark in UGLY if mark in str(told.value)] == []


def test_the_log_file_holds_none_of_them(node, painter):
    text = (node.process.state / "logs" / "paint.log").read_text()
    assert "printed" in text
    assert "wrote" in text
    assert [mark for mark in UGLY if mark in text] == []


def test_a_name_with_escapes_becomes_one_without(node):
    node.deploy("echo", name="plain")
    node.process.hive("run", str(node.folder / "plain"), "--name", "a\x1b[31mb\u202e", "--yes")
    shown = node.process.hive("ps")
    assert [mark for mark in UGLY if mark in shown] == []
    names = [line.split()[0] for line in shown.splitlines()[1:]]
    assert all(re.fullmatch("[a-z0-9-]+", name) for name in names)


def test_an_agents_own_description_cannot_drive_a_terminal(node):
    spec = 'description = "\\u001b[31mred\\u202e"\n'
    agent = node.deploy("echo", name="described", spec=spec)
    for command in (("agent", "show", agent), ("agent", "list"), ("agent", "explain", agent)):
        shown = node.process.hive(*command)
        assert [mark for mark in UGLY if mark in shown] == []


def test_a_question_with_escapes_is_told_without_them(node):
    agent = node.deploy("echo")
    try:
        node.ask(agent, "\x1b[31mred\u202e")
    except WrongAnswerError:
        pytest.fail("the message itself is allowed")
    for command in (("ps",), ("trace",), ("audit", "tail")):
        assert [mark for mark in UGLY if mark in node.process.hive(*command)] == []
