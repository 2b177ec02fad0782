"""What a made-up model provider writes: whole answers and streams in the five wires, as small as clients allow."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hive.core.json import Json
from hive.protocols.models.ports import Dialect

_SSE: Final = "data: "


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderReply:
    """The content of one answer; `tool` is a name and its arguments as JSON text."""

    model: str
    pieces: tuple[str, ...]
    tool: tuple[str, str] | None
    input_tokens: int
    output_tokens: int

    @property
    def text(self) -> str:
        """Return the whole text."""
        return "".join(self.pieces)


def whole(dialect: Dialect, reply: ProviderReply) -> bytes:
    """Write an answer in one piece."""
    return json.dumps(_WHOLE[dialect](reply)).encode()


def events(dialect: Dialect, reply: ProviderReply) -> Iterator[bytes]:
    """Write an answer as the events of its wire's stream; embeddings have none."""
    yield from _EVENTS[dialect](reply)


def error_body(dialect: Dialect | None, status: int, message: str) -> bytes:
    """Write an error in the wire's own form."""
    document: Json
    match dialect:
        case Dialect.MESSAGES:
            kind = {429: "rate_limit_error", 529: "overloaded_error"}.get(status, "api_error")
            document = {"type": "error", "error": {"type": kind, "message": message}}
        case Dialect.GEMINI:
            document = {"error": {"code": status, "message": message, "status": "UNAVAILABLE"}}
        case _:
            document = {"error": {"message": message, "type": "server_error", "code": None}}
    return json.dumps(document).encode()


def model_list(path: str, names: Sequence[str]) -> bytes:
    """Write the list of models as the path's server does."""
    document: Json
    if path.endswith("/api/tags"):
        document = {"models": [{"name": name, "model": name} for name in names]}
    elif "/v1beta/" in path:
        document = {"models": [{"name": f"models/{name}"} for name in names]}
    else:
        document = {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}
    return json.dumps(document).encode()


def _event(document: Mapping[str, Json], *, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}{_SSE}{json.dumps(document)}\n\n".encode()


def _chat_usage(reply: ProviderReply) -> Json:
    return {
        "prompt_tokens": reply.input_tokens,
        "completion_tokens": reply.output_tokens,
        "total_tokens": reply.input_tokens + reply.output_tokens,
    }


def _chat_call(reply: ProviderReply) -> list[Json]:
    if reply.tool is None:
        return []
    name, arguments = reply.tool
    function: Json = {"name": name, "arguments": arguments}
    return [{"index": 0, "id": "call_1", "type": "function", "function": function}]


def _chat(reply: ProviderReply) -> Json:
    message: dict[str, Json] = {"role": "assistant", "content": reply.text or None}
    if reply.tool is not None:
        message["tool_calls"] = _chat_call(reply)
    finish = "tool_calls" if reply.tool else "stop"
    choice: Json = {"index": 0, "finish_reason": finish, "message": message}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": reply.model,
        "choices": [choice],
        "usage": _chat_usage(reply),
    }


def _chat_events(reply: ProviderReply) -> Iterator[bytes]:
    def chunk(delta: Json, finish: str | None = None) -> dict[str, Json]:
        choice: Json = {"index": 0, "delta": delta, "finish_reason": finish}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": reply.model,
            "choices": [choice],
        }

    yield _event(chunk({"role": "assistant", "content": ""}))
    for piece in reply.pieces:
        yield _event(chunk({"content": piece}))
    if reply.tool is not None:
        yield _event(chunk({"tool_calls": _chat_call(reply)}))
    yield _event(chunk({}, "tool_calls" if reply.tool else "stop"))
    yield _event({**chunk({}), "choices": [], "usage": _chat_usage(reply)})
    yield b"data: [DONE]\n\n"


def _message_parts(reply: ProviderReply) -> list[Json]:
    parts: list[Json] = [{"type": "text", "text": reply.text}] if reply.text else []
    if reply.tool is not None:
        name, arguments = reply.tool
        parts.append(
            {"type": "tool_use", "id": "toolu_1", "name": name, "input": json.loads(arguments)}
        )
    return parts


def _message(reply: ProviderReply) -> dict[str, Json]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": _message_parts(reply),
        "stop_reason": "tool_use" if reply.tool else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens},
    }


def _message_events(reply: ProviderReply) -> Iterator[bytes]:
    def event(name: str, **fields: Json) -> bytes:
        return _event({"type": name, **fields}, name=name)

    usage: Json = {"input_tokens": reply.input_tokens, "output_tokens": 1}
    yield event(
        "message_start",
        message={**_message(reply), "content": [], "stop_reason": None, "usage": usage},
    )
    index = 0
    if reply.pieces:
        yield event("content_block_start", index=index, content_block={"type": "text", "text": ""})
        for piece in reply.pieces:
            yield event(
                "content_block_delta", index=index, delta={"type": "text_delta", "text": piece}
            )
        yield event("content_block_stop", index=index)
        index += 1
    if reply.tool is not None:
        name, arguments = reply.tool
        block: Json = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
        yield event("content_block_start", index=index, content_block=block)
        delta: Json = {"type": "input_json_delta", "partial_json": arguments}
        yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    stop: Json = {"stop_reason": "tool_use" if reply.tool else "end_turn", "stop_sequence": None}
    yield event("message_delta", delta=stop, usage={"output_tokens": reply.output_tokens})
    yield event("message_stop")


def _gemini_part(reply: ProviderReply, text: str, *, last: bool) -> dict[str, Json]:
    parts: list[Json] = [{"text": text}] if text else []
    if last and reply.tool is not None:
        name, arguments = reply.tool
        parts.append({"functionCall": {"name": name, "args": json.loads(arguments)}})
    candidate: dict[str, Json] = {"index": 0, "content": {"role": "model", "parts": parts}}
    document: dict[str, Json] = {
        "candidates": [candidate],
        "modelVersion": reply.model,
        "responseId": "r1",
    }
    if last:
        candidate["finishReason"] = "STOP"
        document["usageMetadata"] = {
            "promptTokenCount": reply.input_tokens,
            "candidatesTokenCount": reply.output_tokens,
            "totalTokenCount": reply.input_tokens + reply.output_tokens,
        }
    return document


def _gemini(reply: ProviderReply) -> Json:
    return _gemini_part(reply, reply.text, last=True)


def _gemini_events(reply: ProviderReply) -> Iterator[bytes]:
    for piece in reply.pieces:
        yield _event(_gemini_part(reply, piece, last=False))
    yield _event(_gemini_part(reply, "", last=True))


def _responses_items(reply: ProviderReply) -> list[Json]:
    items: list[Json] = []
    if reply.text:
        content: Json = {"type": "output_text", "text": reply.text, "annotations": []}
        items.append(
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [content],
            }
        )
    if reply.tool is not None:
        name, arguments = reply.tool
        items.append(
            {
                "id": "fc_1",
                "type": "function_call",
                "call_id": "call_1",
                "name": name,
                "arguments": arguments,
                "status": "completed",
            }
        )
    return items


def _responses(reply: ProviderReply) -> dict[str, Json]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": reply.model,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "output": _responses_items(reply),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": reply.input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": reply.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": reply.input_tokens + reply.output_tokens,
        },
    }


def _responses_events(reply: ProviderReply) -> Iterator[bytes]:
    number = iter(range(1 << 20))

    def event(name: str, **fields: Json) -> bytes:
        return _event({"type": name, "sequence_number": next(number), **fields}, name=name)

    done = _responses(reply)
    begun: Json = {**done, "status": "in_progress", "output": [], "usage": None}
    yield event("response.created", response=begun)
    for index, item in enumerate(_responses_items(reply)):
        assert isinstance(item, dict)
        place: dict[str, Json] = {"output_index": index, "item_id": item["id"]}
        if item["type"] == "message":
            empty: Json = {"type": "output_text", "text": "", "annotations": []}
            opened: Json = {**item, "status": "in_progress", "content": []}
            yield event("response.output_item.added", output_index=index, item=opened)
            yield event("response.content_part.added", **place, content_index=0, part=empty)
            for piece in reply.pieces:
                yield event("response.output_text.delta", **place, content_index=0, delta=piece)
            yield event("response.output_text.done", **place, content_index=0, text=reply.text)
            part: Json = {"type": "output_text", "text": reply.text, "annotations": []}
            yield event("response.content_part.done", **place, content_index=0, part=part)
        else:
            opened = {**item, "status": "in_progress", "arguments": ""}
            written = item["arguments"]
            yield event("response.output_item.added", output_index=index, item=opened)
            yield event("response.function_call_arguments.delta", **place, delta=written)
            yield event("response.function_call_arguments.done", **place, arguments=written)
        yield event("response.output_item.done", output_index=index, item=item)
    yield event("response.completed", response=done)


def _embeddings(reply: ProviderReply) -> Json:
    return {
        "object": "list",
        "model": reply.model,
        "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5, 0.125]}],
        "usage": {"prompt_tokens": reply.input_tokens, "total_tokens": reply.input_tokens},
    }


def _no_events(reply: ProviderReply) -> Iterator[bytes]:
    yield whole(Dialect.EMBEDDINGS, reply)


_WHOLE: Final = {
    Dialect.CHAT: _chat,
    Dialect.MESSAGES: _message,
    Dialect.GEMINI: _gemini,
    Dialect.RESPONSES: _responses,
    Dialect.EMBEDDINGS: _embeddings,
}
_EVENTS: Final = {
    Dialect.CHAT: _chat_events,
    Dialect.MESSAGES: _message_events,
    Dialect.GEMINI: _gemini_events,
    Dialect.RESPONSES: _responses_events,
    Dialect.EMBEDDINGS: _no_events,
}
