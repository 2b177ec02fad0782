"""The A2A door: bytes and headers in, a frozen value on, the standard's answer back.

One ASGI application for all agents, which come and go while it runs:

    /.well-known/agent-card.json               the node's card
    /a2a                                       the node itself: which agents are here?
    /a2a/{agent}/.well-known/agent-card.json   an agent's card
    /a2a/{agent}                               JSON-RPC, 1.0 and 0.3
    /a2a/{agent}/...                           HTTP+JSON (`message:send`, `tasks/...`; 0.3 under `v1/`)

A caller is identified before a byte of the body is read. JSON-RPC 1.0 in its everyday form takes the
short path (`send_message` and its neighbours in `json_rpc`); everything else, and everything
malformed, is answered by the official SDK (`official`).
"""

import logging
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, Final

import anyio
from anyio import to_thread

from hive import __version__
from hive.core.call import PrincipalKind
from hive.core.clock import Clock
from hive.core.errors import InvalidIdError
from hive.core.ids import AgentId, MessageId, agent_id, new_id
from hive.core.json import Json
from hive.core.randomness import Randomness
from hive.core.settings import Settings
from hive.core.task import Message, Part, Role
from hive.engines.ports import Database
from hive.kernel.ports import Agents, AgentView, Gate
from hive.protocols.a2a.auth import SANDBOX_KEY, CallerCheck, admit_scope
from hive.protocols.a2a.card import NODE, WELL_KNOWN, CardWriter, etag_of, written
from hive.protocols.a2a.deliver import PushSender
from hive.protocols.a2a.http import headers_of, respond, stream
from hive.protocols.a2a.json_rpc import Incoming, ShortPath, Streamed, admit_json, id_of
from hive.protocols.a2a.operations import Caller, Operations
from hive.protocols.a2a.push import PushConfigs
from hive.protocols.a2a.screen import DestinationScreen
from hive.security.tokens import Bearer, Tokens
from hive_a2a.errors import WireLimitError
from hive_a2a.faults import (
    BUSY,
    CONTENT_TYPE,
    INTERNAL,
    NO_SUCH_AGENT,
    VERSION,
    WIRE_LIMIT,
    WireFault,
)
from hive_a2a.policy import WireLimits
from hive_a2a.server import (
    AsgiApp,
    Disconnected,
    Receive,
    Scope,
    Send,
    admit_method,
    header,
    read_body,
    replay,
)

log: Final = logging.getLogger(__name__)
PREFIX: Final = "/a2a"
REQUESTS_PER_CALLER_MAX: Final = 1000
TRACEPARENT_MAX_BYTES: Final = 64


class A2ADoor:
    """The ASGI application. Keep `running()` open while it serves: it sends push notifications."""

    def __init__(
        self,
        *,
        gate: Gate,
        agents: Agents,
        tokens: Tokens,
        database: Database,
        settings: Settings,
        clock: Clock,
        randomness: Randomness,
        push_key: bytes,
        public_url: str = "",
        grpc_address: str = "",
        required_extensions: tuple[str, ...] = (),
    ) -> None:
        self.agents = agents
        self.callers = CallerCheck(gate=gate, tokens=tokens, anonymous=settings.anonymous)
        screen = DestinationScreen(allow_private=settings.push_private)
        configs = PushConfigs(
            database=database, key=push_key, clock=clock, randomness=randomness, screen=screen
        )
        self.push = PushSender(gate=gate, configs=configs, screen=screen)
        self.operations = Operations(gate=gate, push=configs, directory=self._directory)
        self.cards = CardWriter(
            public_url=public_url or settings.public_url or _local_url(settings),
            anonymous=settings.anonymous,
            grpc_address=grpc_address,
            required_extensions=required_extensions,
        )
        self._short = ShortPath(self.operations, frozenset(required_extensions))
        self._limits = WireLimits(
            body_bytes=settings.body_max_bytes,
            depth=settings.depth_max,
            body_timeout_s=settings.request_timeout_s,
        )
        self._send_timeout_s = settings.request_timeout_s
        self._requests_max = settings.tasks_in_flight_max
        self._open: dict[str, int] = {}
        self._clock, self._randomness = clock, randomness
        self._official: AsgiApp | None = None
        self._importing = anyio.Lock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send push notifications while the context is open."""
        async with self.push.running():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope["path"]
        try:
            agent, rest = split_path(path)
            if rest == WELL_KNOWN:
                await self._card(scope, send, agent)
            else:
                await self._call(scope, receive, send, agent, rest)
        except WireFault as fault:
            body = fault.rest()
            await respond(send, body, status=fault.status, headers=headers_of(fault))
        except Disconnected:
            return

    async def _call(
        self, scope: Scope, receive: Receive, send: Send, agent: AgentId, rest: str
    ) -> None:
        body, begun = b"", False

        async def noting(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            bearer = self.callers.identify(scope)
            self._admit_agent(bearer, agent)
            admit_method(scope["method"])
            name = str(bearer.principal)
            self._enter(name)
            try:
                if scope["method"] == "POST":
                    body = await read_body(scope, receive, self._limits)
                incoming = Incoming(
                    caller=Caller(
                        bearer=bearer,
                        agent=agent,
                        size_bytes=len(body),
                        traceparent=_traceparent(scope),
                    ),
                    version=header(scope, b"a2a-version"),
                    extensions=header(scope, b"a2a-extensions"),
                    body=body,
                )
                await self._answer(scope, receive, noting, incoming, rest)
            finally:
                self._leave(name)
        except WireLimitError as error:
            await _say(send, _limit_fault(error), rest, body)
        except WireFault as fault:
            await _say(send, fault, rest, body)
        except Exception as error:
            if begun or isinstance(error, Disconnected):
                raise
            log.exception("a2a.call_crashed")
            await _say(send, WireFault(INTERNAL, "The node could not do that now."), rest, body)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, incoming: Incoming, rest: str
    ) -> None:
        self._short.admit_extensions(incoming.extensions.decode("latin-1"))
        if not rest and scope["method"] == "POST":
            answer = await self._short.answer(incoming)
            if isinstance(answer, Streamed):
                async with answer.frames as frames:
                    await stream(receive, send, frames, send_timeout_s=self._send_timeout_s)
                return
            if answer is not None:
                await respond(send, answer)
                return
        admit_json(incoming.body)
        app = await self._official_app()
        fault: list[WireFault] = []
        inner = {
            **scope,
            "path": rest or "/",
            "raw_path": (rest or "/").encode(),
            "root_path": "",
            "hive.caller": incoming.caller,
            "hive.fault": fault,
        }
        await app(inner, replay(incoming.body, receive), _FaultFirst(send, fault, rest, incoming))

    async def _official_app(self) -> AsgiApp:
        async with self._importing:
            if self._official is None:
                # Half a second of imports, so not on the event loop.
                module = await to_thread.run_sync(import_module, "hive.protocols.a2a.official")
                self._official = module.official_app(self.operations, self.extended_card)
        return self._official

    async def _card(self, scope: Scope, send: Send, agent: AgentId) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise WireFault(WIRE_LIMIT, "A card is read with GET.", status=405)
        view = self.agents.get(agent) if agent != NODE else None
        if agent != NODE and (view is None or not view.spec.public):
            # A private agent's card is for those who may call it; the rest cannot tell it is here.
            self._admit_agent(self.callers.identify(scope), agent)
        public = [one for one in self.agents.all() if one.spec.public]
        cards = self._cards_for(scope)
        card = cards.node(public, version=__version__) if view is None else cards.agent(view)
        body = written(card)
        tag = etag_of(body)
        headers = [(b"etag", tag), (b"cache-control", b"no-cache"), (b"vary", b"authorization")]
        seen = header(scope, b"if-none-match")
        status = 304 if seen and tag in [one.strip() for one in seen.split(b",")] else 200
        await respond(send, b"" if status == 304 else body, status=status, headers=headers)

    def extended_card(self, caller: Caller) -> dict[str, Json]:
        """Return the card that this caller may see: for the node, with every agent it may call."""
        if caller.agent == NODE:
            return self.cards.node(self._open_to(caller.bearer), version=__version__)
        view = self.agents.get(caller.agent)
        if view is None:
            raise WireFault(NO_SUCH_AGENT, "No such agent.")
        return self.cards.agent(view)

    def caller_of(self, bearer: Bearer, tenant: str) -> Caller:
        """Return the caller of a binding that names its agent by tenant.

        Raises:
            WireFault: no such agent, or the token does not open it.

        """
        agent, _ = split_path(f"{PREFIX}/{tenant}")
        self._admit_agent(bearer, agent)
        return Caller(bearer=bearer, agent=agent)

    def admit_wire(self, *, version: str, extensions: str) -> None:
        """Let calls of a served version pass that activate every required extension.

        Raises:
            WireFault: -32009 or -32008.

        """
        if not version.startswith("1"):
            raise WireFault(VERSION, "This binding speaks A2A 1.0.")
        self._short.admit_extensions(extensions)

    def _cards_for(self, scope: Scope) -> CardWriter:
        """Return what writes cards; inside a sandbox the node is where the agent found it."""
        if scope.get(SANDBOX_KEY) is None:
            return self.cards
        host = header(scope, b"host").decode("latin-1")
        return CardWriter(
            public_url=f"http://{host}", required_extensions=self.cards.required_extensions
        )

    def _directory(self, caller: Caller, asked: Message) -> Message:
        """Answer for the node itself: which agents the caller may call, and where their cards are."""
        found = self._open_to(caller.bearer)
        lines = [f"{one.spec.name}: {one.spec.description or 'an agent'}" for one in found]
        base = self.cards.public_url.rstrip("/")
        listed: list[Json] = [
            {"name": one.spec.name, "card": f"{base}{PREFIX}/{one.spec.name}{WELL_KNOWN}"}
            for one in found
        ]
        text = "\n".join(lines) or "No agents are here."
        return Message(
            id=MessageId(new_id(self._clock, self._randomness)),
            role=Role.AGENT,
            parts=(Part(text=text), Part(data={"agents": listed}, has_data=True)),
            context_id=asked.context_id,
        )

    def _open_to(self, bearer: Bearer) -> list[AgentView]:
        anonymous = bearer.principal.kind is PrincipalKind.ANONYMOUS
        return [
            one
            for one in self.agents.all()
            if bearer.may_call(one.spec.name) and (one.spec.public or not anonymous)
        ]

    def _admit_agent(self, bearer: Bearer, agent: AgentId) -> None:
        if agent == NODE:
            return
        admit_scope(bearer, agent)
        if self.agents.get(agent) is None:
            raise WireFault(NO_SUCH_AGENT, "No such agent.")

    @property
    def open_requests(self) -> int:
        """Return how many requests are being answered now."""
        return sum(self._open.values())

    def _enter(self, name: str) -> None:
        mine = self._open.get(name, 0)
        if mine >= REQUESTS_PER_CALLER_MAX or self.open_requests >= self._requests_max:
            raise WireFault(BUSY, "Too many requests are open.", retry_after_s=1.0)
        self._open[name] = mine + 1

    def _leave(self, name: str) -> None:
        if self._open[name] == 1:
            del self._open[name]
        else:
            self._open[name] -= 1


class _FaultFirst:
    """A `send` that says our own fault where the official SDK has no word for it."""

    def __init__(self, send: Send, fault: list[WireFault], rest: str, incoming: Incoming) -> None:
        self._send, self._fault, self._rest, self._body = send, fault, rest, incoming.body
        self._begun = self._said = False

    async def __call__(self, event: Scope) -> None:
        if self._said:
            return
        if self._fault and not self._begun:
            self._said = True
            await _say(self._send, self._fault[0], self._rest, self._body)
            return
        self._begun = True
        await self._send(event)


def split_path(path: str) -> tuple[AgentId, str]:
    """Return which agent a path names, and what follows.

    Raises:
        WireFault: it names none that could be here (404).

    """
    if path == WELL_KNOWN:
        return NODE, WELL_KNOWN
    if path.rstrip("/") == PREFIX:
        return NODE, ""
    if not path.startswith(PREFIX + "/"):
        raise WireFault(NO_SUCH_AGENT, "No such page.")
    name, slash, rest = path.removeprefix(PREFIX + "/").partition("/")
    try:
        return agent_id(name), slash + rest if rest else ""
    except InvalidIdError:
        raise WireFault(NO_SUCH_AGENT, "No such agent.") from None


async def _say(send: Send, fault: WireFault, rest: str, body: bytes) -> None:
    headers = headers_of(fault)
    if rest:
        await respond(send, fault.rest(), status=fault.status, headers=headers)
    else:
        text = fault.json_rpc(id_of(body))
        await respond(send, text, status=fault.json_rpc_status, headers=headers)


def _limit_fault(error: WireLimitError) -> WireFault:
    kind = CONTENT_TYPE if error.status == 415 else WIRE_LIMIT
    return WireFault(kind, str(error), status=error.status)


def _traceparent(scope: Scope) -> str:
    return header(scope, b"traceparent")[:TRACEPARENT_MAX_BYTES].decode("latin-1")


def _local_url(settings: Settings) -> str:
    scheme = "https" if settings.tls_cert else "http"
    return f"{scheme}://{settings.host}:{settings.port}"
