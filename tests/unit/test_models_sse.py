"""Server-sent events are read by their standard's rules, wherever the bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive.core.errors import TooLargeError
from hive.protocols.models.wires.sse import SseReader, StreamEvent, sse_event

EXAMPLES = [
    (b"data: a\n\n", [("", "a")]),
    (b"data:a\n\ndata:  b\n\n", [("", "a"), ("", " b")]),
    (b"data: a\ndata: b\ndata\n\n", [("", "a\nb\n")]),
    (b"event: e\ndata: a\n\ndata: b\n\n", [("e", "a"), ("", "b")]),
    (b": a comment\n\ndata: a\n: another\n\n", [("", "a")]),
    (b"event: only a name\n\ndata: a\n\n", [("", "a")]),
    (b"id: 1\nretry: 5\nodd: x\ndata: a\n\n", [("", "a")]),
    (b"\xef\xbb\xbfdata: a\n\n", [("", "a")]),
    (b"data: \xef\xbb\xbfa\n\n", [("", "\ufeffa")]),
    (b"\n\n\ndata: a\n\n\n\n", [("", "a")]),
    ("data: é\u2028\n\n".encode(), [("", "é\u2028")]),
    (b"data: \xff\n\n", [("", "\ufffd")]),
    (b"data\n\n", [("", "")]),
    (b"data: a\x0bb\x0cc\n\n", [("", "a\x0bb\x0cc")]),
]


def pairs(found):
    return [(event.name, event.data) for event in found]


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(("stream", "events"), EXAMPLES)
def test_events_are_read_whatever_ends_their_lines(stream, events, ends):
    stream = stream.replace(b"\n", ends)
    for size in range(1, len(stream) + 1):
        reader = SseReader()
        found = [
            event
            for at in range(0, len(stream), size)
            for event in reader.feed(stream[at : at + size])
        ]
        assert pairs(found) == events
        assert reader.flush() == []


def test_an_event_is_there_with_its_last_byte_and_not_with_the_next_event():
    assert pairs(SseReader().feed(b"data: a\r\r")) == [("", "a")]


def test_a_line_end_cut_in_two_is_one_line_end():
    reader = SseReader()
    found = [*reader.feed(b"data: a\r"), *reader.feed(b"\ndata: b\r"), *reader.feed(b"\n\r\n")]
    assert pairs(found) == [("", "a\nb")]


@pytest.mark.parametrize("rest", [b"data: a", b"data: a\n", b"data: a\r"])
def test_an_end_without_an_empty_line_still_holds_its_event(rest):
    reader = SseReader()
    assert reader.feed(rest) == []
    assert pairs(reader.flush()) == [("", "a")]


@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8")), min_size=1),
    name=st.text(st.characters(exclude_characters="\r\n", codec="utf-8")),
)
def test_what_is_written_is_read_again(lines, name):
    for line in lines:
        assert SseReader().feed(sse_event(line.encode(), name)) == [
            StreamEvent(name=name, data=line)
        ]


@pytest.mark.parametrize(
    "piece", [b"x" * 64, b"data: " + b"x" * 64, b"data: x\n", b"data:\n", b"event: " + b"x" * 50]
)
def test_nothing_grows_without_end(piece):
    reader = SseReader(line_max_bytes=1000, event_max_bytes=1000)

    def grow():
        for _ in range(2000):
            reader.feed(piece)

    with pytest.raises(TooLargeError):
        grow()


def test_many_small_pieces_of_one_long_line_are_not_searched_again_and_again():
    reader = SseReader()
    for _ in range(200_000):
        reader.feed(b"xxxxxxxx")
    assert reader._looked_at == len(reader._rest)
