"""A fixed list of agents for testing doors: they are named, and nothing runs."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from hive.core.call import Principal
from hive.core.errors import NotFoundError
from hive.core.grant import Grant, Tier
from hive.core.ids import AgentId
from hive.core.spec import AgentSkill, AgentSpec, EntryPoint, StartKind
from hive.kernel.ports import AgentLog, AgentState, AgentView


class RehearsalAgents:
    """Satisfy the port `Agents` with a list."""

    def __init__(self, names: Iterable[str], *, skills: Sequence[str] = ()) -> None:
        shown = tuple(AgentSkill(id=skill, name=skill, description=skill) for skill in skills)
        self._views: dict[AgentId, AgentView] = {}
        for name in names:
            spec = AgentSpec(
                name=AgentId(name), entry=EntryPoint(kind=StartKind.PYTHON), skills=shown
            )
            self._add(spec, Grant())

    def get(self, agent: AgentId) -> AgentView | None:
        """Return one agent, or None."""
        return self._views.get(agent)

    def all(self) -> Sequence[AgentView]:
        """Return all agents, by name."""
        return tuple(self._views[name] for name in sorted(self._views))

    async def deploy(self, principal: Principal, spec: AgentSpec, grant: Grant) -> AgentView:
        """Add an agent to the list."""
        del principal
        return self._add(spec, grant)

    async def stop(self, principal: Principal, agent: AgentId, *, drain_s: float = 0.0) -> None:
        """Mark an agent as stopped."""
        del principal, drain_s
        self._views[agent] = replace(self._found(agent), state=AgentState.STOPPED)

    async def start(self, principal: Principal, agent: AgentId) -> AgentView:
        """Mark an agent as ready."""
        del principal
        self._views[agent] = replace(self._found(agent), state=AgentState.READY)
        return self._views[agent]

    async def remove(self, principal: Principal, agent: AgentId) -> None:
        """Take an agent off the list."""
        del principal
        self._found(agent)
        del self._views[agent]

    @asynccontextmanager
    async def logs(
        self, agent: AgentId | None, *, last: int = 100, follow: bool = False
    ) -> AsyncIterator[AsyncIterator[AgentLog]]:
        """Give no line: nothing runs."""
        del agent, last, follow
        yield _nothing()

    def _add(self, spec: AgentSpec, grant: Grant) -> AgentView:
        view = AgentView(spec=spec, grant=grant, state=AgentState.READY, tier=Tier.PROCESS)
        self._views[spec.name] = view
        return view

    def _found(self, agent: AgentId) -> AgentView:
        view = self._views.get(agent)
        if view is None:
            raise NotFoundError("There is no such agent.")
        return view


async def _nothing() -> AsyncIterator[AgentLog]:
    lines: tuple[AgentLog, ...] = ()
    for line in lines:
        yield line
