"""Lines of model calls for the tests of cost, page and metrics, and a clock that a test moves."""

from datetime import UTC, datetime

from hive.core.ids import OwnerId
from hive.core.json import Json, encode
from hive.ledger.entry import Entry, EntryKind
from hive.ledger.meter import SpendMeter

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class HandClock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


def entry(kind: EntryKind, name: str, body: Json, *, agent: str = "writer", at=NOON) -> Entry:
    return Entry(
        chain="n.1",
        sequence=1,
        kind=kind,
        name=name,
        at=at,
        call=None,
        task=None,
        agent=agent,
        owner=OwnerId("alice"),
        trace_id="",
        span_id="",
        body=encode(body).decode(),
        content_id="",
        previous_hash="",
        hash="",
    )


def ask_line(
    model: str = "small",
    *,
    agent: str = "writer",
    outcome: str = "ok",
    ms: float = 100.0,
    at: datetime = NOON,
    **cost: Json,
) -> Entry:
    body = {"verb": "ask", "outcome": outcome, "duration_ms": ms, "cost": cost}
    return entry(EntryKind.RESULT, f"ask {model}", body, agent=agent, at=at)


def metered(*lines: Entry, clock: HandClock | None = None) -> SpendMeter:
    meter = SpendMeter(clock or HandClock())
    meter.observe(lines)
    return meter
