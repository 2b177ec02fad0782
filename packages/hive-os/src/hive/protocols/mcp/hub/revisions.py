"""Which revision is spoken with a server, and what each request has to say of it.

From 2026-07-28 on every request carries who asks and what they can; before, a handshake says it once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import anyio

from hive import __version__
from hive.core.errors import EngineUnavailableError
from hive.core.json import Json
from hive.protocols.mcp.hub.ports import Hearer, ServerWire
from hive.protocols.mcp.ports import NEWEST, McpError, McpObject

HANDSHAKE_REVISIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
CLIENT_KEY: Final = "io.modelcontextprotocol/clientInfo"
CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
SERVER_KEY: Final = "io.modelcontextprotocol/serverInfo"
LOG_LEVEL_KEY: Final = "io.modelcontextprotocol/logLevel"
UNSUPPORTED_VERSION: Final = -32022
PROBE_TIMEOUT_S: Final = 10.0
PROBES: Final = 2
DESCRIPTION_MAX_BYTES: Final = 1 << 20
CLIENT_INFO: Final[McpObject] = {"name": "hive", "title": "Hive", "version": __version__}
_OF_AN_ERA: Final = frozenset({VERSION_KEY, CLIENT_KEY, CAPABILITIES_KEY})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerDescription:
    """What a server says of itself."""

    revision: str = ""
    info: Mapping[str, Json] = field(default_factory=dict)
    capabilities: Mapping[str, Json] = field(default_factory=dict)
    instructions: str = ""

    @property
    def stateless(self) -> bool:
        """Tell whether each request stands alone."""
        return self.revision == NEWEST

    def tells_changes(self, kind: str) -> bool:
        """Tell whether the server says when a list changed."""
        offered = self.capabilities.get(kind)
        return isinstance(offered, dict) and offered.get("listChanged") is True


def stamped(params: McpObject, capabilities: Mapping[str, Json]) -> McpObject:
    """Return the params of a request of the stateless era."""
    meta = params.get("_meta")
    said = dict(meta) if isinstance(meta, dict) else {}
    said[VERSION_KEY] = NEWEST
    said[CLIENT_KEY] = CLIENT_INFO
    said[CAPABILITIES_KEY] = dict(capabilities)
    return {**params, "_meta": said}


def unstamped(params: McpObject) -> McpObject:
    """Return the params of a request of an older era: without what only the newest one knows."""
    meta = params.get("_meta")
    if not isinstance(meta, dict) or not (meta.keys() & (_OF_AN_ERA | {LOG_LEVEL_KEY})):
        return params
    kept = {
        key: value for key, value in meta.items() if key not in _OF_AN_ERA and key != LOG_LEVEL_KEY
    }
    return {**params, "_meta": kept}


async def negotiate(
    wire: ServerWire, hearer: Hearer, capabilities: Mapping[str, Json], *, known: str
) -> ServerDescription:
    """Agree on the newest revision that both sides speak.

    `known` is the revision of the last time, empty for none: a server that was older is not probed again.
    What is no evidence of the newest revision leads to the handshake; that a server cannot be reached is
    evidence of nothing.

    Raises:
        McpError: it speaks none that is spoken here, or refused.
        EngineUnavailableError: it cannot be reached.

    """
    if known not in HANDSHAKE_REVISIONS:
        found = await _probe(wire, hearer, capabilities)
        if found is not None:
            return found
    try:
        return await _handshake(wire, hearer, capabilities)
    except McpError as error:
        # A probe that came too late may have settled the matter: the code itself is the evidence.
        if error.code != UNSUPPORTED_VERSION or NEWEST not in _supported(error.data):
            raise
    found = await _probe(wire, hearer, capabilities)
    if found is None:
        raise EngineUnavailableError("The tool server does not say which revision it speaks.")
    return found


async def _probe(
    wire: ServerWire, hearer: Hearer, capabilities: Mapping[str, Json]
) -> ServerDescription | None:
    """Ask as the newest revision does; None where the answer is no evidence of it."""
    result: McpObject | None = None
    with anyio.move_on_after(PROBE_TIMEOUT_S):
        for attempt in range(PROBES):
            try:
                result = await wire.ask(
                    "server/discover",
                    stamped({}, capabilities),
                    hearer=hearer,
                    result_max_bytes=DESCRIPTION_MAX_BYTES,
                )
                break
            except McpError as error:
                supported = _supported(error.data) if error.code == UNSUPPORTED_VERSION else []
                if supported and not {NEWEST, *HANDSHAKE_REVISIONS} & set(supported):
                    raise
                # It names what was asked for: the same question again is the answer to that.
                if NEWEST not in supported or attempt + 1 == PROBES:
                    return None
    versions = None if result is None else result.get("supportedVersions")
    if result is None or not isinstance(versions, list) or NEWEST not in versions:
        return None
    meta = result.get("_meta")
    shown = meta.get(SERVER_KEY) if isinstance(meta, dict) else None
    wire.settle(NEWEST)
    return _described(NEWEST, shown, result)


async def _handshake(
    wire: ServerWire, hearer: Hearer, capabilities: Mapping[str, Json]
) -> ServerDescription:
    result = await wire.ask(
        "initialize",
        {
            "protocolVersion": HANDSHAKE_REVISIONS[0],
            "capabilities": dict(capabilities),
            "clientInfo": CLIENT_INFO,
        },
        hearer=hearer,
        result_max_bytes=DESCRIPTION_MAX_BYTES,
    )
    version = result.get("protocolVersion")
    if not isinstance(version, str) or version not in HANDSHAKE_REVISIONS:
        raise McpError(UNSUPPORTED_VERSION, f"The server speaks {str(version)[:40]!r}.")
    wire.settle(version)
    await wire.tell("notifications/initialized", {})
    return _described(version, result.get("serverInfo"), result)


def _described(revision: str, info: Json, result: McpObject) -> ServerDescription:
    capabilities, instructions = result.get("capabilities"), result.get("instructions")
    return ServerDescription(
        revision=revision,
        info=info if isinstance(info, dict) else {},
        capabilities=capabilities if isinstance(capabilities, dict) else {},
        instructions=instructions if isinstance(instructions, str) else "",
    )


def _supported(data: Json) -> list[str]:
    named = data.get("supported") if isinstance(data, dict) else None
    return [one for one in named if isinstance(one, str)] if isinstance(named, list) else []
