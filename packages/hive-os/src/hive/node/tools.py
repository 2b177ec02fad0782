"""The node's tool servers as its operator uses them: what is added, called and approved is on the record."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final, cast

import anyio

from hive.core.clock import Clock
from hive.core.errors import (
    ConflictError,
    EngineError,
    HiveError,
    NotFoundError,
    SpecError,
    StateError,
)
from hive.core.ids import plain_text
from hive.core.json import Json
from hive.core.secret import Secret
from hive.engines.ports import Database
from hive.node.tool_calls import called
from hive.node.tool_logs import ToolLogs, following
from hive.node.tool_names import full_tool_name, missing
from hive.node.tool_orders import (
    known_secrets,
    place_of,
    plan_lines,
    references,
    spec_digest,
    spec_of,
    starts_text,
)
from hive.node.tool_parts import DefinitionPins, ToolServers
from hive.node.tool_views import finding, server_line, server_report, tool_line, tool_report
from hive.protocols.mcp.ports import (
    McpError,
    McpService,
    ServerSpec,
    ServerState,
    ServerView,
    ToolHub,
)
from hive.security.roles import acting_operator
from hive.security.vault import Vault
from hive.web.tools import (
    LiveTools,
    ToolCallEvent,
    ToolCallOrder,
    ToolDesk,
    ToolFound,
    ToolLogin,
    ToolLogLine,
    ToolReport,
    ToolServerLine,
    ToolServerOrder,
    ToolServerPlan,
    ToolServerReport,
    ToolServerStep,
    ToolsOverview,
    ToolUser,
)
from hive.web.values import Finding

log: Final = logging.getLogger(__name__)
TOOLS_TOLD_MAX: Final = 500
BLOCKED_SHOWN_MAX: Final = 50
USERS_TOLD_MAX: Final = 20
USERS_WAIT_S: Final = 1.0
NEAR_MAX: Final = 3
JUDGED_WAIT_S: Final = 3.0
ERROR_MAX_CHARS: Final = 500
_USERS_SQL: Final = (
    "SELECT agent, owner, count(*) AS calls, max(at) AS last_at FROM entry "
    "WHERE kind = 'intent' AND name = $1 GROUP BY agent, owner ORDER BY last_at DESC LIMIT $2"
)
Note = Callable[[str, dict[str, Json]], Awaitable[None]]


class NodeTools(ToolDesk):
    """All tool servers of one node."""

    def __init__(
        self,
        *,
        hub: ToolHub,
        servers: ToolServers,
        gateway: Callable[[str], McpService],
        pins: DefinitionPins,
        vault: Vault,
        note: Note,
        database: Database,
        clock: Clock,
        state: str,
        login: Callable[[str], Awaitable[ToolLogin]] | None = None,
        pin: Callable[[ServerSpec, str], Awaitable[ServerSpec]] | None = None,
        logs: ToolLogs | None = None,
    ) -> None:
        self._hub = hub
        self._servers = servers
        self._gateway = gateway
        self._pins = pins
        self._vault = vault
        self._note = note
        self._database = database
        self._clock = clock
        self._state = state
        self._login = login
        self._pin = pin
        self._logs = logs or ToolLogs(clock)

    async def overview(self, *, search: str, tools: bool) -> ToolsOverview:
        """Tell of all servers; with `tools`, of those tools whose name or description holds `search`."""
        found = []
        if tools:
            wanted = search.lower()
            found = [
                line
                for line in map(tool_line, self._hub.tools())
                if wanted in line.name.lower() or wanted in line.description.lower()
            ]
        return ToolsOverview(
            servers=[server_line(one) for one in self._hub.servers()],
            tools=found[:TOOLS_TOLD_MAX],
            more=max(0, len(found) - TOOLS_TOLD_MAX),
        )

    async def names(self) -> Sequence[str]:
        """Return the names of servers and tools, from memory."""
        servers = [one.spec.name for one in self._hub.servers()]
        return [*servers, *(one.definition.full_name for one in self._hub.tools())]

    async def plan(self, order: ToolServerOrder) -> ToolServerPlan:
        """Tell what adding a server would let it do; changes nothing."""
        spec = spec_of(order, forbidden=self._state)
        self._refuse_known(spec.name)
        kept = [one.name for one in await self._vault.list()]
        return ToolServerPlan(
            name=spec.name,
            starts=starts_text(spec),
            lines=plan_lines(spec),
            digest=spec_digest(spec),
            missing_secrets=known_secrets((*kept, *order.secrets), spec),
        )

    async def add(self, order: ToolServerOrder) -> AsyncIterator[ToolServerStep]:
        """Keep a server, start it and list its tools."""
        began = self._clock.monotonic()
        spec = spec_of(order, forbidden=self._state)
        self._refuse_known(spec.name)
        if order.confirmed != spec_digest(spec):
            raise SpecError(
                f"The server {spec.name} was not confirmed.",
                why="What it would be able to do changed, or nobody said yes to it.",
                fix="Add it again and read what it will be able to do.",
            )
        with self._logs.heard(spec.name) as told:
            if self._pin is not None:
                yield ToolServerStep(stage="progress", text=f"looking for {place_of(spec)}")
                spec = await self._pin(spec, order.bundle)
            await self._keep(spec, order.secrets)
            yield ToolServerStep(stage="kept", text=place_of(spec))
            if not spec.enabled:
                yield ToolServerStep(stage="ready", text="disabled", server=self._report(spec.name))
                return
            stopped: list[str] = []
            async for text in following(told, partial(self._begun, spec.name, stopped)):
                yield ToolServerStep(stage="progress", text=text)
        report = self._report(spec.name)
        if stopped and self._view(spec.name).state is ServerState.NEEDS_LOGIN:
            login = f"wants a login: hive tool login {spec.name}"
            yield ToolServerStep(stage="ready", text=login, server=report)
            return
        problem = stopped[0] if stopped else report.line.reason * (not report.line.tools)
        yield ToolServerStep(
            stage="stopped" if problem else "ready",
            text=problem or _tools_text(report.line),
            took_ms=(self._clock.monotonic() - began) * 1000,
            server=report,
        )

    async def find(self, name: str) -> ToolFound:
        """Describe a server or a tool."""
        if self._hub.server(name) is not None:
            return ToolFound(server=self._report(name))
        full_name = self._tool_name(name)
        return ToolFound(tool=await self._tool(full_name))

    async def remove(self, name: str) -> None:
        """Take a server away, and the secrets that came with it."""
        spec = self._view(name).spec
        await self._servers.remove(name)
        await self._pins.forget(name)
        self._logs.forget(name)
        others = {one for view in self._hub.servers() for one in references(view.spec)}
        for secret in references(spec):
            if secret.startswith(_own_prefix(name)) and secret not in others:
                await self._forget(secret)
        await self._note("tool.server.removed", {"name": name})

    async def set_enabled(self, name: str, *, enabled: bool) -> ToolServerLine:
        """Switch a server on or off."""
        self._view(name)
        await self._servers.set_enabled(name, enabled)
        await self._note(
            "tool.server.enabled" if enabled else "tool.server.disabled", {"name": name}
        )
        return server_line(self._view(name))

    async def refresh(self, name: str) -> ToolServerReport:
        """Connect anew and list anew."""
        self._view(name)
        await self._refreshed(name)
        return self._report(name)

    def call(self, name: str, order: ToolCallOrder) -> AsyncIterator[ToolCallEvent]:
        """Call a tool as the operator, through the gate."""
        full_name = self._tool_name(name)
        found = self._hub.tool(full_name)
        if found is not None and not found.usable:
            raise StateError(
                f"{full_name} is blocked: {found.state.value}.",
                why="; ".join(found.flags),
                fix=f"hive tool approve {full_name}",
            )
        server, _, tool = full_name.partition(".")
        return called(self._gateway(server), tool, order.arguments, self._clock)

    async def approve(self, name: str, digest: str) -> ToolReport:
        """Say yes to the definition of that digest."""
        full_name = self._tool_name(name)
        heard = anyio.Event()
        end = self._hub.on_change(lambda _: heard.set())
        try:
            await self._pins.approve(full_name, digest, by=str(acting_operator()))
            # The hub judges anew by itself; what is told here is what it says then.
            with anyio.move_on_after(JUDGED_WAIT_S):
                while not self._usable(full_name):
                    await heard.wait()
                    heard = anyio.Event()
        finally:
            end()
        return await self._tool(full_name)

    async def login(self, name: str) -> ToolLogin:
        """Begin to log in at a server."""
        self._view(name)
        if self._login is None:
            return ToolLogin(note=f"{name} wants no login.")
        return await self._login(name)

    async def logs(self, name: str, *, last: int) -> AsyncIterator[ToolLogLine]:
        """Read what a server wrote beside its protocol."""
        self._view(name)
        for line in self._logs.last(name, last):
            yield line

    def live(self) -> LiveTools:
        """Tell how servers and tools stand, from memory."""
        tools = self._hub.tools()
        blocked = [tool_line(one) for one in tools if not one.usable]
        return LiveTools(
            servers=[server_line(one) for one in self._hub.servers()],
            blocked=blocked[:BLOCKED_SHOWN_MAX],
            tools=len(tools),
        )

    def findings(self) -> Sequence[Finding]:
        """Tell how each server stands, for `hive doctor`."""
        return [finding(one) for one in self._hub.servers()]

    def server_names(self) -> list[str]:
        """Return the names of all servers."""
        return [one.spec.name for one in self._hub.servers()]

    def users_of(self, secret: str) -> list[str]:
        """Return the servers that use a secret."""
        return [one.spec.name for one in self._hub.servers() if secret in references(one.spec)]

    async def _begun(self, name: str, stopped: list[str]) -> None:
        try:
            await self._refreshed(name)
        except HiveError as error:
            told = " ".join(filter(None, (error.what, error.why, error.fix)))
            stopped.append(told.replace(" NAME", f" {name}"))

    async def _refreshed(self, name: str) -> None:
        try:
            await self._servers.refresh(name)
        except StateError as error:
            fix = error.fix.replace(" NAME", f" {name}")
            raise StateError(error.what, why=error.why, fix=fix) from error
        except McpError as error:
            raise EngineError(
                f"The server {name} answered with an error.",
                why=plain_text(error.message)[:ERROR_MAX_CHARS],
                fix=f"hive tool logs {name}",
            ) from error

    async def _keep(self, spec: ServerSpec, secrets: Mapping[str, str]) -> None:
        kept = {one.name for one in await self._vault.list()}
        missing = known_secrets((*kept, *secrets), spec)
        if missing:
            raise NotFoundError(
                f"There is no secret {missing[0]!r}.", fix=f"hive secret set {missing[0]}"
            )
        named = set(references(spec))
        for name in secrets:
            if name not in named or (name in kept and not name.startswith(_own_prefix(spec.name))):
                raise ConflictError(
                    f"The secret {name!r} is kept already, or the server does not use it.",
                    fix=f"Use it by its name: secret:{name}",
                )
        for name, text in secrets.items():
            await self._vault.put(name, Secret(text))
        try:
            await self._servers.add(spec)
        except HiveError:
            for name in secrets.keys() - kept:
                await self._forget(name)
            raise
        note: dict[str, Json] = {
            "name": spec.name,
            "transport": spec.transport.value,
            "place": place_of(spec),
            "grant": spec.grant.digest,
            "secrets": list(references(spec)),
        }
        await self._note("tool.server.added", note)

    async def _forget(self, secret: str) -> None:
        try:
            await self._vault.remove(secret)
        except NotFoundError:
            log.info("tool.secret_was_gone", extra={"secret": secret})

    def _usable(self, full_name: str) -> bool:
        found = self._hub.tool(full_name)
        return found is not None and found.usable

    def _refuse_known(self, name: str) -> None:
        if self._hub.server(name) is not None:
            raise ConflictError(
                f"There is a server {name!r} already.",
                fix=f"hive tool rm {name}     or choose another name",
            )

    def _view(self, name: str) -> ServerView:
        view = self._hub.server(name)
        if view is None:
            known = [one.spec.name for one in self._hub.servers()]
            raise missing("server", name, known)
        return view

    def _tool_name(self, name: str) -> str:
        return full_tool_name(self._hub, name)

    def _report(self, name: str) -> ToolServerReport:
        own = [one for one in self._hub.tools() if one.definition.server == name]
        return server_report(self._view(name), own)

    async def _tool(self, full_name: str) -> ToolReport:
        found = self._hub.tool(full_name)
        if found is None:
            raise missing("tool", full_name, [])
        return tool_report(found, await self._users(full_name))

    async def _users(self, full_name: str) -> list[ToolUser] | None:
        """Read from the records who called a tool; a long record is not waited for."""
        with anyio.move_on_after(USERS_WAIT_S):
            rows = await self._database.fetch(_USERS_SQL, f"invoke {full_name}", USERS_TOLD_MAX)
            return [
                ToolUser(
                    who=str(row["agent"] or row["owner"]),
                    calls=cast("int", row["calls"]),
                    last_at=cast("datetime", row["last_at"]),
                )
                for row in rows
            ]
        return None


def _tools_text(line: ToolServerLine) -> str:
    return f"{line.tools} tools" + (f", {line.blocked} blocked" if line.blocked else "")


def _own_prefix(server: str) -> str:
    return f"mcp-{server}-"
