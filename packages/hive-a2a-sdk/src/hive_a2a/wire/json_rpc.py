"""JSON-RPC 2.0 with the methods of A2A 1.0; those of 0.3 go to the official adapter."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import msgspec
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.utils.errors import A2AError as OfficialError

from hive_a2a.asgi import Receive, Scope, Send, headers_of, respond
from hive_a2a.call import Proto
from hive_a2a.faults import INVALID_REQUEST, NO_METHOD, WireFault, invalid
from hive_a2a.wire.calls import REQUEST_OF, STREAMS, answer, event_json, events_of
from hive_a2a.wire.events import EventStream
from hive_a2a.wire.fault_words import fault_of
from hive_a2a.wire.proto_in import to_proto
from hive_a2a.wire.request import V03, V1, WireRequest, admit_version, context_of
from hive_a2a.wire.strict_json import Json, read_json

CallId: TypeAlias = str | int | None
METHODS_OF_03: Final = frozenset(
    {
        "message/send",
        "message/stream",
        "tasks/get",
        "tasks/cancel",
        "tasks/pushNotificationConfig/set",
        "tasks/pushNotificationConfig/get",
        "tasks/pushNotificationConfig/list",
        "tasks/pushNotificationConfig/delete",
        "tasks/resubscribe",
        "agent/getAuthenticatedExtendedCard",
    }
)
_MEMBERS: Final = frozenset({"jsonrpc", "method", "params", "id"})
_ENCODE: Final = msgspec.json.Encoder().encode
_ID_END: Final = 1 << 63


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request and the way to answer it; `unread` is why there was no call in it, if there was none."""

    scope: Scope = field(repr=False)
    receive: Receive
    send: Send
    request: WireRequest
    body: bytes = field(repr=False)
    challenge: bytes
    send_timeout_s: float
    is_read: bool = False
    unread: WireFault | None = None


Official: TypeAlias = Callable[[Exchange, Json], Awaitable[None]]
"""Answers what only the official routes know; the second argument is the body's value."""


class JsonRpcBinding:
    """Answers calls of JSON-RPC."""

    def __init__(self, handler: RequestHandler, official: Official) -> None:
        self._handler = handler
        self._official = official

    async def answer(self, exchange: Exchange) -> None:
        """Answer one request."""
        call_id: CallId = None
        try:
            value = read_json(exchange.body)
            call_id = id_of(value)
            method, params = _envelope(value)
            if method in METHODS_OF_03:
                admit_version(exchange.request.version, V03)
                await self._official(exchange, value)
                return
            kind = _kind_of(method)
            admit_version(exchange.request.version, V1)
            exchange.request.version = V1
            message = to_proto(params, kind)
            exchange.is_read = True
            context = context_of(exchange.request, message.tenant)
            if method in STREAMS:
                events = events_of(self._handler, method, message, context)
                early = await _stream(exchange, call_id).run(events)
                if early is not None:
                    raise early
                return
            result = await answer(self._handler, method, message, context)
        except (WireFault, OfficialError) as error:
            if not exchange.is_read and isinstance(error, WireFault):
                exchange.unread = error
            await say_json_rpc(exchange.send, fault_of(error), call_id, exchange.challenge)
            return
        await respond(exchange.send, _result(call_id, result))


async def say_json_rpc(
    send: Send, fault: WireFault, call_id: CallId, challenge: bytes = b""
) -> None:
    """Answer with a fault."""
    await respond(
        send,
        fault.json_rpc(call_id),
        status=fault.json_rpc_status,
        headers=headers_of(fault, challenge=challenge),
    )


def id_of(value: Json) -> CallId:
    """Return the id of a call, for an error about it; None where it has none that could be said."""
    found = value.get("id") if type(value) is dict else None
    if type(found) is int and not -_ID_END <= found < _ID_END:
        return None
    return found if type(found) in (str, int) else None


def _envelope(value: Json) -> tuple[str, Json]:
    if type(value) is list:
        raise WireFault(INVALID_REQUEST, "Batch requests are not supported")
    if type(value) is not dict or not _MEMBERS.issuperset(value):
        raise WireFault(INVALID_REQUEST, "Invalid Request")
    if value.get("jsonrpc") != "2.0":
        raise WireFault(INVALID_REQUEST, "Invalid request: 'jsonrpc' must be exactly '2.0'")
    method = value.get("method")
    if type(method) is not str or not method:
        raise WireFault(INVALID_REQUEST, "Method is required")
    if value.get("id") is not None and id_of(value) is None:
        raise WireFault(INVALID_REQUEST, "Invalid request: id must be a string, integer, or null")
    params = value.get("params", {})
    if params is None:
        raise invalid("The parameters are not an object.")
    if type(params) not in (dict, list):
        raise WireFault(INVALID_REQUEST, "Invalid Request")
    return method, params


def _kind_of(method: str) -> type[Any]:
    kind = REQUEST_OF.get(method)
    if kind is None:
        raise WireFault(NO_METHOD, "Method not found")
    return kind


def _stream(exchange: Exchange, call_id: CallId) -> EventStream:
    def write(event: Proto) -> bytes:
        return _result(call_id, event_json(event))

    return EventStream(
        exchange.receive,
        exchange.send,
        write=write,
        say=lambda fault: fault.json_rpc(call_id),
        send_timeout_s=exchange.send_timeout_s,
    )


def _result(call_id: CallId, result: Json) -> bytes:
    return _ENCODE({"jsonrpc": "2.0", "id": call_id, "result": result})
