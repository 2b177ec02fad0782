"""The A2A door: which agent is a request for? What comes after that is the SDK's endpoint (`service`).

One ASGI application for all agents, which come and go while it runs:

    /.well-known/agent-card.json               the node's card
    /a2a                                       the node itself: which agents are here?
    /a2a/{agent}/.well-known/agent-card.json   an agent's card
    /a2a/{agent}                               JSON-RPC, 1.0 and 0.3
    /a2a/{agent}/...                           HTTP+JSON (`message:send`, `tasks/...`; 0.3 under `v1/`)
    /.well-known/a2a-noise                     handshakes, for every agent
    /.well-known/jwks.json                     the keys that sign cards and notifications
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread

from hive import __version__
from hive.core.call import PrincipalKind
from hive.core.clock import Clock
from hive.core.ids import AgentId, MessageId, new_id
from hive.core.json import Json
from hive.core.randomness import Randomness
from hive.core.settings import Settings
from hive.core.task import Message, Part, Role
from hive.engines.ports import Database, KeyValue
from hive.kernel.ports import Agents, AgentView, Gate
from hive.protocols.a2a.caller import (
    SANDBOX_KEY,
    Caller,
    CallerCheck,
    admit_scope,
    bearer_of,
)
from hive.protocols.a2a.card import NODE, CardWriter
from hive.protocols.a2a.deliver import PushSender
from hive.protocols.a2a.paths import AGENT_KEY, PREFIX, REST_KEY, WELL_KNOWN, split_path
from hive.protocols.a2a.push import PushConfigs
from hive.security.tokens import Bearer, Tokens
from hive_a2a.asgi import Receive, Scope, Send, header, headers_of, respond
from hive_a2a.faults import NO_SUCH_AGENT, WireFault
from hive_a2a.policy import Policy, Sealing, Strangers, WireLimits
from hive_a2a.push.screen import DestinationScreen

if TYPE_CHECKING:
    from hive.protocols.a2a.service import DoorService
    from hive.protocols.a2a.warrants import WarrantVerifier
    from hive_a2a.call import WireCall

KEYS_FOLDER: Final = "a2a"
WARRANT_NONCES: Final = "warrant-nonces"
REQUESTS_PER_CALLER_MAX: Final = 1000


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
        keys_folder: Path | None = None,
        public_url: str = "",
        grpc_address: str = "",
        required_extensions: tuple[str, ...] = (),
        warrants: "tuple[WarrantVerifier, KeyValue] | None" = None,
    ) -> None:
        self.agents = agents
        self.callers = CallerCheck(gate=gate, tokens=tokens, anonymous=settings.anonymous)
        self.policy = policy_of(settings)
        screen = DestinationScreen(allow_private=settings.push_private)
        self._gate = gate
        self.push_configs = PushConfigs(
            database=database, key=push_key, clock=clock, randomness=randomness, screen=screen
        )
        self.push = PushSender(
            gate=gate, configs=self.push_configs, screen=screen, sign=self._sign_notification
        )
        self.cards = CardWriter(
            public_url=public_url or settings.public_url or _local_url(settings),
            grpc_address=grpc_address,
            required_extensions=required_extensions,
        )
        self._keys_folder = keys_folder
        self._required = required_extensions
        self._warrants = warrants
        self._clock, self._randomness = clock, randomness
        self._service: DoorService | None = None
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
        except WireFault as fault:
            await respond(send, fault.rest(), status=fault.status, headers=headers_of(fault))
            return
        service = await self.service()
        meant = {
            **scope,
            AGENT_KEY: agent,
            REST_KEY: rest,
            "hive_a2a.url": f"{self._cards_for(scope).public_url.rstrip('/')}{path}",
        }
        await service.app(meant, receive, send)

    async def prepare(self) -> None:
        """Import what the first request would wait for."""
        await self.service()

    async def service(self) -> "DoorService":
        """Return what serves requests; the first time, make it."""
        if self._service is None:
            async with self._importing:
                if self._service is None:
                    # Half a second of imports, so not on the event loop.
                    self._service = await to_thread.run_sync(self._make_service)
        return self._service

    async def _sign_notification(self, url: str, body: bytes) -> str:
        return (await self.service()).signer(self.cards.public_url).sign(url, body)

    @property
    def open_requests(self) -> int:
        """Return how many requests are being answered now."""
        return 0 if self._service is None else self._service.endpoint.open_requests.open

    def _make_service(self) -> "DoorService":
        module = import_module("hive.protocols.a2a.service")
        operations = import_module("hive.protocols.a2a.operations").Operations
        keys = import_module("hive_a2a.cards.keys").AgentKeys
        made: DoorService = module.DoorService(
            operations=operations(
                gate=self._gate, push=self.push_configs, directory=self._directory
            ),
            check=self.callers,
            policy=self.policy,
            keys=keys.ephemeral()
            if self._keys_folder is None
            else keys.load_or_make(self._keys_folder / KEYS_FOLDER),
            required_extensions=self._required,
            admit_agent=self._admit_agent,
            cards_of=self._cards_of,
            page_of=self._page_of,
            extended_card=self.extended_card,
            warrants=self._warrants_shown(),
        )
        return made

    def _warrants_shown(self) -> "Callable[[WireCall], Awaitable[None]] | None":
        """Return what verifies warrants that callers show, None where the node honours none."""
        if self._warrants is None:
            return None
        module = import_module("hive.protocols.a2a.warrants")
        verifier, store = self._warrants
        shown = module.ShownWarrants(verifier, module.KeptNonces(store, self._clock), self._clock)

        async def admit(call: "WireCall") -> None:
            base = self.cards.public_url.rstrip("/") + PREFIX
            await shown.admit(call, f"{base}/{call.tenant}" if call.tenant else base)

        return admit

    async def _page_of(self, scope: Scope) -> dict[str, Json]:
        """Write the card for whoever asks for it."""
        agent = AgentId(scope[AGENT_KEY])
        view = self.agents.get(agent) if agent != NODE else None
        if agent != NODE and (view is None or not view.spec.public):
            # A private agent's card is for those who may call it; the rest cannot tell it is here.
            shown = bearer_of(header(scope, b"authorization").decode("latin-1"))
            admit_scope(self.callers.recognise(shown, scope.get(SANDBOX_KEY)), agent)
        for found in self._cards_of(scope):
            return found
        raise WireFault(NO_SUCH_AGENT, "No such agent.")

    def _cards_of(self, scope: Scope, everyone: bool = False) -> list[dict[str, Json]]:  # noqa: FBT001, FBT002
        agent = AgentId(scope[AGENT_KEY])
        cards = self._cards_for(scope)
        views = self.agents.all()
        found: list[dict[str, Json]] = []
        if everyone or agent == NODE:
            public = [one for one in views if one.spec.public]
            found.append(cards.node(public, version=__version__))
        found += [cards.agent(view) for view in views if everyone or view.spec.name == agent]
        return found

    def extended_card(self, caller: Caller) -> dict[str, Json]:
        """Return the card that this caller may see: for the node, with every agent it may call."""
        if caller.agent == NODE:
            return self.cards.node(self._open_to(caller.bearer), version=__version__)
        view = self.agents.get(caller.agent)
        if view is None:
            raise WireFault(NO_SUCH_AGENT, "No such agent.")
        return self.cards.agent(view)

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

    def _admit_agent(self, agent: AgentId) -> None:
        if self.agents.get(agent) is None:
            raise WireFault(NO_SUCH_AGENT, "No such agent.")


def policy_of(settings: Settings) -> Policy:
    """Return what the SDK's endpoint insists on: the wire only, since the kernel decides the rest."""
    return Policy(
        sealing=Sealing(settings.a2a_sealing),
        strangers=Strangers.BEGIN if settings.anonymous else Strangers.REFUSED,
        limits=WireLimits(
            body_bytes=settings.body_max_bytes,
            depth=settings.depth_max,
            body_timeout_s=settings.request_timeout_s,
            send_timeout_s=settings.request_timeout_s,
            requests_open_max=settings.tasks_in_flight_max,
            requests_open_per_caller_max=REQUESTS_PER_CALLER_MAX,
        ),
    )


def _local_url(settings: Settings) -> str:
    scheme = "https" if settings.tls_cert else "http"
    return f"{scheme}://{settings.host}:{settings.port}"
