"""An agent that echoes, its endpoint, and the plain official server of the same agent to compare with."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

# First, for the official package's client and server import each other: else it has no gRPC of 0.3.
import a2a.client  # noqa: F401
import httpx
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToJson

from hive_a2a.call import CallerIdentity, RequestHead
from hive_a2a.faults import UNAUTHENTICATED, WireFault
from hive_a2a.policy import Policy
from hive_a2a.wire.card_page import CardPage, fixed_card
from hive_a2a.wire.endpoint import WireEndpoint
from hive_a2a.wire.official import official_routes

V1 = {"a2a-version": "1.0"}


class EchoAgent(AgentExecutor):
    """Says what it hears as an artifact; `break` makes it crash, `wait` leaves the task open."""

    def __init__(self) -> None:
        self.seen: list[RequestContext] = []

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        self.seen.append(context)
        text = context.get_user_input()
        if text == "break":
            raise RuntimeError("a secret of the agent")
        task = pb.Task(
            id=context.task_id,
            context_id=context.context_id,
            status=pb.TaskStatus(state=pb.TASK_STATE_SUBMITTED),
        )
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        if text == "wait":
            await updater.requires_input()
            return
        await updater.add_artifact([pb.Part(text=text)], artifact_id="echo")
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


class WordAuthenticator:
    """Knows callers by a word: `Authorization: Bearer <name>`; the name `nobody` is refused."""

    scheme = "word"

    def card_scheme(self) -> dict[str, Any]:
        return {"httpAuthSecurityScheme": {"scheme": "bearer"}}

    async def identify(self, head: RequestHead) -> CallerIdentity | None:
        shown = head.headers.get("authorization", "")
        if not shown:
            return None
        name = shown.removeprefix("Bearer ")
        if name == "nobody":
            raise WireFault(UNAUTHENTICATED, "No.")
        return CallerIdentity(name=f"word:{name}", scheme=self.scheme)


def card_of(url: str = "http://agent", grpc: str = "") -> pb.AgentCard:
    card = pb.AgentCard(
        name="echo",
        description="Echoes.",
        version="1",
        capabilities=pb.AgentCapabilities(streaming=True, push_notifications=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[pb.AgentSkill(id="echo", name="Echo", description="Echoes.", tags=["echo"])],
    )
    for version in ("1.0", "0.3"):
        for binding in ("JSONRPC", "HTTP+JSON"):
            card.supported_interfaces.add(
                url=url, protocol_binding=binding, protocol_version=version
            )
    if grpc:
        card.supported_interfaces.add(url=grpc, protocol_binding="GRPC", protocol_version="1.0")
    return card


def official_handler(agent: AgentExecutor | None = None) -> DefaultRequestHandler:
    return DefaultRequestHandler(
        agent_executor=agent or EchoAgent(), task_store=InMemoryTaskStore(), agent_card=card_of()
    )


def plain_official(agent: AgentExecutor | None = None) -> Any:
    return official_routes(official_handler(agent))


def endpoint(
    agent: AgentExecutor | None = None, *, policy: Policy | None = None, **options: Any
) -> WireEndpoint:
    options.setdefault("authenticators", [WordAuthenticator()])
    page = CardPage(body=MessageToJson(card_of()).encode())
    return WireEndpoint(
        options.pop("handler", None) or official_handler(agent),
        policy=policy,
        card=fixed_card(page),
        **options,
    )


@asynccontextmanager
async def client_of(app: Any, name: str = "") -> AsyncIterator[httpx.AsyncClient]:
    headers = {**V1, **({"authorization": f"Bearer {name}"} if name else {})}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://agent", headers=headers
    ) as client:
        yield client


def message(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"messageId": "m1", "role": "ROLE_USER", "parts": [{"text": text}], **more}


def call(method: str, params: Mapping[str, Any], call_id: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": call_id, "method": method, "params": dict(params)}
