"""What an answer cost is read from it while it passes, and means the same on every wire."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive.protocols.models.conversation import TokenUsage
from hive.protocols.models.usage import BODY_MAX_BYTES, LINE_MAX_BYTES, UsageMeter, usage_of

CHAT = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
    "completion_tokens_details": {"reasoning_tokens": 20},
}
RESPONSES = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 150,
}
MESSAGES = {
    "input_tokens": 10,
    "cache_read_input_tokens": 60,
    "cache_creation_input_tokens": 30,
    "output_tokens": 50,
    "output_tokens_details": {"thinking_tokens": 20},
}
GEMINI = {
    "promptTokenCount": 100,
    "cachedContentTokenCount": 60,
    "candidatesTokenCount": 30,
    "thoughtsTokenCount": 20,
    "totalTokenCount": 150,
}
SAME = TokenUsage(input=100, output=50, cache_read=60, cache_write=30, reasoning=20)


def data(document, name=""):
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(document)}\n\n".encode()


STREAMS = {
    "chat": data({"choices": [], "usage": None}) + data({"choices": [], "usage": CHAT}),
    "responses": data({"type": "response.created", "response": {"usage": None}})
    + data({"type": "response.completed", "response": {"id": "r", "usage": RESPONSES}}),
    "messages": data({"message": {"usage": {**MESSAGES, "output_tokens": 1}}}, "message_start")
    + data({"usage": MESSAGES}, "message_delta"),
    "gemini": data({"candidates": [], "usageMetadata": {"promptTokenCount": 100}})
    + data({"usageMetadata": GEMINI}),
}


@pytest.mark.parametrize(
    ("wire", "usage"),
    [("chat", CHAT), ("responses", RESPONSES), ("messages", MESSAGES), ("gemini", GEMINI)],
)
def test_a_count_means_the_same_on_every_wire(wire, usage):
    same = (
        SAME if wire != "gemini" else TokenUsage(input=100, output=50, cache_read=60, reasoning=20)
    )
    assert usage_of(usage) == same
    meter = UsageMeter(streams=False)
    meter.feed(json.dumps({"usageMetadata" if wire == "gemini" else "usage": usage}).encode())
    assert meter.usage() == same


@given(wire=st.sampled_from(sorted(STREAMS)), cuts=st.lists(st.integers(1, 400), max_size=20))
def test_a_count_is_found_in_a_stream_wherever_it_is_cut(wire, cuts):
    for ends in (b"\n", b"\r\n", b"\r"):
        stream = STREAMS[wire].replace(b"\n", ends)
        meter, at = UsageMeter(streams=True), 0
        for cut in (*cuts, len(stream)):
            meter.feed(stream[at : at + cut])
            at += cut
        assert (meter.usage().input, meter.usage().output) == (100, 50)
        assert meter.usage().cache_read == 60


def test_a_count_over_several_lines_of_data_is_read_once_it_is_whole():
    lines = json.dumps({"usage": CHAT}, indent=1).encode().split(b"\n")
    for ends in (b"\n", b"\r\n"):
        meter = UsageMeter(streams=True)
        for byte in b"".join(b"data: " + line + ends for line in lines) + ends:
            meter.feed(bytes([byte]))
        assert meter.usage() == SAME


def test_a_stream_of_one_json_array_is_read_too():
    chunks = [{"usageMetadata": {"promptTokenCount": 100}}, {"usageMetadata": GEMINI}]
    meter = UsageMeter(streams=False)
    meter.feed(json.dumps(chunks, indent=2).encode())
    assert meter.usage() == TokenUsage(input=100, output=50, cache_read=60, reasoning=20)


def test_embeddings_cost_their_input():
    meter = UsageMeter(streams=False)
    vector = [0.123456789] * 100_000
    meter.feed(
        json.dumps(
            {"data": [{"embedding": vector}] * 2, "usage": {"prompt_tokens": 5, "total_tokens": 5}}
        ).encode()
    )
    assert meter.cost()["input_tokens"] == 5
    assert meter.usage().output == 0


def test_reasoning_that_only_the_total_holds_is_paid_all_the_same():
    usage = usage_of({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40})
    assert usage.output == 30


@pytest.mark.parametrize(
    "fake",
    [
        {"choices": [{"message": {"content": '"usage":{"prompt_tokens":9}'}}]},
        {"content": [{"type": "tool_use", "input": {"usage": {"input_tokens": 9}}}]},
        {"usage": {"prompt_tokens": "9"}},
        {"usage": {"prompt_tokens": True}},
        {"usage": [9]},
        {"usage": None},
        [{"usage": 4}],
        "usage",
    ],
)
def test_what_is_no_count_is_not_counted(fake):
    whole, stream = UsageMeter(streams=False), UsageMeter(streams=True)
    whole.feed(json.dumps(fake).encode())
    stream.feed(data(fake))
    assert whole.usage() is None
    assert stream.usage() is None


def test_a_count_below_nothing_gives_nothing_back():
    assert usage_of({"prompt_tokens": -5, "completion_tokens": 7}) == TokenUsage(output=7)
    huge = usage_of({"prompt_tokens": 10**30})
    assert huge.input < 1 << 60


def test_the_pieces_and_bytes_of_an_answer_are_counted_as_they_pass():
    stream = (
        data({"type": "message_start", "message": {"usage": {"input_tokens": 1}}}, "message_start")
        + data({"delta": {"type": "text_delta", "text": "héllo"}}, "content_block_delta")
        + data({"delta": {"type": "input_json_delta", "partial_json": '{"a":'}})
        + data({"choices": [{"delta": {"content": "four"}}], "usage": None})
        + data({"type": "response.output_text.delta", "delta": "five5"})
        + data({"candidates": [{"content": {"parts": [{"text": "sixsix"}]}}]})
        + data({"type": "ping"})
    )
    for size in (1, 13, 10_000):
        meter = UsageMeter(streams=True)
        for at in range(0, len(stream), size):
            meter.feed(stream[at : at + size])
        assert meter.output_pieces == 5
        assert meter.output_bytes == len("h\\u00e9llo" + '{\\"a\\":' + "four" + "five5" + "sixsix")


def test_a_stream_that_breaks_off_in_its_last_line_is_still_counted():
    meter = UsageMeter(streams=True)
    meter.feed(STREAMS["chat"].rstrip(b"\n"))
    assert meter.usage() == SAME


def test_what_is_too_long_is_let_go():
    line, body = UsageMeter(streams=True), UsageMeter(streams=False)
    for _ in range(40):
        line.feed(b"data: " + b"x" * 100_000)
        body.feed(b"x" * 1_000_000)
    assert len(line._line) <= LINE_MAX_BYTES
    assert sum(map(len, body._body)) <= BODY_MAX_BYTES
    assert body.cost() == {"answer_bytes": 40_000_000}
    many = UsageMeter(streams=True)
    for _ in range(LINE_MAX_BYTES // 50):
        many.feed(b"data: " + b"x" * 100 + b"\n")
    assert sum(map(len, many._event)) <= LINE_MAX_BYTES + 200


def test_a_body_of_brackets_without_end_is_no_count_and_no_crash():
    for streams in (True, False):
        meter = UsageMeter(streams=streams)
        meter.feed(b'data: {"usage":{"prompt_tokens":' + b"[" * 200_000 + b"\n\n")
        assert meter.usage() is None
