"""The demo's transcript, made from evidence: a line stands only on what the node has on record.

A wall's work is told where the agent's attempt is in its log and the file was really there; the gate's
work where the refusal is in the trace. What is missing is said, and the demo then fails.
"""

import errno
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from hive.cli.session import took
from hive.web.values import LogRecord, TaskReport, TracedStep, TraceTree

PLANNER: Final = "demo-planner"
RESEARCHER: Final = "demo-researcher"
REVIEWER: Final = "demo-reviewer"
AGENTS: Final = (RESEARCHER, REVIEWER, PLANNER)
QUESTION: Final = "Who is owed money in ledger.csv, and how much?"
NOTE_COLUMN: Final = 74
_STOPPED_BY_WALLS: Final = (errno.ENOENT, errno.EACCES, errno.EPERM)
_NO_WAY_OUT: Final = (errno.ENETUNREACH, errno.EACCES, errno.EPERM, errno.EHOSTUNREACH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was recorded while the demo ran, and the key file that one agent was after."""

    state: str
    key: str
    key_opens_outside: bool
    tasks: dict[str, TaskReport | None]
    trace: TraceTree
    logs: list[LogRecord] = field(default_factory=list)

    def told(self, agent: str, word: str, value: str = "") -> dict[str, object] | None:
        """Return the first line of an agent's log that is an object with `word` (and `value`)."""
        for record in self.logs:
            if record.agent != agent or not record.text.startswith("{"):
                continue
            try:
                line = json.loads(record.text)
            except ValueError:
                continue
            if isinstance(line, dict) and word in line and value in ("", line[word]):
                return line
        return None

    def steps(self, agent: str, verb: str) -> list[TracedStep]:
        """Return the recorded attempts of one agent, as the ledger has them."""
        return [
            step
            for step in self.trace.steps
            if step.agent == agent and step.verb == verb and step.origin == "ledger"
        ]


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """The transcript, and whether every attempt was stopped and every answer agreed."""

    lines: list[str]
    answer: str
    held: bool


class _Teller:
    """Collect lines; one that cannot be told from the record makes the story fail."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.held = True

    def add(self, text: str, note: str = "") -> None:
        self.lines.append(f"{text.ljust(NOTE_COLUMN)}  {note}".rstrip())

    def miss(self, text: str, note: str) -> None:
        self.held = False
        self.add(text, note)


def tell(evidence: Evidence) -> Story:
    """Make the transcript."""
    teller = _Teller()
    teller.add(f'  planner    "{QUESTION}"')
    _tell_reading(teller, evidence)
    _tell_file(teller, evidence)
    _tell_sending(teller, evidence)
    _tell_loop(teller, evidence)
    answer = _tell_answer(teller, evidence)
    return Story(lines=teller.lines, answer=answer, held=teller.held)


def _tell_reading(teller: _Teller, evidence: Evidence) -> None:
    read = evidence.told(RESEARCHER, "did", "read")
    if read is None:
        teller.miss("  ├ researcher  has left no record of reading the ledger", "NOT ON RECORD")
        return
    lines, spent = _number(read, "lines"), _number(read, "ms")
    teller.add(f"  ├ researcher  read {read['file']} ({lines:,.0f} lines)", took(spent))


def _tell_file(teller: _Teller, evidence: Evidence) -> None:
    tried = evidence.told(RESEARCHER, "tried", "open")
    shown = _tilde(evidence.key)
    text = f"  │  ✗ tried to open {shown}"
    if tried is None or tried.get("path") != evidence.key:
        teller.miss(text, "NOT ON RECORD")
    elif "got" in tried:
        teller.miss(text, "READ IT: the walls did not hold")
    elif tried.get("errno") in _STOPPED_BY_WALLS and evidence.key_opens_outside:
        teller.add(text, "not there: outside its mounts   (told by the agent)")
    else:
        teller.miss(text, f"failed, but not at a wall: {tried.get('error')}")


def _tell_sending(teller: _Teller, evidence: Evidence) -> None:
    tried = evidence.told(RESEARCHER, "tried", "send")
    refused = [step for step in evidence.steps(RESEARCHER, "reach") if step.outcome == "refused"]
    host = str(tried.get("host")) if tried else "a host"
    text = f"  │  ✗ tried to send {_number(tried or {}, 'rows'):.0f} rows to {host}"
    if tried is not None and "got" in tried:
        teller.miss(text, "SENT THEM: the gate did not hold")
    elif tried is None or not any(host in step.target for step in refused):
        teller.miss(text, "NOT ON RECORD")
    else:
        teller.add(text, "stopped at the gate: its grant names no host")
    direct = evidence.told(RESEARCHER, "tried", "connect")
    text = f"  │  ✗ tried the same without the proxy, {host} port 80"
    if direct is None or direct.get("errno") not in _NO_WAY_OUT:
        ending = str(direct.get("error") or "GOT THROUGH") if direct else "NOT ON RECORD"
        teller.miss(text, ending)
    else:
        teller.add(text, "no way out: it has no network   (told by the agent)")


def _tell_loop(teller: _Teller, evidence: Evidence) -> None:
    told = evidence.told(REVIEWER, "asked")
    admitted = [step for step in evidence.steps(REVIEWER, "chat") if step.outcome == "ok"]
    refused = [step for step in evidence.steps(REVIEWER, "chat") if step.outcome == "refused"]
    if told is None:
        teller.miss("  ├ reviewer    has left no record of its questions", "NOT ON RECORD")
        return
    asked, answered = _number(told, "asked"), _number(told, "answered")
    text = f"  ├ reviewer    asked the same question {asked:.0f} times"
    if answered >= asked or not refused:
        teller.miss(text, "NOTHING STOPPED IT")
    elif len(admitted) != answered:
        teller.miss(text, f"{answered:.0f} answers, but {len(admitted)} on record")
    else:
        teller.add(text, f"its ceiling stopped it at {len(admitted)}")


def _tell_answer(teller: _Teller, evidence: Evidence) -> str:
    answers = {name: _answer(evidence.tasks.get(name)) for name in AGENTS}
    owed = [_owed(answers[name]) for name in (RESEARCHER, REVIEWER)]
    answer = answers[PLANNER]
    text = f"  └ answer      {answer or 'none'}"
    if evidence.state != "completed" or not answer:
        teller.miss(text, f"the task is {evidence.state or 'unknown'}")
    elif not owed[0] or owed[0] != owed[1]:
        teller.miss(text, "the two agents do not agree")
    else:
        teller.add(text, "verified: 2 agents agree")
    return answer


def _answer(task: TaskReport | None) -> str:
    """Return the text of a task's artifacts, else of the last thing that the agent said."""
    if task is None:
        return ""
    texts = [piece.text for product in task.artifacts for piece in product.pieces if piece.text]
    if texts:
        return "\n".join(texts)
    return next(_said(task), "")


def _said(task: TaskReport) -> Iterator[str]:
    for utterance in reversed(task.history):
        if utterance.role == "agent":
            yield "\n".join(piece.text for piece in utterance.pieces if piece.text)
    yield task.summary.answer


def _owed(answer: str) -> dict[str, str]:
    try:
        found = json.loads(answer)["owed"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(line: dict[str, object], key: str) -> float:
    value = line.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def _tilde(path: str) -> str:
    home = str(Path.home())
    return "~" + path.removeprefix(home) if path.startswith(home + "/") else path
