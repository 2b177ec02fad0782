"""A tool server sends comments and blank lines without end: its reader would be busy for ever, hearing nothing."""

import pytest

from hive.core.errors import EngineUnavailableError
from hive.protocols.mcp.drivers.events import FIELDS_MAX, EventLines
from hive.protocols.mcp.drivers.flood import NOTES_MAX, FloodGauge
from hive.testing.clock import StoppedClock


def test_a_stream_that_says_nothing_without_end_is_cut_off():
    clock = StoppedClock()
    flood = b": nothing\n\n" * (NOTES_MAX // 2)
    heard = EventLines(90, FloodGauge(clock))
    assert list(heard.feed(flood)) == []
    with pytest.raises(EngineUnavailableError, match="unasked"):
        list(heard.feed(flood + b": one more\n"))
    unguarded = EventLines(90)
    assert list(unguarded.feed(flood * 10)) == []


@pytest.mark.parametrize(
    "line", [b"id: 1\n", b"retry: 1\n", b"event: x\n", b"unknown: x\n", b"x\n"]
)
def test_fields_of_an_event_that_never_ends_are_cut_off(line):
    heard = EventLines(90, FloodGauge(StoppedClock()))
    with pytest.raises(EngineUnavailableError, match="unasked"):
        list(heard.feed(line * (NOTES_MAX + FIELDS_MAX + 1)))
    unguarded = EventLines(90)
    assert list(unguarded.feed(line * NOTES_MAX * 2)) == []


def test_events_that_name_themselves_are_not_taken_for_noise():
    heard = EventLines(90, FloodGauge(StoppedClock()))
    event = b"event: message\nid: 7\nretry: 5\ndata: x\n\n"
    assert len(list(heard.feed(event * NOTES_MAX * 2))) == NOTES_MAX * 2


def test_a_stream_that_is_kept_alive_now_and_then_goes_on():
    clock = StoppedClock()
    heard = EventLines(90, FloodGauge(clock))
    for _ in range(3 * NOTES_MAX):
        assert list(heard.feed(b":\n\n")) == []
        clock.advance(1.0)
    assert [one.data for one in heard.feed(b"data: there\n\n")] == [b"there"]
