"""A `SecureA2AServer` and a plain official server of one agent on sockets, and one way to ask over every binding."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# First, for the official package's client and server import each other: else it has no gRPC of 0.3.
import a2a.client  # noqa: F401
import grpc
import grpc.aio
import httpx
from a2a.compat.v0_3 import a2a_v0_3_pb2 as old_pb
from a2a.compat.v0_3.a2a_v0_3_pb2_grpc import A2AServiceStub as OldStub
from a2a.compat.v0_3.a2a_v0_3_pb2_grpc import add_A2AServiceServicer_to_server as add_old
from a2a.compat.v0_3.grpc_handler import CompatGrpcHandler
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.request_handlers.grpc_handler import GrpcHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryPushNotificationConfigStore, InMemoryTaskStore
from a2a.types import a2a_pb2 as pb
from a2a.types.a2a_pb2_grpc import A2AServiceStub, add_A2AServiceServicer_to_server
from google.protobuf.json_format import MessageToDict, ParseDict
from google.rpc import error_details_pb2, status_pb2
from starlette.applications import Starlette

from hive_a2a.policy import Policy, RateLimits
from hive_a2a.server import SecureA2AServer
from hive_a2a.stages.audit import MemoryAudit
from hive_a2a.wire.calls import REQUEST_OF
from tests.sealed_rig import served as uvicorn_served
from tests.wire_rig import EchoAgent, WordAuthenticator, message

FREE = RateLimits(per_s=1e6, burst=1_000_000, stranger_per_s=1e6, stranger_burst=1_000_000)
SECURE = Policy(rate=FREE)
NEW = ("JSONRPC", "HTTP+JSON", "GRPC")
OLD = ("JSONRPC-0.3", "HTTP+JSON-0.3", "GRPC-0.3")
TASK_METHODS = ("GetTask", "CancelTask", "SubscribeToTask")
PUSH_METHODS = (
    "CreateTaskPushNotificationConfig",
    "GetTaskPushNotificationConfig",
    "ListTaskPushNotificationConfigs",
    "DeleteTaskPushNotificationConfig",
)
OLD_NAMES = {
    "SendMessage": "message/send",
    "SendStreamingMessage": "message/stream",
    "GetTask": "tasks/get",
    "CancelTask": "tasks/cancel",
    "SubscribeToTask": "tasks/resubscribe",
    "CreateTaskPushNotificationConfig": "tasks/pushNotificationConfig/set",
    "GetTaskPushNotificationConfig": "tasks/pushNotificationConfig/get",
    "ListTaskPushNotificationConfigs": "tasks/pushNotificationConfig/list",
    "DeleteTaskPushNotificationConfig": "tasks/pushNotificationConfig/delete",
    "GetExtendedAgentCard": "agent/getAuthenticatedExtendedCard",
}
HOOK = "https://93.184.216.34/hook"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@dataclass
class Reply:
    """What came back: nothing is `ok` that the agent refused; `word` is the standard's reason."""

    ok: bool
    word: str = ""
    status: Any = 0
    events: list[Any] = field(default_factory=list)
    text: str = ""

    @property
    def task(self) -> str:
        one = self.events[0]
        return one["task"]["id"] if "task" in one else one["id"]


@dataclass
class Place:
    """Where an agent listens; `server` is None for the plain official one."""

    port: int
    grpc_port: int
    agent: EchoAgent
    server: Any = None
    audit: MemoryAudit = field(default_factory=MemoryAudit)
    said: tuple[tuple[str, str], ...] = ()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def records(self, kind: str = "") -> list[Any]:
        return [one for one in self.audit.records if not kind or one.kind == kind]

    async def ask(
        self,
        binding: str,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        name: str = "",
        said: Mapping[str, str] | None = None,
    ) -> Reply:
        """Ask for a method of 1.0 by its protobuf JSON; over the bindings of 0.3, for what it was there."""
        headers = {**({"authorization": f"Bearer {name}"} if name else {}), **(said or {})}
        kind = binding.removesuffix("-0.3")
        way = {"JSONRPC": _rpc, "HTTP+JSON": _rest, "GRPC": _grpc}[kind]
        return await way(self, method, dict(params or {}), headers, old=binding.endswith("0.3"))


def card_for(
    port: int, grpc_port: int, *, tenants: tuple[str, ...] = ("",), required: tuple[str, ...] = ()
) -> pb.AgentCard:
    card = pb.AgentCard(
        name="echo",
        description="Echoes.",
        version="1",
        capabilities=pb.AgentCapabilities(
            streaming=True, push_notifications=True, extended_agent_card=True
        ),
        default_input_modes=["text/plain", "application/json"],
        default_output_modes=["text/plain"],
        skills=[pb.AgentSkill(id="echo", name="Echo", description="Echoes.", tags=["echo"])],
    )
    places = (
        ("JSONRPC", f"http://127.0.0.1:{port}/"),
        ("HTTP+JSON", f"http://127.0.0.1:{port}/rest"),
        ("GRPC", f"127.0.0.1:{grpc_port}"),
    )
    for version in ("1.0", "0.3"):
        for tenant in tenants:
            for binding, url in places:
                card.supported_interfaces.add(
                    url=url, protocol_binding=binding, protocol_version=version, tenant=tenant
                )
    for uri in required:
        card.capabilities.extensions.add(uri=uri, required=True)
    return card


@asynccontextmanager
async def secure(
    folder: Path,
    *,
    policy: Policy = SECURE,
    agent: EchoAgent | None = None,
    tenants: tuple[str, ...] = ("",),
    required: tuple[str, ...] = (),
    tls: Any = None,
    grpc_credentials: Any = None,
    card: pb.AgentCard | None = None,
    **given: Any,
) -> AsyncIterator[Place]:
    """Serve an agent behind every stage."""
    place = Place(free_port(), free_port(), agent or EchoAgent())
    card = card or card_for(place.port, place.grpc_port, tenants=tenants, required=required)
    extended = pb.AgentCard()
    extended.CopyFrom(card)
    extended.description = "Echoes, and more."
    given.setdefault("authenticators", [WordAuthenticator()])
    given.setdefault("extended_card", extended)
    given.setdefault("audit", place.audit)
    given = {name: value for name, value in given.items() if value is not None}
    place.server = SecureA2AServer(card, place.agent, policy=policy, folder=folder, **given)
    async with place.server.serving(
        port=place.port, grpc_port=place.grpc_port, tls=tls, grpc_credentials=grpc_credentials
    ):
        yield place


@asynccontextmanager
async def plain() -> AsyncIterator[Place]:
    """Serve the same agent as the official SDK's examples do, on all bindings."""
    agent = EchoAgent()
    grpc_port = free_port()
    card = card_for(1, grpc_port)
    handler = DefaultRequestHandler(
        agent_executor=agent,
        task_store=InMemoryTaskStore(),
        agent_card=card,
        push_config_store=InMemoryPushNotificationConfigStore(),
        extended_agent_card=card,
        push_url_validator=_any_url,
    )
    app = Starlette(
        routes=[
            *create_agent_card_routes(card),
            *create_jsonrpc_routes(handler, "/", enable_v0_3_compat=True),
            *create_rest_routes(handler, path_prefix="/rest", enable_v0_3_compat=True),
        ]
    )
    server = grpc.aio.server()
    add_A2AServiceServicer_to_server(GrpcHandler(handler), server)
    add_old(CompatGrpcHandler(handler), server)
    server.add_insecure_port(f"127.0.0.1:{grpc_port}")
    await server.start()
    try:
        async with uvicorn_served(app) as port:
            yield Place(port, grpc_port, agent)
    finally:
        await server.stop(0)
        await _end_official_tasks()


async def _end_official_tasks() -> None:
    """End what the official handler leaves running for each open task; a loop that closes waits for them."""
    left = [one for one in asyncio.all_tasks() if _is_official(one)]
    for one in left:
        one.cancel()
    if left:
        await asyncio.wait(left, timeout=5)


def _is_official(task: "asyncio.Task[Any]") -> bool:
    return str(getattr(task.get_coro(), "__qualname__", "")).startswith(
        ("ActiveTask", "EventQueue")
    )


async def _any_url(_url: str) -> bool:
    """Let every webhook pass, as the official SDK did before it had a validator."""
    return True


@asynccontextmanager
async def both(folder: Path, **given: Any) -> AsyncIterator[tuple[Place, Place]]:
    """Serve the plain agent and the secure one."""
    async with AsyncExitStack() as stack:
        plainly = await stack.enter_async_context(plain())
        yield plainly, await stack.enter_async_context(secure(folder, **given))


def sending(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"message": message(text, **more)}


def params_of(method: str, task: str, config: str = "c1") -> dict[str, Any]:
    """Return what a method needs to be about a task."""
    return {
        "SendMessage": sending(),
        "SendStreamingMessage": sending(),
        "ListTasks": {},
        "GetExtendedAgentCard": {},
        "CreateTaskPushNotificationConfig": {"taskId": task, "id": config, "url": HOOK},
        "GetTaskPushNotificationConfig": {"taskId": task, "id": config},
        "ListTaskPushNotificationConfigs": {"taskId": task},
        "DeleteTaskPushNotificationConfig": {"taskId": task, "id": config},
    }.get(method, {"id": task})


# --- JSON-RPC -----------------------------------------------------------------------------------------


async def _rpc(
    place: Place, method: str, params: dict[str, Any], headers: dict[str, str], *, old: bool
) -> Reply:
    name = OLD_NAMES[method] if old else method
    body = {"jsonrpc": "2.0", "id": 1, "method": name, "params": _old_json(method, params, old)}
    said = {"a2a-version": "0.3" if old else "1.0", **headers}
    async with httpx.AsyncClient(timeout=10) as client:
        answer = await client.post(f"{place.url}/", json=body, headers=said)
    values = _events(answer)
    if any("error" in one for one in values) or not values:
        error = values[0]["error"] if values else {}
        return Reply(False, _reason(error), error.get("code"), text=answer.text)
    return Reply(True, "", 200, [one.get("result") for one in values], answer.text)


def _events(answer: httpx.Response) -> list[Any]:
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        lines = [one[6:] for one in answer.text.splitlines() if one.startswith("data: ")]
        return [json.loads(one) for one in lines]
    try:
        return [answer.json()]
    except ValueError:
        return []


def _reason(error: Mapping[str, Any]) -> str:
    for one in error.get("data") or error.get("details") or ():
        if isinstance(one, dict) and one.get("reason"):
            return str(one["reason"])
    return str(error.get("message", ""))


def _old_json(method: str, params: dict[str, Any], old: bool) -> dict[str, Any]:
    if not old:
        return params
    if method in ("SendMessage", "SendStreamingMessage"):
        said = params["message"]
        parts = [{"kind": "text", **one} for one in said["parts"]]
        role = said["role"].removeprefix("ROLE_").lower()
        extra = {k: v for k, v in said.items() if k not in ("parts", "role")}
        found = {"message": {"kind": "message", **extra, "role": role, "parts": parts}}
        push = params.get("configuration", {}).get("taskPushNotificationConfig")
        if push:
            found["configuration"] = {
                "blocking": True,
                "pushNotificationConfig": {"url": push["url"]},
            }
        return found
    if method == "CreateTaskPushNotificationConfig":
        config = {"id": params.get("id", "c1"), "url": params["url"]}
        return {"taskId": params["taskId"], "pushNotificationConfig": config}
    if method in PUSH_METHODS:
        config = {"pushNotificationConfigId": params["id"]} if "id" in params else {}
        return {"id": params["taskId"], **config}
    return params


# --- HTTP+JSON ----------------------------------------------------------------------------------------


def rest_request(method: str, params: dict[str, Any]) -> tuple[str, str, dict[str, Any] | None]:
    """Return verb, path and body of a method."""
    task = params.get("id", "")
    owner = f"/tasks/{params.get('taskId', '')}/pushNotificationConfigs"
    return {
        "SendMessage": ("POST", "/message:send", params),
        "SendStreamingMessage": ("POST", "/message:stream", params),
        "GetTask": ("GET", f"/tasks/{task}", None),
        "ListTasks": ("GET", "/tasks", None),
        "CancelTask": ("POST", f"/tasks/{task}:cancel", {}),
        "SubscribeToTask": ("POST", f"/tasks/{task}:subscribe", {}),
        "CreateTaskPushNotificationConfig": ("POST", owner, params),
        "GetTaskPushNotificationConfig": ("GET", f"{owner}/{task}", None),
        "ListTaskPushNotificationConfigs": ("GET", owner, None),
        "DeleteTaskPushNotificationConfig": ("DELETE", f"{owner}/{task}", None),
        "GetExtendedAgentCard": ("GET", "/extendedAgentCard", None),
    }[method]


async def _rest(
    place: Place, method: str, params: dict[str, Any], headers: dict[str, str], *, old: bool
) -> Reply:
    tenant = params.pop("tenant", "")
    verb, path, body = rest_request(method, params)
    if old:
        path = "/v1/card" if method == "GetExtendedAgentCard" else f"/v1{path}"
        if body:
            body = MessageToDict(_old_message(method, params))
        if method == "SubscribeToTask":
            verb, body = "GET", None
    elif tenant:
        path = f"/{tenant}{path}"
    # The official routes want the tenant before the folder that they are mounted in.
    folder = "/rest" if place.server is not None or not tenant else f"/{tenant}/rest"
    path = path if place.server is not None else path.removeprefix(f"/{tenant}" if tenant else "")
    said = {"a2a-version": "0.3" if old else "1.0", **headers}
    async with httpx.AsyncClient(timeout=10) as client:
        content = {"json": body} if body is not None else {}
        answer = await client.request(verb, f"{place.url}{folder}{path}", headers=said, **content)
    values = _events(answer)
    if answer.status_code >= 400 or any("error" in one for one in values):
        error = values[0].get("error", {}) if values else {}
        return Reply(False, _reason(error), answer.status_code, text=answer.text)
    return Reply(True, "", answer.status_code, values, answer.text)


# --- gRPC ---------------------------------------------------------------------------------------------


def _old_message(method: str, params: dict[str, Any]) -> Any:
    task = f"tasks/{params.get('id', '')}"
    owner = f"tasks/{params.get('taskId', '')}"
    config = f"{owner}/pushNotificationConfigs/{params.get('id', '')}"
    if method in ("SendMessage", "SendStreamingMessage"):
        said = dict(params["message"])
        said["content"] = said.pop("parts")
        asked: dict[str, Any] = {"request": said}
        push = params.get("configuration", {}).get("taskPushNotificationConfig")
        if push:
            asked["configuration"] = {"pushNotification": {"url": push["url"]}, "blocking": True}
        return ParseDict(asked, old_pb.SendMessageRequest())
    made = {
        "GetTask": lambda: old_pb.GetTaskRequest(name=task),
        "CancelTask": lambda: old_pb.CancelTaskRequest(name=task),
        "SubscribeToTask": lambda: old_pb.TaskSubscriptionRequest(name=task),
        "CreateTaskPushNotificationConfig": lambda: old_pb.CreateTaskPushNotificationConfigRequest(
            parent=owner,
            config_id=params.get("id", "c1"),
            config=old_pb.TaskPushNotificationConfig(
                name=config,
                push_notification_config=old_pb.PushNotificationConfig(
                    id=params.get("id", "c1"), url=params["url"]
                ),
            ),
        ),
        "GetTaskPushNotificationConfig": lambda: old_pb.GetTaskPushNotificationConfigRequest(
            name=config
        ),
        "ListTaskPushNotificationConfigs": lambda: old_pb.ListTaskPushNotificationConfigRequest(
            parent=owner
        ),
        "DeleteTaskPushNotificationConfig": lambda: old_pb.DeleteTaskPushNotificationConfigRequest(
            name=config
        ),
        "GetExtendedAgentCard": old_pb.GetAgentCardRequest,
    }
    return made[method]()


_OLD_STUB = {
    "ListTaskPushNotificationConfigs": "ListTaskPushNotificationConfig",
    "SubscribeToTask": "TaskSubscription",
    "GetExtendedAgentCard": "GetAgentCard",
}


async def _grpc(
    place: Place, method: str, params: dict[str, Any], headers: dict[str, str], *, old: bool
) -> Reply:
    request = _old_message(method, params) if old else ParseDict(params, REQUEST_OF[method]())
    async with grpc.aio.insecure_channel(f"127.0.0.1:{place.grpc_port}") as channel:
        return await grpc_ask(channel, method, request, headers, old=old)


async def grpc_ask(
    channel: Any, method: str, request: Any, headers: dict[str, str], *, old: bool = False
) -> Reply:
    stub = OldStub(channel) if old else A2AServiceStub(channel)
    run = getattr(stub, _OLD_STUB.get(method, method) if old else method)
    begun = run(request, metadata=tuple(headers.items()), timeout=10)
    try:
        if method in ("SendStreamingMessage", "SubscribeToTask"):
            return Reply(True, "", "OK", [MessageToDict(one) async for one in begun])
        return Reply(True, "", "OK", [MessageToDict(await begun)])
    except grpc.aio.AioRpcError as error:
        return Reply(False, _grpc_reason(error), error.code().name, text=error.details() or "")


def _grpc_reason(error: grpc.aio.AioRpcError) -> str:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return str(info.reason)
    return error.code().name
