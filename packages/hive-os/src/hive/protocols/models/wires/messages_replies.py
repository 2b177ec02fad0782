"""Whole answers on the Anthropic messages wire, read from a provider and written for a client."""

from collections.abc import Iterator, Mapping
from typing import Final

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
from hive.protocols.models.wires.fields import (
    Fields,
    arguments_object,
    arguments_text,
    bad,
    plain_id,
    untranslatable,
)

_FINISHES: Final = {
    "end_turn": Finish.STOP,
    "stop_sequence": Finish.STOP,
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.LENGTH,
    "tool_use": Finish.TOOLS,
    "pause_turn": Finish.PAUSED,
    "refusal": Finish.REFUSED,
}
_REASONS: Final = {
    Finish.STOP: "end_turn",
    Finish.LENGTH: "max_tokens",
    Finish.TOOLS: "tool_use",
    Finish.FILTERED: "refusal",
    Finish.REFUSED: "refusal",
    Finish.PAUSED: "pause_turn",
}
_STATUSES: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "api_error": 500,
    "overloaded_error": 529,
}


def read_finish(word: str) -> Finish:
    """Return why the model stopped."""
    return _FINISHES.get(word, Finish.STOP)


def write_finish(finish: Finish, stop_sequence: str) -> dict[str, Json]:
    """Return the two fields that tell why the model stopped."""
    if finish is Finish.STOP and stop_sequence:
        return {"stop_reason": "stop_sequence", "stop_sequence": stop_sequence}
    return {"stop_reason": _REASONS[finish], "stop_sequence": None}


def write_usage(usage: TokenUsage | None) -> dict[str, Json]:
    """Write the usage in the wire's words, where the cache stands beside the input."""
    usage = usage or TokenUsage()
    document: dict[str, Json] = {
        "input_tokens": max(0, usage.input - usage.cache_read - usage.cache_write),
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
    }
    if usage.reasoning:
        document["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return document


def failure_status(error: Json) -> int:
    """Return the HTTP status that an error in the midst of a stream stands for."""
    kind = error.get("type") if isinstance(error, dict) else None
    return _STATUSES.get(kind, 502) if isinstance(kind, str) else 502


def read_answer(document: Mapping[str, Json]) -> Reply:
    """Read a provider's whole answer.

    Raises:
        BadInputError: it is not what the wire says.

    """
    fields = Fields(document)
    fields.one_of("type", ("message",), "message")
    return Reply(
        id=fields.text("id"),
        model=fields.text("model"),
        parts=tuple(_parts(fields)),
        finish=read_finish(fields.text("stop_reason")),
        stop_sequence=fields.text("stop_sequence"),
        usage=usage_of(fields.mapping("usage")),
    )


def _parts(fields: Fields) -> Iterator[Part]:
    if not isinstance(fields.raw("content"), list):
        raise bad("content", "must be a list of blocks")
    for block in fields.objects("content"):
        part = read_block(block)
        if isinstance(part, ToolCallPart):
            arguments = arguments_text(block.mapping("input"))
            yield ToolCallPart(id=part.id, name=part.name, arguments=arguments)
        elif not isinstance(part, TextPart) or part.text:
            yield part


def read_block(block: Fields) -> TextPart | ThinkingPart | ToolCallPart:
    """Read a block of an answer, its arguments left out.

    Raises:
        UntranslatableError: no other wire has such a block.

    """
    kind = block.named("type")
    match kind:
        case "text":
            return TextPart(text=block.text("text"))
        case "thinking":
            return ThinkingPart(text=block.text("thinking"), signature=block.text("signature"))
        case "redacted_thinking":
            return ThinkingPart(signature=block.named("data"), redacted=True)
        case "tool_use":
            return ToolCallPart(id=block.named("id"), name=block.named("name"), arguments="")
        case _:
            raise untranslatable(block.place("type"), f"no other wire has {kind[:60]} blocks")


def write_answer(reply: Reply, conversation: Conversation) -> dict[str, Json]:
    """Write a whole answer for a client.

    Raises:
        UntranslatableError: it holds an image or a sound.

    """
    content: list[Json] = []
    for index, part in enumerate(reply.parts):
        match part:
            case ToolCallPart():
                arguments = arguments_object(part.arguments)
                content.append({**begun_block(part), "input": arguments})
            case TextPart() | ThinkingPart():
                content.append(begun_block(part))
            case _:
                raise untranslatable(f"parts[{index}]", "a messages answer holds no media")
    return {
        "id": reply.id or "msg_translated",
        "type": "message",
        "role": "assistant",
        "model": reply.model or conversation.model,
        "content": content,
        **write_finish(reply.finish, reply.stop_sequence),
        "usage": write_usage(reply.usage),
    }


def begun_block(part: TextPart | ThinkingPart | ToolCallPart) -> dict[str, Json]:
    """Write a block with what the part holds, a tool's arguments left out."""
    match part:
        case TextPart():
            return {"type": "text", "text": part.text}
        case ThinkingPart(redacted=True):
            return {"type": "redacted_thinking", "data": part.signature}
        case ThinkingPart():
            return {"type": "thinking", "thinking": part.text, "signature": part.signature}
        case ToolCallPart():
            return {
                "type": "tool_use",
                "id": plain_id(part.id, "toolu_"),
                "name": part.name,
                "input": {},
            }


def read_error(document: Mapping[str, Json]) -> str:
    """Return the words of an error document."""
    error = document.get("error")
    words = error.get("message") if isinstance(error, dict) else document.get("message")
    return words if isinstance(words, str) else ""
