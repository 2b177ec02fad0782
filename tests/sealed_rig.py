"""An agent behind the sealing middleware and the official routes, on loopback, and a wire that is listened to."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import httpx
import uvicorn
from a2a.client import ClientConfig, create_client
from a2a.client.client import Client
from a2a.helpers import new_text_message
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import (
    create_agent_card_routes,
    create_jsonrpc_routes,
    create_rest_routes,
)
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Part,
    Role,
    SendMessageRequest,
    Task,
    TaskState,
    TaskStatus,
)
from starlette.applications import Starlette

from hive_a2a.cards.noise_params import HANDSHAKE_PATH, NoiseParams, put_noise
from hive_a2a.crypto import KeyPair, new_exchange_pair
from hive_a2a.policy import Policy, Sealing
from hive_a2a.sealed.http_server import NoiseMiddleware, always
from hive_a2a.sealed.pins import PinnedPeers
from hive_a2a.sealed.responder import Responder, SealedAgent
from hive_a2a.sealed.transport import NoiseTransport

SECRET = "attack-at-dawn-7f3a"
ANSWER = "the-answer-is-42-91bc"
TOKEN = "token-5511aa77"


class Parrot(AgentExecutor):
    """Answers with a task of two artifacts' worth of text, and remembers what it was asked."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def execute(self, context, event_queue) -> None:
        text = context.get_user_input()
        self.heard.append(text)
        task = Task(
            id=context.task_id,
            context_id=context.context_id,
            status=TaskStatus(state=TaskState.TASK_STATE_SUBMITTED),
            history=[context.message],
        )
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.start_work()
        for number in range(2):
            await updater.add_artifact(
                [Part(text=f"{ANSWER}-{number}")],
                artifact_id="a",
                append=number > 0,
                last_chunk=number == 1,
            )
        await updater.complete()

    async def cancel(self, context, event_queue) -> None:
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def card_of(url: str, bindings: tuple[str, ...] = ("JSONRPC",), version: str = "1.0") -> AgentCard:
    return AgentCard(
        name="parrot",
        description="repeats",
        version="1",
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="s", name="S", description="d", tags=["t"])],
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding=one, protocol_version=version)
            for one in bindings
        ],
    )


@dataclass
class SealedPlace:
    """A sealed agent: its card, key, app and what its executor heard."""

    card: AgentCard
    static: KeyPair
    responder: Responder
    agent: SealedAgent
    app: Callable[..., Awaitable[None]]
    parrot: Parrot
    scopes: list[dict] = field(default_factory=list)


def sealed_place(
    url: str = "http://agent.test",
    *,
    sealing: Sealing = Sealing.REQUIRED,
    bindings: tuple[str, ...] = ("JSONRPC",),
    params: NoiseParams | None = None,
    static: KeyPair | None = None,
    names_key: bool = True,
    responder: Responder | None = None,
    version: str = "1.0",
    refusal_log=None,
) -> SealedPlace:
    static = static or new_exchange_pair()
    card = card_of(url, bindings, version)
    params = params or NoiseParams(
        static_key=static.public if names_key else None, required=sealing is Sealing.REQUIRED
    )
    put_noise(card, params)
    parrot = Parrot()
    handler = DefaultRequestHandler(
        agent_executor=parrot, task_store=InMemoryTaskStore(), agent_card=card
    )
    plain = Starlette(
        routes=[
            *create_agent_card_routes(agent_card=card),
            *create_jsonrpc_routes(request_handler=handler, rpc_url="/", enable_v0_3_compat=True),
            *create_rest_routes(request_handler=handler, enable_v0_3_compat=True),
        ]
    )
    responder = responder or Responder()
    agent = SealedAgent.of_card(card, params, static)
    scopes: list[dict] = []

    async def noted(scope, receive, send) -> None:
        scopes.append(dict(scope))
        await plain(scope, receive, send)

    app = NoiseMiddleware(
        noted,
        responder=responder,
        agents_of=always(agent),
        policy=Policy(sealing=sealing),
        refusal_log=refusal_log,
    )
    return SealedPlace(card, static, responder, agent, app, parrot, scopes)


@dataclass
class Ear:
    """What passed on a wire, in both directions, and how often somebody connected."""

    heard: bytearray = field(default_factory=bytearray)


@asynccontextmanager
async def listening(ear: Ear, to_port: int) -> AsyncIterator[int]:
    """Forward a loopback port, and write down every byte."""

    async def forward(near) -> None:
        async with near, await anyio.connect_tcp("127.0.0.1", to_port) as far:

            async def pump(source, target) -> None:
                try:
                    async for data in source:
                        ear.heard += data
                        await target.send(data)
                    await target.send_eof()
                except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                    pass

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(pump, near, far)
                tasks.start_soon(pump, far, near)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, forward)
        yield listener.listeners[0].extra(anyio.abc.SocketAttribute.local_port)
        tasks.cancel_scope.cancel()
    await listener.aclose()


@asynccontextmanager
async def served(app) -> AsyncIterator[int]:
    """Serve an app under uvicorn on a free port."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="critical", lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server._serve)
        with anyio.fail_after(10):
            while not server.started:
                await anyio.lowlevel.checkpoint()
        yield server.servers[0].sockets[0].getsockname()[1]
        server.should_exit = True


@asynccontextmanager
async def official_client(
    place: SealedPlace,
    *,
    inner: httpx.AsyncBaseTransport | None = None,
    peers: PinnedPeers | None = None,
    streaming: bool = True,
    bindings: tuple[str, ...] = ("JSONRPC",),
    pin: bool = True,
) -> AsyncIterator[Client]:
    """Connect the official client through the sealing transport."""
    peers = peers or PinnedPeers(static=new_exchange_pair())
    if pin:
        await peers.pin(place.card)
    transport = NoiseTransport(inner or httpx.ASGITransport(place.app), peers=peers)
    async with httpx.AsyncClient(
        transport=transport, headers={"authorization": f"Bearer {TOKEN}"}
    ) as web:
        config = ClientConfig(
            httpx_client=web, streaming=streaming, supported_protocol_bindings=list(bindings)
        )
        client = await create_client(place.card, client_config=config)
        yield client


def message_request(text: str = SECRET) -> SendMessageRequest:
    return SendMessageRequest(message=new_text_message(text, role=Role.ROLE_USER))


async def events_of(client: Client, text: str = SECRET) -> list:
    return [one async for one in client.send_message(message_request(text))]


class Meddler(httpx.AsyncBaseTransport):
    """Somebody on the way: sees each request and answer, and may change or answer them himself."""

    def __init__(self, app, *, request=None, answer=None) -> None:
        self.inner = httpx.ASGITransport(app)
        self.request = request
        self.answer = answer
        self.seen: list[tuple[httpx.Request, bytes]] = []
        self.answers: list[tuple[int, str, bytes]] = []

    def sealed(self) -> list[tuple[httpx.Request, bytes]]:
        return [one for one in self.seen if one[0].url.path != HANDSHAKE_PATH]

    @property
    def handshakes(self) -> int:
        return len(self.seen) - len(self.sealed())

    async def send(self, method, url, headers, body) -> tuple[int, httpx.Headers, bytes]:
        request = httpx.Request(method, url, headers=headers, content=body or None)
        response = await self.inner.handle_async_request(request)
        return response.status_code, response.headers, await response.aread()

    async def repeat(self, number: int = -1, **changes) -> tuple[int, bytes]:
        """Send a sealed request again that was seen, with changes."""
        request, body = self.sealed()[number]
        headers = {k: v for k, v in request.headers.items() if k not in ("content-length",)}
        headers |= changes.get("headers", {})
        url = changes.get("url", request.url)
        method = changes.get("method", request.method)
        status, _, answer = await self.send(method, url, headers, changes.get("body", body))
        return status, answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        self.seen.append((request, body))
        instead = self.request(request, body) if self.request else None
        if isinstance(instead, httpx.Response):
            return instead
        status, headers, answer = await self.send(
            request.method, request.url, request.headers, body if instead is None else instead
        )
        kind = headers.get("content-type", "")
        self.answers.append((status, kind, answer))
        if self.answer is not None and request.url.path != HANDSHAKE_PATH:
            answer = self.answer(answer)
        elif self.answer is not None:
            answer = getattr(self.answer, "handshake", lambda one: one)(answer)

        async def pieces():
            for at in range(0, len(answer), 100):
                yield answer[at : at + 100]

        return httpx.Response(status, headers={"content-type": kind}, stream=_Pieces(pieces()))


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, pieces) -> None:
        self._pieces = pieces

    async def __aiter__(self):
        async for one in self._pieces:
            yield one
