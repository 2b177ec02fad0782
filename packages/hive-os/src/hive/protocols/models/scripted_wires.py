"""A scripted reply in the words of each dialect, whole or as a stream of events.

Ids and usage follow from the request alone, so equal requests give equal bytes.
"""

from collections.abc import Iterator
from typing import Final

from hive.core.call import sha256_hex
from hive.core.json import Json, encode
from hive.protocols.models.ports import Dialect, ModelRequest
from hive.protocols.models.script import SPLIT, ScriptedReply

STREAM_WORDS_MAX: Final = 5000


class ScriptedWire:
    """One reply to one request, ready to be written."""

    def __init__(self, request: ModelRequest, reply: ScriptedReply) -> None:
        self._request = request
        self._reply = reply
        self._id = sha256_hex(request.body)[:24]
        self._input_tokens = max(1, len(request.body) // 4)
        self._output_tokens = max(1, len(SPLIT.findall(reply.text)))

    def whole(self) -> bytes:
        """Return the answer as one document."""
        match self._request.dialect:
            case Dialect.CHAT:
                return encode(self._chat())
            case Dialect.MESSAGES:
                return encode(self._message(self._blocks()))
            case Dialect.RESPONSES:
                return encode(self._response([self._item()], "completed"))

    def events(self) -> Iterator[bytes]:
        """Yield the answer as server-sent events."""
        match self._request.dialect:
            case Dialect.CHAT:
                return self._chat_events()
            case Dialect.MESSAGES:
                return self._message_events()
            case Dialect.RESPONSES:
                return self._response_events()

    @property
    def _words(self) -> list[str]:
        words = SPLIT.findall(self._reply.text)
        return [*words[:STREAM_WORDS_MAX], "".join(words[STREAM_WORDS_MAX:])]

    @property
    def _arguments(self) -> str:
        return encode(self._reply.tool.arguments).decode() if self._reply.tool else "{}"

    def _chat_call(self) -> list[Json]:
        if self._reply.tool is None:
            return []
        function: Json = {"name": self._reply.tool.name, "arguments": self._arguments}
        return [{"id": f"call_{self._id}", "type": "function", "function": function}]

    def _chat_usage(self) -> Json:
        return {
            "prompt_tokens": self._input_tokens,
            "completion_tokens": self._output_tokens,
            "total_tokens": self._input_tokens + self._output_tokens,
        }

    def _chat(self) -> Json:
        calls = self._chat_call()
        message: dict[str, Json] = {
            "role": "assistant",
            "content": None if calls else self._reply.text,
            "refusal": None,
        }
        if calls:
            message["tool_calls"] = calls
        return {
            "id": f"chatcmpl-{self._id}",
            "object": "chat.completion",
            "created": 0,
            "model": self._request.model,
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "logprobs": None,
                    "finish_reason": "tool_calls" if calls else "stop",
                }
            ],
            "usage": self._chat_usage(),
        }

    def _chat_events(self) -> Iterator[bytes]:
        calls = self._chat_call()
        yield self._chat_chunk({"role": "assistant", "content": None if calls else ""})
        for call in calls:
            part: Json = {"index": 0, **call} if isinstance(call, dict) else call
            yield self._chat_chunk({"tool_calls": [part]})
        for word in () if calls else filter(None, self._words):
            yield self._chat_chunk({"content": word})
        yield self._chat_chunk({}, finish="tool_calls" if calls else "stop")
        options = self._request.document.get("stream_options")
        if isinstance(options, dict) and options.get("include_usage") is True:
            yield self._chat_chunk(None, usage=self._chat_usage())
        yield b"data: [DONE]\n\n"

    def _chat_chunk(self, delta: Json, *, finish: str | None = None, usage: Json = None) -> bytes:
        choice: Json = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk: Json = {
            "id": f"chatcmpl-{self._id}",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": self._request.model,
            "choices": [] if delta is None else [choice],
            "usage": usage,
        }
        return b"data: " + encode(chunk) + b"\n\n"

    def _blocks(self) -> list[Json]:
        if self._reply.tool is None:
            return [{"type": "text", "text": self._reply.text}]
        tool = self._reply.tool
        arguments: Json = {key: _plain(value) for key, value in tool.arguments.items()}
        return [
            {"type": "tool_use", "id": f"toolu_{self._id}", "name": tool.name, "input": arguments}
        ]

    def _message(self, blocks: list[Json], *, ended: bool = True) -> Json:
        stop = "tool_use" if self._reply.tool else "end_turn"
        return {
            "id": f"msg_{self._id}",
            "type": "message",
            "role": "assistant",
            "model": self._request.model,
            "content": blocks,
            "stop_reason": stop if ended else None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": self._input_tokens,
                "output_tokens": self._output_tokens if ended else 1,
            },
        }

    def _message_events(self) -> Iterator[bytes]:
        yield _event("message_start", {"message": self._message([], ended=False)})
        [block] = self._blocks()
        if isinstance(block, dict) and block["type"] == "tool_use":
            opened: Json = {**block, "input": {}}
            deltas: list[Json] = [{"type": "input_json_delta", "partial_json": self._arguments}]
        else:
            opened = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": word} for word in self._words if word]
        yield _event("content_block_start", {"index": 0, "content_block": opened})
        for delta in deltas:
            yield _event("content_block_delta", {"index": 0, "delta": delta})
        yield _event("content_block_stop", {"index": 0})
        stop: Json = {
            "stop_reason": "tool_use" if self._reply.tool else "end_turn",
            "stop_sequence": None,
        }
        yield _event(
            "message_delta", {"delta": stop, "usage": {"output_tokens": self._output_tokens}}
        )
        yield _event("message_stop", {})

    def _item(self, *, ended: bool = True) -> dict[str, Json]:
        status = "completed" if ended else "in_progress"
        if self._reply.tool is not None:
            return {
                "type": "function_call",
                "id": f"fc_{self._id}",
                "call_id": f"call_{self._id}",
                "name": self._reply.tool.name,
                "arguments": self._arguments if ended else "",
                "status": status,
            }
        return {
            "type": "message",
            "id": f"msg_{self._id}",
            "role": "assistant",
            "status": status,
            "content": [_output_text(self._reply.text)] if ended else [],
        }

    def _response(self, output: list[Json], status: str) -> Json:
        usage: Json = {
            "input_tokens": self._input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": self._output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self._input_tokens + self._output_tokens,
        }
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": 0,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": self._request.document.get("instructions"),
            "metadata": {},
            "model": self._request.model,
            "output": output,
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": self._request.document.get("tools") or [],
            "top_p": 1.0,
            "usage": usage if status == "completed" else None,
        }

    def _response_events(self) -> Iterator[bytes]:
        for number, (kind, fields) in enumerate(self._response_steps()):
            yield _event(kind, {**fields, "sequence_number": number})

    def _response_steps(self) -> Iterator[tuple[str, dict[str, Json]]]:
        started = self._response([], "in_progress")
        yield "response.created", {"response": started}
        yield "response.in_progress", {"response": started}
        item = self._item()
        opened: Json = self._item(ended=False)
        yield "response.output_item.added", {"output_index": 0, "item": opened}
        at: dict[str, Json] = {"item_id": item["id"], "output_index": 0}
        if self._reply.tool is not None:
            yield "response.function_call_arguments.delta", {**at, "delta": self._arguments}
            yield (
                "response.function_call_arguments.done",
                {**at, "arguments": self._arguments, "name": self._reply.tool.name},
            )
        else:
            at["content_index"] = 0
            text = self._reply.text
            yield "response.content_part.added", {**at, "part": _output_text("")}
            for word in filter(None, self._words):
                yield "response.output_text.delta", {**at, "delta": word, "logprobs": []}
            yield "response.output_text.done", {**at, "text": text, "logprobs": []}
            yield "response.content_part.done", {**at, "part": _output_text(text)}
        yield "response.output_item.done", {"output_index": 0, "item": item}
        yield "response.completed", {"response": self._response([item], "completed")}


def _output_text(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": []}


def _event(kind: str, fields: dict[str, Json]) -> bytes:
    return f"event: {kind}\n".encode() + b"data: " + encode({"type": kind, **fields}) + b"\n\n"


def _plain(value: object) -> Json:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return str(value)
