"""HTTP+JSON with the resources of A2A 1.0; those of 0.3 (under `/v1/`) go to the official adapter.

Whatever stands in the path and again in the body or the query must say the same.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

import msgspec
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.utils.errors import A2AError as OfficialError
from google.protobuf.descriptor import FieldDescriptor

from hive_a2a.asgi import A2A_JSON, Scope, Send, headers_of, respond
from hive_a2a.faults import INVALID_REQUEST, NO_METHOD, WireFault, invalid
from hive_a2a.wire.calls import REQUEST_OF, STREAMS, answer, event_json, events_of
from hive_a2a.wire.events import EventStream
from hive_a2a.wire.fault_words import fault_of
from hive_a2a.wire.json_rpc import Exchange, Official
from hive_a2a.wire.proto_in import to_proto
from hive_a2a.wire.request import V03, V1, admit_version, context_of
from hive_a2a.wire.strict_json import Json, read_json

OLD: Final = "0.3"
QUERY_FIELDS_MAX: Final = 64
_TOPS: Final = frozenset({"message:send", "message:stream", "extendedAgentCard", "tasks", "v1"})
_NO_NAMES: Final = frozenset({"", ".", ".."})
"""What no tenant is called, since others read a path with these in it as another path."""
_SENDS: Final = {"message:send": "SendMessage", "message:stream": "SendStreamingMessage"}
_ENCODE: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What a path means: the method of A2A, and the fields that the path itself fills in."""

    method: str
    tenant: str = ""
    fields: tuple[tuple[str, str], ...] = ()


class RestBinding:
    """Answers calls of HTTP+JSON."""

    def __init__(self, handler: RequestHandler, official: Official) -> None:
        self._handler = handler
        self._official = official

    async def answer(self, exchange: Exchange, path: str) -> None:
        """Answer one request."""
        try:
            _admit_raw(exchange.scope)
            resource = resource_of(exchange.scope["method"], path)
            value = read_json(exchange.body) if exchange.body else {}
            if resource.method == OLD:
                admit_version(exchange.request.version, V03)
                await self._official(exchange, value)
                return
            admit_version(exchange.request.version, V1)
            exchange.request.version = V1
            kind = REQUEST_OF[resource.method]
            if exchange.scope["method"] != "POST":
                value = _query(exchange.scope.get("query_string", b""), kind.DESCRIPTOR.fields)
            message = to_proto(_filled(value, resource), kind)
            exchange.is_read = True
            context = context_of(exchange.request, resource.tenant)
            if resource.method in STREAMS:
                events = events_of(self._handler, resource.method, message, context)
                early = await _stream(exchange).run(events)
                if early is not None:
                    raise early
                return
            result = await answer(self._handler, resource.method, message, context)
        except (WireFault, OfficialError) as error:
            if not exchange.is_read and isinstance(error, WireFault):
                exchange.unread = error
            await say_rest(exchange.send, fault_of(error), exchange.challenge)
            return
        body = _ENCODE({} if result is None else result)
        await respond(exchange.send, body, content_type=A2A_JSON)


async def say_rest(send: Send, fault: WireFault, challenge: bytes = b"") -> None:
    """Answer with a fault."""
    headers = headers_of(fault, challenge=challenge)
    await respond(send, fault.rest(), status=fault.status, headers=headers)


def _admit_raw(scope: Scope) -> None:
    """Let a path pass whose slashes are all plain: one in percent signs is a name to others, and a step to us.

    Raises:
        WireFault: it has another one (404).

    """
    raw: bytes = scope.get("raw_path") or b""
    if b"%" in raw and b"%2f" in raw.lower():
        raise WireFault(NO_METHOD, "No such resource.")


def resource_of(http_method: str, path: str) -> Resource:
    """Return what a path means.

    Raises:
        WireFault: nothing (404), or not with this HTTP method (405).

    """
    parts = path.removeprefix("/").split("/")
    tenant = ""
    if len(parts) > 1 and parts[0] not in _TOPS:
        tenant = parts.pop(0)
        if tenant in _NO_NAMES:
            raise WireFault(NO_METHOD, "No such resource.")
    if parts[0] == "v1":
        return Resource(method=OLD)
    if parts[0] in _SENDS and len(parts) == 1:
        return _one_of(http_method, tenant, {"POST": _SENDS[parts[0]]})
    if parts == ["extendedAgentCard"]:
        return _one_of(http_method, tenant, {"GET": "GetExtendedAgentCard"})
    if parts[0] == "tasks":
        return _task_resource(http_method, tenant, parts[1:])
    raise WireFault(NO_METHOD, "No such resource.")


def _task_resource(http_method: str, tenant: str, parts: list[str]) -> Resource:
    match parts:
        case []:
            return _one_of(http_method, tenant, {"GET": "ListTasks"})
        case [task] if task.endswith(":cancel") and task != ":cancel":
            methods = {"POST": "CancelTask"}
            return _one_of(http_method, tenant, methods, id=task.removesuffix(":cancel"))
        case [task] if task.endswith(":subscribe") and task != ":subscribe":
            # The .proto file says GET, the specification's table POST: both are served.
            methods = {"GET": "SubscribeToTask", "POST": "SubscribeToTask"}
            return _one_of(http_method, tenant, methods, id=task.removesuffix(":subscribe"))
        case [task] if task:
            return _one_of(http_method, tenant, {"GET": "GetTask"}, id=task)
        case [task, "pushNotificationConfigs"] if task:
            methods = {
                "GET": "ListTaskPushNotificationConfigs",
                "POST": "CreateTaskPushNotificationConfig",
            }
            return _one_of(http_method, tenant, methods, taskId=task)
        case [task, "pushNotificationConfigs", config] if task and config:
            methods = {
                "GET": "GetTaskPushNotificationConfig",
                "DELETE": "DeleteTaskPushNotificationConfig",
            }
            return _one_of(http_method, tenant, methods, taskId=task, id=config)
    raise WireFault(NO_METHOD, "No such resource.")


def _one_of(http_method: str, tenant: str, methods: dict[str, str], **fields: str) -> Resource:
    method = methods.get(http_method)
    if method is None:
        allowed = ", ".join(methods).encode()
        raise WireFault(
            INVALID_REQUEST,
            "This resource has no such HTTP method.",
            status=405,
            headers=((b"allow", allowed),),
        )
    return Resource(method=method, tenant=tenant, fields=tuple(fields.items()))


def _filled(value: Json, resource: Resource) -> Json:
    if type(value) is not dict:
        raise invalid("The body is not an object.")
    if not resource.fields:
        return value
    found = dict(value)
    for name, from_path in resource.fields:
        for spelled in {name, "task_id" if name == "taskId" else name}:
            said = found.pop(spelled, None)
            if said not in (None, "", from_path):
                raise invalid(f"The path and the request name different values of {name}.")
        found[name] = from_path
    return found


def _query(text: bytes, fields: list[FieldDescriptor]) -> dict[str, Json]:
    if not text:
        return {}
    try:
        pairs = parse_qsl(
            text.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=QUERY_FIELDS_MAX,
        )
    except ValueError:
        raise invalid("The query cannot be read.") from None
    known = {field.json_name: field for field in fields}
    found: dict[str, Json] = {}
    for name, said in pairs:
        field = known.get(name)
        if field is None:
            continue
        if name in found:
            raise invalid(f"The query has {name} twice.")
        flag = field.type == FieldDescriptor.TYPE_BOOL and said in ("true", "false")
        found[name] = said == "true" if flag else said
    return found


def _stream(exchange: Exchange) -> EventStream:
    return EventStream(
        exchange.receive,
        exchange.send,
        write=lambda event: _ENCODE(event_json(event)),
        say=WireFault.rest,
        send_timeout_s=exchange.send_timeout_s,
    )
