"""`hive task`, what waits for a person while a call goes on, and why calls were refused."""

from datetime import UTC, datetime

import msgspec
import pytest

from hive.cli.render import entry_line
from hive.cli.session import Moving, Options
from hive.cli.waiting import WaitingCalls, waiting_calls_told
from hive.core.errors import NodeUnreachableError
from hive.testing.console import MOMENT
from hive.web.approvals import ApprovalLine
from hive.web.values import AuditRecord, Piece, Product, TaskMessage
from tests.unit.test_cli_verbs import agent, console, hive, state

__all__ = ["agent", "console", "hive", "state"]


@pytest.fixture
def asked(hive, agent, console) -> str:
    """Give the id of a task that was asked and answered."""
    hive("call", agent, "hello there")
    return next(iter(console.reports))


def test_tasks_are_listed_with_what_was_asked(hive, agent, asked):
    code, out, err = hive("task")
    assert code == 0
    assert asked in out
    assert "hello there" in out
    assert f"hive task show {asked}" in err
    assert asked in hive("task", "list", "--agent", agent)[1]
    assert asked in hive("task", "list", "--status", "completed")[1]
    assert "no such tasks" in hive("task", "list", "--agent", "nobody")[1]
    assert msgspec.json.decode(hive("task", "list", "--json")[1])["id"] == asked


def test_a_task_is_shown_with_its_conversation_and_what_came_of_it(hive, console, asked):
    pieces = [Piece(data={"sum": 3}), Piece(raw=b"x", filename="a\x1b[2J.txt")]
    report = msgspec.structs.replace(
        console.reports[asked],
        history=[TaskMessage(role="user", pieces=[Piece(text="hello there")])],
        artifacts=[Product(id="a", pieces=pieces)],
    )
    console.reports[asked] = report
    out = hive("task", "show", asked)[1]
    assert "hello there" in out
    assert '{"sum":3} [a' in out
    assert "\x1b" not in out
    assert hive("task", "show", "nothing")[0] == 1


def test_a_task_is_canceled(hive, asked):
    code, out, _ = hive("task", "cancel", asked)
    assert code == 0
    assert out.startswith(asked)


class Waiting:
    """A node of which calls wait, or which does not answer."""

    def __init__(self, *found: ApprovalLine) -> None:
        self.found: list[ApprovalLine] | None = list(found)

    def get(self, path, kind, **query):
        assert (path, kind) == ("approvals", list[ApprovalLine])
        if self.found is None:
            raise NodeUnreachableError("It does not answer.")
        return self.found


def line(name: str, **changes) -> ApprovalLine:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    given = {
        "id": name,
        "state": "waiting",
        "verb": "invoke",
        "target": "bank.pay",
        "by": "agent",
        "owner": "owner",
        "rule": "rule",
        "asked_at": at,
        "expires_at": at,
        "task": "mine",
        "arguments": "a long story",
    }
    return ApprovalLine(**given | changes)


def test_what_waits_in_this_task_is_told_once_and_never_its_arguments(capsys):
    node = Waiting(line("ap-1"), line("ap-2", task="other"), line("ap-3", state="allowed"))
    found = WaitingCalls(node, Moving())
    found.task_id = "mine"
    found.look()
    found.look()
    told = capsys.readouterr().err
    assert told.count("ap-1") == 2  # once to show, once to answer
    assert "invoke bank.pay" in told
    assert "story" not in told
    assert "ap-2" not in told
    assert "ap-3" not in told
    node.found = None
    found.look()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("options", [Options(json=True), Options(quiet=True)])
def test_nothing_is_looked_up_where_nobody_reads(options, capsys):
    node = Waiting(line("ap-1"))
    node.found = None
    with waiting_calls_told(options, node, Moving()) as found:
        found.task_id = "mine"
    assert capsys.readouterr().err == ""


def test_a_refusal_in_the_ledger_is_told_in_the_words_of_its_check():
    entry = AuditRecord(
        chain="node-1/1",
        sequence=7,
        kind="intent",
        name="reach",
        at=MOMENT,
        agent="adder",
        call="c",
        task="t",
        body='{"target":"evil.example:443","decision":"refused","check":"grant","reason":"not granted"}',
        previous_hash="00",
        hash="11",
    )
    assert "refused by grant: evil.example:443  not granted" in entry_line(entry)
    strange = msgspec.structs.replace(entry, body='{"decision":"refused"')
    assert '{"decision"' in entry_line(strange)
