"""The chat completions wire: what it can carry comes back the same, and what it cannot is named."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive.core.errors import BadInputError, UntranslatableError
from hive.protocols.models.conversation import (
    AnswerFormat,
    Conversation,
    Finish,
    MediaPart,
    PartBegan,
    PartEnded,
    PartGrew,
    Reasoning,
    Reply,
    ReplyBegan,
    ReplyEnded,
    ReplyFailed,
    Sampling,
    TextPart,
    ThinkingPart,
    TokenUsage,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
    Utterance,
)
from hive.protocols.models.ports import Dialect
from hive.protocols.models.wires import wire_of
from hive.protocols.models.wires.assembly import assembled, events_of
from hive.protocols.models.wires.chat import OLD_LIMIT_FIELD, ChatWire
from hive.protocols.models.wires.chat_requests import TOOL_FAILED
from hive.protocols.models.wires.fields import INVALID_JSON
from tests import conversation_rig as rig

WIRE = wire_of(Dialect.CHAT)
ASKED = Conversation(model="m", utterances=(Utterance(role="user", parts=(TextPart(text="hi"),)),))


def read(**fields):
    document = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    return WIRE.read_request(document, model="m", stream=bool(fields.get("stream")))


def asked(**fields):
    return Conversation(**{"model": "m", "utterances": ASKED.utterances, **fields})


user = rig.spoken("user", st.one_of(rig.texts, rig.images, rig.documents, rig.sounds)) | st.builds(
    lambda found: Utterance(role="user", parts=tuple(found)),
    st.lists(rig.results(rig.texts), min_size=1, max_size=2),
)
assistant = st.builds(
    lambda said, calls: Utterance(role="assistant", parts=(*said, *calls)),
    st.lists(rig.texts, min_size=1, max_size=1),
    st.lists(rig.calls, max_size=2),
)
formats = st.just(AnswerFormat(kind="json")) | st.builds(
    AnswerFormat,
    kind=st.just("schema"),
    name=rig.names,
    description=st.just("") | rig.words,
    schema=rig.schemas,
    strict=st.sampled_from([None, True, False]),
)
conversations = st.builds(
    Conversation,
    model=st.just("m"),
    utterances=st.builds(
        lambda system, rest: (*system, *rest),
        st.lists(rig.spoken("system", rig.texts), max_size=2),
        rig.alternating(user, assistant),
    ),
    tools=st.lists(rig.tools, min_size=1, max_size=2).map(tuple),
    tool_choice=st.none() | rig.choices,
    parallel_tools=st.sampled_from([None, True, False]),
    answer_format=st.none() | formats,
    sampling=rig.sampling(
        seed=st.none() | st.integers(0, 1 << 40),
        presence_penalty=st.none() | st.floats(-2, 2),
        frequency_penalty=st.none() | st.floats(-2, 2),
        answers=st.integers(1, 3),
    ),
    reasoning=st.sampled_from([None, Reasoning(enabled=False), Reasoning(effort="high")]),
    extras=st.sampled_from([{}, {"logprobs": True, "top_logprobs": 2}]),
    harmless=st.sampled_from([{}, {"user": "u", "store": True, "metadata": {"a": "b"}}]),
)
replies = st.builds(
    lambda thought, said, calls, usage, length: Reply(
        id="r",
        model="m",
        parts=(*thought, *said, *calls),
        finish=Finish.LENGTH if length else Finish.TOOLS if calls else Finish.STOP,
        usage=usage,
        created_s=7,
    ),
    st.lists(st.builds(lambda text: ThinkingPart(text=text), rig.words), max_size=1),
    st.lists(rig.texts, max_size=1),
    st.lists(rig.calls, max_size=3),
    st.none() | rig.usages,
    st.booleans(),
)


@given(conversation=conversations)
def test_what_the_wire_can_carry_comes_back_the_same(conversation):
    document = json.loads(json.dumps(WIRE.write_request(conversation)))
    assert WIRE.read_request(document, model="m", stream=False) == conversation


@given(reply=replies)
def test_a_whole_answer_comes_back_the_same(reply):
    assert WIRE.read_reply(WIRE.write_reply(reply, ASKED)) == reply


@given(reply=replies, include_usage=st.booleans(), size=st.integers(1, 50))
def test_a_streamed_answer_is_the_whole_one_wherever_it_is_cut(reply, include_usage, size):
    writer = WIRE.event_writer(asked(stream=True, include_usage=include_usage))
    stream = b"".join(writer.write(event) for event in events_of(reply))
    reader = WIRE.event_reader()
    events = [
        event for at in range(0, len(stream), size) for event in reader.feed(stream[at : at + size])
    ]
    events.extend(reader.close())
    assert assembled(events) == reply
    again = WIRE.event_writer(asked(stream=True, include_usage=include_usage))
    assert b"".join(again.write(event) for event in events) == stream


def test_a_count_that_nobody_asked_for_stands_in_the_last_chunk_and_in_none_of_its_own():
    usage = TokenUsage(input=3, output=4)
    reply = Reply(id="r", model="m", parts=(TextPart(text="hi"),), usage=usage)
    for include, chunks_without_choices in ((False, 0), (True, 1)):
        writer = WIRE.event_writer(asked(stream=True, include_usage=include))
        lines = b"".join(writer.write(event) for event in events_of(reply)).split(b"\n\n")
        chunks = [json.loads(line.removeprefix(b"data: ")) for line in lines[:-2]]
        assert lines[-2:] == [b"data: [DONE]", b""]
        assert sum(not chunk["choices"] for chunk in chunks) == chunks_without_choices
        assert [chunk["usage"]["prompt_tokens"] for chunk in chunks if "usage" in chunk] == [3]


def test_calls_that_are_streamed_side_by_side_keep_their_own_arguments():
    def chunk(**delta):
        return {"id": "r", "model": "m", "choices": [{"index": 0, "delta": delta}]}

    def call(index, **more):
        return chunk(tool_calls=[{"index": index, **more}])

    chunks = [
        call(0, id="a", function={"name": "f", "arguments": ""}),
        call(1, id="b", function={"name": "g", "arguments": ""}),
        call(0, function={"arguments": '{"x"'}),
        call(1, function={"arguments": "{}"}),
        call(0, function={"arguments": ":1}"}),
        {"id": "r", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    ]
    stream = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in chunks)
    reader = WIRE.event_reader()
    reply = assembled([*reader.feed(stream), *reader.close()])
    assert reply.finish is Finish.TOOLS
    assert reply.parts == (
        ToolCallPart(id="a", name="f", arguments='{"x":1}'),
        ToolCallPart(id="b", name="g", arguments="{}"),
    )


def test_the_order_of_a_schema_is_kept_for_models_answer_in_it():
    properties = {"zebra": {"type": "string"}, "ape": {"type": "string"}}
    schema = {"type": "object", "properties": properties}
    conversation = read(
        tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}]
    )
    written = WIRE.write_request(conversation)["tools"][0]["function"]["parameters"]
    assert list(written["properties"]) == ["zebra", "ape"]


def test_results_of_tools_with_images_and_failures_are_still_told():
    parts = (
        ToolResultPart(call_id="a", parts=(TextPart(text="no"),), is_error=True),
        ToolResultPart(call_id="b", parts=(MediaPart(media_type="image/png", data="aGk="),)),
    )
    messages = WIRE.write_request(asked(utterances=(Utterance(role="user", parts=parts),)))[
        "messages"
    ]
    assert [message["role"] for message in messages] == ["tool", "tool", "user"]
    assert messages[0]["content"][0]["text"] == TOOL_FAILED
    assert messages[2]["content"][1]["image_url"]["url"] == "data:image/png;base64,aGk="


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "ghost", "content": ""}]}, "messages[0].role"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
            "messages[0].content[0].image_url",
        ),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": {}}, "tools"),
        ({"tool_choice": 4}, "tool_choice"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": 1e300}, "temperature"),
        ({"temperature": 10**400}, "temperature"),
        ({"n": 0}, "n"),
        ({"stop": [1]}, "stop[0]"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"stream_options": 1}, "stream_options"),
    ],
)
def test_a_wrong_field_is_named(fields, named):
    with pytest.raises(BadInputError, match=f"^`{named.replace('[', '.').replace(']', '.')}`"):
        read(**fields)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}, "tool_choice"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}
                ]
            },
            "messages[0].content[0].file.file_id",
        ),
        ({"messages": [{"role": "assistant", "audio": {"id": "a"}}]}, "messages[0].audio"),
    ],
)
def test_what_one_provider_alone_knows_is_refused_by_name(fields, named):
    with pytest.raises(UntranslatableError) as caught:
        read(**fields)
    assert f"`{named}`" in str(caught.value)


@pytest.mark.parametrize("field", ["functions", "min_p", "web_search_options", "logit_bias"])
def test_a_field_without_a_neutral_meaning_is_kept_as_an_extra(field):
    value = [1] if field == "functions" else {"a": 1}
    assert read(**{field: value}).extras == {field: value}


@pytest.mark.parametrize(
    "fields", [{"logprobs": False}, {"logit_bias": {}}, {"modalities": ["text"]}, {"seed": None}]
)
def test_a_field_that_says_nothing_is_no_extra(fields):
    assert read(**fields) == read()


@pytest.mark.parametrize(
    ("conversation", "named"),
    [
        (asked(sampling=Sampling(top_k=3)), "top_k"),
        (asked(extras={"context_management": {}}), "context_management"),
        (
            asked(
                utterances=(
                    Utterance(
                        role="user",
                        parts=(MediaPart(media_type="image/png", url="gs://bucket/x"),),
                    ),
                )
            ),
            "messages[0].content[0]",
        ),
        (
            asked(
                utterances=(
                    Utterance(role="user", parts=(MediaPart(media_type="video/mp4", data="aGk="),)),
                )
            ),
            "messages[0].content[0]",
        ),
    ],
)
def test_what_the_wire_cannot_say_is_refused_by_name(conversation, named):
    with pytest.raises(UntranslatableError) as caught:
        WIRE.write_request(conversation)
    assert f"`{named}`" in str(caught.value)


def test_an_old_server_gets_its_limit_under_the_name_that_it_knows():
    conversation = asked(sampling=Sampling(max_output_tokens=5))
    assert WIRE.write_request(conversation)["max_completion_tokens"] == 5
    assert ChatWire(OLD_LIMIT_FIELD).write_request(conversation)["max_tokens"] == 5


def test_of_two_limits_the_smaller_holds():
    assert read(max_tokens=5, max_completion_tokens=9).sampling.max_output_tokens == 5


@pytest.mark.parametrize(
    ("budget", "effort"), [(1024, "low"), (2048, "low"), (5000, "medium"), (50_000, "high")]
)
def test_a_budget_of_thinking_becomes_an_effort(budget, effort):
    document = WIRE.write_request(asked(reasoning=Reasoning(budget_tokens=budget)))
    assert document["reasoning_effort"] == effort


def events(*data, end=b"\n\n"):
    reader = WIRE.event_reader()
    found = [event for one in data for event in reader.feed(b"data: " + one + end)]
    return [*found, *reader.close()]


CHUNK = b'{"id":"r","model":"m","choices":[{"index":0,"delta":{"content":"hi"}}]}'
LAST = b'{"id":"r","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


def test_a_stream_that_ends_early_is_a_failure_and_not_a_short_answer():
    assert isinstance(events(CHUNK)[-1], ReplyFailed)
    assert isinstance(events()[-1], ReplyFailed)
    assert isinstance(events(b"[DONE]")[-1], ReplyFailed)
    assert isinstance(events(CHUNK, LAST)[-1], ReplyEnded)
    assert isinstance(events(CHUNK, b"[DONE]")[-1], ReplyEnded)


def test_events_come_in_order_and_end_once():
    assert events(CHUNK, LAST, b"[DONE]", CHUNK) == [
        ReplyBegan(id="r", model="m"),
        PartBegan(index=0, part=TextPart(text="")),
        PartGrew(index=0, text="hi"),
        PartEnded(index=0),
        ReplyEnded(finish=Finish.STOP),
    ]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (b'{"message":"slow down","code":429}', 429),
        (b'{"message":"slow down","type":"rate_limit_error"}', 429),
        (b'{"message":"slow down","code":"insufficient_quota"}', 429),
        (b'"slow down"', 502),
        (b'{"message":"slow down","code":true}', 502),
    ],
)
def test_an_error_in_the_midst_of_a_stream_ends_it(error, status):
    assert events(CHUNK, b'{"error":' + error + b"}", CHUNK)[-1] == ReplyFailed(
        status=status, message="slow down"
    )


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"<html>",
        b"[]",
        b'{"choices":{}}',
        b'{"choices":[{"index":1,"delta":{}}]}',
        b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]}}]}',
        b'{"choices":[{"index":0,"delta":{"content":7}}]}',
    ],
)
def test_what_is_no_chunk_is_refused(data):
    with pytest.raises(BadInputError):
        events(data)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"choices": []},
        {"choices": [{"message": "hi"}]},
        {"choices": [{"message": {"content": 4}}]},
        {"choices": [{"message": {}}, {"message": {}}]},
        {"choices": [{"message": {"tool_calls": [{"function": {"name": ""}}]}}]},
    ],
)
def test_what_is_no_answer_is_refused(document):
    with pytest.raises(BadInputError):
        WIRE.read_reply(document)


def test_a_refusal_of_the_model_is_told_as_one():
    message = {"role": "assistant", "content": None, "refusal": "I will not."}
    document = {"id": "r", "choices": [{"message": message, "finish_reason": "stop"}]}
    reply = WIRE.read_reply(document)
    assert reply.finish is Finish.REFUSED
    choice = WIRE.write_reply(reply, ASKED)["choices"][0]
    assert choice["message"]["refusal"] == "I will not."
    assert choice["finish_reason"] == "stop"


def test_the_seal_of_a_call_goes_to_the_client_and_comes_home():
    call = ToolCallPart(id="a", name="f", arguments="{}", signature="gemini|seal")
    reply = Reply(id="r", model="m", parts=(call,), finish=Finish.TOOLS)
    message = WIRE.write_reply(reply, ASKED)["choices"][0]["message"]
    again = read(messages=[message, {"role": "tool", "tool_call_id": "a", "content": "x"}])
    assert again.utterances[0].parts == (call,)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"error": {"message": "no"}}, "no"),
        ({"error": "no"}, "no"),
        ({"message": "no"}, "no"),
        ({"detail": "no"}, "no"),
        ({"error": {"message": 4}}, ""),
        ({}, ""),
    ],
)
def test_the_words_of_an_error_are_found(document, words):
    assert WIRE.error_message(document) == words


def test_arguments_that_are_no_json_reach_the_next_provider_as_they_were():
    call = ToolCallPart(id="a", name="f", arguments="{broken")
    spoken = (*ASKED.utterances, Utterance(role="assistant", parts=(call,)))
    tools = (ToolSpec(name="f"),)
    written = wire_of(Dialect.MESSAGES).write_request(asked(utterances=spoken, tools=tools))
    assert written["messages"][1]["content"][0]["input"] == {INVALID_JSON: "{broken"}
    back = wire_of(Dialect.MESSAGES).read_request(written, model="m", stream=False)
    assert back.utterances[1].parts == (call,)
