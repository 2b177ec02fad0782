"""Writes a conversation as a chat completions request for a provider."""

from collections.abc import Iterator
from typing import Final

from hive.core.json import Json
from hive.protocols.models.conversation import (
    AnswerFormat,
    Conversation,
    MediaPart,
    Part,
    Reasoning,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    ToolSpec,
    Utterance,
)
from hive.protocols.models.wires.chat_questions import EXTRAS, HARMLESS
from hive.protocols.models.wires.fields import (
    data_url,
    plain_words,
    put,
    refuse_extras,
    untranslatable,
    web_address,
)

FORMAT_NAME: Final = "answer"
TOOL_FAILED: Final = "The tool failed."
MEDIA_FOLLOW: Final = "(The files of this result follow in the next message.)"
_SERVICE_TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})
_SOUNDS: Final = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}
_DETAILS: Final = frozenset({"auto", "low", "high", "original"})
# A budget of thinking, in tokens, is about this much effort.
_EFFORTS: Final = ((2048, "low"), (8192, "medium"), (1 << 60, "high"))


def write_question(conversation: Conversation, *, limit_field: str) -> dict[str, Json]:
    """Write a request; `limit_field` is what this provider calls the limit of output tokens.

    Raises:
        UntranslatableError: it says something for which the wire has no words.

    """
    sampling = conversation.sampling
    if sampling.top_k is not None:
        raise untranslatable("top_k", "the chat wire has no words for it")
    messages: list[Json] = []
    for index, utterance in enumerate(conversation.utterances):
        messages.extend(_messages(utterance, f"messages[{index}]"))
    document: dict[str, Json] = {"model": conversation.model, "messages": messages}
    if conversation.tools:
        document["tools"] = [_tool(tool) for tool in conversation.tools]
        put(document, parallel_tool_calls=conversation.parallel_tools)
    if conversation.tool_choice is not None and (
        conversation.tools or conversation.tool_choice.mode in ("required", "named")
    ):
        document["tool_choice"] = _tool_choice(conversation.tool_choice)
    put(
        document,
        response_format=_answer_format(conversation.answer_format),
        reasoning_effort=_effort(conversation.reasoning),
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        stop=list(sampling.stop) or None,
        n=sampling.answers if sampling.answers > 1 else None,
    )
    if sampling.max_output_tokens is not None:
        document[limit_field] = sampling.max_output_tokens
    if conversation.stream:
        document["stream"] = True
        if conversation.include_usage:
            document["stream_options"] = {"include_usage": True}
    document |= refuse_extras(conversation.extras, EXTRAS, "chat")
    document |= {
        key: value
        for key, value in conversation.harmless.items()
        if key in HARMLESS and (key != "service_tier" or value in _SERVICE_TIERS)
    }
    return document


def _messages(utterance: Utterance, where: str) -> Iterator[Json]:
    if utterance.role == "assistant":
        yield _said(utterance, where)
        return
    results = [part for part in utterance.parts if isinstance(part, ToolResultPart)]
    others: list[Json] = []
    for result in results:
        message, media = _tool_result(result, where)
        yield message
        others.extend(media)
    parts = [part for part in utterance.parts if not isinstance(part, ToolResultPart)]
    if not results and len(parts) == 1 and isinstance(parts[0], TextPart):
        yield {"role": utterance.role, "content": parts[0].text}
        return
    others.extend(_part(part, f"{where}.content[{at}]") for at, part in enumerate(parts))
    if others or not results:
        yield {"role": utterance.role, "content": others or ""}


def _part(part: Part, where: str) -> Json:
    match part:
        case TextPart():
            return {"type": "text", "text": part.text}
        case MediaPart():
            return _media(part, where)
        case _:
            raise untranslatable(where, "a user cannot think or call tools on the chat wire")


def _media(part: MediaPart, where: str) -> Json:
    family = part.media_type.partition("/")[0]
    if family == "image":
        image: dict[str, Json] = {"url": web_address(part, where) if part.url else data_url(part)}
        if part.detail in _DETAILS:
            image["detail"] = part.detail
        return {"type": "image_url", "image_url": image}
    if part.url:
        raise untranslatable(where, "the chat wire takes the address of an image only")
    if family == "audio":
        if part.media_type not in _SOUNDS:
            raise untranslatable(where, "the chat wire takes sounds as wav and mp3 only")
        sound: Json = {"data": part.data, "format": _SOUNDS[part.media_type]}
        return {"type": "input_audio", "input_audio": sound}
    if family == "video":
        raise untranslatable(where, "the chat wire takes no video")
    if family == "text":
        words = plain_words(part, where)
        return {"type": "text", "text": f"{part.name}\n\n{words}" if part.name else words}
    file: dict[str, Json] = {"file_data": data_url(part)}
    if part.name:
        file["filename"] = part.name
    return {"type": "file", "file": file}


def _said(utterance: Utterance, where: str) -> Json:
    texts: list[Json] = []
    calls: list[Json] = []
    for part in utterance.parts:
        match part:
            case TextPart(refusal=True):
                texts.append({"type": "refusal", "refusal": part.text})
            case TextPart():
                texts.append({"type": "text", "text": part.text})
            case ThinkingPart():
                # Past thoughts are sealed for the provider that had them; nobody else reads them.
                continue
            case ToolCallPart():
                calls.append(write_tool_call(part))
            case _:
                raise untranslatable(where, "an assistant says text only on the chat wire")
    message: dict[str, Json] = {"role": "assistant"}
    if len(texts) == 1 and isinstance(utterance_text := _only_text(texts[0]), str):
        message["content"] = utterance_text
    else:
        message["content"] = texts or (None if calls else "")
    if calls:
        message["tool_calls"] = calls
    return message


def _only_text(part: Json) -> Json:
    return part.get("text") if isinstance(part, dict) else None


def write_tool_call(part: ToolCallPart) -> dict[str, Json]:
    """Write one finished tool call."""
    function: Json = {"name": part.name, "arguments": part.arguments or "{}"}
    return {"id": part.id, "type": "function", "function": function}


def sealed_call(part: ToolCallPart) -> dict[str, Json]:
    """Return what a client must send back with a call so that its seal comes home, as Google's own server says."""
    if not part.signature:
        return {}
    return {"extra_content": {"google": {"thought_signature": part.signature}}}


def _tool_result(result: ToolResultPart, where: str) -> tuple[Json, list[Json]]:
    texts = [part.text for part in result.parts if isinstance(part, TextPart)]
    media = [part for part in result.parts if isinstance(part, MediaPart)]
    if result.is_error:
        texts.insert(0, TOOL_FAILED)
    follow: list[Json] = []
    if media:
        # A tool's message holds text only, so its images go into the user's next one.
        texts.append(MEDIA_FOLLOW)
        follow.append({"type": "text", "text": f"Files of the result of {result.call_id}:"})
        follow.extend(_media(part, where) for part in media)
    content: Json = (
        texts[0] if len(texts) == 1 else [{"type": "text", "text": text} for text in texts] or ""
    )
    return {"role": "tool", "tool_call_id": result.call_id, "content": content}, follow


def _tool(tool: ToolSpec) -> Json:
    function: dict[str, Json] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.schema:
        function["parameters"] = tool.schema
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice) -> Json:
    if choice.mode == "named":
        return {"type": "function", "function": {"name": choice.name}}
    return choice.mode


def _answer_format(form: AnswerFormat | None) -> Json:
    if form is None:
        return None
    if form.kind == "json":
        return {"type": "json_object"}
    schema: dict[str, Json] = {"name": form.name or FORMAT_NAME}
    if form.description:
        schema["description"] = form.description
    schema["schema"] = form.schema
    if form.strict is not None:
        schema["strict"] = form.strict
    return {"type": "json_schema", "json_schema": schema}


def _effort(reasoning: Reasoning | None) -> str | None:
    if reasoning is None:
        return None
    if not reasoning.enabled:
        return "none"
    if reasoning.effort:
        return reasoning.effort
    if reasoning.budget_tokens is None:
        return None
    return next(effort for most, effort in _EFFORTS if reasoning.budget_tokens <= most)
