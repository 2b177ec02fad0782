"""A tool server sends comments and blank lines without end: its reader would be busy for ever, hearing nothing."""

import pytest

from hive.core.errors import EngineUnavailableError
from hive.protocols.mcp.drivers.events import EventLines
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


def test_a_stream_that_is_kept_alive_now_and_then_goes_on():
    clock = StoppedClock()
    heard = EventLines(90, FloodGauge(clock))
    for _ in range(3 * NOTES_MAX):
        assert list(heard.feed(b":\n\n")) == []
        clock.advance(1.0)
    assert [one.data for one in heard.feed(b"data: there\n\n")] == [b"there"]
