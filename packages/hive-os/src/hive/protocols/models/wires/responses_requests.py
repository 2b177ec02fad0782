"""Writes a conversation as a responses request for a provider; the provider is asked to keep nothing."""

from collections.abc import Iterator
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
from hive.protocols.models.wires.fields import (
    data_url,
    put,
    refuse_extras,
    untranslatable,
    web_address,
)
from hive.protocols.models.wires.responses_questions import RESPONSES_HARMLESS
from hive.protocols.models.wires.seals import openai_seal

OUTPUT_TOKENS_MIN: Final = 16
RESPONSES_EXTRAS: Final = frozenset({"verbosity", "top_logprobs", "truncation", "max_tool_calls"})
TOOL_FAILED: Final = "The tool failed."
_EFFORTS: Final = ((2048, "low"), (8192, "medium"), (1 << 60, "high"))
_SERVICE_TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})
_DETAILS: Final = frozenset({"auto", "low", "high", "original"})


def write_responses_question(conversation: Conversation) -> dict[str, Json]:
    """Write a request.

    Raises:
        UntranslatableError: it says something for which the wire has no words.

    """
    _refuse_sampling(conversation.sampling)
    utterances = list(conversation.utterances)
    document: dict[str, Json] = {"model": conversation.model, "store": False}
    first = utterances[0] if utterances else None
    if first is not None and first.role == "system" and len(utterances) > 1:
        document["instructions"] = _plain_text(first)
        utterances = utterances[1:]
    document["input"] = [
        item
        for index, utterance in enumerate(utterances)
        for item in _items(utterance, f"input[{index}]")
    ]
    if conversation.tools:
        document["tools"] = [_tool(tool) for tool in conversation.tools]
    sampling = conversation.sampling
    put(
        document,
        tool_choice=_tool_choice(conversation.tool_choice),
        parallel_tool_calls=conversation.parallel_tools if conversation.tools else None,
        max_output_tokens=sampling.max_output_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        reasoning=_reasoning(conversation.reasoning),
        stream=True if conversation.stream else None,
    )
    if conversation.reasoning is not None and conversation.reasoning.enabled:
        document["include"] = ["reasoning.encrypted_content"]
    extras = refuse_extras(conversation.extras, RESPONSES_EXTRAS, "responses")
    text: dict[str, Json] = put(
        {}, format=_format(conversation.answer_format), verbosity=extras.pop("verbosity", None)
    )
    if text:
        document["text"] = text
    document |= extras
    document |= {
        key: value
        for key, value in conversation.harmless.items()
        if key in RESPONSES_HARMLESS and (key != "service_tier" or value in _SERVICE_TIERS)
    }
    return document


def _refuse_sampling(sampling: Sampling) -> None:
    words = "the responses wire has no words for it"
    for name in ("top_k", "seed", "presence_penalty", "frequency_penalty"):
        if getattr(sampling, name):
            raise untranslatable(name, words)
    if sampling.stop:
        raise untranslatable("stop", words)
    if sampling.answers > 1:
        raise untranslatable("n", "the responses wire gives one answer")
    limit = sampling.max_output_tokens
    if limit is not None and limit < OUTPUT_TOKENS_MIN:
        raise untranslatable(
            "max_output_tokens", f"the responses wire takes {OUTPUT_TOKENS_MIN} or more"
        )


def _plain_text(utterance: Utterance) -> str:
    return "\n\n".join(part.text for part in utterance.parts if isinstance(part, TextPart))


def _items(utterance: Utterance, where: str) -> Iterator[Json]:
    """Yield an utterance's items; texts and media that stand together are one message."""
    held: list[Json] = []
    for index, part in enumerate(utterance.parts):
        place = f"{where}.content[{index}]"
        if isinstance(part, TextPart | MediaPart):
            held.append(_content(part, utterance.role, place))
            continue
        if held:
            yield {"role": utterance.role, "content": held}
            held = []
        item = _other(part, place)
        if item is not None:
            yield item
    if held:
        yield {"role": utterance.role, "content": held}


def _other(part: Part, where: str) -> Json:
    match part:
        case ThinkingPart():
            # Another provider's seal would be refused, and thoughts without one are not taken back.
            seal = openai_seal(part.signature)
            if seal is None:
                return None
            summary: list[Json] = [{"type": "summary_text", "text": part.text}] if part.text else []
            return {
                "type": "reasoning",
                "id": seal.item,
                "summary": summary,
                "encrypted_content": seal.content,
            }
        case ToolCallPart():
            return {
                "type": "function_call",
                "call_id": part.id,
                "name": part.name,
                "arguments": part.arguments or "{}",
            }
        case ToolResultPart():
            return {
                "type": "function_call_output",
                "call_id": part.call_id,
                "output": _output(part, where),
            }
        case _:
            raise untranslatable(where, "the responses wire has no such part")


def _output(result: ToolResultPart, where: str) -> Json:
    failed = (TextPart(text=TOOL_FAILED),) if result.is_error else ()
    parts = failed + result.parts
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], TextPart):
        return parts[0].text
    return [_content(part, "user", where) for part in parts]


def _content(part: TextPart | MediaPart, role: str, where: str) -> Json:
    if isinstance(part, TextPart):
        if role != "assistant":
            return {"type": "input_text", "text": part.text}
        if part.refusal:
            return {"type": "refusal", "refusal": part.text}
        return {"type": "output_text", "text": part.text, "annotations": []}
    if role == "assistant":
        raise untranslatable(where, "an assistant says text only on the responses wire")
    family = part.media_type.partition("/")[0]
    if family in ("audio", "video"):
        raise untranslatable(where, "the responses wire takes images and documents only")
    address = web_address(part, where) if part.url else data_url(part)
    if family == "image":
        return {
            "type": "input_image",
            "image_url": address,
            "detail": part.detail if part.detail in _DETAILS else "auto",
        }
    file: dict[str, Json] = {"type": "input_file"}
    file["file_url" if part.url else "file_data"] = address
    if part.name or not part.url:
        file["filename"] = part.name or "document"
    return file


def _tool(tool: ToolSpec) -> Json:
    schema: Json = tool.schema or {"type": "object", "properties": {}}
    document: dict[str, Json] = {"type": "function", "name": tool.name}
    if tool.description:
        document["description"] = tool.description
    # The wire takes a missing `strict` as true, all others as false.
    return document | {"parameters": schema, "strict": bool(tool.strict)}


def _tool_choice(choice: ToolChoice | None) -> Json:
    if choice is None:
        return None
    return {"type": "function", "name": choice.name} if choice.mode == "named" else choice.mode


def _format(form: AnswerFormat | None) -> Json:
    if form is None:
        return None
    if form.kind == "json":
        return {"type": "json_object"}
    document: dict[str, Json] = {"type": "json_schema", "name": form.name or "answer"}
    if form.description:
        document["description"] = form.description
    document["schema"] = form.schema
    if form.strict is not None:
        document["strict"] = form.strict
    return document


def _reasoning(reasoning: Reasoning | None) -> Json:
    if reasoning is None:
        return None
    if not reasoning.enabled:
        return {"effort": "none"}
    if reasoning.effort or reasoning.budget_tokens is None:
        return {"effort": reasoning.effort or "medium"}
    return {"effort": next(effort for most, effort in _EFFORTS if reasoning.budget_tokens <= most)}
