"""The Anthropic messages wire: what it can carry comes back the same, and what it cannot is named."""

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
    ToolChoice,
    ToolResultPart,
    ToolSpec,
    Utterance,
)
from hive.protocols.models.ports import Dialect
from hive.protocols.models.wires import wire_of
from hive.protocols.models.wires.assembly import assembled, events_of
from hive.protocols.models.wires.messages_requests import MAX_TOKENS_DEFAULT
from tests import conversation_rig as rig

WIRE = wire_of(Dialect.MESSAGES)
HI = (Utterance(role="user", parts=(TextPart(text="hi"),)),)


def read(**fields):
    document = {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields}
    return WIRE.read_request(document, model="m", stream=bool(fields.get("stream")))


def asked(**fields):
    return Conversation(**{"model": "m", "utterances": HI, **fields})


user = st.builds(
    lambda results, said: Utterance(role="user", parts=(*results, *said)),
    st.lists(
        st.builds(
            lambda result, failed: ToolResultPart(
                call_id=result.call_id, parts=result.parts, is_error=failed
            ),
            rig.results(st.one_of(rig.texts, rig.images, rig.documents)),
            st.booleans(),
        ),
        max_size=2,
    ),
    st.lists(st.one_of(rig.texts, rig.images, rig.documents), min_size=1, max_size=2),
)
assistant = rig.spoken("assistant", st.one_of(rig.texts, rig.thoughts, rig.calls))
conversations = st.builds(
    lambda system, rest, choice, parallel, limit, numbers, **fields: Conversation(
        model="m",
        utterances=(*system, *rest),
        tool_choice=choice,
        parallel_tools=None if choice is None or choice.mode == "none" else parallel,
        sampling=Sampling(
            max_output_tokens=limit,
            temperature=numbers.temperature,
            top_p=numbers.top_p,
            stop=numbers.stop,
            top_k=7,
        ),
        **fields,
    ),
    st.lists(rig.spoken("system", rig.texts), max_size=1),
    rig.alternating(user, assistant),
    st.none() | rig.choices,
    st.sampled_from([None, True, False]),
    st.integers(1, 100_000),
    rig.sampling(),
    tools=st.lists(rig.tools, min_size=1, max_size=2).map(tuple),
    answer_format=st.none()
    | st.builds(
        lambda schema: AnswerFormat(kind="schema", schema=schema, strict=True), rig.schemas
    ),
    reasoning=st.sampled_from(
        [
            None,
            Reasoning(enabled=False),
            Reasoning(effort="high"),
            Reasoning(),
            Reasoning(effort="low", budget_tokens=2000),
        ]
    ),
    extras=st.sampled_from([{}, {"container": "c"}]),
    harmless=st.sampled_from([{}, {"user": "u", "service_tier": "auto"}]),
)
replies = st.builds(
    lambda parts, usage, finish: Reply(
        id="r",
        model="m",
        parts=tuple(parts),
        finish=finish,
        stop_sequence="STOP" if finish is Finish.STOP else "",
        usage=usage,
    ),
    st.lists(st.one_of(rig.texts, rig.thoughts, rig.calls), max_size=4),
    rig.usages,
    st.sampled_from([Finish.STOP, Finish.LENGTH, Finish.TOOLS, Finish.REFUSED, Finish.PAUSED]),
)


@given(conversation=conversations)
def test_what_the_wire_can_carry_comes_back_the_same(conversation):
    document = json.loads(json.dumps(WIRE.write_request(conversation)))
    assert WIRE.read_request(document, model="m", stream=False) == conversation


@given(reply=replies)
def test_a_whole_answer_comes_back_the_same(reply):
    assert WIRE.read_reply(WIRE.write_reply(reply, asked())) == reply


@given(reply=replies, size=st.integers(1, 50))
def test_a_streamed_answer_is_the_whole_one_wherever_it_is_cut(reply, size):
    writer = WIRE.event_writer(asked(stream=True))
    events = list(events_of(reply))
    stream = b"".join(writer.write(event) for event in events)
    reader = WIRE.event_reader()
    found = [
        event for at in range(0, len(stream), size) for event in reader.feed(stream[at : at + size])
    ]
    found.extend(reader.close())
    assert assembled(found) == reply
    assert found == events


def test_parts_that_are_open_side_by_side_leave_one_after_the_other():
    writer = WIRE.event_writer(asked(stream=True))
    events = [
        ReplyBegan(id="r", model="m"),
        PartBegan(index=0, part=ToolCallPart(id="a", name="f", arguments="")),
        PartBegan(index=1, part=ToolCallPart(id="b", name="g", arguments="")),
        PartGrew(index=1, text="[2]"),
        PartGrew(index=0, text="[1]"),
        PartBegan(index=2, part=TextPart(text="")),
        PartGrew(index=2, text="hi"),
        PartEnded(index=1),
        PartEnded(index=0),
        PartEnded(index=2),
        ReplyEnded(finish=Finish.TOOLS),
    ]
    reader = WIRE.event_reader()
    found = [one for event in events for one in reader.feed(writer.write(event))]
    assert [event for event in found if isinstance(event, PartBegan | PartEnded | PartGrew)] == [
        PartBegan(index=0, part=ToolCallPart(id="a", name="f", arguments="")),
        PartGrew(index=0, text="[1]"),
        PartEnded(index=0),
        PartBegan(index=1, part=ToolCallPart(id="b", name="g", arguments="")),
        PartGrew(index=1, text="[2]"),
        PartEnded(index=1),
        PartBegan(index=2, part=TextPart(text="")),
        PartGrew(index=2, text="hi"),
        PartEnded(index=2),
    ]


def test_a_part_that_never_ended_leaves_no_block_open():
    writer = WIRE.event_writer(asked(stream=True))
    call = ToolCallPart(id="a", name="f", arguments="")
    events = [
        ReplyBegan(id="r", model="m"),
        PartBegan(index=0, part=call),
        PartBegan(index=1, part=call),
        ReplyEnded(finish=Finish.TOOLS),
    ]
    stream = b"".join(map(writer.write, events))
    assert stream.count(b"event: content_block_start") == 2
    assert stream.count(b"event: content_block_stop") == 2


def test_a_limit_is_always_written_for_the_wire_wants_one():
    assert WIRE.write_request(asked())["max_tokens"] == MAX_TOKENS_DEFAULT
    thinks = asked(reasoning=Reasoning(budget_tokens=20_000))
    assert WIRE.write_request(thinks)["max_tokens"] > 20_000


def test_the_results_of_one_round_stand_in_one_message_and_first():
    results = [
        Utterance(role="user", parts=(ToolResultPart(call_id=one, parts=()),)) for one in "ab"
    ]
    late = Utterance(
        role="user", parts=(TextPart(text="well?"), ToolResultPart(call_id="c", parts=()))
    )
    call = Utterance(
        role="assistant",
        parts=tuple(ToolCallPart(id=one, name="f", arguments="") for one in "abc"),
    )
    written = WIRE.write_request(asked(utterances=(*HI, call, *results, late)))
    assert [message["role"] for message in written["messages"]] == ["user", "assistant", "user"]
    kinds = [block["type"] for block in written["messages"][2]["content"]]
    assert kinds == ["tool_result", "tool_result", "tool_result", "text"]


def test_tools_of_the_history_are_declared_and_may_not_be_used():
    call = Utterance(role="assistant", parts=(ToolCallPart(id="a", name="f", arguments="{}"),))
    result = Utterance(role="user", parts=(ToolResultPart(call_id="a", parts=()),))
    written = WIRE.write_request(asked(utterances=(*HI, call, result)))
    assert [tool["name"] for tool in written["tools"]] == ["f"]
    assert written["tool_choice"] == {"type": "none"}


def test_ids_of_calls_that_the_wire_would_not_take_are_replaced_in_both_places():
    call = Utterance(
        role="assistant", parts=(ToolCallPart(id="functions.f:0", name="f", arguments=""),)
    )
    result = Utterance(role="user", parts=(ToolResultPart(call_id="functions.f:0", parts=()),))
    messages = WIRE.write_request(asked(utterances=(*HI, call, result)))["messages"]
    written = messages[1]["content"][0]["id"]
    assert written.startswith("toolu_")
    assert messages[2]["content"][0]["tool_use_id"] == written


def test_thoughts_without_this_wires_seal_are_not_shown_to_it():
    thoughts = (
        ThinkingPart(text="unsealed"),
        ThinkingPart(text="theirs", signature="gemini|x"),
        ThinkingPart(text="mine", signature="seal"),
        TextPart(text="said"),
    )
    spoken = (*HI, Utterance(role="assistant", parts=thoughts), *HI)
    content = WIRE.write_request(asked(utterances=spoken))["messages"][1]["content"]
    assert [block.get("thinking") or block.get("text") for block in content] == ["mine", "said"]


@pytest.mark.parametrize(
    "thought",
    [
        ThinkingPart(text="t", signature="gemini|AAAA"),
        ThinkingPart(text="t", signature="rs_1|sealed"),
        ThinkingPart(signature="hive.redacted|x", redacted=True),
        ThinkingPart(signature="rs_1|sealed", redacted=True),
        ThinkingPart(redacted=True),
    ],
)
def test_a_thought_that_another_provider_sealed_is_left_out(thought):
    said = Utterance(role="assistant", parts=(thought, TextPart(text="said")))
    [_, written] = WIRE.write_request(asked(utterances=(*HI, said)))["messages"]
    assert written["content"] == [{"type": "text", "text": "said"}]


def test_a_sealed_thought_of_its_own_comes_home():
    thoughts = (
        ThinkingPart(text="t", signature="Eq0B"),
        ThinkingPart(signature="Ep1", redacted=True),
    )
    said = Utterance(role="assistant", parts=(*thoughts, TextPart(text="said")))
    [_, written] = WIRE.write_request(asked(utterances=(*HI, said)))["messages"]
    assert written["content"][:2] == [
        {"type": "thinking", "thinking": "t", "signature": "Eq0B"},
        {"type": "redacted_thinking", "data": "Ep1"},
    ]


def test_an_answer_that_the_client_began_goes_to_no_other_wire():
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "The"}]
    conversation = read(messages=messages)
    assert WIRE.write_request(conversation)["messages"][-1]["role"] == "assistant"
    with pytest.raises(UntranslatableError):
        wire_of(Dialect.CHAT).write_request(conversation)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
            "messages[0].content[0].source",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]},
            "messages[0].content[0].tool_use_id",
        ),
        ({"system": 5}, "system"),
        ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"tools": [{"name": ""}]}, "tools[0].name"),
        ({"tool_choice": {"type": "maybe"}}, "tool_choice.type"),
        ({"thinking": {"type": "deep"}}, "thinking.type"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"metadata": {"user_id": 4}}, "metadata.user_id"),
        ({"stop_sequences": {}}, "stop_sequences"),
    ],
)
def test_a_wrong_field_is_named(fields, named):
    with pytest.raises(BadInputError) as caught:
        read(**fields)
    assert f"`{named}`" in str(caught.value)
    assert not isinstance(caught.value, UntranslatableError)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "w"}]}, "tools[0].type"),
        ({"tools": [{"name": "w", "defer_loading": True}]}, "tools[0].defer_loading"),
        ({"output_config": {"task_budget": {}}}, "output_config.task_budget"),
        (
            {"messages": [{"role": "user", "content": [{"type": "search_result"}]}]},
            "messages[0].content[0].type",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}],
                    }
                ]
            },
            "messages[0].content[0].source.type",
        ),
    ],
)
def test_what_one_provider_alone_knows_is_refused_by_name(fields, named):
    with pytest.raises(UntranslatableError) as caught:
        read(**fields)
    assert f"`{named}`" in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"sampling": Sampling(seed=1)}, "seed"),
        ({"sampling": Sampling(temperature=1.5)}, "temperature"),
        ({"sampling": Sampling(presence_penalty=0.5)}, "presence_penalty"),
        ({"sampling": Sampling(answers=2)}, "n"),
        ({"extras": {"logprobs": True}}, "logprobs"),
        ({"answer_format": AnswerFormat(kind="json")}, "response_format"),
        ({"tool_choice": ToolChoice(mode="required")}, "tool_choice"),
        ({"reasoning": Reasoning(effort="absurd")}, "reasoning_effort"),
        ({"utterances": (Utterance(role="system", parts=(TextPart(text="x"),)),)}, "messages"),
        (
            {
                "utterances": (
                    Utterance(role="user", parts=(MediaPart(media_type="audio/wav", data="aGk="),)),
                )
            },
            "messages[0].content[0]",
        ),
        (
            {
                "utterances": (
                    Utterance(
                        role="user", parts=(MediaPart(media_type="image/tiff", data="aGk="),)
                    ),
                )
            },
            "messages[0].content[0]",
        ),
    ],
)
def test_what_the_wire_cannot_say_is_refused_by_name(fields, named):
    with pytest.raises(UntranslatableError) as caught:
        WIRE.write_request(asked(**fields))
    assert f"`{named}`" in str(caught.value)


def test_what_says_nothing_is_left_out():
    quiet = Sampling(presence_penalty=0.0, frequency_penalty=0.0)
    written = WIRE.write_request(asked(sampling=quiet, harmless={"store": True, "user": "u"}))
    assert set(written) == {"model", "max_tokens", "messages", "metadata"}


def test_system_text_in_the_midst_stays_where_it_was():
    spoken = (*HI, Utterance(role="system", parts=(TextPart(text="now in verse"),)))
    written = WIRE.write_request(asked(utterances=spoken))
    assert "system" not in written
    assert written["messages"][1]["role"] == "system"


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("end_turn", Finish.STOP),
        ("stop_sequence", Finish.STOP),
        ("max_tokens", Finish.LENGTH),
        ("model_context_window_exceeded", Finish.LENGTH),
        ("tool_use", Finish.TOOLS),
        ("pause_turn", Finish.PAUSED),
        ("refusal", Finish.REFUSED),
    ],
)
def test_the_reason_for_the_end_is_understood(word, finish):
    assert WIRE.read_reply({"content": [], "stop_reason": word}).finish is finish


def test_the_cache_counts_as_input_here_and_stands_beside_it_there():
    usage = TokenUsage(input=100, output=5, cache_read=60, cache_write=30)
    written = WIRE.write_reply(Reply(id="r", model="m", parts=(), usage=usage), asked())["usage"]
    assert written["input_tokens"] == 10
    assert WIRE.read_reply({"content": [], "usage": written}).usage == usage


def event(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


START = event("message_start", message={"id": "r", "model": "m", "usage": {"input_tokens": 3}})
TEXT = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
STOP = event("content_block_stop", index=0)
DELTA = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7})
END = event("message_stop")


def events(*data):
    reader = WIRE.event_reader()
    return [*(one for piece in data for one in reader.feed(piece)), *reader.close()]


def test_counts_of_the_beginning_and_the_end_are_one():
    assert events(START, TEXT, STOP, DELTA, END)[-1] == ReplyEnded(
        finish=Finish.STOP, usage=TokenUsage(input=3, output=7)
    )


def test_pings_and_events_that_are_not_known_are_passed_over():
    more = (event("ping"), event("content_block_pause", index=99))
    assert events(START, *more, DELTA, END) == events(START, DELTA, END)


def test_a_tool_without_arguments_gives_an_empty_object():
    block = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    start = event("content_block_start", index=0, content_block=block)
    reply = assembled(events(START, start, STOP, DELTA, END))
    assert reply.parts == (ToolCallPart(id="a", name="f", arguments="{}"),)


def test_a_stream_that_ends_early_is_a_failure_and_not_a_short_answer():
    for cut in ((), (START,), (START, TEXT), (START, TEXT, STOP, DELTA)):
        assert isinstance(events(*cut)[-1], ReplyFailed)


@pytest.mark.parametrize(
    ("kind", "status"),
    [("overloaded_error", 529), ("rate_limit_error", 429), ("api_error", 500), ("odd", 502)],
)
def test_an_error_in_the_midst_of_a_stream_ends_it(kind, status):
    broken = event("error", error={"type": kind, "message": "busy"})
    assert events(START, broken, END)[-1] == ReplyFailed(status=status, message="busy")


@pytest.mark.parametrize(
    "data",
    [
        b"data: {\n\n",
        b"data: []\n\n",
        TEXT,
        DELTA,
        START + START,
        START + STOP,
        START + TEXT + TEXT,
        START + event("content_block_start", index=-1, content_block={"type": "text"}),
        START + event("content_block_start", index=10**9, content_block={"type": "text"}),
        START + event("content_block_start", index=0, content_block={"type": "server_tool_use"}),
        START + event("content_block_delta", index=0, delta={"type": "text_delta", "text": "x"}),
        START + TEXT + event("content_block_delta", index=0, delta={}),
    ],
)
def test_what_is_no_stream_of_the_wire_is_refused(data):
    with pytest.raises(BadInputError):
        events(data)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"content": "hi"},
        {"content": [4]},
        {"content": [{"type": "tool_use", "id": "a", "name": "f", "input": []}]},
        {"content": [{"type": "web_search_tool_result"}]},
        {"content": [], "usage": 4},
        {"content": [], "stop_reason": 4},
    ],
)
def test_what_is_no_answer_is_refused(document):
    with pytest.raises(BadInputError):
        WIRE.read_reply(document)


def test_a_tool_that_has_no_schema_still_takes_an_object():
    written = WIRE.write_request(asked(tools=(ToolSpec(name="f"),)))
    assert written["tools"][0]["input_schema"] == {"type": "object", "properties": {}}
