"""The hub of a node: all MCP servers, what they list, and the way to each of them.

What is known of a server stands in memory and in the database: reading it opens nothing. A definition may be
used only once the pins say so; the hub asks them, and passes on what they say.
"""

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Final, cast

import anyio
from anyio.abc import TaskGroup

from hive.core.call import Principal, PrincipalKind
from hive.core.clock import Clock
from hive.core.errors import HiveError, StateError
from hive.core.ids import OwnerId
from hive.protocols.mcp.drivers import WIRES
from hive.protocols.mcp.hub.entries import HubEntry
from hive.protocols.mcp.hub.held import HeldLink
from hive.protocols.mcp.hub.listing import ToolListing, listed_tools
from hive.protocols.mcp.hub.pool import LinkPool
from hive.protocols.mcp.hub.ports import AuthFor, Launch, Pins, SecretOf, ServerWire, WireOpening
from hive.protocols.mcp.hub.records import ServerRecords, no_server
from hive.protocols.mcp.hub.session import LinkEars, LinkSession, capabilities_of
from hive.protocols.mcp.hub.specs import checked_spec, secret_in
from hive.protocols.mcp.ports import (
    Courier,
    ListChange,
    McpError,
    PinnedTool,
    ServerLink,
    ServerSpec,
    ServerState,
    ServerView,
)

log: Final = logging.getLogger(__name__)
OBSERVERS_MAX: Final = 10_000
CHANGES_PAUSE_S: Final = 0.2
HUB: Final = Principal(kind=PrincipalKind.NODE, name="tools", owner=OwnerId("operator"))
"""In whose name the hub itself asks for lists: the operator's, who decides on what they say."""

MakeWire = Callable[[WireOpening], ServerWire]
WireFor = Callable[[str], MakeWire]
"""Return the driver of a transport by its scheme; the table's rows where no other is given."""


class HubRegistry:
    """All servers of this node. Open it with `running`; then it is a `ToolHub`."""

    def __init__(
        self,
        *,
        records: ServerRecords,
        clock: Clock,
        pins: Pins,
        secret_of: SecretOf,
        launch: Launch | None = None,
        auth_for: AuthFor | None = None,
        wire_for: WireFor | None = None,
    ) -> None:
        """Prepare; without `launch` no programs are started, without `auth_for` nobody can log in."""
        self._records = records
        self._clock = clock
        self._pins = pins
        self._secret_of = secret_of
        self._launch = launch
        self._auth_for = auth_for
        self._wire_for = wire_for or (lambda scheme: cast("MakeWire", WIRES.load(f"{scheme}:")))
        self._entries: dict[str, HubEntry] = {}
        self._revision = 1
        self._sorted: tuple[int, tuple[PinnedTool, ...]] = (0, ())
        self._observers: dict[int, Callable[[ListChange], None]] = {}
        self._last_observer = 0
        self._tasks: TaskGroup | None = None
        self._pool = LinkPool(
            make=self._made,
            opened=self._opened,
            failed=self._failed,
            known=lambda name: entry.known_revision if (entry := self._find(name)) else "",
            clock=clock,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["HubRegistry"]:
        """Load what is kept, then hold connections until the context is left; they all end with it."""
        for kept in await self._records.load():
            entry = HubEntry(
                spec=kept.spec,
                description=kept.description,
                listed_at=kept.listed_at,
                private_to=kept.private_to,
            )
            entry.take_tools(await self._pins.judge(kept.spec, kept.tools))
            self._entries[kept.spec.name] = entry
        forget = self._pins.on_change(self._pin_changed)
        try:
            async with self._pool.running(), anyio.create_task_group() as tasks:
                self._tasks = tasks
                try:
                    yield self
                finally:
                    self._tasks = None
                    tasks.cancel_scope.cancel()
        finally:
            forget()

    @property
    def revision(self) -> int:
        """Return a number that grows with every change."""
        return self._revision

    def servers(self) -> Sequence[ServerView]:
        """Return all servers, by name."""
        return [self._view(self._entries[name]) for name in sorted(self._entries)]

    def server(self, name: str) -> ServerView | None:
        """Return one server."""
        entry = self._find(name)
        return None if entry is None else self._view(entry)

    def tools(self) -> Sequence[PinnedTool]:
        """Return all tools of the servers that are enabled, by full name."""
        revision, found = self._sorted
        if revision != self._revision:
            all_tools = (
                tool
                for entry in self._entries.values()
                if entry.spec.enabled
                for tool in entry.tools.values()
            )
            found = tuple(sorted(all_tools, key=lambda tool: tool.definition.full_name))
            self._sorted = (self._revision, found)
        return found

    def tool(self, full_name: str) -> PinnedTool | None:
        """Return one tool."""
        server, _, name = full_name.partition(".")
        entry = self._find(server)
        return entry.tools.get(name) if entry is not None and entry.spec.enabled else None

    def on_change(self, observer: Callable[[ListChange], None]) -> Callable[[], None]:
        """Call `observer` after every change of a list; return what ends that."""
        if len(self._observers) >= OBSERVERS_MAX:
            raise StateError("Too many watch the lists of tools.", why=f"{OBSERVERS_MAX} do.")
        self._last_observer = number = self._last_observer + 1
        self._observers[number] = observer
        return lambda: self._observers.pop(number, None) and None

    @asynccontextmanager
    async def _linked(
        self, server: str, caller: Principal, courier: Courier | None
    ) -> AsyncIterator[ServerLink]:
        entry = self._usable(server)
        held = HeldLink(
            pool=self._pool, entry=entry, caller=caller, courier=courier, view=self._view
        )
        await held.take()
        try:
            if entry.is_stale(self._clock.monotonic()) and not entry.refreshing:
                self._refresh_soon(entry)
            yield held
        finally:
            held.give()

    def link(
        self, server: str, caller: Principal, *, courier: Courier | None = None
    ) -> AbstractAsyncContextManager[ServerLink]:
        """Hold a connection for a caller; see `ToolHub.link`."""
        return self._linked(server, caller, courier)

    async def add(self, spec: ServerSpec) -> ServerView:
        """Keep a server; nothing is opened before it is used or refreshed.

        Raises:
            ConflictError: there is one of that name, or there are too many.
            InvalidIdError: the name cannot be one.
            BadInputError: the spec cannot be used, or holds a secret.
            ConfigError: its URL is none.

        """
        await self._records.add(checked_spec(spec))
        entry = self._entries[spec.name] = HubEntry(spec=spec)
        self._changed(spec.name)
        return self._view(entry)

    async def remove(self, name: str) -> None:
        """Forget a server, its tools and its connections.

        Raises:
            NotFoundError: there is none of that name.

        """
        await self._records.remove(name)
        self._entries.pop(name, None)
        self._pool.forget(name)
        self._changed(name)

    async def set_enabled(self, name: str, enabled: bool) -> ServerView:  # noqa: FBT001  as agreed
        """Let a server be used, or not; one that may not has no connection.

        Raises:
            NotFoundError: there is none of that name.

        """
        entry = self._entry(name)
        spec = replace(entry.spec, enabled=enabled)
        await self._records.update(spec)
        entry.spec = spec
        entry.rest(self._clock.now())
        entry.probe_again = True
        if not enabled:
            self._pool.forget(name)
        self._changed(name)
        return self._view(entry)

    async def refresh(self, name: str, *, caller: Principal = HUB) -> ServerView:
        """Open a server anew and ask for its tools; what was known and what went wrong before is forgotten.

        Raises:
            NotFoundError: there is none of that name.
            StateError: it is disabled, or wants a login.
            McpError: it refuses.
            EngineError: it cannot be reached.

        """
        entry = self._usable(name)
        entry.probe_again = True
        self._pool.forget(name)
        entry.refreshing = True
        try:
            await self._refresh(entry, caller)
        finally:
            entry.refreshing = False
        return self._view(entry)

    def refresh_soon(self, name: str) -> None:
        """Open a server anew in the background: somebody has just logged in there."""
        entry = self._find(name)
        if entry is not None and entry.spec.enabled:
            entry.probe_again = True
            self._pool.forget(name)
            self._refresh_soon(entry)

    async def _refresh(self, entry: HubEntry, caller: Principal) -> None:
        name = entry.spec.name
        held = HeldLink(pool=self._pool, entry=entry, caller=caller, courier=None, view=self._view)
        await held.take()
        try:
            listing = await listed_tools(held, entry.spec)
        finally:
            held.give()
        await self._keep(entry, listing, caller)
        log.info("mcp.listed", extra={"server": name, "tools": len(listing.tools)})

    async def _keep(self, entry: HubEntry, listing: ToolListing, caller: Principal) -> None:
        # What every owner reaches with the node's own credential is the same for all of them.
        private_to = str(caller.owner) if listing.private and entry.spec.oauth else ""
        async with entry.keeping:
            judged = await self._pins.judge(entry.spec, listing.tools)
            entry.listed_at = await self._records.keep_listing(
                entry.spec.name,
                entry.description,
                listing.tools,
                before=entry.digests(),
                private_to=private_to,
            )
            entry.private_to = private_to
            entry.take_listing(judged, listing, self._clock.monotonic())
        self._changed(entry.spec.name)

    def _refresh_soon(self, entry: HubEntry) -> None:
        if self._tasks is not None and not entry.refreshing:
            entry.refreshing = True
            self._tasks.start_soon(self._refresh_quietly, entry)

    async def _refresh_quietly(self, entry: HubEntry) -> None:
        """List again in the background; changes that come at once are one."""
        await anyio.sleep(CHANGES_PAUSE_S)
        # From here on another change asks for another look.
        entry.refreshing = False
        try:
            await self._refresh(entry, entry.asker(HUB))
        except (HiveError, McpError) as error:
            entry.failed_listing(str(error), self._clock.monotonic())
            log.info("mcp.not_listed", extra={"server": entry.spec.name, "why": str(error)})

    async def _made(
        self, spec: ServerSpec, caller: Principal, courier: Courier | None, instance: str
    ) -> LinkSession:
        """Make a connection, unopened: secrets are taken from the vault now and kept nowhere else."""
        entry = self._entry(spec.name)
        ears = LinkEars(spec=spec, changed=self._list_changed)
        environment = await self._revealed(spec.environment)
        if spec.oauth and self._auth_for is None:
            raise StateError(
                f"The tool server {spec.name} wants a login.", why="Nobody can log in."
            )
        alone = "alone" if courier is not None else "shared"
        opening = WireOpening(
            spec=replace(spec, environment=environment),
            owner=caller.owner,
            instance=f"{alone}-{instance}",
            clock=self._clock,
            hearer=ears,
            headers=await self._revealed(spec.headers),
            launch=self._launch,
            auth=self._auth_for(spec, caller.owner) if spec.oauth and self._auth_for else None,
        )
        entry.starting(self._clock.now())
        return LinkSession(
            spec=spec,
            wire=self._wire_for(str(spec.transport))(opening),
            ears=ears,
            caller=caller,
            clock=self._clock,
            capabilities=capabilities_of(courier),
            exclusive=courier is not None,
        )

    async def _revealed(self, values: Mapping[str, str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, value in values.items():
            reference = secret_in(value)
            if reference is None:
                found[name] = value
            else:
                before, secret = reference
                found[name] = before + await self._secret_of(secret)
        return found

    def _opened(self, session: LinkSession) -> None:
        entry = self._find(session.spec.name)
        if entry is None:
            session.closing.set()
            return
        entry.ready(session.description, self._clock.now(), probed=session.probed)
        entry.last_caller = session.caller
        if entry.listed_at is None:
            self._refresh_soon(entry)

    def _failed(self, spec: ServerSpec, error: HiveError) -> None:
        entry = self._find(spec.name)
        # One owner's missing login says nothing of the connections that stand.
        if entry is not None and not self._pool.count(spec.name):
            entry.failed(error, self._clock.now())

    def _list_changed(self, change: ListChange) -> None:
        entry = self._find(change.server)
        if entry is None:
            return
        if change.kind == "tools":
            self._refresh_soon(entry)
        else:
            self._tell(change)

    def _pin_changed(self, server: str) -> None:
        entry = self._find(server)
        if entry is not None and self._tasks is not None:
            self._tasks.start_soon(self._judge_again, entry)

    async def _judge_again(self, entry: HubEntry) -> None:
        async with entry.keeping:
            listed = [tool.definition for tool in entry.tools.values()]
            entry.take_tools(await self._pins.judge(entry.spec, listed))
        self._changed(entry.spec.name)

    def _changed(self, server: str) -> None:
        self._revision += 1
        self._tell(ListChange(server=server, kind="tools"))

    def _tell(self, change: ListChange) -> None:
        for observer in tuple(self._observers.values()):
            observer(change)

    def _view(self, entry: HubEntry) -> ServerView:
        links = self._pool.count(entry.spec.name)
        if entry.state is ServerState.READY and not links:
            entry.rest(self._clock.now())
        return entry.view(links)

    def _find(self, name: str) -> HubEntry | None:
        return self._entries.get(name)

    def _entry(self, name: str) -> HubEntry:
        entry = self._entries.get(name)
        if entry is None:
            raise no_server(name)
        return entry

    def _usable(self, name: str) -> HubEntry:
        entry = self._entry(name)
        if not entry.spec.enabled:
            raise StateError(f"The tool server {name} is disabled.", fix=f"hive tool enable {name}")
        return entry
