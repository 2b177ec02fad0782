"""Reads a client's responses request into a conversation."""

from collections.abc import Iterator, Mapping
from typing import Final

from hive.core.json import Json
from hive.protocols.models.conversation import (
    AnswerFormat,
    Conversation,
    MediaPart,
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
from hive.protocols.models.wires.seals import REDACTED_MARK, openai_mark

# They tell who asks, what to keep and how to bill, never what is answered.
RESPONSES_HARMLESS: Final = frozenset(
    {
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "user",
    }
)
_STATE: Final = ("previous_response_id", "conversation", "prompt", "background", "store")
_READ: Final = frozenset(
    {
        "model",
        "input",
        "instructions",
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "text",
        "reasoning",
        "include",
        "max_output_tokens",
        "temperature",
        "top_p",
        *_STATE,
    }
)
_WITHOUT_MEANING: Final[Mapping[str, tuple[Json, ...]]] = {
    "top_logprobs": (0,),
    "truncation": ("disabled",),
}
_SEALED_CONTENT: Final = "reasoning.encrypted_content"
_SPEAKERS: Final = {
    "user": "user",
    "system": "system",
    "developer": "system",
    "assistant": "assistant",
}


def read_responses_question(
    document: Mapping[str, Json], *, model: str, stream: bool
) -> Conversation:
    """Read a request.

    Raises:
        BadInputError: a field is not what the wire says.
        UntranslatableError: a field has no meaning for any other provider.

    """
    fields = Fields(document)
    for key in _STATE:
        if fields.raw(key) not in (None, False):
            raise untranslatable(key, "another provider keeps no state between calls")
    for index, wanted in enumerate(fields.texts("include")):
        if wanted != _SEALED_CONTENT:
            raise untranslatable(f"include[{index}]", "only this wire has it")
    rest = fields.rest(_READ)
    form, extras = _answer_format(fields)
    return Conversation(
        model=model,
        utterances=tuple(_joined(_utterances(fields))),
        stream=stream,
        include_usage=stream,
        tools=tuple(_tool(tool) for tool in fields.objects("tools")),
        tool_choice=_tool_choice(fields),
        parallel_tools=fields.flag("parallel_tool_calls"),
        answer_format=form,
        sampling=Sampling(
            max_output_tokens=fields.whole("max_output_tokens", least=1),
            temperature=fields.number("temperature"),
            top_p=fields.number("top_p"),
        ),
        reasoning=_reasoning(fields),
        extras=extras
        | {
            key: value
            for key, value in rest.items()
            if key not in RESPONSES_HARMLESS and value not in _WITHOUT_MEANING.get(key, ())
        },
        harmless={key: value for key, value in rest.items() if key in RESPONSES_HARMLESS},
    )


def _utterances(fields: Fields) -> Iterator[Utterance]:
    if instructions := fields.text("instructions"):
        yield Utterance(role="system", parts=(TextPart(text=instructions),))
    told = fields.raw("input")
    if isinstance(told, str):
        yield Utterance(role="user", parts=(TextPart(text=told),))
        return
    if not isinstance(told, list) or not told:
        raise bad("input", "must be a string or a list with at least one item")
    for item in fields.objects("input"):
        found = _item(item)
        if found is not None:
            yield found


def _joined(utterances: Iterator[Utterance]) -> Iterator[Utterance]:
    """Join an assistant's items to one message, and the results of parallel tools."""
    held: Utterance | None = None
    for utterance in utterances:
        if held is not None and _belongs(held, utterance):
            held = Utterance(role=held.role, parts=held.parts + utterance.parts)
            continue
        if held is not None:
            yield held
        held = utterance
    if held is not None:
        yield held


def _belongs(held: Utterance, new: Utterance) -> bool:
    if held.role != new.role or held.role == "system":
        return False
    if held.role == "assistant":
        return True
    return all(isinstance(part, ToolResultPart) for part in held.parts + new.parts)


def _item(item: Fields) -> Utterance | None:
    kind = item.text("type", "message")
    match kind:
        case "message":
            return _message(item)
        case "reasoning":
            part = read_reasoning(item)
            return Utterance(role="assistant", parts=(part,)) if part else None
        case "function_call":
            return Utterance(role="assistant", parts=(read_function_call(item),))
        case "function_call_output":
            result = ToolResultPart(
                call_id=item.named("call_id"), parts=tuple(_content(item, "output"))
            )
            return Utterance(role="user", parts=(result,))
    raise untranslatable(item.place("type"), f"{kind[:40]!r} is known to one provider only")


def _message(item: Fields) -> Utterance:
    role = item.named("role")
    if role not in _SPEAKERS:
        raise bad(item.place("role"), f"must be one of {', '.join(_SPEAKERS)}")
    parts = tuple(_content(item, "content"))
    if role == "assistant":
        if any(isinstance(part, MediaPart) for part in parts):
            raise bad(item.place("content"), "of an assistant holds text and refusals only")
        return Utterance(role="assistant", parts=parts)
    return Utterance(role="user" if role == "user" else "system", parts=parts)


def read_reasoning(item: Fields) -> ThinkingPart | None:
    """Read a reasoning item; None where it holds neither words nor a seal."""
    texts = [one.text("text") for one in item.objects("summary")]
    texts = texts or [one.text("text") for one in item.objects("content")]
    sealed = item.text("encrypted_content")
    if sealed.startswith(REDACTED_MARK):
        return ThinkingPart(signature=sealed.removeprefix(REDACTED_MARK), redacted=True)
    text = "\n\n".join(texts)
    if not text and not sealed:
        return None
    return ThinkingPart(text=text, signature=openai_mark(item.text("id"), sealed))


def read_function_call(item: Fields) -> ToolCallPart:
    """Read one finished function call.

    Raises:
        BadInputError: it is none.

    """
    return ToolCallPart(
        id=item.named("call_id"), name=item.named("name"), arguments=item.text("arguments")
    )


def _content(item: Fields, key: str) -> Iterator[TextPart | MediaPart]:
    content = item.raw(key)
    if isinstance(content, str):
        yield TextPart(text=content)
        return
    if not isinstance(content, list):
        raise bad(item.place(key), "must be a string or a list of parts")
    for part in item.objects(key):
        yield read_content_part(part)


def read_content_part(part: Fields) -> TextPart | MediaPart:
    """Read a part of a message.

    Raises:
        BadInputError: it is none.
        UntranslatableError: it names a file that lies with one provider.

    """
    kind = part.named("type")
    if part.has("file_id"):
        raise untranslatable(part.place("file_id"), "the file lies with one provider")
    match kind:
        case "input_text" | "output_text" | "text":
            return TextPart(text=part.text("text"))
        case "refusal":
            return TextPart(text=part.text("refusal"), refusal=True)
        case "input_image":
            media = media_of_url(part.text("image_url"), part.place("image_url"))
            return MediaPart(
                media_type=media.media_type,
                data=media.data,
                url=media.url,
                detail=part.text("detail"),
            )
        case "input_file":
            return _file(part)
    raise bad(part.place("type"), "names no part that this wire knows")


def _file(part: Fields) -> MediaPart:
    name = part.text("filename")
    if part.has("file_url"):
        url = part.named("file_url")
        return MediaPart(media_type="application/pdf", url=url, name=name)
    data = part.named("file_data")
    if data[:5].lower() != "data:":
        return MediaPart(media_type="application/pdf", data=data, name=name)
    found = media_of_url(data, part.place("file_data"))
    return MediaPart(media_type=found.media_type, data=found.data, name=name)


def _tool(tool: Fields) -> ToolSpec:
    if tool.named("type") != "function":
        raise untranslatable(tool.place("type"), "only functions are tools on other wires")
    return ToolSpec(
        name=tool.named("name"),
        description=tool.text("description"),
        schema=tool.mapping("parameters"),
        strict=tool.flag("strict"),
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
            return ToolChoice(mode="named", name=named.named("name"))
        case {"type": str()}:
            raise untranslatable("tool_choice", "only a function can be named on other wires")
    raise bad("tool_choice", "must be auto, none, required or a function")


def _answer_format(fields: Fields) -> tuple[AnswerFormat | None, dict[str, Json]]:
    text = fields.inner("text")
    if text is None:
        return None, {}
    verbosity = text.text("verbosity", "medium")
    extras: dict[str, Json] = {} if verbosity == "medium" else {"verbosity": verbosity}
    form = text.inner("format")
    if form is None:
        return None, extras
    match form.named("type"):
        case "text":
            return None, extras
        case "json_object":
            return AnswerFormat(kind="json"), extras
        case "json_schema":
            return AnswerFormat(
                kind="schema",
                name=form.named("name"),
                description=form.text("description"),
                schema=form.mapping("schema"),
                strict=form.flag("strict"),
            ), extras
    raise bad(form.place("type"), "must be text, json_object or json_schema")


def _reasoning(fields: Fields) -> Reasoning | None:
    reasoning = fields.inner("reasoning")
    if reasoning is None:
        return None
    effort = reasoning.text("effort")
    for key in ("summary", "generate_summary"):
        reasoning.text(key)
    if reasoning.text("mode", "standard") != "standard":
        raise untranslatable(reasoning.place("mode"), "only this wire has it")
    if not effort:
        return None
    return Reasoning(enabled=False) if effort == "none" else Reasoning(effort=effort)
