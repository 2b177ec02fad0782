"""Reads a client's chat completions request into a conversation."""

from collections.abc import Iterator, Mapping
from typing import Final

from hive.core.json import Json
from hive.protocols.models.conversation import (
    AnswerFormat,
    Conversation,
    MediaPart,
    Part,
    Reasoning,
    Sampling,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    ToolSpec,
    Utterance,
)
from hive.protocols.models.wires.fields import Fields, bad, media_of_url, untranslatable

# Dropped knowingly where another wire has no place for them: they tell who asks, what to keep and how to bill.
HARMLESS: Final = frozenset(
    {
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)
# They change the answer, and no other wire has them.
EXTRAS: Final = frozenset(
    {
        "audio",
        "logit_bias",
        "logprobs",
        "modalities",
        "moderation",
        "prediction",
        "top_logprobs",
        "verbosity",
        "web_search_options",
    }
)
_READ: Final = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "seed",
        "stop",
        "presence_penalty",
        "frequency_penalty",
        "n",
    }
)
_ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
# What these say is what a request without them says.
_WITHOUT_MEANING: Final[Mapping[str, tuple[Json, ...]]] = {
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "functions": ([],),
    "verbosity": ("medium",),
}
_SOUNDS: Final = {"wav": "audio/wav", "mp3": "audio/mpeg"}


def read_question(document: Mapping[str, Json], *, model: str, stream: bool) -> Conversation:
    """Read a request.

    Raises:
        BadInputError: a field is not what the wire says.
        UntranslatableError: a field has no meaning for any other provider.

    """
    fields = Fields(document)
    rest = fields.rest(_READ)
    options = fields.inner("stream_options")
    return Conversation(
        model=model,
        utterances=tuple(_utterances(fields)),
        stream=stream,
        include_usage=bool(options and options.flag("include_usage")),
        tools=tuple(_tool(tool) for tool in fields.objects("tools")),
        tool_choice=_tool_choice(fields),
        parallel_tools=fields.flag("parallel_tool_calls"),
        answer_format=_answer_format(fields),
        sampling=_sampling(fields),
        reasoning=_reasoning(fields),
        extras={
            key: value
            for key, value in rest.items()
            if key not in HARMLESS and value not in _WITHOUT_MEANING.get(key, ())
        },
        harmless={key: value for key, value in rest.items() if key in HARMLESS},
    )


def _utterances(fields: Fields) -> Iterator[Utterance]:
    results: list[Part] = []
    if not fields.items("messages"):
        raise bad("messages", "must have at least one message")
    for message in fields.objects("messages"):
        role = message.named("role")
        if role not in _ROLES:
            raise bad(message.place("role"), f"must be one of {', '.join(_ROLES)}")
        if role == "tool":
            results.append(_tool_result(message))
            continue
        if results:
            yield Utterance(role="user", parts=tuple(results))
            results = []
        if role == "function":
            raise untranslatable(message.place("role"), "the role is given up; use tools")
        if role == "assistant":
            yield Utterance(role="assistant", parts=tuple(_said(message)))
        else:
            parts = tuple(_content(message))
            yield Utterance(role="user" if role == "user" else "system", parts=parts)
    if results:
        yield Utterance(role="user", parts=tuple(results))


def _content(message: Fields) -> Iterator[TextPart | MediaPart]:
    content = message.raw("content")
    if isinstance(content, str):
        yield TextPart(text=content)
        return
    if not isinstance(content, list):
        raise bad(message.place("content"), "must be a string or a list of parts")
    for part in message.objects("content"):
        yield _part(part)


def _part(part: Fields) -> TextPart | MediaPart:
    kind = part.named("type")
    match kind:
        case "text":
            return TextPart(text=part.text("text"))
        case "refusal":
            return TextPart(text=part.text("refusal"), refusal=True)
        case "image_url":
            image = Fields.of(part.raw("image_url"), part.place("image_url"))
            found = media_of_url(image.named("url"), image.place("url"))
            return MediaPart(
                media_type=found.media_type,
                data=found.data,
                url=found.url,
                detail=image.text("detail"),
            )
        case "input_audio":
            sound = Fields.of(part.raw("input_audio"), part.place("input_audio"))
            form = sound.one_of("format", tuple(_SOUNDS))
            if not form:
                raise bad(sound.place("format"), f"must be one of {', '.join(_SOUNDS)}")
            return MediaPart(media_type=_SOUNDS[form], data=sound.named("data"))
        case "file":
            return _file(Fields.of(part.raw("file"), part.place("file")))
    raise bad(part.place("type"), "names no part that this wire knows")


def _file(file: Fields) -> MediaPart:
    if file.has("file_id"):
        raise untranslatable(file.place("file_id"), "the file lies with one provider")
    data, name = file.named("file_data"), file.text("filename")
    if data[:5].lower() != "data:":
        return MediaPart(media_type="application/pdf", data=data, name=name)
    found = media_of_url(data, file.place("file_data"))
    return MediaPart(media_type=found.media_type, data=found.data, name=name)


def _said(message: Fields) -> Iterator[Part]:
    for key in ("audio", "function_call"):
        if message.has(key):
            raise untranslatable(message.place(key), "only this wire has it")
    if thought := message.text("reasoning_content"):
        yield ThinkingPart(text=thought)
    if message.has("content"):
        for part in _content(message):
            if isinstance(part, MediaPart):
                raise bad(message.place("content"), "of an assistant holds text and refusals only")
            if part.text:
                yield part
    if refusal := message.text("refusal"):
        yield TextPart(text=refusal, refusal=True)
    for call in message.objects("tool_calls"):
        yield read_tool_call(call)


def read_tool_call(call: Fields) -> ToolCallPart:
    """Read one finished tool call.

    Raises:
        BadInputError: it is none, or a custom one.

    """
    if call.text("type", "function") != "function":
        raise untranslatable(call.place("type"), "only functions can be called on other wires")
    function = Fields.of(call.raw("function"), call.place("function"))
    match call.raw("extra_content"):
        case {"google": {"thought_signature": str(signature)}}:
            pass
        case _:
            signature = ""
    return ToolCallPart(
        id=call.text("id"),
        name=function.named("name"),
        arguments=function.text("arguments"),
        signature=signature,
    )


def _tool_result(message: Fields) -> ToolResultPart:
    return ToolResultPart(
        call_id=message.named("tool_call_id"),
        name=message.text("name"),
        parts=tuple(_content(message)) if message.raw("content") else (),
    )


def _tool(tool: Fields) -> ToolSpec:
    if tool.named("type") != "function":
        raise untranslatable(tool.place("type"), "only functions are tools on other wires")
    function = Fields.of(tool.raw("function"), tool.place("function"))
    return ToolSpec(
        name=function.named("name"),
        description=function.text("description"),
        schema=function.mapping("parameters"),
        strict=function.flag("strict"),
    )


def _tool_choice(fields: Fields) -> ToolChoice | None:
    choice = fields.raw("tool_choice")
    match choice:
        case None:
            return None
        case "auto" | "none" | "required":
            return ToolChoice(mode=choice)
        case {"type": "function"}:
            named = Fields.of(choice, "tool_choice")
            function = Fields.of(named.raw("function"), "tool_choice.function")
            return ToolChoice(mode="named", name=function.named("name"))
        case {"type": str()}:
            raise untranslatable("tool_choice", "only a function can be named on other wires")
    raise bad("tool_choice", "must be auto, none, required or a function")


def _answer_format(fields: Fields) -> AnswerFormat | None:
    form = fields.inner("response_format")
    if form is None:
        return None
    match form.named("type"):
        case "text":
            return None
        case "json_object":
            return AnswerFormat(kind="json")
        case "json_schema":
            schema = Fields.of(form.raw("json_schema"), form.place("json_schema"))
            return AnswerFormat(
                kind="schema",
                name=schema.named("name"),
                description=schema.text("description"),
                schema=schema.mapping("schema"),
                strict=schema.flag("strict"),
            )
    raise bad(form.place("type"), "must be text, json_object or json_schema")


def _sampling(fields: Fields) -> Sampling:
    limits = (fields.whole("max_completion_tokens"), fields.whole("max_tokens"))
    return Sampling(
        max_output_tokens=min((limit for limit in limits if limit is not None), default=None),
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        top_k=fields.whole("top_k"),
        seed=fields.whole("seed", least=-(1 << 63)),
        stop=fields.texts("stop"),
        presence_penalty=fields.number("presence_penalty"),
        frequency_penalty=fields.number("frequency_penalty"),
        answers=fields.whole("n", least=1) or 1,
    )


def _reasoning(fields: Fields) -> Reasoning | None:
    effort = fields.text("reasoning_effort")
    if not effort:
        return None
    return Reasoning(enabled=False) if effort == "none" else Reasoning(effort=effort)
