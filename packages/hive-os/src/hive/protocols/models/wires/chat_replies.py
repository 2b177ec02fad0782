"""Whole answers on the chat completions wire, read from a provider and written for a client."""

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import structs

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
from hive.protocols.models.wires.chat_questions import read_tool_call
from hive.protocols.models.wires.chat_requests import sealed_call, write_tool_call
from hive.protocols.models.wires.fields import Fields, bad, put, untranslatable

THOUGHTS: Final = ("reasoning_content", "reasoning")
_FINISHES: Final = {
    "stop": Finish.STOP,
    "length": Finish.LENGTH,
    "tool_calls": Finish.TOOLS,
    "function_call": Finish.TOOLS,
    "content_filter": Finish.FILTERED,
}
_REASONS: Final = {
    Finish.STOP: "stop",
    Finish.LENGTH: "length",
    Finish.TOOLS: "tool_calls",
    Finish.FILTERED: "content_filter",
    Finish.REFUSED: "content_filter",
    Finish.PAUSED: "stop",
}


def read_finish(word: str, *, refused: bool, calls: bool = False) -> Finish:
    """Return why the model stopped; providers have words of their own, which mean that it ended."""
    finish = _FINISHES.get(word, Finish.STOP)
    if finish is Finish.STOP and refused:
        return Finish.REFUSED
    # Some servers say `stop` after a tool call.
    return Finish.TOOLS if finish is Finish.STOP and calls else finish


def write_finish(finish: Finish, *, refused: bool) -> str:
    """Return the wire's word; a refusal in words of the model itself ends with `stop`."""
    return "stop" if finish is Finish.REFUSED and refused else _REASONS[finish]


def read_usage(fields: Fields) -> TokenUsage | None:
    """Read the usage where it stands in a reply or a chunk."""
    usage = fields.raw("usage")
    return usage_of(usage) if isinstance(usage, dict) else None


def write_usage(usage: TokenUsage) -> dict[str, Json]:
    """Write the usage in the wire's words."""
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def read_answer(document: Mapping[str, Json]) -> Reply:
    """Read a provider's whole answer.

    Raises:
        BadInputError: it is not what the wire says.

    """
    fields = Fields(document)
    choices = list(fields.objects("choices"))
    if len(choices) != 1:
        raise bad("choices", "must hold one answer")
    choice = choices[0]
    message = Fields.of(choice.raw("message"), choice.place("message"))
    parts = tuple(_parts(message, fields.text("id")))
    refused = any(isinstance(part, TextPart) and part.refusal for part in parts)
    calls = any(isinstance(part, ToolCallPart) for part in parts)
    return Reply(
        id=fields.text("id"),
        model=fields.text("model"),
        parts=parts,
        finish=read_finish(choice.text("finish_reason"), refused=refused, calls=calls),
        usage=read_usage(fields),
        created_s=fields.whole("created") or 0,
    )


def _parts(message: Fields, reply_id: str) -> Iterator[Part]:
    for key in THOUGHTS:
        if isinstance(message.raw(key), str) and (thought := message.text(key)):
            yield ThinkingPart(text=thought)
            break
    for text in _words(message):
        yield TextPart(text=text)
    if refusal := message.text("refusal"):
        yield TextPart(text=refusal, refusal=True)
    for key in ("audio", "function_call"):
        if message.has(key):
            raise untranslatable(message.place(key), "only this wire has it")
    for index, call in enumerate(message.objects("tool_calls")):
        part = read_tool_call(call)
        yield part if part.id else structs.replace(part, id=lacking_id(reply_id, index))


def _words(message: Fields) -> list[str]:
    if not isinstance(message.raw("content"), list):
        return [text] if (text := message.text("content")) else []
    return [
        text
        for part in message.objects("content")
        if part.text("type") == "text" and (text := part.text("text"))
    ]


def lacking_id(reply_id: str, index: int) -> str:
    """Return an id for a tool call whose provider gave none; it must be unique in a conversation."""
    return f"call_{reply_id[-32:]}_{index}"


def write_answer(reply: Reply, conversation: Conversation) -> dict[str, Json]:
    """Write a whole answer for a client.

    Raises:
        UntranslatableError: it holds an image or a sound.

    """
    texts: list[str] = []
    refusals: list[str] = []
    thoughts: list[str] = []
    calls: list[Json] = []
    for index, part in enumerate(reply.parts):
        match part:
            case TextPart(refusal=True):
                refusals.append(part.text)
            case TextPart():
                texts.append(part.text)
            case ThinkingPart():
                thoughts.append(part.text)
            case ToolCallPart():
                calls.append({**write_tool_call(part), **sealed_call(part)})
            case _:
                raise untranslatable(f"parts[{index}]", "a chat answer holds text and tool calls")
    message: dict[str, Json] = {
        "role": "assistant",
        "content": "".join(texts) if texts else None,
        "refusal": "".join(refusals) if refusals else None,
    }
    if any(thoughts):
        message["reasoning_content"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    choice: Json = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": write_finish(reply.finish, refused=bool(refusals)),
    }
    document: dict[str, Json] = {
        "id": reply.id or "chatcmpl-translated",
        "object": "chat.completion",
        "created": reply.created_s,
        "model": reply.model or conversation.model,
        "choices": [choice],
    }
    return put(document, usage=write_usage(reply.usage) if reply.usage else None)


_WORDS_OF_STATUS: Final = (
    ("rate_limit", 429),
    ("insufficient_quota", 429),
    ("overloaded", 529),
    ("authentication", 401),
    ("permission", 403),
    ("not_found", 404),
    ("invalid_request", 400),
    ("timeout", 504),
    ("server_error", 500),
    ("api_error", 500),
)


def failure_status(error: Json) -> int:
    """Return the HTTP status that an error in the midst of a stream stands for, 502 where it names none."""
    if not isinstance(error, dict):
        return 502
    for key in ("status", "code", "status_code"):
        code = error.get(key)
        if isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599:
            return code
    words = f"{error.get('type')} {error.get('code')}"
    return next((status for word, status in _WORDS_OF_STATUS if word in words), 502)


def read_error(document: Mapping[str, Json]) -> str:
    """Return the words of an error document, whichever of the usual shapes it has."""
    error = document.get("error")
    if isinstance(error, dict):
        error = error.get("message") or error.get("type")
    for words in (error, document.get("message"), document.get("detail")):
        if isinstance(words, str) and words:
            return words
    return ""
