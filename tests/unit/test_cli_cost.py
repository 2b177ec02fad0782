"""`hive cost` over a real control socket: a table with totals, CSV, JSON, and times as people write them."""

import csv
import io
import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
import uvicorn

from hive.cli.commands.cost import live_lines, moment
from hive.cli.entry import run_command
from hive.core.clock import SystemClock
from hive.core.randomness import SystemRandomness
from hive.ledger.cost import CostKey, CostReport, CostSum
from hive.testing.console import MemoryConsole
from hive.web.operator import OperatorApi
from hive.web.sessions import PageSessions
from hive.web.spend import (
    AgentSpend,
    BudgetBar,
    CostQuestion,
    LiveSpend,
    SpendChapter,
    Spent,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOSTILE = '=cmd()\x1b[31m\u202e,\n"x'
GROUPS = (
    CostSum(
        key={"agent": "writer", "model": "small"},
        calls=1200,
        failed=2,
        input_tokens=34_000,
        nano_usd=1_234_567_890,
        p50_ms=12.4,
    ),
    CostSum(key={"agent": HOSTILE, "model": "m"}, calls=3, unpriced=3),
)
TOTAL = CostSum(calls=1203, failed=2, unpriced=3, input_tokens=34_000, nano_usd=1_234_567_890)


class ToldCosts:
    """Answers with fixed sums and keeps what it was asked."""

    def __init__(self) -> None:
        self.questions: list[CostQuestion] = []
        self.groups: tuple[CostSum, ...] = GROUPS
        self.total = TOTAL

    async def report(self, question: CostQuestion) -> CostReport:
        self.questions.append(question)
        return CostReport(
            by=question.by,
            since=question.since,
            until=question.until,
            groups=self.groups,
            total=self.total,
        )


@pytest.fixture
def costs() -> ToldCosts:
    return ToldCosts()


@pytest.fixture
def state(costs, tmp_path, monkeypatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    sessions = PageSessions(clock=SystemClock(), randomness=SystemRandomness())
    app = OperatorApi(
        MemoryConsole(), sessions=sessions, guarded=False, chapters=[SpendChapter(costs)]
    )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "control.sock"))
    listener.listen()
    config = uvicorn.Config(app, log_config=None, lifespan="off", access_log=False, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield tmp_path
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def hive(state, capsys):
    def run(*arguments: str) -> tuple[int, str, str]:
        code = run_command(["--state", str(state), "cost", *arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def test_the_table_ends_with_its_total(hive):
    code, out, _ = hive()
    assert code == 0
    lines = [line.split("  ") for line in out.splitlines()]
    assert lines[0][0].strip() == "AGENT"
    assert "writer" in out
    assert "1,200" in out
    assert "$1.2346" in out
    assert lines[-1][0].strip() == "total"
    assert "$1.2346 + 3 of unknown price" in out.splitlines()[-1]


def test_a_price_that_nobody_knows_is_said_to_be_unknown(hive):
    assert "price unknown" in hive()[1].splitlines()[2]


def test_no_name_drives_the_terminal_or_breaks_its_line(hive):
    for form in ((), ("--csv",), ("--json",)):
        out = hive(*form)[1]
        assert "\x1b" not in out
        assert "\u202e" not in out
    assert len(hive()[1].splitlines()) == 4


def test_csv_reads_back_and_no_name_is_a_formula(hive):
    rows = list(csv.DictReader(io.StringIO(hive("--csv")[1])))
    assert rows[0]["usd"] == "1.234567890"
    assert rows[0]["nano_usd"] == "1234567890"
    assert rows[1]["agent"].startswith("'=cmd()")
    assert rows[1]["usd"] == ""


def test_json_has_every_amount_exactly(hive):
    told = json.loads(hive("--json")[1])
    assert told["total"]["nano_usd"] == 1_234_567_890
    assert told["by"] == ["agent", "model"]


def test_the_question_reaches_the_node_as_it_was_asked(hive, costs):
    before = SystemClock().now()
    hive("--by", "day,upstream", "--since", "24h", "--until", "2026-03-01T12:00", "--task", "t-1")
    asked = costs.questions[0]
    assert asked.by == (CostKey.DAY, CostKey.UPSTREAM)
    assert abs(asked.since - (before - timedelta(hours=24))) < timedelta(minutes=1)
    assert asked.until == NOW
    assert asked.task == "t-1"


def test_sums_by_nothing_are_the_total_alone(hive, costs):
    costs.groups = ()
    code, out, _ = hive("--by", "")
    assert code == 0
    assert costs.questions[0].by == ()
    assert len(out.splitlines()) == 2


def test_nothing_on_record_is_said(hive, costs):
    costs.groups, costs.total = (), CostSum()
    assert hive()[1] == "No model call is on record for that.\n"


@pytest.mark.parametrize("arguments", [("--by", "colour"), ("--since", "yesterday")])
def test_what_cannot_be_asked_is_refused_before_the_node_is(hive, costs, arguments):
    code, _, err = hive(*arguments)
    assert code != 0
    assert arguments[1] in err
    assert costs.questions == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", None),
        ("90m", NOW - timedelta(minutes=90)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:00:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_people_write_them(text, found):
    assert moment(text, NOW) == found


@pytest.mark.parametrize("text", ["-1h", "1y", "999999w", "now", "1h30m"])
def test_what_is_no_time_is_said(text):
    with pytest.raises(click.UsageError):
        moment(text, NOW)


def test_the_watched_table_has_agents_and_ceilings():
    told = "\n".join(
        live_lines(
            LiveSpend(
                today=Spent(calls=2, nano_usd=5_000_000),
                complete=False,
                agents=[AgentSpend(agent=HOSTILE, today=Spent(calls=2), total=Spent())],
                budgets=[
                    BudgetBar(scope="agent", name="w", unit="calls", limit=9, spent=9, closed=True)
                ],
            )
        )
    )
    assert "$0.005" in told
    assert "being summed" in told
    assert "9 calls  9 calls" in told
    assert "closed" in told
    assert "\x1b" not in told
