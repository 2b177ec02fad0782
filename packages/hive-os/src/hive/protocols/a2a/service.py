"""What serves a request once its agent is known: the SDK's endpoint, on our handler, under our chain.

The SDK owns the wire: limits, Noise, who calls, versions, bindings, cards under a signature. What decides and
records is the kernel's gate, behind the handler: `GateChain` decides nothing. Import this module
lazily: the official server parts cost more than the rest of the door.
"""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

import msgspec
from a2a.types.a2a_pb2 import AgentCard
from google.protobuf.json_format import ParseDict

from hive.core.call import PrincipalKind
from hive.core.ids import AgentId
from hive.core.json import Json, encode
from hive.protocols.a2a.admit import admit_tenant
from hive.protocols.a2a.caller import SANDBOX_KEY, Caller, CallerCheck, admit_scope, bearer_in
from hive.protocols.a2a.card import NODE
from hive.protocols.a2a.handler import HiveRequestHandler
from hive.protocols.a2a.operations import Operations
from hive.protocols.a2a.paths import AGENT_KEY, HANDSHAKE_PATH, KEY_SET_PATH, REST_KEY
from hive.protocols.a2a.warrants import shown_in
from hive_a2a.asgi import AsgiApp, Receive, Scope, Send, respond
from hive_a2a.call import Binding, Proto, RequestHead, WireCall
from hive_a2a.cards.describe import card_etag, card_json, described
from hive_a2a.cards.keys import AgentKeys
from hive_a2a.cards.noise_params import NoiseParams
from hive_a2a.faults import REFUSED, WireFault
from hive_a2a.policy import Policy
from hive_a2a.push.sign import NotificationSigner
from hive_a2a.sealed.http_server import NoiseMiddleware
from hive_a2a.sealed.responder import Agents, Responder, SealedAgent
from hive_a2a.stages.extensions import RequiredExtensions
from hive_a2a.wire.card_page import CardPage
from hive_a2a.wire.endpoint import WireEndpoint

CARDS_MAX: Final = 1024
TRACEPARENT_MAX_CHARS: Final = 64
ResultT = TypeVar("ResultT")
Admit: TypeAlias = Callable[[WireCall], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCard:
    """A card as it goes out, and the key that requests to its agent may be sealed with."""

    card: AgentCard
    page: CardPage
    sealed: SealedAgent


class SignedCards:
    """Describes and signs cards; the same members give the same card, for as long as it is remembered."""

    def __init__(self, keys: AgentKeys, policy: Policy, check: CallerCheck) -> None:
        self.keys = keys
        self._policy = policy
        self._schemes = {check.scheme: check.card_scheme()}
        self._offer = NoiseParams(static_key=keys.noise.public, epoch=keys.epoch)
        self._made: OrderedDict[bytes, SignedCard] = OrderedDict()

    def of(self, members: dict[str, Json]) -> SignedCard:
        """Return the signed card of these members."""
        key = encode(members)
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = self._sign(members)
            if len(self._made) > CARDS_MAX:
                self._made.popitem(last=False)
        else:
            self._made.move_to_end(key)
        return found

    def _sign(self, members: dict[str, Json]) -> SignedCard:
        plain = ParseDict(members, AgentCard())
        card = self.keys.sign(
            described(plain, policy=self._policy, schemes=self._schemes, noise=self._offer)
        )
        return SignedCard(
            card=card,
            page=CardPage(body=card_json(card), etag=card_etag(card).encode()),
            sealed=SealedAgent.of_card(card, self._offer, self.keys.noise),
        )


class GateChain:
    """The chain of a node: what the kernel does behind the handler, so nothing is decided or recorded here."""

    def __init__(self, required: tuple[str, ...], warrants: Admit | None = None) -> None:
        self._extensions = RequiredExtensions(required)
        self._warrants = warrants

    async def unary(self, call: WireCall, run: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Answer a call that activates what the card requires, under the warrant that it shows."""
        await self._admit(call)
        return await run()

    async def stream(
        self, call: WireCall, run: Callable[[], AsyncGenerator[Proto]]
    ) -> AsyncGenerator[Proto]:
        """Answer such a call with its events."""
        await self._admit(call)
        async with aclosing(run()) as events:
            async for event in events:
                yield event

    async def _admit(self, call: WireCall) -> None:
        self._extensions.admit(call)
        # Inside a sandbox the turn has a warrant already, and no header widens it.
        if self._warrants is not None and call.head.scope.get(SANDBOX_KEY) is None:
            await self._warrants(call)


CardsOf = Callable[[Scope, bool], Sequence[dict[str, Json]]]
"""Writes the card of the agent that a request is for, whoever asks, or with True those of all agents."""


class DoorService:
    """The endpoint of all agents: the scope of a request says, under `AGENT_KEY`, which one is meant."""

    def __init__(
        self,
        *,
        operations: Operations,
        check: CallerCheck,
        policy: Policy,
        keys: AgentKeys,
        required_extensions: tuple[str, ...],
        admit_agent: Callable[[AgentId], None],
        cards_of: CardsOf,
        page_of: Callable[[Scope], Awaitable[dict[str, Json]]],
        extended_card: Callable[[Caller], dict[str, Json]],
        warrants: Admit | None = None,
    ) -> None:
        self.policy = policy
        self.check = check
        self.signed = SignedCards(keys, policy, check)
        self._admit_agent = admit_agent
        self._cards_of = cards_of
        self._page_of = page_of
        self._extended_card = extended_card
        handler = HiveRequestHandler(operations, self._caller, self._extended)
        self.endpoint = WireEndpoint(
            handler,
            policy=policy,
            authenticators=(check,),
            chain=GateChain(required_extensions, warrants),
            card=self._page,
            tenant_of=self._tenant_of,
            declared=frozenset(required_extensions),
        )
        self.responder = Responder()
        self.app: AsgiApp = NoiseMiddleware(
            self._answer, responder=self.responder, agents_of=self._sealed, policy=policy
        )

    def _caller(self, call: WireCall) -> Caller:
        bearer = bearer_in(call.caller)
        agent = AgentId(call.tenant)
        if agent != NODE:
            admit_scope(bearer, agent)
            self._admit_agent(agent)
        return Caller(
            bearer=bearer,
            agent=agent,
            size_bytes=call.body_bytes,
            traceparent=call.head.headers.get("traceparent", "")[:TRACEPARENT_MAX_CHARS],
            warrant=shown_in(call),
        )

    def _tenant_of(self, head: RequestHead, named: str) -> str:
        """Say which agent is meant: over HTTP the path does, over gRPC, where one port serves all, the tenant."""
        if head.binding is Binding.GRPC:
            return named
        agent = AgentId(head.scope[AGENT_KEY])
        admit_tenant(named, agent)
        return agent

    def signer(self, issuer: str) -> NotificationSigner:
        """Return what signs push notifications in the name of this node."""
        return NotificationSigner(key=self.signed.keys.signing[0], issuer=issuer)

    async def _page(self, scope: Scope) -> CardPage:
        return self.signed.of(await self._page_of(scope)).page

    def _extended(self, caller: Caller) -> AgentCard:
        if caller.bearer.principal.kind is PrincipalKind.ANONYMOUS:
            raise WireFault(REFUSED, "The extended card is for known callers.")
        return self.signed.of(self._extended_card(caller)).card

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an opened or plain request: what is left of its path is the endpoint's."""
        rest = scope[REST_KEY] or "/"
        if rest == KEY_SET_PATH:
            await respond(send, msgspec.json.encode(self.signed.keys.key_set()))
            return
        inner = {**scope, "path": rest, "raw_path": rest.encode(), "root_path": ""}
        await self.endpoint(inner, receive, send)

    def _sealed(self, scope: Scope) -> Agents:
        # The seal binds the whole path, so this stands before it is split.
        everyone = scope["path"] == HANDSHAKE_PATH
        return tuple(self.signed.of(one).sealed for one in self._cards_of(scope, everyone))

    def sealed_everywhere(self) -> Agents:
        """Return the keys of all agents, for a binding that names none in its path."""
        scope: Scope = {"path": HANDSHAKE_PATH, AGENT_KEY: NODE, "headers": ()}
        return self._sealed(scope)
