"""The responses wire: what it can carry comes back the same, and what it cannot is named."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from hive.core.errors import BadInputError, EngineUnavailableError, UntranslatableError
from hive.protocols.models.conversation import (
    AnswerFormat,
    Conversation,
    Finish,
    MediaPart,
    PartBegan,
    Reasoning,
    Reply,
    ReplyBegan,
    ReplyFailed,
    Sampling,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
    Utterance,
)
from hive.protocols.models.ports import Dialect
from hive.protocols.models.wires import wire_of
from hive.protocols.models.wires.assembly import assembled, events_of
from tests import conversation_rig as rig

WIRE = wire_of(Dialect.RESPONSES)
HI = Utterance(role="user", parts=(TextPart(text="hi"),))
ASKED = Conversation(model="m", utterances=(HI,))
EVENTS = TypeAdapter(ResponseStreamEvent)


def read(**fields):
    return WIRE.read_request({"model": "m", "input": "hi", **fields}, model="m", stream=False)


def asked(**fields):
    return Conversation(**{"model": "m", "utterances": (HI,), **fields})


sealed = st.builds(
    lambda text, item, seal: ThinkingPart(text=text, signature=f"rs_{item}|{seal}"),
    st.just("") | rig.words,
    rig.ids,
    rig.ids,
)
thoughts = sealed | rig.thoughts
images = st.builds(
    lambda kind, detail: MediaPart(media_type=f"image/{kind}", data="aGk=", detail=detail),
    st.sampled_from(["png", "jpeg"]),
    st.sampled_from(["auto", "low", "high"]),
)
user = rig.spoken("user", st.one_of(rig.texts, images, rig.documents)) | st.builds(
    lambda found: Utterance(role="user", parts=tuple(found)),
    st.lists(
        st.builds(
            lambda call_id, parts: ToolResultPart(call_id=call_id, parts=tuple(parts)),
            rig.ids,
            st.lists(rig.texts, min_size=1, max_size=2),
        ),
        min_size=1,
        max_size=2,
    ),
)
assistant = rig.spoken("assistant", st.one_of(rig.texts, rig.calls, sealed))
tools = st.builds(
    ToolSpec,
    name=rig.names,
    description=st.just("") | rig.words,
    schema=rig.schemas,
    strict=st.booleans(),
)
conversations = st.builds(
    Conversation,
    model=st.just("m"),
    utterances=st.builds(
        lambda system, rest: (*system, *rest),
        st.lists(
            st.builds(lambda text: Utterance(role="system", parts=(text,)), rig.texts),
            max_size=2,
        ),
        rig.alternating(user, assistant),
    ),
    tools=st.lists(tools, min_size=1, max_size=2).map(tuple),
    tool_choice=st.none() | rig.choices,
    parallel_tools=st.sampled_from([None, True, False]),
    answer_format=st.none()
    | st.just(AnswerFormat(kind="json"))
    | st.builds(
        AnswerFormat,
        kind=st.just("schema"),
        name=rig.names,
        schema=rig.schemas,
        strict=st.sampled_from([None, True]),
    ),
    sampling=st.builds(
        Sampling,
        max_output_tokens=st.none() | st.integers(16, 1000),
        temperature=st.none() | st.floats(0, 2),
        top_p=st.none() | st.floats(0, 1),
    ),
    reasoning=st.sampled_from([None, Reasoning(effort="low"), Reasoning(enabled=False)]),
    extras=st.sampled_from([{}, {"verbosity": "low"}, {"truncation": "auto"}]),
    harmless=st.sampled_from([{}, {"user": "u", "metadata": {"a": "b"}}]),
)


@st.composite
def replies(draw):
    parts = draw(st.lists(st.one_of(rig.texts, rig.calls, thoughts), max_size=5))
    called = any(isinstance(part, ToolCallPart) for part in parts)
    finish = Finish.TOOLS if called else Finish.STOP
    finish = draw(st.sampled_from([finish, Finish.LENGTH, Finish.FILTERED]))
    return Reply(
        id=f"resp_{draw(rig.ids)}",
        model="m",
        parts=tuple(parts),
        finish=finish,
        usage=draw(st.none() | rig.usages),
        created_s=draw(st.integers(0, 1 << 31)),
    )


def streamed(reply, conversation=ASKED):
    writer = WIRE.event_writer(conversation)
    return b"".join(writer.write(event) for event in events_of(reply))


def events_in(stream):
    lines = [line for line in stream.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


@given(conversations)
def test_a_conversation_comes_back_the_same(conversation):
    document = json.loads(json.dumps(WIRE.write_request(conversation)))
    assert document["store"] is False
    again = WIRE.read_request(document, model="m", stream=False)
    assert again == conversation


@given(replies())
def test_a_whole_reply_comes_back_the_same_and_is_what_openai_describes(reply):
    document = WIRE.write_reply(reply, ASKED)
    Response.model_validate(document)
    assert WIRE.read_reply(json.loads(json.dumps(document))) == reply


@given(replies(), st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_a_stream_says_what_the_whole_says_however_it_is_cut(reply, cuts):
    stream = streamed(reply)
    reader, events, at = WIRE.event_reader(), [], 0
    while at < len(stream):
        size = cuts[len(events) % len(cuts)]
        events.extend(reader.feed(stream[at : at + size]))
        at += size
    events.extend(reader.close())
    assert assembled(events) == reply


@given(replies())
def test_every_event_is_what_openai_describes_and_numbered(reply):
    events = events_in(streamed(reply))
    for event in events:
        EVENTS.validate_python(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["response"]["output"] == [
        event["item"] for event in events if event["type"] == "response.output_item.done"
    ]
    added = [event for event in events if event["type"] == "response.output_item.added"]
    assert [event["output_index"] for event in added] == list(range(len(added)))
    assert [event["item"]["id"] for event in added] == [
        item["id"] for item in events[-1]["response"]["output"]
    ]


def test_texts_that_stand_together_are_one_message_in_both_forms():
    reply = Reply(
        id="r",
        model="m",
        parts=(
            TextPart(text="a"),
            TextPart(text="b"),
            ToolCallPart(id="c", name="f", arguments="{}"),
        ),
    )
    whole = WIRE.write_reply(reply, ASKED)["output"]
    last = events_in(streamed(reply))[-1]["response"]["output"]
    for output in (whole, last):
        assert [item["type"] for item in output] == ["message", "function_call"]
        assert [part["text"] for part in output[0]["content"]] == ["a", "b"]


def test_items_of_one_answer_are_one_utterance_and_parallel_results_another():
    found = read(
        instructions="be brief",
        input=[
            {"role": "developer", "content": "and kind"},
            {"role": "user", "content": [{"type": "input_text", "text": "both"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
            {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}", "id": None},
            {"type": "function_call", "call_id": "b", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": "1"},
            {
                "type": "function_call_output",
                "call_id": "b",
                "output": [{"type": "input_text", "text": "2"}],
            },
        ],
    )
    assert [one.role for one in found.utterances] == [
        "system",
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert [type(part).__name__ for part in found.utterances[3].parts] == [
        "ThinkingPart",
        "ToolCallPart",
        "ToolCallPart",
    ]
    assert found.utterances[3].parts[0].signature == "rs_1|x"
    assert len(found.utterances[4].parts) == 2


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"tools": [{"type": "web_search"}]}, r"tools\[0\].type"),
        ({"tools": [{"type": "function", "name": "f"}, {"type": "mcp"}]}, r"tools\[1\].type"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"include": ["message.output_text.logprobs"]}, r"include\[0\]"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, r"input\[0\].type"),
        ({"input": [{"type": "web_search_call", "id": "x"}]}, r"input\[0\].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            r"file_id",
        ),
    ],
)
def test_what_another_provider_cannot_have_is_named(fields, named):
    with pytest.raises(UntranslatableError, match=named):
        read(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"store": False},
        {"store": None, "previous_response_id": None, "background": False},
        {"include": ["reasoning.encrypted_content"]},
        {"truncation": "disabled", "top_logprobs": 0, "text": {"verbosity": "medium"}},
        {"reasoning": {"summary": "auto"}},
    ],
)
def test_what_changes_nothing_is_no_reason_to_refuse(fields):
    assert read(**fields) == asked()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"top_k": 1}, "top_k"),
        ({"stop": ("x",)}, "stop"),
        ({"answers": 2}, "n"),
        ({"max_output_tokens": 5}, "max_output_tokens"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
    ],
)
def test_what_the_wire_has_no_words_for_is_refused(fields, named):
    with pytest.raises(UntranslatableError, match=named):
        WIRE.write_request(asked(sampling=Sampling(**fields)))


def test_extras_of_another_wire_are_refused_by_their_name():
    with pytest.raises(UntranslatableError, match="logit_bias"):
        WIRE.write_request(asked(extras={"logit_bias": {"1": 2}}))


@pytest.mark.parametrize(
    "part",
    [
        ThinkingPart(text="t", signature="anthropics"),
        ThinkingPart(text="t", signature="gemini|x"),
        ThinkingPart(text="t"),
    ],
)
def test_a_thought_with_another_providers_seal_is_not_shown_to_openai(part):
    said = Utterance(role="assistant", parts=(part, TextPart(text="x")))
    document = WIRE.write_request(asked(utterances=(HI, said, HI)))
    assert "reasoning" not in [item.get("type") for item in document["input"]]


def test_another_providers_seal_passes_through_a_client_unchanged():
    thought = ThinkingPart(text="t", signature="anthropics")
    for reply in (
        Reply(id="r", model="m", parts=(thought,)),
        Reply(id="r", model="m", parts=(ThinkingPart(signature="d", redacted=True),)),
    ):
        items = events_in(streamed(reply))[-1]["response"]["output"]
        assert read(input=[*items]).utterances[0].parts == reply.parts


BAD = {
    "input": [
        {},
        5,
        [5],
        [None],
        [],
        None,
        True,
        [{"role": "user"}],
        [{"role": 5, "content": "x"}],
    ],
    "instructions": [5, [1], {}],
    "tools": [5, {}, [5], [{}], [{"type": "function"}], [{"type": "function", "name": 5}]],
    "tool_choice": [5, "often", [], {"type": "function"}],
    "text": [
        5,
        [],
        {"format": 5},
        {"format": {"type": "xml"}},
        {"format": {"type": "json_schema"}},
    ],
    "reasoning": [5, [], {"effort": 5}],
    "include": [5, [5], {}],
    "max_output_tokens": ["5", 0, -1, 1.5, True, 1 << 60],
    "temperature": ["hot", [], True, 1e300],
    "top_p": ["x", {}],
    "parallel_tool_calls": [1, "yes"],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, one) for key in BAD for one in BAD[key] if one is not None]
)
def test_a_wrong_type_is_bad_input_that_names_the_field(key, value):
    with pytest.raises(BadInputError, match=key) as caught:
        read(**{key: value})
    assert not isinstance(caught.value, UntranslatableError)


def test_a_provider_that_failed_is_no_answer():
    failed = {"id": "r", "status": "failed", "error": {"code": "server_error", "message": "oh"}}
    with pytest.raises(EngineUnavailableError, match="oh"):
        WIRE.read_reply(failed)


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ({"type": "error", "code": "rate_limit_exceeded", "message": "no"}, 429),
        ({"type": "error", "error": {"code": "server_error", "message": "no"}}, 500),
        (
            {
                "type": "response.failed",
                "response": {"status": "failed", "error": {"code": "x", "message": "no"}},
            },
            500,
        ),
    ],
)
def test_a_failure_in_a_stream_ends_it(event, status):
    reader = WIRE.event_reader()
    found = list(reader.feed(b"data: " + json.dumps(event).encode() + b"\n\n"))
    assert found == [ReplyFailed(status=status, message="no")]
    assert list(reader.feed(b'data: {"type":"response.completed"}\n\n')) == []
    assert list(reader.close()) == []


def test_a_stream_that_stops_in_the_middle_has_failed():
    stream = streamed(Reply(id="r", model="m", parts=(TextPart(text="hello"),)))
    reader = WIRE.event_reader()
    list(reader.feed(stream[: len(stream) // 2]))
    assert isinstance(list(reader.close())[-1], ReplyFailed)


def test_a_failure_that_is_written_is_what_openai_describes():
    writer = WIRE.event_writer(ASKED)
    stream = writer.write(ReplyBegan(id="r", model="m"))
    stream += writer.write(PartBegan(index=0, part=TextPart(text="a")))
    stream += writer.write(ReplyFailed(status=429, message="enough"))
    events = events_in(stream)
    for event in events:
        EVENTS.validate_python(event)
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"[]",
        b'{"type":5}',
        b'{"type":"response.output_item.added","item":5}',
        b'{"type":"response.function_call_arguments.delta","delta":"x"}',
        b'{"type":"response.output_text.delta","delta":5}',
        b'{"type":"response.completed"}',
    ],
)
def test_a_stream_that_is_none_is_bad_input(data):
    with pytest.raises(BadInputError):
        list(WIRE.event_reader().feed(b"data: " + data + b"\n\n"))
