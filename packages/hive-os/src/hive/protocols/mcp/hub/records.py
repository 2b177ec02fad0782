"""The hub's two tables: which servers there are, and what each listed last, so that a start asks nobody."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, cast

import msgspec

from hive.core.clock import Clock
from hive.core.errors import ConflictError, NotFoundError
from hive.core.json import encode
from hive.engines.ports import Database, Row
from hive.protocols.mcp.hub.revisions import ServerDescription
from hive.protocols.mcp.hub.specs import read_spec, write_spec
from hive.protocols.mcp.ports import McpObject, ServerSpec, ToolDefinition

SERVERS_MAX: Final = 1000
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptServer:
    """One server as it is kept."""

    spec: ServerSpec
    description: ServerDescription = field(default_factory=ServerDescription)
    added_at: datetime
    listed_at: datetime | None = None
    tools: tuple[ToolDefinition, ...] = ()
    private_to: str = ""


class ServerRecords:
    """The tables `mcp_connection` and `mcp_tool`."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def load(self) -> Sequence[KeptServer]:
        """Return all servers with their tools, by name."""
        servers = await self._database.fetch("SELECT * FROM mcp_connection ORDER BY name")
        rows = await self._database.fetch(
            "SELECT connection, name, digest, definition FROM mcp_tool ORDER BY connection, position"
        )
        tools: dict[str, list[ToolDefinition]] = {}
        for row in rows:
            definition = _definition(row)
            tools.setdefault(definition.server, []).append(definition)
        return [_kept(row, tools.get(cast("str", row["name"]), [])) for row in servers]

    async def add(self, spec: ServerSpec) -> datetime:
        """Keep a server; return when.

        Raises:
            ConflictError: there is one of that name, or there are too many.

        """
        counted = await self._database.fetch("SELECT count(*) AS n FROM mcp_connection")
        if cast("int", counted[0]["n"]) >= SERVERS_MAX:
            raise ConflictError("There are too many tool servers.", fix="hive tool rm NAME")
        now = self._clock.now()
        try:
            await self._database.execute(
                "INSERT INTO mcp_connection (name, transport, spec, enabled, revision, described,"
                " added_at) VALUES ($1, $2, $3, $4, '', '{}', $5)",
                spec.name,
                str(spec.transport),
                write_spec(spec),
                spec.enabled,
                now,
            )
        except ConflictError as error:
            raise ConflictError(
                f"There is a tool server {spec.name!r} already.",
                fix=f"hive tool rm {spec.name}     or choose another name",
            ) from error
        return now

    async def remove(self, name: str) -> None:
        """Forget a server and its tools.

        Raises:
            NotFoundError: there is none of that name.

        """
        tag = await self._database.execute("DELETE FROM mcp_connection WHERE name = $1", name)
        if tag.endswith(" 0"):
            raise no_server(name)

    async def update(self, spec: ServerSpec) -> None:
        """Keep a changed spec.

        Raises:
            NotFoundError: there is none of that name.

        """
        tag = await self._database.execute(
            "UPDATE mcp_connection SET spec = $2, enabled = $3 WHERE name = $1",
            spec.name,
            write_spec(spec),
            spec.enabled,
        )
        if tag.endswith(" 0"):
            raise no_server(spec.name)

    async def keep_listing(
        self,
        server: str,
        description: ServerDescription,
        tools: Sequence[ToolDefinition],
        *,
        before: Mapping[str, str],
        private_to: str = "",
    ) -> datetime:
        """Keep what a server listed; `before` are the digests that are kept already. Return when.

        `private_to` is the owner for whom the list was made, empty for everybody.
        """
        now = self._clock.now()
        gone = [name for name in before if name not in {tool.name for tool in tools}]
        async with self._database.transaction() as transaction:
            tag = await transaction.execute(
                "UPDATE mcp_connection SET revision = $2, described = $3, listed_at = $4"
                " WHERE name = $1",
                server,
                description.revision,
                _described(description, private_to),
                now,
            )
            if tag.endswith(" 0"):
                raise no_server(server)
            if gone:
                await transaction.execute(
                    "DELETE FROM mcp_tool WHERE connection = $1 AND name = ANY($2::text[])",
                    server,
                    gone,
                )
            await transaction.execute(
                "INSERT INTO mcp_tool (connection, name, position, digest, definition)"
                " SELECT $1, * FROM unnest($2::text[], $3::integer[], $4::text[], $5::bytea[])"
                " ON CONFLICT (connection, name) DO UPDATE SET position = excluded.position,"
                " digest = excluded.digest, definition = excluded.definition",
                server,
                [tool.name for tool in tools],
                list(range(len(tools))),
                [tool.digest for tool in tools],
                [encode(tool.raw) for tool in tools],
            )
        return now


def no_server(name: str) -> NotFoundError:
    """Return the error of a name that no server has."""
    return NotFoundError(f"There is no tool server {name[:100]!r}.", fix="hive tool list")


def _definition(row: Row) -> ToolDefinition:
    raw: McpObject = _OBJECT.decode(cast("bytes", row["definition"]))
    return ToolDefinition(
        server=cast("str", row["connection"]),
        name=cast("str", row["name"]),
        raw=raw,
        digest=cast("str", row["digest"]),
    )


def _kept(row: Row, tools: Sequence[ToolDefinition]) -> KeptServer:
    said = _OBJECT.decode(cast("str", row["described"]))
    info, capabilities = said.get("info"), said.get("capabilities")
    return KeptServer(
        spec=read_spec(cast("str", row["spec"])),
        description=ServerDescription(
            revision=cast("str", row["revision"]),
            info=info if isinstance(info, dict) else {},
            capabilities=capabilities if isinstance(capabilities, dict) else {},
            instructions=str(said.get("instructions", "")),
        ),
        added_at=cast("datetime", row["added_at"]),
        listed_at=cast("datetime | None", row["listed_at"]),
        tools=tuple(tools),
        private_to=str(said.get("privateTo", "")),
    )


def _described(description: ServerDescription, private_to: str) -> str:
    return encode(
        {
            "info": dict(description.info),
            "capabilities": dict(description.capabilities),
            "instructions": description.instructions,
            "privateTo": private_to,
        }
    ).decode()
