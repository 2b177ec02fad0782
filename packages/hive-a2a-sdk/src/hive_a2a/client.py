"""`SecureA2AClient.connect(url)`: the official client, whose card was verified and whose requests are sealed.

    async with SecureA2AClient.connect("https://agent.example.com") as client:
        async for event in client.send_message(request):
            ...

What comes back is the official SDK's own `Client`, made by its `ClientFactory`. What this module adds stands
below and before it: the card is taken only where its signature is trusted, the HTTP transport and the gRPC
channel seal to whoever offers Noise, and a credential goes to no other origin than its own.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx
from a2a.client import ClientConfig, ClientFactory
from a2a.client.client import Client, ClientCallContext
from a2a.client.interceptors import AfterArgs, BeforeArgs, ClientCallInterceptor

from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.keys import AgentKeys
from hive_a2a.cards.policies import Tofu, Unsigned
from hive_a2a.cards.resolve import TrustedCard, check_extended, fetch_card, key_fetcher
from hive_a2a.cards.trust import FileTrust
from hive_a2a.cards.verify import CardTrust
from hive_a2a.clock import WallClock
from hive_a2a.errors import needs_extra
from hive_a2a.home import home
from hive_a2a.identity.credentials import OriginAuth, OriginGuard
from hive_a2a.origins import is_loopback, same_origin
from hive_a2a.policy import ClientPolicy, Policy, Strangers
from hive_a2a.sealed.memory import PeerMemory, PeersInFile
from hive_a2a.sealed.pins import PinnedPeers
from hive_a2a.sealed.transport import NoiseTransport

log = logging.getLogger(__name__)
BINDINGS: Final = ("JSONRPC", "HTTP+JSON", "GRPC")
TIMEOUT: Final = httpx.Timeout(10.0, read=300.0)


class ExtendedCardCheck(ClientCallInterceptor):
    """Verifies the second card of an agent by the same trust as its first."""

    def __init__(self, of: TrustedCard, trust: CardTrust, *, origins: Sequence[str] = ()) -> None:
        self._of = of
        self._trust = trust
        self._origins = tuple(origins)

    async def before(self, args: BeforeArgs) -> None:
        """Let every request pass."""

    async def after(self, args: AfterArgs) -> None:
        """Look at an extended card before the client takes it.

        Raises:
            CardError: it is weaker than the first one, or by another key.

        """
        if args.method == "get_extended_agent_card":
            await check_extended(args.result, self._of, self._trust, origins=self._origins)


class GrpcCredential(ClientCallInterceptor):
    """Shows a credential in the metadata of gRPC calls; over HTTP, httpx does it, and this must not."""

    def __init__(self, auth: OriginAuth) -> None:
        self._auth = auth

    async def before(self, args: BeforeArgs) -> None:
        """Add the credential, where its origins are the card's."""
        context = args.context or ClientCallContext()
        places = [
            _grpc_origin(offered.url)
            for offered in args.agent_card.supported_interfaces
            if offered.protocol_binding == "GRPC"
        ]
        # The official client chooses among them, so each must be one that may see the credential.
        if places and all(map(self._auth.shows_to, places)):
            shown = await self._auth.headers_for("POST", places[0])
            named = {key.lower(): value for key, value in shown.items()}
            context.service_parameters = {**(context.service_parameters or {}), **named}
        args.context = context

    async def after(self, args: AfterArgs) -> None:
        """Let every answer pass."""


class Connecting:
    """A client that is about to be: `async with` it, or `await` it and close the client yourself."""

    def __init__(self, opening: Callable[[AsyncExitStack], Awaitable[Client]]) -> None:
        self._opening = opening
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Client:
        """Verify the card and return the client."""
        try:
            return await self._opening(self._stack)
        except BaseException:
            await self._stack.aclose()
            raise

    async def __aexit__(self, *_: object) -> None:
        """Close what was opened, the last first."""
        await self._stack.aclose()

    def __await__(self) -> Generator[Any, None, Client]:
        """Return the client; its `close` closes all that belongs to it."""
        return self._open().__await__()

    async def _open(self) -> Client:
        client = await self.__aenter__()
        vars(client)["close"] = self._stack.aclose
        return client


class SecureA2AClient:
    """Connects to agents. It holds nothing: what comes back is the official client."""

    @staticmethod
    def connect(
        url: str,
        *,
        policy: ClientPolicy | Policy | None = None,
        trust: CardTrust | None = None,
        keys: AgentKeys | None = None,
        auth: httpx.Auth | None = None,
        card_auth: httpx.Auth | None = None,
        bindings: Sequence[str] = ("JSONRPC", "HTTP+JSON"),
        transport: httpx.AsyncBaseTransport | None = None,
        grpc_channel: Callable[[str], Any] | None = None,
        memory: PeerMemory | None = None,
        hybrid: bool = False,
        interceptors: Sequence[ClientCallInterceptor] = (),
        origins: Sequence[str] = (),
        on_plain: Callable[[str, str], None] | None = None,
        timeout: httpx.Timeout = TIMEOUT,
        clock: WallClock | None = None,
    ) -> Connecting:
        """Fetch the card at a URL, verify it, and return the official client of its best interface.

        `trust` says whose signature is believed; without it, that of the first meeting, kept in `hive_a2a.home`. `keys`
        are the client's own. `auth` shows a credential (`identity.credentials`), `card_auth` one to fetch a private
        card. `bindings` by preference. `transport` goes below all, for mTLS (`SpiffeTransport`); `grpc_channel` makes
        gRPC channels. `hybrid` asks for ML-KEM-768. `origins` may be led to. `on_plain` hears of what goes in the clear.

        Raises:
            CardError: the card is not taken.
            SealError: it wants what cannot be had, or is weaker than what is remembered.

        """
        asked = client_policy(policy)
        wire = _ClientWire(auth, tuple(bindings), transport, grpc_channel, timeout)
        seal = _ClientSeal(asked, keys, memory, hybrid, on_plain or _log_plain, clock)

        async def opening(stack: AsyncExitStack) -> Client:
            below = wire.opened(stack)
            http = await stack.enter_async_context(_fetching(below, timeout, card_auth, url))
            believed = trust or _first_meeting(asked, http)
            taken = await fetch_card(
                url, believed, http=http, origins=origins, plain_http=asked.plain_http, clock=clock
            )
            peers = await seal.peers(stack, taken)
            config = wire.config(stack, below, peers, streaming=asked.streaming)
            checks = (ExtendedCardCheck(taken, believed), *interceptors)
            client = _best(config, taken, bindings, checks, auth)
            stack.push_async_callback(client.close)
            return client

        return Connecting(opening)


@dataclass(frozen=True, slots=True)
class _ClientWire:
    """What a client's requests go through, and what they show of themselves."""

    auth: httpx.Auth | None
    bindings: tuple[str, ...]
    transport: httpx.AsyncBaseTransport | None
    grpc_channel: Callable[[str], Any] | None
    timeout: httpx.Timeout

    def opened(self, stack: AsyncExitStack) -> httpx.AsyncBaseTransport:
        """Return the transport below everything; the stack closes it."""
        below = self.transport or httpx.AsyncHTTPTransport()
        stack.push_async_callback(below.aclose)
        return below

    def config(
        self,
        stack: AsyncExitStack,
        below: httpx.AsyncBaseTransport,
        peers: PinnedPeers,
        *,
        streaming: bool,
    ) -> ClientConfig:
        """Return the official configuration: it seals to these peers, and guards the credential."""
        sealed = NoiseTransport(_Shared(below), peers=peers, tls_id=_tls_id_of(below))
        http = httpx.AsyncClient(
            transport=OriginGuard(sealed),
            auth=self.auth,
            timeout=self.timeout,
            follow_redirects=False,
            trust_env=False,
        )
        stack.push_async_callback(http.aclose)
        grpc = _channels(peers, self.grpc_channel) if "GRPC" in self.bindings else None
        return ClientConfig(
            streaming=streaming,
            httpx_client=http,
            grpc_channel_factory=grpc,
            supported_protocol_bindings=list(self.bindings),
            use_client_preference=True,
        )


@dataclass(frozen=True, slots=True)
class _ClientSeal:
    """Who a client is to its peers, and what it remembers of them."""

    policy: ClientPolicy
    keys: AgentKeys | None
    memory: PeerMemory | None
    hybrid: bool
    on_plain: Callable[[str, str], None]
    clock: WallClock | None

    async def peers(self, stack: AsyncExitStack, of: TrustedCard) -> PinnedPeers:
        """Pin the agents of a card; the stack drops their keys."""
        own = self.keys or AgentKeys.load_or_make(home() / "client")
        peers = PinnedPeers(
            static=own.noise,
            sealing=self.policy.sealing,
            memory=self.memory or PeersInFile(home() / "peers.json"),
            fallback=self.policy.fallback,
            hybrid=self.hybrid,
            on_plain=self.on_plain,
            clock=self.clock,
        )
        stack.callback(peers.close)
        await peers.pin(of.card, address=of.url)
        return peers


def client_policy(policy: ClientPolicy | Policy | None) -> ClientPolicy:
    """Return a client's policy; that of a server counts by what it says of sealing and strangers."""
    if isinstance(policy, ClientPolicy):
        return policy
    if policy is None:
        return ClientPolicy.secure()
    if policy.strangers is Strangers.SHARED:
        return ClientPolicy.open()
    return ClientPolicy(sealing=policy.sealing)


def _best(
    config: ClientConfig,
    of: TrustedCard,
    bindings: Sequence[str],
    checks: Sequence[ClientCallInterceptor],
    auth: httpx.Auth | None,
) -> Client:
    """Return the official client of the first binding that the card offers in a version that is spoken.

    Raises:
        CardError: it offers none.

    """
    for binding in bindings:
        # One at a time, so that it is known here which one it is: credentials travel differently.
        one = replace(config, supported_protocol_bindings=[binding])
        own = [GrpcCredential(auth)] if binding == "GRPC" and isinstance(auth, OriginAuth) else []
        try:
            return ClientFactory(one).create(of.card, [*checks, *own])
        except ValueError:
            continue
    raise CardError(
        CardFault.MALFORMED,
        "The agent offers nothing that is spoken here.",
        why=f"Its card has no interface of {', '.join(bindings) or 'any binding'}.",
        fix="Pass further `bindings`; the known ones are JSONRPC, HTTP+JSON and GRPC.",
    )


class _CardAuth(httpx.Auth):
    """Shows a credential at one origin, whatever else is fetched on the way to a card."""

    def __init__(self, inner: httpx.Auth, url: str) -> None:
        self._inner, self._url = inner, url

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Leave a request to another origin as it is."""
        if not same_origin(str(request.url), self._url):
            yield request
            return
        flow = self._inner.async_auth_flow(request)
        try:
            asked = await anext(flow)
            while True:
                asked = await flow.asend((yield asked))
        except StopAsyncIteration:
            return
        finally:
            await flow.aclose()


class _Shared(httpx.AsyncBaseTransport):
    """A transport that others use too: whoever closes this one does not close it."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Leave it open."""


@asynccontextmanager
async def _fetching(
    below: httpx.AsyncBaseTransport, patience: httpx.Timeout, auth: httpx.Auth | None, url: str
) -> AsyncIterator[httpx.AsyncClient]:
    """Give what fetches cards and keys: no seal, no redirect by itself, a credential for the card's origin only."""
    http = httpx.AsyncClient(
        transport=OriginGuard(_Shared(below)),
        auth=_CardAuth(auth, url) if auth else None,
        timeout=patience,
        follow_redirects=False,
        trust_env=False,
    )
    async with http:
        yield http


def _first_meeting(policy: ClientPolicy, http: httpx.AsyncClient) -> CardTrust:
    signed = Tofu(store=FileTrust(home() / "trust.json"), fetch=key_fetcher(http))
    return Unsigned(signed=signed) if policy.unsigned else signed


def _channels(peers: PinnedPeers, channel: Callable[[str], Any] | None) -> Callable[[str], Any]:
    """Return what makes sealed gRPC channels over those of `channel`, or over plain ones on this machine."""
    with needs_extra("grpc", "grpc", "google"):
        from hive_a2a.sealed.grpc_client import SealedChannels

    return SealedChannels(channel or _machine_channel, peers=peers)


def _machine_channel(target: str) -> Any:  # noqa: ANN401 - grpc names no type
    """Return a channel: TLS by the machine's roots, plain to this machine alone."""
    import grpc

    address = target.partition("://")[2] or target
    if is_loopback(f"http://{address}"):
        return grpc.aio.insecure_channel(address)
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials())


def _tls_id_of(transport: httpx.AsyncBaseTransport) -> Callable[[], str] | None:
    """Return what says which id the transport below shows in TLS; None where it shows none."""
    return (lambda: str(transport.spiffe_id)) if hasattr(transport, "spiffe_id") else None


def _grpc_origin(target: str) -> str:
    if "://" in target:
        return target
    return f"http://{target}" if is_loopback(f"http://{target}") else f"https://{target}"


def _log_plain(address: str, reason: str) -> None:
    log.warning("client.plain", extra={"address": address, "reason": reason})
