"""Identities as a node has them: one authority, one service, a socket of the Workload API for each sandbox of an agent.

What builds an environment or serves tools has no identity: it acts under no agent's name.
"""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anyio import to_thread
from anyio.abc import TaskGroup

from hive.core.call import Principal, PrincipalKind
from hive.core.clock import Clock
from hive.core.errors import ConfigError, EngineUnavailableError, IdentityError, InvalidIdError
from hive.core.ids import NodeId, SandboxId
from hive.core.json import Json
from hive.core.randomness import Randomness
from hive.core.settings import Settings
from hive.engines.ports import Database
from hive.execution.walls.plan import GATE_INSIDE
from hive.kernel.record import event
from hive.kernel.turns import TurnBook
from hive.ledger.entry import Draft
from hive.ledger.writer import LedgerWriter
from hive.node.database_svid import DatabaseSvid
from hive.node.http import bind_path, bind_port
from hive.node.routes import SandboxRoutes
from hive.node.state import StateFolder
from hive.security.identity import DenyList, IssueQuota, Issuer, MasterSealed
from hive.security.identity.certificates import loaded
from hive.security.identity.drivers import IDENTITIES
from hive.security.identity.ports import IssuerOpening, SpiffeId
from hive.security.identity.service import IdentityService
from hive.web.values import Finding

if TYPE_CHECKING:
    from hive.security.identity.mutual import NodeSvids

SOCKET: Final = "identity.sock"
_LISTENER: Final = "hive.security.identity.workload.listener"
UNKEPT: Final = "identity.unkept"
ENDPOINT: Final = "SPIFFE_ENDPOINT_SOCKET"
TTL_MIN_S: Final = 60.0
TTL_MAX_S: Final = 86_400.0
ROOT_ENDS_SOON: Final = timedelta(days=60)


@dataclass(slots=True, kw_only=True)
class NodeIdentity:
    """The identities of one node; `own` is what it shows itself, where it shows something."""

    service: IdentityService
    issuer: Issuer
    url: str
    node: NodeId
    own: "NodeSvids | None" = None
    database: DatabaseSvid | None = None

    async def show_own(self) -> "NodeSvids":
        """Return this node's own SVID, got the first time it is needed. Raises IdentityError."""
        from hive.security.identity.mutual import NodeSvids

        if self.own is None:
            own = NodeSvids(self.service, self.node)
            await own.renew()
            self.own = own
        return self.own

    def name_of(self, principal: Principal) -> str:
        """Return the SPIFFE id of an agent that calls, empty for anybody else."""
        if principal.agent is None or principal.kind is not PrincipalKind.AGENT:
            return ""
        return f"spiffe://{self.service.trust_domain}/agent/{principal.agent}"

    def is_revoked(self, principal: Principal) -> bool:
        """Tell whether somebody was named by an id that is denied: an agent of this node, or a peer by its SVID."""
        if principal.kind is PrincipalKind.AGENT:
            return self.service.denies(self.name_of(principal))
        return principal.name.startswith("spiffe://") and self.service.denies(principal.name)

    async def finding(self, now: datetime) -> Finding:
        """Say for `hive doctor` who vouches for the agents and until when, by asking for the bundle."""
        bundle = await self.service.bundle()
        away = getattr(self.issuer, "has_root_key", True) is False
        kept = "; the root's key is kept elsewhere" if away else ""
        count = len(self.service.enrolled())
        return root_finding(
            self.url,
            about=f"spiffe://{self.service.trust_domain}   {len(bundle.roots)} roots, "
            f"{count} identities in use{kept}",
            ends_at=max((loaded(one).not_valid_after_utc for one in bundle.roots), default=None),
            now=now,
        )


class SandboxIdentities:
    """Opens `identity.sock` for the sandbox of an agent."""

    def __init__(
        self,
        service: IdentityService,
        turns: TurnBook,
        first_process: Callable[[SandboxId], int],
    ) -> None:
        self._service = service
        self._turns = turns
        self._first_process = first_process

    @asynccontextmanager
    async def listen(self, sandbox: SandboxId, folder: Path) -> AsyncIterator[Mapping[str, str]]:
        """Serve the Workload API; give what the agent finds in its environment."""
        whose = self._turns.whose(sandbox)
        if whose is None or self._turns.builds_in(sandbox):
            yield {}
            return
        # A tenth of a second of imports that a node without a sandbox never needs, so not on the event loop.
        module = await to_thread.run_sync(import_module, _LISTENER)
        listener = module.WorkloadListener(
            self._service,
            self._service.enrol(sandbox, whose[0]),
            first_process=lambda: self._first_process(sandbox),
        )
        # The folder keeps strangers out; inside, the agent runs under another uid.
        async with listener.listen(bind_path(folder / SOCKET, mode=0o666)):
            yield {ENDPOINT: f"unix://{GATE_INSIDE}/{SOCKET}"}


class EarlyIdentity:
    """Opens a node's identity as soon as there is a database: a bus may want to see it before there is a ledger.

    What happens before the ledger is open is written as soon as it is.
    """

    def __init__(
        self,
        stack: AsyncExitStack,
        settings: Settings,
        state: StateFolder,
        *,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._stack = stack
        self._settings = settings
        self._state = state
        self._clock = clock
        self._randomness = randomness
        self._writer: LedgerWriter | None = None
        self._early: list[Draft] = []
        self._identity: NodeIdentity | None = None
        self.database = DatabaseSvid(state, clock)

    async def begin(self, database: Database) -> None:
        """Open the authority that the settings name, and the service on it.

        Raises:
            ConfigError: the URL cannot be used.
            IdentityError: the authority's keys do not open.

        """
        settings, clock = self._settings, self._clock
        _refuse_unusable(settings)
        opening = IssuerOpening(
            url=settings.identity_url,
            trust_domain=settings.trust_domain or domain_of_node(self._state.node_id),
            demanded=bool(settings.trust_domain),
            database=database,
            sealed=MasterSealed(self._state.master_key),
            clock=clock,
            randomness=self._randomness,
        )
        issuer = await self._stack.enter_async_context(IDENTITIES.load(opening.url).open(opening))
        denied = DenyList(database=database, clock=clock, unkept=self._state.path / UNKEPT)
        await denied.load()
        service = IdentityService(
            issuer=issuer,
            denied=denied,
            quota=IssueQuota(clock),
            clock=clock,
            randomness=self._randomness,
            emit=self._emit,
            ttl_s=settings.svid_ttl_s,
        )
        identity = NodeIdentity(
            service=service,
            issuer=issuer,
            url=settings.identity_url,
            node=self._state.node_id,
            database=self.database,
        )
        if self.database.asked:
            await self.database.renew(service, self._state.node_id)
        if "spiffe://" in settings.mesh_url or settings.peer_port:
            await identity.show_own()
        self._identity = identity

    def client_tls(self, server_id: str) -> ssl.SSLContext:
        """Return the TLS of one connection to a server of this id.

        Raises:
            EngineUnavailableError: this node has no identity yet; the bus asks again.

        """
        if self._identity is None or self._identity.own is None:
            raise EngineUnavailableError("This node has no identity yet.")
        return self._identity.own.client_context(server_id)

    async def identity(self, writer: LedgerWriter) -> NodeIdentity:
        """Return the identity, once there is a ledger for what it does. Raises IdentityError."""
        if self._identity is None:
            raise IdentityError("This node's identity is not open.")
        self._writer = writer
        for draft in self._early:
            await writer.append(draft)
        self._early.clear()
        return self._identity

    async def _emit(self, name: str, body: dict[str, Json], *, agent: str = "") -> None:
        draft = event(name, body, clock=self._clock, agent=agent)
        if self._writer is None:
            self._early.append(draft)
        else:
            await self._writer.append(draft)


@asynccontextmanager
async def peer_door(
    identity: NodeIdentity, settings: Settings, doors: SandboxRoutes
) -> AsyncIterator[None]:
    """Serve the A2A and MCP doors to whoever shows an SVID, on the port of the settings, if there is one."""
    if not settings.peer_port:
        yield
        return
    from hive.node.http_mutual import MutualServer
    from hive.security.identity.mutual import PeerJudge

    server = MutualServer(doors, PeerJudge(identity.service))
    port = bind_port(settings.host, settings.peer_port)
    async with server.serving(port, (await identity.show_own()).server_context()):
        yield


def keep_identity(tasks: TaskGroup, identity: NodeIdentity) -> None:
    """Tend authority and own SVID, and follow what other nodes deny, as long as the tasks run."""
    if identity.own is not None:
        tasks.start_soon(identity.own.keep)
    if identity.database is not None and identity.database.asked:
        tasks.start_soon(identity.database.keep, identity.service, identity.node)
    tasks.start_soon(identity.service.keep)
    tasks.start_soon(identity.service.denied.watch)


def _refuse_unusable(settings: Settings) -> None:
    if not TTL_MIN_S <= settings.svid_ttl_s <= TTL_MAX_S:
        raise ConfigError(
            "HIVE_SVID_TTL_S cannot be used.",
            why=f"A certificate lives for {TTL_MIN_S:.0f} to {TTL_MAX_S:.0f} seconds.",
            fix="Leave it out: an hour is usual.",
        )
    try:
        SpiffeId(f"spiffe://{settings.trust_domain or 'none'}")
    except InvalidIdError as error:
        raise ConfigError(
            "HIVE_TRUST_DOMAIN is no trust domain.", why=error.why, fix="hive.example.org"
        ) from error
    if "/" in settings.trust_domain:
        raise ConfigError("HIVE_TRUST_DOMAIN has a path.", fix="hive.example.org")


def root_finding(url: str, *, about: str, ends_at: datetime | None, now: datetime) -> Finding:
    """Say who issues identities, and until when its root counts."""
    until = "" if ends_at is None else f", root until {ends_at:%Y-%m-%d}"
    soon = ends_at is not None and ends_at - now < ROOT_ENDS_SOON
    return Finding(
        section="identity",
        name=url.partition(":")[0],
        state="degraded" if soon else "ok",
        detail=f"{about}{until}",
        fix="hive identity rotate --root" if soon else "",
    )


def domain_of_node(node: NodeId) -> str:
    """Return the trust domain of a node that was given none: its own."""
    return f"node-{node[-12:]}.hive.internal"
