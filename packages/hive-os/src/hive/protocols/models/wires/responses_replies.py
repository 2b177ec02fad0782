"""Reads and writes whole answers of the responses wire."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from hive.core.errors import EngineUnavailableError
from hive.core.json import Json
from hive.protocols.models.conversation import (
    Conversation,
    Finish,
    Part,
    Reply,
    TextPart,
    ThinkingPart,
    TokenUsage,
    ToolCallPart,
)
from hive.protocols.models.usage import usage_of
from hive.protocols.models.wires.fields import Fields, bad, untranslatable
from hive.protocols.models.wires.responses_questions import (
    read_content_part,
    read_function_call,
    read_reasoning,
)
from hive.protocols.models.wires.seals import FOREIGN_ITEM, REDACTED_MARK, openai_seal

_INCOMPLETE: Final = {Finish.LENGTH: "max_output_tokens", Finish.FILTERED: "content_filter"}


def read_responses_reply(document: Mapping[str, Json]) -> Reply:
    """Read a whole answer.

    Raises:
        BadInputError: it is not what the wire says.
        EngineUnavailableError: it says that the provider failed.

    """
    fields = Fields(document)
    status = fields.text("status", "completed")
    if status not in ("completed", "incomplete"):
        raise EngineUnavailableError(
            "The model provider did not finish its answer.", why=failure_of(fields)[:500]
        )
    if not isinstance(fields.raw("output"), list):
        raise bad("output", "must be a list")
    parts = tuple(part for item in fields.objects("output") for part in read_item(item))
    usage = fields.raw("usage")
    return Reply(
        id=fields.text("id"),
        model=fields.text("model"),
        parts=parts,
        finish=finish_of(fields, parts),
        usage=usage_of(usage) if isinstance(usage, dict) else None,
        created_s=seconds(fields.raw("created_at")),
    )


def seconds(value: Json) -> int:
    """Return a time that the wire may write as a fraction."""
    return int(value) if isinstance(value, int | float) and 0 <= value < 1 << 40 else 0


def failure_of(fields: Fields) -> str:
    """Return why an answer failed, in the provider's words."""
    error = fields.raw("error")
    message = error.get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) else f"status {fields.text('status')[:40]}"


def read_item(item: Fields) -> Iterator[Part]:
    """Read one item of an output.

    Raises:
        BadInputError: it is none that was asked for.

    """
    match item.named("type"):
        case "message":
            for part in item.objects("content"):
                read = read_content_part(part)
                if not isinstance(read, TextPart):
                    raise bad(part.place("type"), "is no part of an answer")
                yield read
        case "reasoning":
            thought = read_reasoning(item)
            if thought is not None:
                yield thought
        case "function_call":
            yield read_function_call(item)
        case _:
            raise bad(item.place("type"), "is no item that was asked for")


def finish_of(fields: Fields, parts: Iterable[Part]) -> Finish:
    """Return why the model stopped."""
    if fields.text("status") == "incomplete":
        details = fields.inner("incomplete_details")
        reason = details.text("reason") if details else ""
        return Finish.FILTERED if reason == "content_filter" else Finish.LENGTH
    held = tuple(parts)
    if any(isinstance(part, ToolCallPart) for part in held):
        return Finish.TOOLS
    if any(isinstance(part, TextPart) and part.refusal for part in held):
        return Finish.REFUSED
    return Finish.STOP


def write_responses_reply(reply: Reply, conversation: Conversation) -> dict[str, Json]:
    """Write a whole answer.

    Raises:
        UntranslatableError: it holds an image or a sound.

    """
    items = list(write_items(reply.id, reply.parts))
    return response_document(
        conversation,
        id=reply.id,
        model=reply.model,
        created_s=reply.created_s,
        output=items,
        finish=reply.finish,
        usage=reply.usage,
    )


def write_items(reply_id: str, parts: Iterable[Part]) -> Iterator[Json]:
    """Yield the items of an answer; texts that stand together are one message."""
    texts: list[Json] = []
    at = 0
    for part in parts:
        if isinstance(part, TextPart):
            texts.append(content_part(part.text, refusal=part.refusal))
            continue
        if texts:
            yield message_item(reply_id, at, texts)
            texts, at = [], at + 1
        if isinstance(part, ThinkingPart):
            yield reasoning_item(reply_id, at, part)
        elif isinstance(part, ToolCallPart):
            yield call_item(part)
        else:
            raise untranslatable("output", "the responses wire answers with text and calls only")
        at += 1
    if texts:
        yield message_item(reply_id, at, texts)


def item_id(prefix: str, *seed: object) -> str:
    """Return an id for an item that had none; equal answers have equal ids."""
    digest = hashlib.sha256("\n".join(str(one) for one in seed).encode("utf-8", "replace"))
    return prefix + digest.hexdigest()[:32]


def message_item(
    reply_id: str, at: int, content: list[Json], *, status: str = "completed"
) -> dict[str, Json]:
    """Write a message."""
    return {
        "type": "message",
        "id": item_id("msg_", reply_id, at),
        "role": "assistant",
        "status": status,
        "content": content,
    }


def content_part(text: str, *, refusal: bool) -> Json:
    """Write a part of a message."""
    if refusal:
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def call_item(part: ToolCallPart, *, status: str = "completed") -> dict[str, Json]:
    """Write a function call."""
    return {
        "type": "function_call",
        "id": item_id("fc_", part.id),
        "call_id": part.id,
        "name": part.name,
        "arguments": (part.arguments or "{}") if status == "completed" else "",
        "status": status,
    }


def reasoning_item(reply_id: str, at: int, part: ThinkingPart) -> dict[str, Json]:
    """Write a thought; one that another provider sealed carries its seal under an id of ours."""
    seal = openai_seal(part.signature)
    sealed = REDACTED_MARK + part.signature if part.redacted else part.signature
    summary: list[Json] = [{"type": "summary_text", "text": part.text}] if part.text else []
    return {
        "type": "reasoning",
        "id": seal.item if seal else item_id(FOREIGN_ITEM, reply_id, at),
        "summary": summary,
        "encrypted_content": (seal.content if seal else sealed) or None,
    }


def response_document(
    conversation: Conversation,
    *,
    id: str,  # noqa: A002  the wire's own word
    model: str,
    created_s: int,
    output: list[Json],
    finish: Finish | None,
    usage: TokenUsage | None,
) -> dict[str, Json]:
    """Write the response object; `finish` None while it is in the making."""
    status = "in_progress" if finish is None else "completed"
    reason = None if finish is None else _INCOMPLETE.get(finish)
    details: Json = None if reason is None else {"reason": reason}
    return {
        "id": id,
        "object": "response",
        "created_at": created_s,
        "status": "incomplete" if reason else status,
        "error": None,
        "incomplete_details": details,
        "instructions": None,
        "max_output_tokens": conversation.sampling.max_output_tokens,
        "metadata": conversation.harmless.get("metadata") or {},
        "model": model,
        "output": output,
        "parallel_tool_calls": conversation.parallel_tools is not False,
        "previous_response_id": None,
        "store": False,
        "temperature": conversation.sampling.temperature,
        "tool_choice": _tool_choice(conversation),
        "tools": [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description or None,
                "parameters": tool.schema,
                "strict": tool.strict,
            }
            for tool in conversation.tools
        ],
        "top_p": conversation.sampling.top_p,
        "usage": None if usage is None else write_usage(usage),
    }


def _tool_choice(conversation: Conversation) -> Json:
    choice = conversation.tool_choice
    if choice is None:
        return "auto"
    return {"type": "function", "name": choice.name} if choice.mode == "named" else choice.mode


def write_usage(usage: TokenUsage) -> Json:
    """Write what a provider counted."""
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }
