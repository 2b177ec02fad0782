"""Reads a client's Anthropic messages request into a conversation."""

from collections.abc import Iterator, Mapping
from typing import Final, Literal

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
from hive.protocols.models.wires.fields import (
    ANY_IMAGE,
    Fields,
    arguments_text,
    bad,
    encoded_words,
    media_of_url,
    untranslatable,
)

# Dropped knowingly where another wire has no place for them: who asks, how to bill, what to keep in a cache.
HARMLESS: Final = frozenset({"cache_control", "service_tier", "user"})
PREFILL: Final = "messages.prefill"
EXTRAS: Final = frozenset(
    {"container", "context_management", "inference_geo", "mcp_servers", "speed", PREFILL}
)
_READ: Final = frozenset(
    {
        "model",
        "messages",
        "system",
        "stream",
        "tools",
        "tool_choice",
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "thinking",
        "output_config",
        "output_format",
        "metadata",
    }
)
_OUTPUT_READ: Final = frozenset({"effort", "format"})
_TOOL_READ: Final = frozenset(
    {"type", "name", "description", "input_schema", "strict", "cache_control"}
)
# They steer how a tool is sent or shown, not what it is.
_TOOL_HARMLESS: Final = frozenset({"eager_input_streaming", "input_examples", "allowed_callers"})
_ROLES: Final[dict[str, Literal["user", "assistant", "system"]]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
}
_CHOICES: Final = ("auto", "any", "none", "tool")


def read_question(document: Mapping[str, Json], *, model: str, stream: bool) -> Conversation:
    """Read a request.

    Raises:
        BadInputError: a field is not what the wire says.
        UntranslatableError: a field has no meaning for any other provider.

    """
    fields = Fields(document)
    utterances = (*_system(fields), *_messages(fields))
    rest = fields.rest(_READ)
    extras = {key: value for key, value in rest.items() if key not in HARMLESS}
    if _prefilled(utterances[-1]):
        extras[PREFILL] = True
    choice, parallel = _tool_choice(fields)
    return Conversation(
        model=model,
        utterances=utterances,
        stream=stream,
        include_usage=stream,
        tools=tuple(_tool(tool) for tool in fields.objects("tools")),
        tool_choice=choice,
        parallel_tools=parallel,
        answer_format=_answer_format(fields),
        sampling=Sampling(
            max_output_tokens=fields.whole("max_tokens"),
            temperature=fields.number("temperature"),
            top_p=fields.number("top_p"),
            top_k=fields.whole("top_k"),
            stop=fields.texts("stop_sequences"),
        ),
        reasoning=_reasoning(fields),
        extras=extras,
        harmless=_harmless(fields, rest),
    )


def _prefilled(last: Utterance) -> bool:
    """Tell whether the client began the answer itself: only this wire's models go on from there."""
    return last.role == "assistant" and not any(
        isinstance(part, ToolCallPart) for part in last.parts
    )


def _harmless(fields: Fields, rest: Mapping[str, Json]) -> dict[str, Json]:
    harmless = {key: value for key, value in rest.items() if key in HARMLESS}
    metadata = fields.inner("metadata")
    if metadata is not None and (user := metadata.text("user_id")):
        harmless["user"] = user
    return harmless


def _system(fields: Fields) -> Iterator[Utterance]:
    system = fields.raw("system")
    if isinstance(system, str):
        if system:
            yield Utterance(role="system", parts=(TextPart(text=system),))
        return
    parts = []
    for block in fields.objects("system"):
        if block.named("type") != "text":
            raise bad(block.place("type"), "must be text")
        parts.append(TextPart(text=block.text("text")))
    if parts:
        yield Utterance(role="system", parts=tuple(parts))


def _messages(fields: Fields) -> Iterator[Utterance]:
    if not fields.items("messages"):
        raise bad("messages", "must have at least one message")
    for message in fields.objects("messages"):
        role = message.named("role")
        if role not in _ROLES:
            raise bad(message.place("role"), "must be user, assistant or system")
        content = message.raw("content")
        parts: tuple[Part, ...]
        if isinstance(content, str):
            parts = (TextPart(text=content),)
        elif isinstance(content, list):
            parts = tuple(_block(block, role) for block in message.objects("content"))
        else:
            raise bad(message.place("content"), "must be a string or a list of blocks")
        yield Utterance(role=_ROLES[role], parts=parts)


def _block(block: Fields, role: str) -> Part:
    kind = block.named("type")
    if kind == "text":
        return TextPart(text=block.text("text"))
    if role == "assistant":
        return _said(block, kind)
    if role == "user" and kind == "tool_result":
        return ToolResultPart(
            call_id=block.named("tool_use_id"),
            parts=tuple(_result(block)),
            is_error=bool(block.flag("is_error")),
        )
    if role == "user":
        return _media(block, kind)
    raise bad(block.place("type"), "must be text")


def _said(block: Fields, kind: str) -> Part:
    match kind:
        case "thinking":
            return ThinkingPart(text=block.text("thinking"), signature=block.text("signature"))
        case "redacted_thinking":
            return ThinkingPart(signature=block.named("data"), redacted=True)
        case "tool_use":
            return ToolCallPart(
                id=block.named("id"),
                name=block.named("name"),
                arguments=arguments_text(block.mapping("input")),
            )
        case _:
            raise untranslatable(block.place("type"), f"no other wire has {kind[:60]} blocks")


def _media(block: Fields, kind: str) -> TextPart | MediaPart:
    match kind:
        case "text":
            return TextPart(text=block.text("text"))
        case "image":
            return _source(block, ANY_IMAGE)
        case "document":
            citations = block.inner("citations")
            if (citations and citations.flag("enabled")) or block.has("context"):
                raise untranslatable(block.where, "no other wire cites documents this way")
            return _source(block, "application/pdf")
        case _:
            raise untranslatable(block.place("type"), f"no other wire has {kind[:60]} blocks")


def _source(block: Fields, family: str) -> MediaPart:
    source = Fields.of(block.raw("source"), block.place("source"))
    name = block.text("title")
    match source.named("type"):
        case "base64":
            return MediaPart(
                media_type=source.named("media_type"), data=source.named("data"), name=name
            )
        case "url":
            found = media_of_url(source.named("url"), source.place("url"), family=family)
            return MediaPart(media_type=found.media_type, data=found.data, url=found.url, name=name)
        case "text":
            words = encoded_words(source.text("data"))
            return MediaPart(media_type="text/plain", data=words, name=name)
        case kind:
            raise untranslatable(source.place("type"), f"no other wire has {kind[:60]} sources")


def _result(block: Fields) -> Iterator[TextPart | MediaPart]:
    content = block.raw("content")
    if isinstance(content, str):
        yield TextPart(text=content)
        return
    for inner in block.objects("content"):
        yield _media(inner, inner.named("type"))


def _tool(tool: Fields) -> ToolSpec:
    if tool.text("type", "custom") != "custom":
        raise untranslatable(tool.place("type"), "the provider's own tools exist on this wire only")
    callers = tool.texts("allowed_callers")
    for key in tool.rest(_TOOL_READ | _TOOL_HARMLESS):
        if tool.raw(key) is not False:
            raise untranslatable(tool.place(key), "only this wire has it")
    if callers and "direct" not in callers:
        raise untranslatable(tool.place("allowed_callers"), "only this wire has it")
    return ToolSpec(
        name=tool.named("name"),
        description=tool.text("description"),
        schema=tool.mapping("input_schema"),
        strict=tool.flag("strict"),
    )


def _tool_choice(fields: Fields) -> tuple[ToolChoice | None, bool | None]:
    choice = fields.inner("tool_choice")
    if choice is None:
        return None, None
    alone = choice.flag("disable_parallel_tool_use")
    parallel = None if alone is None else not alone
    match choice.named("type"):
        case "auto":
            return ToolChoice(), parallel
        case "any":
            return ToolChoice(mode="required"), parallel
        case "none":
            return ToolChoice(mode="none"), parallel
        case "tool":
            return ToolChoice(mode="named", name=choice.named("name")), parallel
        case _:
            raise bad(choice.place("type"), f"must be one of {', '.join(_CHOICES)}")


def _answer_format(fields: Fields) -> AnswerFormat | None:
    config = fields.inner("output_config")
    form = (config.inner("format") if config else None) or fields.inner("output_format")
    if form is None:
        return None
    if form.named("type") != "json_schema":
        raise bad(form.place("type"), "must be json_schema")
    # This wire always holds the model to the schema.
    return AnswerFormat(kind="schema", schema=form.mapping("schema"), strict=True)


def _reasoning(fields: Fields) -> Reasoning | None:
    config = fields.inner("output_config")
    if config is not None:
        for key in config.rest(_OUTPUT_READ):
            raise untranslatable(config.place(key), "only this wire has it")
    effort = config.text("effort") if config else ""
    thinking = fields.inner("thinking")
    if thinking is None:
        return Reasoning(effort=effort) if effort else None
    match thinking.named("type"):
        case "disabled":
            return Reasoning(enabled=False)
        case "adaptive":
            return Reasoning(effort=effort)
        case "enabled":
            return Reasoning(effort=effort, budget_tokens=thinking.whole("budget_tokens"))
        case _:
            raise bad(thinking.place("type"), "must be enabled, adaptive or disabled")
