"""From what an operator typed to a running agent: find, ask, stage, place, host."""

import posixpath
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio

from hive.core.call import sha256_hex
from hive.core.clock import Clock
from hive.core.errors import NotFoundError, SpecError
from hive.core.grant import ANY, PROVIDER, Access, Grant, HostRule, PathRule
from hive.core.json import encode
from hive.core.settings import Settings
from hive.core.spec import AgentSkill, StartKind
from hive.execution.confirm import (
    Confirmation,
    confirmation_needed,
    confirmed,
    cut_by_policy,
    grant_lines,
    open_ceiling,
    source_identity,
    unattended_ceiling,
)
from hive.execution.source import FoundSource, find_command, find_source
from hive.execution.source_server import server_of
from hive.execution.spec_file import tool_name
from hive.kernel.host_parts import first_error
from hive.kernel.ports import AgentView
from hive.kernel.registry import AgentRegistry
from hive.kernel.supervisor import Supervisor
from hive.node.conditions import allowed_by, usable_rules
from hive.node.provenance import PackageStanding, Provenance, papers_beside
from hive.security.roles import acting_operator
from hive.web.values import (
    DeployOrder,
    DeployPlan,
    DeployStep,
)

PROGRESS_AHEAD_MAX: Final = 200


class Deployer:
    """Plans and carries out deployments."""

    def __init__(
        self,
        *,
        settings: Settings,
        registry: AgentRegistry,
        supervisor: Supervisor,
        stage: Callable[[FoundSource], Path | None],
        explain: Callable[[AgentView], str],
        clock: Clock,
        base_url: str,
        tool_servers: Callable[[], Collection[str]] = tuple,
        tool_skills: Callable[[str], Sequence[AgentSkill]] = lambda _server: (),
        provenance: Provenance | None = None,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._supervisor = supervisor
        self._stage = stage
        self._explain = explain
        self._clock = clock
        self._base_url = base_url
        self._tool_servers = tool_servers
        self._tool_skills = tool_skills
        self._provenance = provenance

    async def plan(self, order: DeployOrder) -> DeployPlan:
        """Read a source and tell what deploying it would grant; changes nothing.

        Raises:
            SpecError: the source cannot be used.

        """
        found = await self._find(order)
        grant = self._grant(found, order)
        needed = confirmation_needed(found.spec, grant, await self._before(found))
        return DeployPlan(
            name=found.spec.name,
            found=_found_text(found),
            lines=needed if needed is not None else grant_lines(grant),
            safe_lines=grant_lines(self._safe_grant(found, order)),
            digest=_digest(found, grant),
            agreed=needed is None,
            warnings=_warnings(grant, self._tool_servers()),
        )

    async def deploy(self, order: DeployOrder) -> AsyncIterator[DeployStep]:
        """Deploy what was planned; the last step is `ready`.

        Raises:
            SpecError: the source cannot be used, or its plan changed since it was confirmed.
            SupplyError: nobody trusted has signed it, and this node demands that.

        """
        began = self._clock.monotonic()
        found = await self._find(order)
        grant = await self._agreed(found, order)
        if order.safe:
            found = replace(found, spec=replace(found.spec, allow_build=False))
        name = found.spec.name
        yield DeployStep(stage="found", text=_found_text(found), agent=name)
        await anyio.to_thread.run_sync(self._stage, found)
        standing = await self._signed(found, order)
        if standing is not None:
            note = "" if standing.signed else standing.problem
            yield DeployStep(stage="signed", text=standing.text, note=note, agent=name)
        send, receive = anyio.create_memory_object_stream[DeployStep](PROGRESS_AHEAD_MAX)
        views: list[AgentView] = []

        def on_line(text: str) -> None:
            try:
                send.send_nowait(DeployStep(stage="progress", text=text, agent=name))
            except anyio.WouldBlock:
                return

        async def host() -> None:
            with send:
                views.append(
                    await self._supervisor.deploy(acting_operator(), found.spec, grant, on_line)
                )

        try:
            async with receive, anyio.create_task_group() as tasks:
                tasks.start_soon(host)
                async for step in receive:
                    yield step
        except ExceptionGroup as group:
            raise first_error(group) from group
        if self._provenance is not None and standing is not None:
            await self._provenance.note(standing)
        for step in self._facts(found, views[0], began):
            yield step

    async def _signed(self, found: FoundSource, order: DeployOrder) -> PackageStanding | None:
        """Check who signed the copy that was just made, by the papers that came with the source."""
        if self._provenance is None:
            return None
        named = str(Path(order.folder, order.bundle)) if order.bundle else ""
        papers = await anyio.to_thread.run_sync(papers_beside, found.spec, named)
        await self._provenance.keep(found.spec, papers)
        return await self._provenance.admit(found.spec, newest=True)

    def _facts(self, found: FoundSource, view: AgentView, began: float) -> Sequence[DeployStep]:
        name = found.spec.name
        took_ms = (self._clock.monotonic() - began) * 1000
        requirements = found.spec.requirements
        steps = []
        if requirements:
            more = f" and {len(requirements) - 1} more" if len(requirements) > 1 else ""
            steps.append(DeployStep(stage="env", text=f"{requirements[0]}{more}", agent=name))
        steps += [
            DeployStep(
                stage="tier",
                text=f"{view.tier.name.lower()}: {self._explain(view)}",
                note=f"hive agent explain {name}",
                agent=name,
            ),
            DeployStep(stage="card", text=f"{self._base_url}/a2a/{name}", agent=name),
            DeployStep(stage="ready", text="", took_ms=took_ms, agent=name),
        ]
        return steps

    async def _find(self, order: DeployOrder) -> FoundSource:
        folder = Path(order.folder)
        if order.argv:
            find = find_command
            found = await anyio.to_thread.run_sync(
                lambda: find(
                    order.argv,
                    cwd=folder,
                    home=Path.home(),
                    name=order.name,
                    serves_a2a=order.serves_a2a,
                )
            )
        else:
            found = await anyio.to_thread.run_sync(
                lambda: find_source(order.source, cwd=folder, home=Path.home(), name=order.name)
            )
        if server := server_of(found.spec):
            skills = tuple(self._tool_skills(server))
            found = replace(found, spec=replace(found.spec, skills=skills))
        if not order.allow_build:
            return found
        return replace(found, spec=replace(found.spec, allow_build=True))

    async def _before(self, found: FoundSource) -> Confirmation | None:
        for deployment in await self._registry.all():
            if deployment.spec.name == found.spec.name:
                return confirmed(deployment.spec, deployment.grant)
        return None

    async def _agreed(self, found: FoundSource, order: DeployOrder) -> Grant:
        if order.safe:
            return self._safe_grant(found, order)
        grant = self._grant(found, order)
        if order.confirmed == _digest(found, grant):
            return grant
        if confirmation_needed(found.spec, grant, await self._before(found)) is None:
            return grant
        raise SpecError(
            f"The grant of {found.spec.name} was not confirmed.",
            why="What the source asks for changed, or nobody said yes to it.",
            fix="Run it again and read what it asks for.",
        )

    def _grant(self, found: FoundSource, order: DeployOrder) -> Grant:
        needs = replace(
            found.spec.needs,
            hosts=(*found.spec.needs.hosts, *map(_host_rule, order.hosts)),
            tools=tuple(dict.fromkeys((*found.spec.needs.tools, *map(tool_name, order.tools)))),
        )
        return usable_rules(
            cut_by_policy(
                allowed_by(order.allow, needs),
                open_ceiling(limits=needs.limits),
                self._mounts(order),
                forbidden=self._forbidden,
            )
        )

    def _safe_grant(self, found: FoundSource, order: DeployOrder) -> Grant:
        # An address that the operator typed is the operator's own choice of a host, and so is a server.
        typed = found.spec.needs.hosts[:1] if "://" in order.source else ()
        hosts = dict.fromkeys((*typed, *map(_host_rule, order.hosts)))
        named = found.spec.needs.tools if server_of(found.spec) else ()
        tools = tuple(dict.fromkeys((*named, *map(tool_name, order.tools))))
        asked = replace(found.spec.needs, hosts=tuple(hosts), tools=tools)
        needs = allowed_by(order.allow, asked)
        ceiling = replace(
            unattended_ceiling(), hosts=needs.hosts, agents=needs.agents, tools=needs.tools
        )
        return usable_rules(
            cut_by_policy(needs, ceiling, self._mounts(order), forbidden=self._forbidden)
        )

    @property
    def _forbidden(self) -> tuple[str, ...]:
        return (str(self._settings.state),)

    def _mounts(self, order: DeployOrder) -> list[PathRule]:
        return [_mount_rule(text, Path(order.folder)) for text in order.mounts]


def _digest(found: FoundSource, grant: Grant) -> str:
    plan = [grant.digest, source_identity(found.spec), found.spec.allow_build]
    return sha256_hex(encode(plan))


def _found_text(found: FoundSource) -> str:
    entry = found.spec.entry
    if server := server_of(found.spec):
        return f"the tool server {server}"
    if entry.url:
        return f"a remote agent at {entry.url}"
    if entry.argv:
        kind = "a server of A2A" if entry.kind is StartKind.A2A_COMMAND else "a command"
        return f"{kind}: {' '.join(entry.argv)}"
    attribute = f' "{entry.attribute}"' if entry.attribute else ""
    return f"{entry.path}{attribute}"


def _warnings(grant: Grant, servers: Collection[str]) -> list[str]:
    """Tell which tools are granted of servers that do not exist."""
    named = {one.partition(".")[0] for one in grant.tools if one != ANY} - {PROVIDER}
    return [
        f"there is no tool server {name} yet: hive tool add {name}"
        for name in sorted(named - set(servers))
    ]


def _mount_rule(text: str, folder: Path) -> PathRule:
    pieces = text.split(":")
    access = Access.READ
    if pieces[-1] in ("ro", "rw"):
        access = Access(pieces.pop())
    host = (folder / pieces[0]).resolve()
    if not host.exists() or len(pieces) > 2:
        raise SpecError(
            f"The mount {text!r} cannot be used.",
            why=f"{host} does not exist." if not host.exists() else "It has too many colons.",
            fix="Write HOST[:INSIDE][:ro|rw].",
        )
    inside = pieces[1] if len(pieces) == 2 else posixpath.join("/data", host.name)
    return PathRule(host=str(host), inside=inside, access=access)


def _host_rule(text: str) -> HostRule:
    host, _, port = text.partition(":")
    if port and not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise SpecError(f"The host {text!r} cannot be used.", fix="Write NAME or NAME:PORT.")
    return HostRule(host=host.lower(), ports=(int(port),) if port else (443,))


def missing_agent(name: str) -> NotFoundError:
    """Return the error for an agent that is not here."""
    return NotFoundError(f"There is no agent {name!r}.", fix="See `hive ps`.")
