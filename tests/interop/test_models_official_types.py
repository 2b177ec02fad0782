"""What the wires write is what the providers' own packages say: their types take it, their clients read it."""

from collections.abc import Iterable, Mapping
from functools import cache

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from tests.unit import test_models_wires_chat as chat_rig
from tests.unit import test_models_wires_messages as messages_rig

from hive.protocols.models.conversation import Conversation, TextPart, Utterance
from hive.protocols.models.ports import Dialect
from hive.protocols.models.wires import wire_of
from hive.protocols.models.wires.assembly import events_of
from hive.protocols.models.wires.fields import compact

anthropic = pytest.importorskip("anthropic")
openai = pytest.importorskip("openai")
pydantic = pytest.importorskip("pydantic")

MANY = settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=60)
HI = (Utterance(role="user", parts=(TextPart(text="hi"),)),)


def read_whole(value):
    """Read a validated value to its end: the types read their lists only when somebody looks."""
    if isinstance(value, Mapping):
        return {key: read_whole(inner) for key, inner in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [read_whole(inner) for inner in value]
    return value


@cache
def adapter(kind):
    # Kept: what it has read lazily still needs it.
    return pydantic.TypeAdapter(kind)


def fits(kind, document):
    assert set(document) <= kind.__required_keys__ | kind.__optional_keys__
    return read_whole(adapter(kind).validate_python(document))


@MANY
@given(conversation=chat_rig.conversations)
def test_openai_types_take_our_requests(conversation):
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

    document = wire_of(Dialect.CHAT).write_request(conversation)
    read = fits(CompletionCreateParamsNonStreaming, document)
    assert len(read["messages"]) == len(document["messages"])


@MANY
@given(conversation=messages_rig.conversations)
def test_anthropic_types_take_our_requests(conversation):
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

    document = wire_of(Dialect.MESSAGES).write_request(conversation)
    document.pop("container", None)
    read = fits(MessageCreateParamsNonStreaming, document)
    assert len(read["messages"]) == len(document["messages"])


@pytest.mark.parametrize("field", ["messages", "tools", "max_tokens", "thinking", "tool_choice"])
def test_the_check_against_the_types_finds_what_is_wrong(field):
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    document = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
    fits(MessageCreateParamsNonStreaming, document | {"tools": tools})
    wrong = document | {field: [{"type": "ghost"}]}
    with pytest.raises(pydantic.ValidationError):
        fits(MessageCreateParamsNonStreaming, wrong)


def answering(body, kind):
    def answer(_request):
        return httpx.Response(200, headers={"content-type": kind}, content=body)

    return httpx.Client(transport=httpx.MockTransport(answer))


def ask_openai(body, kind, **more):
    client = openai.OpenAI(
        api_key="k", base_url="http://node/v1", http_client=answering(body, kind), max_retries=0
    )
    messages = [{"role": "user", "content": "hi"}]
    return client.chat.completions.create(model="m", messages=messages, **more)


def anthropic_client(body, kind):
    return anthropic.Anthropic(
        api_key="k", base_url="http://node", http_client=answering(body, kind), max_retries=0
    )


ASK = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}


@MANY
@given(reply=chat_rig.replies)
def test_the_openai_client_reads_our_whole_answers(reply):
    document = wire_of(Dialect.CHAT).write_reply(reply, Conversation(model="m", utterances=HI))
    read = ask_openai(compact(document), "application/json")
    type(read).model_validate(document, strict=True)
    assert read.to_dict(exclude_unset=True) == document


@MANY
@given(reply=chat_rig.replies)
def test_the_openai_client_reads_our_streams(reply):
    asked = Conversation(model="m", utterances=HI, stream=True, include_usage=True)
    writer = wire_of(Dialect.CHAT).event_writer(asked)
    stream = b"".join(writer.write(event) for event in events_of(reply))
    chunks = list(ask_openai(stream, "text/event-stream", stream=True))
    for chunk in chunks:
        type(chunk).model_validate(chunk.to_dict(), strict=True)
    said = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert said == "".join(part.text for part in reply.parts if isinstance(part, TextPart))
    calls = [
        call
        for chunk in chunks
        for choice in chunk.choices
        for call in choice.delta.tool_calls or ()
    ]
    written = wire_of(Dialect.CHAT).write_reply(reply, asked)["choices"][0]["message"]
    for index, call in enumerate(written.get("tool_calls", ())):
        pieces = [one.function.arguments or "" for one in calls if one.index == index]
        assert "".join(pieces) == call["function"]["arguments"]


def test_the_openai_client_raises_its_own_error_for_a_stream_that_failed():
    from hive.protocols.models.conversation import ReplyFailed

    writer = wire_of(Dialect.CHAT).event_writer(Conversation(model="m", utterances=HI))
    body = writer.write(ReplyFailed(status=502, message="gone"))
    with pytest.raises(openai.APIError, match="gone"):
        list(ask_openai(body, "text/event-stream", stream=True))


@MANY
@given(reply=messages_rig.replies)
def test_the_anthropic_client_reads_our_whole_answers(reply):
    document = wire_of(Dialect.MESSAGES).write_reply(reply, Conversation(model="m", utterances=HI))
    read = anthropic_client(compact(document), "application/json").messages.create(**ASK)
    type(read).model_validate(document, strict=True)
    assert read.to_dict(exclude_unset=True) == document


@MANY
@given(reply=messages_rig.replies)
def test_the_anthropic_client_puts_our_streams_together_to_the_whole_answer(reply):
    asked = Conversation(model="m", utterances=HI, stream=True)
    wire = wire_of(Dialect.MESSAGES)
    writer = wire.event_writer(asked)
    stream = b"".join(writer.write(event) for event in events_of(reply))
    with anthropic_client(stream, "text/event-stream").messages.stream(**ASK) as events:
        read = events.get_final_message()
    whole = wire.write_reply(reply, asked)
    assert [block.to_dict(exclude_unset=True) for block in read.content] == whole["content"]
    assert (read.stop_reason, read.stop_sequence) == (whole["stop_reason"], whole["stop_sequence"])
    assert read.usage.input_tokens == whole["usage"]["input_tokens"]
    assert read.usage.output_tokens == whole["usage"]["output_tokens"]


def test_the_anthropic_client_raises_its_own_error_for_a_stream_that_failed():
    from hive.protocols.models.conversation import ReplyFailed

    writer = wire_of(Dialect.MESSAGES).event_writer(Conversation(model="m", utterances=HI))
    body = writer.write(ReplyFailed(status=503, message="gone"))
    with pytest.raises(anthropic.APIStatusError, match="overloaded_error"):
        list(anthropic_client(body, "text/event-stream").messages.create(**ASK, stream=True))
