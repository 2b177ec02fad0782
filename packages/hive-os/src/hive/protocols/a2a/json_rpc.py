"""JSON-RPC 1.0 in its everyday form, on the short path: bytes, frozen value, gate, bytes.

What is not such a call (another version, a rare ProtoJSON form, anything malformed) is left to the
official SDK by answering None, so this path never has to refuse what the standard would accept.
"""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from hive.core.json import Json, decode, encode
from hive.core.task import Message, TaskEvent
from hive.protocols.a2a.convert import from_event, from_task
from hive.protocols.a2a.operations import Caller, Operations
from hive.protocols.a2a.wire import JsonRpcCall, ListParams, SendParams, TaskParams
from hive_a2a.faults import EXTENSION, PARSE_ERROR, WireFault, invalid

_CALL: Final = msgspec.json.Decoder(JsonRpcCall)
_SEND: Final = msgspec.json.Decoder(SendParams)
_TASK: Final = msgspec.json.Decoder(TaskParams)
_LIST: Final = msgspec.json.Decoder(ListParams)
_VERSION: Final = re.compile(rb"1(\.\d{1,4}){0,2}")
# ProtoJSON also accepts the names of the .proto file, which the structs of `wire` do not know.
_SNAKE: Final = re.compile(rb'"[a-z]+_[a-z_]+"\s*:')


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One request as it came in."""

    caller: Caller
    version: bytes
    extensions: bytes
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """An answer of many frames; entering `frames` may still find that there is none to give."""

    frames: AbstractAsyncContextManager[AsyncIterator[bytes]]


Answer = bytes | Streamed | None


async def send_message(operations: Operations, incoming: Incoming, call: JsonRpcCall) -> bytes:
    """Take a message in and answer with its task."""
    caller = incoming.caller
    params = _SEND.decode(call.params)
    task = await operations.send(caller, params)
    return _result(call, from_event(task, history_length=_history(params)))


async def stream_message(operations: Operations, incoming: Incoming, call: JsonRpcCall) -> Streamed:
    """Take a message in and answer with the events of its task."""
    params = _SEND.decode(call.params)
    events = await operations.stream(incoming.caller, params)
    return Streamed(frames=_frames_of(call, events, _history(params)))


async def get_task(operations: Operations, incoming: Incoming, call: JsonRpcCall) -> bytes:
    """Answer with a task."""
    params = _TASK.decode(call.params)
    task = await operations.get(incoming.caller, params)
    return _result(call, from_task(task, history_length=params.history_length))


async def list_tasks(operations: Operations, incoming: Incoming, call: JsonRpcCall) -> bytes:
    """Answer with one page of tasks."""
    params = _LIST.decode(call.params)
    page, size = await operations.list(incoming.caller, params)
    history, artifacts = params.history_length, bool(params.include_artifacts)
    tasks: list[Json] = [
        from_task(task, history_length=history, artifacts=artifacts) for task in page.tasks
    ]
    found: dict[str, Json] = {
        "tasks": tasks,
        "nextPageToken": page.next_cursor,
        "pageSize": size,
        "totalSize": page.total,
    }
    return _result(call, found)


async def cancel_task(operations: Operations, incoming: Incoming, call: JsonRpcCall) -> bytes:
    """Cancel a task and answer with it."""
    task = await operations.cancel(incoming.caller, _TASK.decode(call.params))
    return _result(call, from_task(task))


async def follow_task(operations: Operations, incoming: Incoming, call: JsonRpcCall) -> Streamed:
    """Answer with the events of a task from now on."""
    params = _TASK.decode(call.params)

    @asynccontextmanager
    async def frames() -> AsyncIterator[AsyncIterator[bytes]]:
        async with operations.subscribe(incoming.caller, params) as events:
            yield _frames(call, events, None)

    return Streamed(frames=frames())


Method = Callable[[Operations, Incoming, JsonRpcCall], Awaitable[bytes | Streamed]]
METHODS: Final[dict[str, Method]] = {
    "SendMessage": send_message,
    "SendStreamingMessage": stream_message,
    "GetTask": get_task,
    "ListTasks": list_tasks,
    "CancelTask": cancel_task,
    "SubscribeToTask": follow_task,
}


class ShortPath:
    """Answers the calls it knows."""

    def __init__(self, operations: Operations, required_extensions: frozenset[str]) -> None:
        self._operations = operations
        self._required = required_extensions

    def admit_extensions(self, extensions: str) -> None:
        """Let requests pass that activate every required extension (1.0, 4.6).

        Raises:
            WireFault: one is missing (-32008).

        """
        if not self._required:
            return
        named = {one.strip() for one in extensions.split(",")}
        missing = sorted(self._required - named)
        if missing:
            raise WireFault(
                EXTENSION,
                "This agent requires an extension that the request does not activate.",
                metadata={"missing": ", ".join(missing)},
            )

    async def answer(self, incoming: Incoming) -> Answer:
        """Answer one call; None leaves it to the official SDK.

        Raises:
            WireFault: the answer is another one than wished.

        """
        if not _VERSION.fullmatch(incoming.version) or _SNAKE.search(incoming.body):
            return None
        try:
            call = _CALL.decode(incoming.body)
            method = METHODS.get(call.method)
            return None if method is None else await method(self._operations, incoming, call)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None


def admit_json(body: bytes) -> None:
    """Let JSON pass; what the official SDK stumbles over, it would call an internal error.

    Raises:
        WireFault: it is not JSON in UTF-8 (-32700), or a value in it is none that could be sent on:
            half a character, a number without end (-32602).

    """
    if not body:
        return
    try:
        encode(decode(body.decode()))
    except UnicodeError:
        raise WireFault(PARSE_ERROR, "The body is not UTF-8.") from None
    except ValueError:
        if _is_json(body):
            raise invalid("The body holds a value that cannot be represented.") from None
        raise WireFault(PARSE_ERROR, "The body is not JSON.") from None


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def id_of(body: bytes) -> str | int | None:
    """Return the id of a JSON-RPC call, for an error about it; None where it has none."""
    try:
        call = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    number = call.get("id") if isinstance(call, dict) else None
    return number if isinstance(number, str | int) and not isinstance(number, bool) else None


def _result(call: JsonRpcCall, result: Json) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": call.id, "result": result})


def _history(params: SendParams) -> int | None:
    return params.configuration.history_length if params.configuration is not None else None


@asynccontextmanager
async def _frames_of(
    call: JsonRpcCall, events: AsyncGenerator[TaskEvent | Message], history: int | None
) -> AsyncIterator[AsyncIterator[bytes]]:
    async with aclosing(events):
        yield _frames(call, events, history)


async def _frames(
    call: JsonRpcCall, events: AsyncIterator[TaskEvent | Message], history: int | None
) -> AsyncIterator[bytes]:
    try:
        async for event in events:
            yield _result(call, from_event(event, history_length=history))
    except WireFault as fault:
        yield fault.json_rpc(call.id)
