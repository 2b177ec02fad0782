"""The Gemini wire: what it can carry comes back the same, and what it cannot is named."""

import base64
import json

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from hive.core.errors import BadInputError, EngineUnavailableError, UntranslatableError
from hive.protocols.models.conversation import (
    AnswerFormat,
    Conversation,
    Finish,
    MediaPart,
    Reasoning,
    Reply,
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
from tests import conversation_rig as rig

WIRE = wire_of(Dialect.GEMINI)
HI = Utterance(role="user", parts=(TextPart(text="hi"),))
ASKED = Conversation(model="m", utterances=(HI,))
CONTENTS = [{"role": "user", "parts": [{"text": "hi"}]}]


def read(**fields):
    return WIRE.read_request({"contents": CONTENTS, **fields}, model="m", stream=False)


def asked(**fields):
    return Conversation(**{"model": "m", "utterances": (HI,), **fields})


def said(*parts):
    return read(contents=[{"role": "user", "parts": list(parts)}]).utterances[0].parts


seals = st.binary(min_size=1, max_size=12).map(lambda raw: base64.b64encode(raw).decode())
sealed = st.builds(
    lambda text, seal: ThinkingPart(text=text, signature=f"gemini|{seal}"), rig.words, seals
)
images = st.builds(
    lambda kind: MediaPart(media_type=f"image/{kind}", data="aGk="),
    st.sampled_from(["png", "jpeg"]),
)
files = st.just(MediaPart(media_type="application/pdf", url="https://a.example/b.pdf"))
calls = st.builds(
    lambda call, seal: ToolCallPart(
        id=call.id, name=call.name, arguments=call.arguments, signature=seal
    ),
    rig.calls,
    st.just("") | seals,
)
results = st.builds(
    lambda call_id, name, words, failed: ToolResultPart(
        call_id=call_id, name=name, parts=(TextPart(text=words),), is_error=failed
    ),
    rig.ids,
    rig.names,
    rig.words.filter(lambda text: not text.startswith("{")),
    st.booleans(),
)
user = rig.spoken("user", st.one_of(rig.texts, images, files, results))
assistant = rig.spoken("assistant", st.one_of(rig.texts, calls, sealed))
tools = st.builds(ToolSpec, name=rig.names, description=st.just("") | rig.words, schema=rig.schemas)
conversations = st.builds(
    Conversation,
    model=st.just("m"),
    utterances=st.builds(
        lambda system, rest: (*system, *rest),
        st.lists(rig.spoken("system", rig.texts), max_size=1),
        rig.alternating(user, assistant),
    ),
    tools=st.lists(tools, min_size=1, max_size=2).map(tuple),
    tool_choice=st.none() | rig.choices,
    answer_format=st.none()
    | st.just(AnswerFormat(kind="json"))
    | st.builds(AnswerFormat, kind=st.just("schema"), schema=rig.schemas),
    sampling=rig.sampling(
        seed=st.none() | st.integers(0, 1 << 30),
        top_k=st.none() | st.integers(0, 100),
        presence_penalty=st.none() | st.floats(-2, 2),
        frequency_penalty=st.none() | st.floats(-2, 2),
    ),
    reasoning=st.sampled_from([None, Reasoning(enabled=False)]),
    extras=st.sampled_from([{}, {"generationConfig.responseLogprobs": True}]),
    harmless=st.sampled_from([{}, {"labels": {"a_b": "c"}}]),
)


@st.composite
def replies(draw):
    """Answers without words beside words: Gemini does not tell where one part ends."""
    kinds = draw(
        st.lists(st.sampled_from(["text", "call", "thought", "plain thought"]), max_size=5)
    )
    made = {
        "text": rig.texts,
        "call": calls,
        "thought": sealed,
        "plain thought": st.builds(lambda text: ThinkingPart(text=text), rig.words),
    }
    parts = []
    for kind in kinds:
        part = draw(made[kind])
        if parts and type(parts[-1]) is type(part) and not isinstance(part, ToolCallPart):
            continue
        parts.append(part)
    called = any(isinstance(part, ToolCallPart) for part in parts)
    usage = draw(st.none() | rig.usages)
    if usage is not None:
        # Gemini does not count what it writes to its cache.
        usage = TokenUsage(
            input=usage.input,
            output=usage.output,
            cache_read=usage.cache_read,
            reasoning=usage.reasoning,
        )
    finish = Finish.TOOLS if called else Finish.STOP
    return Reply(
        id=draw(rig.ids),
        model="m",
        parts=tuple(parts),
        finish=draw(st.sampled_from([finish, Finish.LENGTH, Finish.FILTERED])),
        usage=usage,
    )


def streamed(reply):
    writer = WIRE.event_writer(ASKED)
    return b"".join(writer.write(event) for event in events_of(reply))


def chunks_in(stream):
    lines = [line for line in stream.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def snake(value):
    """Write every field as the wire's other spelling has it, a user's own words left as they are."""
    if isinstance(value, list):
        return [snake(one) for one in value]
    if not isinstance(value, dict):
        return value
    theirs = ("args", "response", "parametersJsonSchema", "responseJsonSchema", "labels")
    return {
        "".join(f"_{one.lower()}" if one.isupper() else one for one in key): (
            inner if key in theirs else snake(inner)
        )
        for key, inner in value.items()
    }


@given(conversations)
def test_a_conversation_comes_back_the_same_in_either_spelling(conversation):
    document = json.loads(json.dumps(WIRE.write_request(conversation)))
    assert WIRE.read_request(document, model="m", stream=False) == conversation
    assert WIRE.read_request(snake(document), model="m", stream=False) == conversation


@given(conversations)
def test_a_request_is_what_google_describes(conversation):
    document = WIRE.write_request(conversation)
    for content in document["contents"]:
        types.Content.model_validate(content)
    for tool in document.get("tools", ()):
        types.Tool.model_validate(tool)
    config = document.get("generationConfig", {})
    types.GenerationConfig.model_validate(config)
    if "toolConfig" in document:
        types.ToolConfig.model_validate(document["toolConfig"])


@given(replies())
def test_a_whole_reply_comes_back_the_same_and_is_what_google_describes(reply):
    document = WIRE.write_reply(reply, ASKED)
    types.GenerateContentResponse.model_validate(
        {key: value for key, value in document.items() if key != "candidates"}
    )
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


def test_a_seal_of_another_provider_is_base64_for_google_and_comes_back():
    for thought in (
        ThinkingPart(text="t", signature="not base64 at all!"),
        ThinkingPart(signature="hidden", redacted=True),
        ThinkingPart(signature="rs_1|x"),
    ):
        reply = Reply(id="r", model="m", parts=(thought,))
        for document in (WIRE.write_reply(reply, ASKED), *chunks_in(streamed(reply))):
            types.GenerateContentResponse.model_validate(document)
        assert WIRE.read_reply(WIRE.write_reply(reply, ASKED)).parts == reply.parts


@pytest.mark.parametrize("signature", ["anthropics", "rs_1|x", ""])
def test_a_thought_with_another_providers_seal_is_not_shown_to_google(signature):
    thought = ThinkingPart(text="t", signature=signature)
    spoken = Utterance(role="assistant", parts=(thought, TextPart(text="x")))
    contents = WIRE.write_request(asked(utterances=(HI, spoken, HI)))["contents"]
    assert contents[1]["parts"] == [{"text": "x"}]


def test_calls_without_ids_meet_their_results_by_name_and_order():
    def call(name):
        return {"functionCall": {"name": name, "args": {}}}

    def result(name, word):
        return {"functionResponse": {"name": name, "response": {"result": word}}}

    found = read(
        contents=[
            *CONTENTS,
            {"role": "model", "parts": [call("f"), call("g"), call("f")]},
            {"role": "user", "parts": [result("f", "1"), result("f", "2"), result("g", "3")]},
        ]
    )
    asked_for = [part.id for part in found.utterances[1].parts]
    told = {part.parts[0].text: part.call_id for part in found.utterances[2].parts}
    assert len(set(asked_for)) == 3
    assert told == {"1": asked_for[0], "2": asked_for[2], "3": asked_for[1]}
    again = WIRE.write_request(found)["contents"]
    assert "id" not in again[1]["parts"][0]["functionCall"]


def test_a_result_without_a_name_gets_it_from_its_call():
    call = Utterance(role="assistant", parts=(ToolCallPart(id="c", name="f", arguments="{}"),))
    parts = (ToolResultPart(call_id="c", parts=(TextPart(text='{"a":1}'),)),)
    utterances = (HI, call, Utterance(role="user", parts=parts))
    contents = WIRE.write_request(asked(utterances=utterances))["contents"]
    assert contents[2]["parts"] == [
        {"functionResponse": {"id": "c", "name": "f", "response": {"a": 1}}}
    ]
    with pytest.raises(UntranslatableError):
        WIRE.write_request(asked(utterances=(HI, utterances[2])))


def test_googles_schemas_become_json_schema_in_the_order_that_they_name():
    schema = {
        "type": "OBJECT",
        "properties": {
            "max_size": {"type": "INTEGER", "minimum": 1, "nullable": True},
            "name": {"type": "STRING", "enum": ["a", "b"], "max_length": "5"},
            "list": {"type": "ARRAY", "items": {"any_of": [{"type": "NUMBER"}]}},
        },
        "required": ["name"],
        "property_ordering": ["name", "list"],
    }
    function = {"name": "f", "parameters": schema}
    found = read(tools=[{"function_declarations": [function]}]).tools[0].schema
    assert found == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "enum": ["a", "b"], "maxLength": 5},
            "list": {"type": "array", "items": {"anyOf": [{"type": "number"}]}},
            "max_size": {"type": ["integer", "null"], "minimum": 1},
        },
        "required": ["name"],
    }
    assert list(found["properties"]) == ["name", "list", "max_size"]


def test_what_a_user_wrote_keeps_its_spelling():
    part = said({"function_call": {"name": "f", "args": {"my_key": {"other_key": 1}}}})[0]
    assert json.loads(part.arguments) == {"my_key": {"other_key": 1}}


def test_a_field_in_two_spellings_is_refused():
    with pytest.raises(BadInputError, match="maxOutputTokens"):
        read(generationConfig={"maxOutputTokens": 5, "max_output_tokens": 5000})


@pytest.mark.parametrize(
    ("thinking", "reasoning"),
    [
        ({"thinkingBudget": 0}, Reasoning(enabled=False)),
        ({"thinkingBudget": -1}, Reasoning()),
        ({"thinkingBudget": 512.0}, Reasoning(budget_tokens=512)),
        ({"thinkingLevel": "HIGH"}, Reasoning(effort="high")),
        ({"includeThoughts": True}, None),
    ],
)
def test_thinking_is_read(thinking, reasoning):
    assert read(generationConfig={"thinkingConfig": thinking}).reasoning == reasoning


@pytest.mark.parametrize(
    ("config", "choice"),
    [
        ({"mode": "AUTO"}, ToolChoice(mode="auto")),
        ({"mode": "any"}, ToolChoice(mode="required")),
        ({"mode": "NONE"}, ToolChoice(mode="none")),
        ({"mode": "ANY", "allowedFunctionNames": ["f"]}, ToolChoice(mode="named", name="f")),
    ],
)
def test_the_choice_of_a_tool_is_read(config, choice):
    functions = [{"name": "f"}, {"name": "g"}]
    found = read(
        tools=[{"functionDeclarations": functions}], toolConfig={"functionCallingConfig": config}
    )
    assert found.tool_choice == choice


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"cachedContent": "c"}, "cachedContent"),
        ({"generationConfig": {"speechConfig": {"a": 1}}}, "speechConfig"),
    ],
)
def test_what_only_gemini_has_is_refused_by_other_wires(fields, named):
    for dialect in (Dialect.CHAT, Dialect.RESPONSES, Dialect.MESSAGES):
        with pytest.raises(UntranslatableError, match=named):
            wire_of(dialect).write_request(read(**fields))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"tools": [{"googleSearch": {}}]}, r"tools\[0\].googleSearch"),
        ({"tools": [{"codeExecution": {}}]}, "codeExecution"),
        ({"contents": [{"parts": [{"executableCode": {"code": "x"}}]}]}, "executableCode"),
        ({"toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}}}, "mode"),
        ({"generationConfig": {"responseMimeType": "text/x.enum"}}, "responseMimeType"),
    ],
)
def test_what_another_provider_cannot_have_is_named(fields, named):
    with pytest.raises(UntranslatableError, match=named):
        read(**fields)


def test_safety_settings_change_no_other_providers_answer():
    found = read(safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}])
    assert "safetySettings" not in wire_of(Dialect.CHAT).write_request(found)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"parallel_tools": False, "tools": (ToolSpec(name="f"),)}, "parallel_tool_calls"),
        ({"sampling": Sampling(answers=2)}, "n"),
        ({"extras": {"logit_bias": {}}}, "logit_bias"),
        (
            {"utterances": (HI, Utterance(role="system", parts=(TextPart(text="x"),)))},
            r"messages\[1\]",
        ),
        (
            {
                "utterances": (
                    Utterance(
                        role="user",
                        parts=(MediaPart(media_type="image/*", url="https://a.example/b"),),
                    ),
                )
            },
            "parts",
        ),
    ],
)
def test_what_the_wire_has_no_words_for_is_refused(fields, named):
    with pytest.raises(UntranslatableError, match=named):
        WIRE.write_request(asked(**fields))


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", Finish.STOP),
        ("MAX_TOKENS", Finish.LENGTH),
        ("SAFETY", Finish.FILTERED),
        ("RECITATION", Finish.FILTERED),
    ],
)
def test_why_it_stopped_is_read(reason, finish):
    candidate = {"content": {"parts": [{"text": "a"}]}, "finishReason": reason}
    assert WIRE.read_reply({"candidates": [candidate]}).finish is finish


def test_a_blocked_prompt_is_a_filtered_answer():
    blocked = {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 3},
    }
    reply = WIRE.read_reply(blocked)
    assert (reply.finish, reply.parts, reply.usage.input) == (Finish.FILTERED, (), 3)
    reader = WIRE.event_reader()
    events = [*reader.feed(b"data: " + json.dumps(blocked).encode() + b"\n\n"), *reader.close()]
    assert assembled(events).finish is Finish.FILTERED


def test_a_call_that_the_model_wrote_wrongly_is_a_failure():
    candidate = {"content": {}, "finishReason": "MALFORMED_FUNCTION_CALL"}
    with pytest.raises(EngineUnavailableError):
        WIRE.read_reply({"candidates": [candidate]})
    reader = WIRE.event_reader()
    events = list(
        reader.feed(b"data: " + json.dumps({"candidates": [candidate]}).encode() + b"\n\n")
    )
    assert isinstance(events[-1], ReplyFailed)


def test_an_error_in_a_stream_and_a_stream_without_an_end_have_failed():
    reader = WIRE.event_reader()
    error = {"error": {"code": 429, "message": "enough", "status": "RESOURCE_EXHAUSTED"}}
    events = list(reader.feed(b"data: " + json.dumps(error).encode() + b"\n\n"))
    assert events == [ReplyFailed(status=429, message="enough")]
    torn = WIRE.event_reader()
    list(torn.feed(b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}]}\n\n'))
    assert isinstance(list(torn.close())[-1], ReplyFailed)


BAD = {
    "contents": [
        {},
        5,
        [5],
        [],
        "hi",
        [{"parts": 5}],
        [{"parts": [5]}],
        [{"parts": [{}]}],
        [{"role": "robot", "parts": [{"text": "x"}]}],
        [{"parts": [{"text": 5}]}],
        [{"parts": [{"text": "a", "inlineData": {"mimeType": "a/b", "data": "x"}}]}],
        [{"parts": [{"inlineData": {"data": "x"}}]}],
        [{"parts": [{"functionCall": {"args": {}}}]}],
        [{"parts": [{"functionCall": {"name": "f", "args": []}}]}],
        [{"parts": [{"functionResponse": {"response": {}}}]}],
    ],
    "systemInstruction": ["be brief", 5, [], {"parts": 5}],
    "tools": [
        5,
        {},
        [5],
        [{"functionDeclarations": 5}],
        [{"functionDeclarations": [{}]}],
        [{"functionDeclarations": [{"name": "f", "parameters": 5}]}],
        [{"functionDeclarations": [{"name": "f", "parameters": {"type": 5}}]}],
    ],
    "toolConfig": [5, [], {"functionCallingConfig": 5}],
    "generationConfig": [
        5,
        [],
        {"maxOutputTokens": "5"},
        {"maxOutputTokens": 0},
        {"topK": 1.5},
        {"stopSequences": 5},
        {"stopSequences": [5]},
        {"temperature": "hot"},
        {"candidateCount": -1},
        {"thinkingConfig": 5},
        {"thinkingConfig": {"thinkingBudget": "x"}},
        {"responseSchema": 5},
        {"responseMimeType": 5},
    ],
}


@pytest.mark.parametrize(("key", "value"), [(key, one) for key in BAD for one in BAD[key]])
def test_a_wrong_type_is_bad_input_that_names_the_field(key, value):
    with pytest.raises(BadInputError, match=key) as caught:
        read(**{key: value})
    assert not isinstance(caught.value, UntranslatableError)


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"[]",
        b"5",
        b'{"candidates":5}',
        b'{"candidates":[{"content":{"parts":[{}]}}]}',
        b'{"candidates":[{"index":1}]}',
        b'{"candidates":[],"candi_dates":5,"candiDates":5}',
    ],
)
def test_a_stream_that_is_none_is_bad_input(data):
    with pytest.raises(BadInputError):
        list(WIRE.event_reader().feed(b"data: " + data + b"\n\n"))


def test_what_a_function_answers_is_told_in_its_description():
    document = {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "f", "description": "Counts.", "response": {"type": "INTEGER"}}
                ]
            }
        ],
    }
    conversation = WIRE.read_request(document, model="m", stream=False)
    assert conversation.tools[0].description == 'Counts.\nIt answers with: {"type":"INTEGER"}'
