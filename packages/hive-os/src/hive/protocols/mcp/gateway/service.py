"""The tools of the hub as a service of MCP: all of them, or those of one server under its own names."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import anyio

from hive import __version__
from hive.core.clock import Clock
from hive.core.grant import ANY
from hive.core.json import Json
from hive.core.randomness import Randomness
from hive.kernel.ports import Gate
from hive.protocols.mcp.gateway.calling import ToolCaller
from hive.protocols.mcp.gateway.catalog import GrantOf, ToolCatalog
from hive.protocols.mcp.gateway.deeds import ServerDoor
from hive.protocols.mcp.gateway.held import HeldCalls
from hive.protocols.mcp.gateway.passing import KINDS, PassThrough, granted_kind, offered
from hive.protocols.mcp.gateway.seals import StateSeal
from hive.protocols.mcp.gateway.waiting import ApprovalAnswers, ApprovalDesk
from hive.protocols.mcp.ports import (
    NEWEST,
    Courier,
    ListChange,
    McpError,
    McpObject,
    ToolHub,
    Visitor,
)
from hive.protocols.mcp.serving.tasks import METHODS, WorkDesk, capability
from hive.protocols.mcp.validation import Validators

METHOD_NOT_FOUND: Final = -32601
CHANGES_MAX: Final = 64
SERVICES_MAX: Final = 512


class GatewayService:
    """One endpoint: every tool, or one server."""

    def __init__(
        self,
        *,
        hub: ToolHub,
        catalog: ToolCatalog,
        caller: ToolCaller,
        passing: PassThrough,
        desk: WorkDesk | None,
        server: str = "",
    ) -> None:
        self._hub = hub
        self._catalog = catalog
        self._caller = caller
        self._passing = passing
        self._desk = desk
        self._server = server

    @property
    def info(self) -> Mapping[str, Json]:
        """Return what the endpoint says of itself: the same whether there is such a server."""
        if not self._server:
            return {"name": "hive-tools", "title": "Tools of a Hive", "version": __version__}
        return {"name": self._server, "title": f"{self._server} by Hive", "version": __version__}

    @property
    def instructions(self) -> str:
        """Return what a client should know. What a server says here is text that nobody looked at: left out."""
        return ""

    def capabilities(self, visitor: Visitor) -> Mapping[str, Json]:
        """Return what this visitor can ask here."""
        found: dict[str, Json] = {"tools": {"listChanged": True}}
        if self._desk is not None:
            found["extensions"] = capability()
        server = self._hub.server(self._server) if self._server else None
        if server is not None:
            found |= offered(self._catalog.granted(visitor), server)
        return found

    async def answer(
        self, visitor: Visitor, method: str, params: McpObject, courier: Courier
    ) -> McpObject:
        """Answer one request."""
        if method == "tools/call":
            return await self._caller.call(visitor, self._catalog.view(visitor), params, courier)
        if method == "tools/list":
            return self._listed(visitor, params, courier)
        if method in METHODS and self._desk is not None:
            return await self._desk.answer(visitor, method, params, courier)
        if self._server and method in KINDS:
            grant = self._catalog.granted(visitor)
            asked = (method, params)
            return await self._passing.answer(visitor, grant, self._server, asked, courier)
        raise McpError(METHOD_NOT_FOUND, f"There is no method {method[:60]}.")

    def input_schema(self, visitor: Visitor, tool: str) -> Mapping[str, Json] | None:
        """Return what a tool takes, None for one that this visitor does not see."""
        entry = self._catalog.view(visitor).get(tool)
        return None if entry is None else entry.schema

    @asynccontextmanager
    async def changes(self, visitor: Visitor) -> AsyncIterator[AsyncIterator[ListChange]]:
        """Watch the lists that this visitor sees; what nobody reads in time is told once."""
        waiting: dict[ListChange, None] = {}
        told = anyio.Event()

        def note(change: ListChange) -> None:
            nonlocal told
            if self._concerns(visitor, change) and len(waiting) < CHANGES_MAX:
                waiting[change] = None
                told.set()

        async def read() -> AsyncIterator[ListChange]:
            nonlocal told
            while True:
                while waiting:
                    change = next(iter(waiting))
                    del waiting[change]
                    yield change
                told = anyio.Event()
                await told.wait()

        end = self._hub.on_change(note)
        try:
            yield read()
        finally:
            end()

    def _listed(self, visitor: Visitor, params: McpObject, courier: Courier) -> McpObject:
        cursor = params.get("cursor")
        page = self._catalog.view(visitor).page(cursor if isinstance(cursor, str) else "")
        result: McpObject = {"tools": page.tools}
        if page.next_cursor:
            result["nextCursor"] = page.next_cursor
        if courier.revision >= NEWEST:
            result |= {"ttlMs": 0, "cacheScope": "private"}
        return result

    def _concerns(self, visitor: Visitor, change: ListChange) -> bool:
        if self._server and change.server != self._server:
            return False
        grant = self._catalog.granted(visitor)
        if change.kind == "tools":
            return any(one == ANY or one.startswith(f"{change.server}.") for one in grant.tools)
        kind = "resources" if change.kind == "resource" else change.kind
        return bool(self._server) and granted_kind(grant, change.server, kind)


class Gateways:
    """The gateway: its endpoints, and what their calls share."""

    def __init__(
        self,
        *,
        hub: ToolHub,
        gate: Gate,
        grant_of: GrantOf,
        clock: Clock,
        randomness: Randomness,
        approvals: ApprovalDesk | None = None,
        validators: Validators | None = None,
    ) -> None:
        self._hub = hub
        self._grant_of = grant_of
        self._held = HeldCalls()
        self._approvals = ApprovalAnswers(approvals or ApprovalDesk(), clock, randomness)
        self._door = door = ServerDoor(hub, gate)
        self._caller = ToolCaller(
            hub=hub,
            door=door,
            held=self._held,
            approvals=self._approvals,
            validators=validators or Validators(),
            clock=clock,
            randomness=randomness,
        )
        self._passing = PassThrough(hub=hub, door=door, seal=StateSeal(clock, randomness))
        self._of: dict[str, GatewayService] = {}
        self.all = self._service("")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep calls that wait for their client, or for a person; leaving ends them."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._door.running())
            await stack.enter_async_context(self._held.running())
            await stack.enter_async_context(self._approvals.running())
            yield

    def of(self, server: str) -> GatewayService:
        """Return the endpoint of a server, whether there is one of that name or not."""
        known = self._of.get(server)
        if known is None:
            if self._hub.server(server) is None:
                return self._service(server)
            if len(self._of) >= SERVICES_MAX:
                self._of.clear()
            known = self._of[server] = self._service(server)
        return known

    def _service(self, server: str) -> GatewayService:
        return GatewayService(
            hub=self._hub,
            catalog=ToolCatalog(self._hub, self._grant_of, server=server),
            caller=self._caller,
            passing=self._passing,
            desk=WorkDesk(self._approvals.tasks) if self._approvals.offers_tasks else None,
            server=server,
        )
