"""Reads and writes whole answers of the Gemini wire."""

from collections.abc import Mapping
from typing import Final

from hive.core.errors import EngineUnavailableError
from hive.core.json import Json
from hive.protocols.models.conversation import (
    Finish,
    Part,
    Reply,
    TextPart,
    TokenUsage,
    ToolCallPart,
)
from hive.protocols.models.gemini_names import camel_case
from hive.protocols.models.usage import usage_of
from hive.protocols.models.wires.fields import Fields, bad
from hive.protocols.models.wires.gemini_parts import CallNames, read_part, shown_parts

_FILTERED: Final = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    }
)
_FAILED: Final = frozenset(
    {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "NO_IMAGE"}
)
_REASONS: Final = {
    Finish.LENGTH: "MAX_TOKENS",
    Finish.FILTERED: "SAFETY",
    Finish.REFUSED: "SAFETY",
}


def read_gemini_reply(document: Mapping[str, Json]) -> Reply:
    """Read a whole answer.

    Raises:
        BadInputError: it is not what the wire says.
        EngineUnavailableError: it says that the model failed.

    """
    fields = Fields(camel_case(document))
    candidates = list(fields.objects("candidates"))
    if len(candidates) > 1:
        raise bad("candidates", "must be one")
    names, seed = CallNames(), fields.text("responseId")
    parts: list[Part] = []
    for candidate in candidates:
        content = candidate.inner("content") or Fields({}, "content")
        for part in content.objects("parts"):
            parts.extend(read_part(part, names, seed))
    usage = fields.raw("usageMetadata")
    return Reply(
        id=seed,
        model=fields.text("modelVersion"),
        parts=tuple(_merged(parts)),
        finish=finish_of_gemini(fields, called=any(isinstance(one, ToolCallPart) for one in parts)),
        usage=usage_of(usage) if isinstance(usage, dict) else None,
    )


def _merged(parts: list[Part]) -> list[Part]:
    """Join words that stand together; they were cut by tokens, not by meaning."""
    merged: list[Part] = []
    for part in parts:
        last = merged[-1] if merged else None
        if isinstance(part, TextPart) and isinstance(last, TextPart):
            merged[-1] = TextPart(text=last.text + part.text)
        else:
            merged.append(part)
    return merged


def finish_of_gemini(fields: Fields, *, called: bool) -> Finish:
    """Return why the model stopped.

    Raises:
        EngineUnavailableError: because it failed.

    """
    feedback = fields.inner("promptFeedback")
    if feedback is not None and feedback.has("blockReason"):
        return Finish.FILTERED
    candidate = next(fields.objects("candidates"), None)
    reason = candidate.text("finishReason", "STOP") if candidate is not None else "NO_CANDIDATE"
    if reason in _FILTERED:
        return Finish.FILTERED
    if reason == "MAX_TOKENS":
        return Finish.LENGTH
    if reason in _FAILED or candidate is None:
        raise EngineUnavailableError("The model failed in its answer.", why=reason[:60])
    return Finish.TOOLS if called else Finish.STOP


def write_gemini_reply(reply: Reply) -> dict[str, Json]:
    """Write a whole answer.

    Raises:
        UntranslatableError: it holds what no model says.

    """
    parts: list[Json] = list(shown_parts(reply.parts))
    return chunk(
        reply_id=reply.id,
        model=reply.model,
        parts=parts or [{"text": ""}],
        finish=reply.finish,
        usage=reply.usage,
    )


def chunk(
    *,
    reply_id: str,
    model: str,
    parts: list[Json],
    finish: Finish | None = None,
    usage: TokenUsage | None = None,
) -> dict[str, Json]:
    """Write an answer or a piece of one; `finish` None where more follows."""
    candidate: dict[str, Json] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = _REASONS.get(finish, "STOP")
    document: dict[str, Json] = {"candidates": [candidate]}
    if usage is not None:
        document["usageMetadata"] = write_gemini_usage(usage)
    return document | {"modelVersion": model, "responseId": reply_id}


def write_gemini_usage(usage: TokenUsage) -> dict[str, Json]:
    """Write what a provider counted; Gemini counts thoughts beside the answer."""
    counted: dict[str, Json] = {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": max(0, usage.output - usage.reasoning),
        "totalTokenCount": usage.input + usage.output,
    }
    if usage.cache_read:
        counted["cachedContentTokenCount"] = usage.cache_read
    if usage.reasoning:
        counted["thoughtsTokenCount"] = usage.reasoning
    return counted
