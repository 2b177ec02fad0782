"""Made-up requests, answers and streams of the model wires: read, refused by name, or passed on; never a crash."""

import json

import pytest

from hive.core.errors import BadInputError, EngineError, TooLargeError, UntranslatableError
from hive.core.json import Json, decode, depth_exceeds
from hive.protocols.models.conversation import (
    Conversation,
    Finish,
    Reply,
    ReplyEnded,
    ReplyFailed,
    TextPart,
    ThinkingPart,
    TokenUsage,
    ToolCallPart,
    Utterance,
)
from hive.protocols.models.ports import Dialect
from hive.protocols.models.usage import UsageMeter
from hive.protocols.models.wires import WIRES, wire_of
from hive.protocols.models.wires.assembly import Assembly, events_of
from hive.protocols.models.wires.fields import compact
from hive.protocols.models.wires.sse import SseReader
from tests.fuzz.mutator import fuzz

pytestmark = pytest.mark.fuzz

ASKED = Conversation(
    model="m", utterances=(Utterance(role="user", parts=(TextPart(text="hi"),)),), stream=True
)
REPLIES = [
    Reply(
        id="r",
        model="m",
        parts=(
            ThinkingPart(text="hm", signature="seal"),
            TextPart(text="hello \u2028 there"),
            ToolCallPart(id="a", name="f", arguments='{"x":[1,null]}'),
            ToolCallPart(id="b", name="g", arguments="{}"),
        ),
        finish=Finish.TOOLS,
        usage=TokenUsage(input=9, output=4, cache_read=2, reasoning=1),
    ),
    Reply(id="r", model="m", parts=(TextPart(text="no", refusal=True),), finish=Finish.REFUSED),
]
IMAGE = "data:image/png;base64,aGk="
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
CHAT = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "s"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "hi"},
                {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
                {"type": "file", "file": {"file_data": "data:text/plain;base64,aGk="}},
                {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}}
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "x"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
    "max_tokens": 5,
    "temperature": 0.5,
    "stop": ["x"],
    "parallel_tool_calls": False,
    "reasoning_effort": "low",
    "user": "u",
}
MESSAGES = {
    "model": "m",
    "max_tokens": 5,
    "system": [{"type": "text", "text": "s"}],
    "messages": [
        {
            "role": "user",
            "content": [
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": "aGk="},
                },
                {"type": "document", "source": {"type": "url", "url": "https://e.com/a.pdf"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "t", "signature": "s"},
                {"type": "redacted_thinking", "data": "d"},
                {"type": "tool_use", "id": "a", "name": "f", "input": {"a": [1]}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "a",
                    "is_error": True,
                    "content": [{"type": "text", "text": "x"}],
                }
            ],
        },
    ],
    "tools": [{"name": "f", "input_schema": SCHEMA}],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"},
    "metadata": {"user_id": "u"},
}
READ = (BadInputError, EngineError)


def document(data: bytes) -> dict[str, Json]:
    if depth_exceeds(data):
        raise TooLargeError("deep")
    try:
        found = decode(data)
    except ValueError:
        raise BadInputError("no JSON") from None
    if not isinstance(found, dict):
        raise BadInputError("no object")
    return found


def requests(dialect: Dialect) -> list[bytes]:
    """Return good requests of a wire: our own documents, said in its words as far as it has them."""
    plain = {"max_tokens": 64, "model": "m", "messages": [{"role": "user", "content": "hi"}]}
    unlimited = {key: value for key, value in CHAT.items() if key not in ("stop", "max_tokens")}
    silent = {**unlimited, "messages": [CHAT["messages"][0], *CHAT["messages"][2:]]}
    seeds = []
    for source, asked in (
        (Dialect.MESSAGES, MESSAGES),
        *((Dialect.CHAT, one) for one in (CHAT, unlimited, silent, plain)),
    ):
        read = wire_of(source).read_request(asked, model="m", stream=True)
        try:
            seeds.append(compact(wire_of(dialect).write_request(read)))
        except UntranslatableError:
            continue
    return seeds


@pytest.mark.parametrize("dialect", list(WIRES))
def test_requests(dialect):
    def read(data):
        conversation = wire_of(dialect).read_request(document(data), model="m", stream=True)
        said = 0
        for into in WIRES:
            try:
                compact(wire_of(into).write_request(conversation))
                said += 1
            except BadInputError:
                continue
        if not said:
            raise BadInputError("no wire can say it")

    fuzz(requests(dialect), read, allowed=READ)


@pytest.mark.parametrize("dialect", list(WIRES))
def test_whole_answers(dialect):
    wire = wire_of(dialect)

    def read(data):
        reply = wire.read_reply(document(data))
        for into in WIRES:
            try:
                compact(wire_of(into).write_reply(reply, ASKED))
            except BadInputError:
                continue

    fuzz([compact(wire.write_reply(reply, ASKED)) for reply in REPLIES], read, allowed=READ)


@pytest.mark.parametrize("dialect", list(WIRES))
def test_streams(dialect):
    wire, seeds = wire_of(dialect), []
    for reply in REPLIES:
        writer = wire.event_writer(ASKED)
        seeds.append(b"".join(writer.write(event) for event in events_of(reply)))

    def read(data):
        size = 1 + len(data) % 97
        reader, assembly = wire.event_reader(), Assembly()
        writers = [wire_of(into).event_writer(ASKED) for into in WIRES]
        meter = UsageMeter(streams=True)
        events = []
        for at in range(0, len(data), size):
            events.extend(reader.feed(data[at : at + size]))
            meter.feed(data[at : at + size])
        events.extend(reader.close())
        meter.cost()
        for event in events:
            for writer in writers:
                assert isinstance(writer.write(event), bytes)
        ends = [event for event in events if isinstance(event, ReplyEnded | ReplyFailed)]
        assert len(ends) == 1, "a stream has one end"
        assert events[-1] is ends[0], "nothing comes after the end"
        for event in events:
            assembly.take(event)
        assembly.reply()

    fuzz(seeds, read, allowed=READ)


def test_errors():
    seeds = [b'{"error":{"message":"no","type":"t","code":429}}', b'{"type":"error","error":{}}']

    def read(data):
        for dialect in WIRES:
            assert isinstance(wire_of(dialect).error_message(document(data)), str)

    fuzz(seeds, read, allowed=READ)


def test_server_sent_events():
    seeds = [
        b"\xef\xbb\xbf: c\r\nevent: e\rdata: a\ndata\n\nid: 1\ndata: b\r\n\r\n",
        b"data: a\n\n",
    ]

    def read(data):
        at_once = SseReader(line_max_bytes=2000, event_max_bytes=3000)
        pieces = SseReader(line_max_bytes=2000, event_max_bytes=3000)
        whole = [*at_once.feed(data), *at_once.flush()]
        cut = [event for byte in data for event in pieces.feed(bytes([byte]))]
        assert whole == [*cut, *pieces.flush()]

    fuzz(seeds, read, allowed=TooLargeError)


def test_counts_of_tokens():
    usage = {"prompt_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 1}}
    seeds = [
        b"data: " + json.dumps({"usage": usage}).encode() + b"\n\n",
        json.dumps({"usageMetadata": {"promptTokenCount": 3}}).encode(),
    ]

    def read(data):
        found = []
        for streams in (True, False):
            meter = UsageMeter(streams=streams)
            for at in range(0, len(data), 7):
                meter.feed(data[at : at + 7])
            found.append(meter.usage())
            assert meter.cost()["answer_bytes"] == len(data)
        if found == [None, None]:
            raise BadInputError("nothing was counted")

    fuzz(seeds, read, allowed=BadInputError)
