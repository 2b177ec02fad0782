"""Agents that are shut in: kept in the database, known in memory, so that every call finds out at once."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

import anyio

from hive.core.clock import Clock
from hive.core.errors import HiveError, NotFoundError
from hive.core.ids import AgentId, agent_id, plain_text
from hive.engines.ports import Database, Row

log: Final = logging.getLogger(__name__)
REASON_MAX_CHARS: Final = 500
WATCH_PAUSE_S: Final = 0.5
TOOL_SERVER: Final = "tool:"
_CHANGED: Final = "hive_quarantine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """One agent in quarantine: since when, by whom or which rule, why."""

    agent: AgentId
    at: datetime
    by: str
    reason: str


class Quarantine:
    """Who is shut in."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._shut: dict[AgentId, Confinement] = {}
        # Shut in here, and not yet in the database: what is read there does not let them out.
        self._unkept: dict[AgentId, Confinement] = {}
        self._decided = 0

    async def load(self) -> None:
        """Read who is shut in; call it before anything runs."""
        while True:  # What is decided here meanwhile is not in what was read.
            decided = self._decided
            rows = await self._database.fetch("SELECT * FROM quarantine ORDER BY at")
            if decided == self._decided:
                break
        self._shut = {one.agent: one for one in map(_from_row, rows)} | self._unkept

    async def watch(self, heard: Callable[[Confinement], Awaitable[None]] | None = None) -> None:
        """Follow what other nodes decide, and keep what could not be kept before, until cancelled.

        `heard` is told of everybody whom another node has shut in.
        """
        while True:
            try:
                async with self._database.listen(_CHANGED) as changes:
                    for one in tuple(self._unkept.values()):
                        await self._keep(one)
                    await self._follow(heard)
                    async for _ in changes:
                        await self._follow(heard)
            except HiveError as error:
                log.warning("quarantine.not_followed", extra={"error": error.what})
                await anyio.sleep(WATCH_PAUSE_S)

    async def _follow(self, heard: Callable[[Confinement], Awaitable[None]] | None) -> None:
        known = set(self._shut)
        await self.load()
        for agent in self._shut.keys() - known:
            if heard is not None:
                await heard(self._shut[agent])

    def of(self, agent: str) -> Confinement | None:
        """Return why an agent is shut in, or None."""
        return self._shut.get(AgentId(agent))

    def all(self) -> Sequence[Confinement]:
        """Return everybody who is shut in, longest first."""
        return sorted(self._shut.values(), key=lambda one: one.at)

    async def shut(self, agent: str, *, by: str, reason: str) -> Confinement:
        """Shut an agent in; one that is already stays as it is. In memory at once, also where the database is away.

        Raises:
            EngineError: it is shut in here, and the database could not be told; it is told when it is back.

        """
        known = self._shut.get(AgentId(agent))
        found = known or Confinement(
            agent=_name_of(agent),
            at=self._clock.now(),
            by=by,
            reason=plain_text(reason)[:REASON_MAX_CHARS],
        )
        if known is None:
            self._shut[found.agent] = self._unkept[found.agent] = found
        if found.agent in self._unkept:
            await self._keep(found)
        return found

    async def _keep(self, found: Confinement) -> None:
        await self._database.execute(
            "INSERT INTO quarantine (agent, at, by, reason) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (agent) DO NOTHING",
            found.agent,
            found.at,
            found.by,
            found.reason,
        )
        if self._unkept.get(found.agent) is found:
            del self._unkept[found.agent]
            self._decided += 1
        await self._database.execute("SELECT pg_notify($1, $2)", _CHANGED, found.agent)

    async def release(self, agent: str) -> Confinement:
        """Let an agent out.

        Raises:
            NotFoundError: it is not shut in.

        """
        known = self._shut.get(AgentId(agent))
        if known is None:
            raise NotFoundError(
                f"{plain_text(agent)} is not in quarantine.", fix="See `hive quarantine`."
            )
        await self._database.execute("DELETE FROM quarantine WHERE agent = $1", agent)
        self._shut.pop(known.agent, None)
        self._unkept.pop(known.agent, None)
        self._decided += 1
        await self._database.execute("SELECT pg_notify($1, $2)", _CHANGED, agent)
        return known


def _name_of(text: str) -> AgentId:
    """Return the name of an agent, or of a tool server, which calls out under one of its own. Raises InvalidIdError."""
    server = text.removeprefix(TOOL_SERVER)
    return agent_id(text) if server == text else AgentId(TOOL_SERVER + agent_id(server))


def _from_row(row: Row) -> Confinement:
    return Confinement(
        agent=AgentId(cast("str", row["agent"])),
        at=cast("datetime", row["at"]),
        by=cast("str", row["by"]),
        reason=cast("str", row["reason"]),
    )
