"""The meter counts durable lines in memory: exactly, by the day, and in bounded space."""

from datetime import UTC, datetime, timedelta

import pytest

from hive.core.json import Json, encode
from hive.ledger.cost import dollars
from hive.ledger.entry import Entry, EntryKind
from hive.ledger.meter import BOUNDS_S, SpendMeter, percentiles
from tests.spend_rig import NOON, HandClock, ask_line, entry, metered

REFUSAL = {"decision": "refused", "check": "budget"}


def intent(body: dict[str, Json]) -> Entry:
    return entry(EntryKind.INTENT, "ask small", body)


def test_tokens_a_second_are_the_mean_of_the_last_minute():
    clock = HandClock()
    meter = metered(ask_line(input_tokens=500, output_tokens=100), clock=clock)
    assert meter.tokens_per_s() == 10.0
    clock.at += timedelta(seconds=59)
    assert meter.tokens_per_s() == 10.0
    clock.at += timedelta(seconds=1)
    assert meter.tokens_per_s() == 0.0


def test_an_hour_of_minutes_ends_with_this_one():
    clock = HandClock()
    meter = metered(
        ask_line(at=NOON - timedelta(minutes=59), input_tokens=1, nano_usd=5),
        ask_line(at=NOON - timedelta(minutes=60), input_tokens=1000),
        ask_line(input_tokens=2),
        clock=clock,
    )
    minutes = meter.minutes()
    assert len(minutes) == 60
    assert (minutes[0], minutes[-1]) == ((1, 5), (2, 0))
    assert sum(tokens for tokens, _ in minutes) == 3


def test_the_ring_forgets_what_nobody_is_shown():
    meter = SpendMeter(clock := HandClock())
    for _ in range(10_000):
        clock.at += timedelta(minutes=1)
        meter.observe([ask_line(at=clock.at, input_tokens=1)])
    assert len(meter._minutes._kept) <= 120
    assert meter.minutes() == [(1, 0)] * 60


def test_today_begins_again_at_midnight():
    clock = HandClock()
    meter = metered(ask_line(nano_usd=5), clock=clock)
    assert meter.today.nano_usd == 5
    clock.at = datetime(2026, 3, 2, 0, 0, 1, tzinfo=UTC)
    assert meter.today.nano_usd == 0
    assert meter.agents.of("writer").today.nano_usd == 0
    assert meter.total.nano_usd == 5
    # A call that ended before midnight is told of after it.
    meter.observe([ask_line(nano_usd=7)])
    assert (meter.today.nano_usd, meter.total.nano_usd) == (0, 12)


def test_a_price_that_nobody_knows_is_not_nothing():
    meter = metered(ask_line(input_tokens=3), ask_line(nano_usd=0), ask_line(outcome="failed"))
    assert (meter.total.calls, meter.total.failed, meter.total.unpriced) == (3, 1, 1)


def test_refusals_are_counted_when_written_and_when_summarised():
    summary = {
        "total": 40,
        "counts": [
            {"principal": "p", "check": "rate", "count": 38},
            {"principal": "q", "check": "budget", "count": 2},
        ],
    }
    meter = metered(
        intent(REFUSAL),
        intent({"decision": "admitted"}),
        entry(EntryKind.EVENT, "refusals.summarised", summary),
    )
    assert meter.refusals == {"budget": 3, "rate": 38}


def test_no_text_of_an_agent_is_counted_as_a_refusal():
    meter = metered(
        intent({"decision": "admitted", "facts": {"x": '"decision":"refused","check":"lie"'}}),
        intent({"decision": "admitted", "facts": {"check": "lie", "decision": "refused"}}),
    )
    assert meter.refusals == {}


def test_calls_of_every_kind_are_counted_by_how_they_ended():
    meter = metered(
        ask_line(),
        entry(EntryKind.RESULT, "send writer", {"outcome": "ok"}),
        entry(EntryKind.RESULT, "reach example.org", {"outcome": "failed"}),
    )
    assert meter.calls == {("ask", "ok"): 1, ("send", "ok"): 1, ("reach", "failed"): 1}
    assert meter.entries == 3


@pytest.mark.parametrize("value", [-1, "7", True, None, [], {}, 10**40, 1e300])
def test_no_word_of_a_provider_stops_the_count(value):
    meter = metered(
        Entry(**{**_fields(ask_line()), "body": encode({"outcome": "ok", "cost": value}).decode()})
        if not isinstance(value, int) or value < 2**63
        else ask_line(),
        ask_line(input_tokens=value if not _huge(value) else 1, nano_usd=1),
    )
    assert meter.total.calls == 2
    assert 0 <= meter.total.nano_usd <= 1


def _huge(value: object) -> bool:
    return isinstance(value, int) and value >= 2**63


def _fields(line: Entry) -> dict[str, object]:
    return {name: getattr(line, name) for name in Entry.__slots__}


def test_durations_fall_below_their_bounds():
    meter = metered(*(ask_line(ms=ms, first_token_ms=ms / 2) for ms in (50, 51, 400_000)))
    way = meter.ways.of(("small", "-"))
    assert way.duration.counts[:2] == [1, 1]
    assert way.duration.counts[len(BOUNDS_S)] == 1
    assert way.duration.sum_s == pytest.approx(400.101)
    assert sum(way.first_token.counts) == 3


def test_a_call_that_failed_says_nothing_of_how_fast_answers_are():
    meter = metered(ask_line(ms=5, outcome="failed"))
    assert meter.durations_ms(0.5) == [None]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], [None, None]), ([7.0], [7.0, 7.0]), ([4.0, 1.0, 2.0, 3.0], [2.5, 3.85])],
)
def test_percentiles_are_those_of_the_database(values, expected):
    assert percentiles(values, (0.5, 0.95)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (150, "$0.00000015"),
        (123_456, "$0.0001235"),
        (10_000_000, "$0.01"),
        (500_000_000, "$0.50"),
        (999_999_999, "$1.00"),
        (1_234_567_890, "$1.2346"),
        (1_234_567_890_123, "$1,234.57"),
    ],
)
def test_money_has_as_many_digits_as_it_has_meaning(nano, text):
    assert dollars(nano) == text
