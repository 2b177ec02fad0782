"""Writes a conversation as an Anthropic messages request for a provider."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from hive.core.json import Json
from hive.protocols.models.conversation import (
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
    arguments_object,
    plain_id,
    plain_words,
    put,
    refuse_extras,
    untranslatable,
    web_address,
)
from hive.protocols.models.wires.messages_questions import EXTRAS, PREFILL
from hive.protocols.models.wires.seals import is_marked

# The wire wants a limit in every request. Where the client set none, every model in service takes this one.
MAX_TOKENS_DEFAULT: Final = 8192
TEMPERATURE_MAX: Final = 1.0
_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_SERVICE_TIERS: Final = frozenset({"auto", "standard_only"})
_EFFORTS: Final = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
_NO_ARGUMENTS: Final[dict[str, Json]] = {"type": "object", "properties": {}}


def write_question(conversation: Conversation) -> dict[str, Json]:
    """Write a request.

    Raises:
        UntranslatableError: it says something for which the wire has no words.

    """
    _refuse_numbers(conversation.sampling)
    sampling = conversation.sampling
    document: dict[str, Json] = {
        "model": conversation.model,
        "max_tokens": _limit(conversation),
    }
    system, rest = _parted(conversation.utterances)
    if system:
        document["system"] = [_text(part) for part in system]
    document["messages"] = list(_messages(rest))
    if not document["messages"]:
        raise untranslatable(
            "messages", "the messages wire wants a user's message, not only system text"
        )
    tools = conversation.tools or _called(conversation)
    if tools:
        document["tools"] = [_tool(tool) for tool in tools]
        asked = conversation.tool_choice if conversation.tools else ToolChoice(mode="none")
        put(document, tool_choice=_tool_choice(asked, parallel=conversation.parallel_tools))
    elif conversation.tool_choice and conversation.tool_choice.mode in ("required", "named"):
        raise untranslatable("tool_choice", "it asks for a tool where there is none")
    put(
        document,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        stop_sequences=list(sampling.stop) or None,
        stream=True if conversation.stream else None,
    )
    document |= _thinking(conversation)
    extras = refuse_extras(conversation.extras, EXTRAS, "messages")
    extras.pop(PREFILL, None)
    return document | extras | _harmless(conversation)


def _harmless(conversation: Conversation) -> dict[str, Json]:
    known = conversation.harmless
    document: dict[str, Json] = {}
    if isinstance(user := known.get("user"), str):
        document["metadata"] = {"user_id": user}
    if known.get("service_tier") in _SERVICE_TIERS:
        document["service_tier"] = known["service_tier"]
    return put(document, cache_control=known.get("cache_control"))


def _refuse_numbers(sampling: Sampling) -> None:
    for name, value in (
        ("seed", sampling.seed),
        ("presence_penalty", sampling.presence_penalty or None),
        ("frequency_penalty", sampling.frequency_penalty or None),
        ("n", sampling.answers if sampling.answers > 1 else None),
    ):
        if value is not None:
            raise untranslatable(name, "the messages wire has no words for it")
    if sampling.temperature is not None and sampling.temperature > TEMPERATURE_MAX:
        raise untranslatable("temperature", f"the messages wire ends at {TEMPERATURE_MAX}")


def _limit(conversation: Conversation) -> int:
    asked = conversation.sampling.max_output_tokens
    if asked is not None:
        return asked
    budget = conversation.reasoning.budget_tokens if conversation.reasoning else None
    # Thinking counts towards the limit.
    return MAX_TOKENS_DEFAULT + (budget or 0)


def _parted(utterances: Sequence[Utterance]) -> tuple[list[TextPart], Sequence[Utterance]]:
    system: list[TextPart] = []
    for index, utterance in enumerate(utterances):
        if utterance.role != "system":
            return system, utterances[index:]
        system.extend(_words(utterance.parts, f"messages[{index}]"))
    return system, ()


def _words(parts: Iterable[Part], where: str) -> Iterator[TextPart]:
    for part in parts:
        if not isinstance(part, TextPart):
            raise untranslatable(where, "system text holds no images or files")
        if part.text.strip():
            yield part


def _messages(utterances: Sequence[Utterance]) -> Iterator[Json]:
    role, blocks = "", list[Json]()
    for index, utterance in enumerate(utterances):
        written = list(_blocks(utterance, f"messages[{index}]"))
        if not written:
            continue
        if utterance.role == role and role != "system":
            # The results of one round of tools must stand in one message.
            blocks.extend(written)
            continue
        if blocks:
            yield {"role": role, "content": blocks}
        role, blocks = utterance.role, written
    if blocks:
        yield {"role": role, "content": blocks}


def _blocks(utterance: Utterance, where: str) -> Iterator[Json]:
    if utterance.role == "system":
        yield from (_text(part) for part in _words(utterance.parts, where))
        return
    # The wire wants tool results before anything else.
    parts = sorted(utterance.parts, key=lambda part: not isinstance(part, ToolResultPart))
    for at, part in enumerate(parts):
        place = f"{where}.content[{at}]"
        match part:
            case TextPart():
                if part.text.strip():
                    yield _text(part)
            case MediaPart() if utterance.role == "user":
                yield _media(part, place)
            case ToolResultPart() if utterance.role == "user":
                yield _tool_result(part, place)
            case ThinkingPart() if utterance.role == "assistant":
                yield from _thought(part)
            case ToolCallPart() if utterance.role == "assistant":
                yield {
                    "type": "tool_use",
                    "id": plain_id(part.id, "toolu_"),
                    "name": part.name,
                    "input": arguments_object(part.arguments),
                }
            case _:
                raise untranslatable(
                    place, f"the messages wire has no such part of {utterance.role}"
                )


def _text(part: TextPart) -> Json:
    return {"type": "text", "text": part.text}


def _thought(part: ThinkingPart) -> Iterator[Json]:
    # A thought without a seal, or with another's, is another provider's; this wire takes only its own back.
    if not part.signature or is_marked(part.signature):
        return
    if part.redacted:
        yield {"type": "redacted_thinking", "data": part.signature}
    else:
        yield {"type": "thinking", "thinking": part.text, "signature": part.signature}


def _media(part: MediaPart, where: str) -> Json:
    source: dict[str, Json]
    if part.url:
        source = {"type": "url", "url": web_address(part, where)}
    else:
        source = {"type": "base64", "media_type": part.media_type, "data": part.data}
    if part.media_type.startswith("image/"):
        if not part.url and part.media_type not in _IMAGES:
            raise untranslatable(where, f"the messages wire takes no {part.media_type[:60]}")
        return {"type": "image", "source": source}
    if part.media_type.startswith("text/") and not part.url:
        words = plain_words(part, where)
        source = {"type": "text", "media_type": "text/plain", "data": words}
    elif part.media_type != "application/pdf":
        raise untranslatable(where, f"the messages wire takes no {part.media_type[:60]}")
    document: dict[str, Json] = {"type": "document", "source": source}
    return put(document, title=part.name or None)


def _tool_result(result: ToolResultPart, where: str) -> Json:
    content: list[Json] = [
        _text(part) if isinstance(part, TextPart) else _media(part, where)
        for part in result.parts
        if not isinstance(part, TextPart) or part.text.strip()
    ]
    block: dict[str, Json] = {
        "type": "tool_result",
        "tool_use_id": plain_id(result.call_id, "toolu_"),
    }
    if content:
        block["content"] = content
    return put(block, is_error=True if result.is_error else None)


def _called(conversation: Conversation) -> list[ToolSpec]:
    """Return a bare tool for each one in the history: the wire wants them declared, even if none may be used."""
    names = {
        part.name: None
        for utterance in conversation.utterances
        for part in utterance.parts
        if isinstance(part, ToolCallPart)
    }
    return [ToolSpec(name=name) for name in names]


def _tool(tool: ToolSpec) -> Json:
    written: dict[str, Json] = {"name": tool.name}
    if tool.description:
        written["description"] = tool.description
    schema = tool.schema or _NO_ARGUMENTS
    written["input_schema"] = schema if "type" in schema else {"type": "object", **schema}
    return put(written, strict=tool.strict)


def _tool_choice(choice: ToolChoice | None, *, parallel: bool | None) -> Json:
    if choice is None and parallel is None:
        return None
    choice = choice or ToolChoice()
    written: dict[str, Json]
    match choice.mode:
        case "none":
            return {"type": "none"}
        case "named":
            written = {"type": "tool", "name": choice.name}
        case "required":
            written = {"type": "any"}
        case "auto":
            written = {"type": "auto"}
    return put(written, disable_parallel_tool_use=None if parallel is None else not parallel)


def _thinking(conversation: Conversation) -> dict[str, Json]:
    document: dict[str, Json] = {}
    output: dict[str, Json] = {}
    reasoning = conversation.reasoning
    if reasoning is not None:
        document["thinking"] = _thinking_config(reasoning)
        if reasoning.enabled and reasoning.effort:
            if reasoning.effort not in _EFFORTS:
                raise untranslatable("reasoning_effort", "the messages wire has no such effort")
            output["effort"] = _EFFORTS[reasoning.effort]
    form = conversation.answer_format
    if form is not None:
        if form.kind == "json":
            raise untranslatable(
                "response_format", "the messages wire wants a schema for JSON answers"
            )
        output["format"] = {"type": "json_schema", "schema": form.schema}
    return put(document, output_config=output or None)


def _thinking_config(reasoning: Reasoning) -> Json:
    if not reasoning.enabled:
        return {"type": "disabled"}
    if reasoning.budget_tokens is not None:
        return {"type": "enabled", "budget_tokens": reasoning.budget_tokens}
    return {"type": "adaptive"}
