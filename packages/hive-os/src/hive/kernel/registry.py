"""The agents that an operator deployed, kept so that a restarted node hosts them again."""

from dataclasses import dataclass
from typing import TypeVar

import msgspec

from hive.core.errors import LedgerError
from hive.core.grant import Grant
from hive.core.ids import AgentId
from hive.core.spec import AgentSpec
from hive.engines.ports import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One deployed agent as it is kept."""

    spec: AgentSpec
    grant: Grant
    stopped: bool


KeptT = TypeVar("KeptT")


class AgentRegistry:
    """The table of deployed agents."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[Deployment]:
        """Return every deployed agent, by name."""
        rows = await self._database.fetch(
            "SELECT spec::text AS spec, agent_grant::text AS agent_grant, stopped"
            " FROM agent ORDER BY name"
        )
        return [
            Deployment(
                spec=_read(str(row["spec"]), AgentSpec),
                grant=_read(str(row["agent_grant"]), Grant),
                stopped=bool(row["stopped"]),
            )
            for row in rows
        ]

    async def keep(self, spec: AgentSpec, grant: Grant) -> None:
        """Keep an agent and the grant that was confirmed for it."""
        await self._database.execute(
            "INSERT INTO agent (name, spec, agent_grant, grant_digest)"
            " VALUES ($1, $2::jsonb, $3::jsonb, $4)"
            " ON CONFLICT (name) DO UPDATE SET spec = excluded.spec,"
            " agent_grant = excluded.agent_grant, grant_digest = excluded.grant_digest,"
            " stopped = false, deployed_at = now()",
            spec.name,
            msgspec.json.encode(spec).decode(),
            msgspec.json.encode(grant).decode(),
            grant.digest,
        )

    async def mark(self, name: AgentId, *, stopped: bool) -> None:
        """Remember whether an agent is to run."""
        await self._database.execute("UPDATE agent SET stopped = $2 WHERE name = $1", name, stopped)

    async def forget(self, name: AgentId) -> None:
        """Drop an agent; its record in the ledger stays."""
        await self._database.execute("DELETE FROM agent WHERE name = $1", name)


def _read(text: str, kind: type[KeptT]) -> KeptT:
    try:
        return msgspec.json.decode(text.encode(), type=kind)
    except msgspec.MsgspecError as error:
        raise LedgerError(
            "A deployed agent cannot be read.",
            why=f"The stored {kind.__name__} is of another version: {error}",
            fix="Remove it with `hive agent rm` and run it again.",
        ) from error
