"""`initialize`: client and server agree on a revision, and a session begins."""

from collections.abc import Mapping
from typing import Final

from hive.core.json import Json
from hive.protocols.mcp.front.exchange import McpVisit
from hive.protocols.mcp.front.wire import INVALID_PARAMS, McpAsked, WireRefusedError
from hive.protocols.mcp.ports import REVISIONS, McpObject

OLDEST: Final = "2024-11-05"
"""A revision that came before this transport; clients that name it speak the next one on the wire."""
HANDSHAKES: Final = (*REVISIONS[1:], OLDEST)
PRIMED: Final = "2025-11-25"
"""From this revision on a stream begins with an empty event that has an id."""
BATCHES: Final = "2025-03-26"
"""The one revision in which a body may hold several messages."""


def agreed_revision(asked: McpAsked) -> tuple[str, Mapping[str, Json]]:
    """Return the revision to speak, and the capabilities of the client.

    Raises:
        WireRefusedError: the params are not those of a handshake.

    """
    params = asked.params
    version, capabilities = params.get("protocolVersion"), params.get("capabilities")
    info = params.get("clientInfo")
    if not isinstance(version, str) or not isinstance(capabilities, dict):
        raise _wrong(asked, "`protocolVersion` or `capabilities` is missing.")
    if not isinstance(info, dict) or not all(
        isinstance(info.get(name), str) for name in ("name", "version")
    ):
        raise _wrong(asked, "`clientInfo` has no name or no version.")
    return (version if version in HANDSHAKES else HANDSHAKES[0]), capabilities


def welcome(visit: McpVisit, revision: str) -> McpObject:
    """Return the result of a handshake."""
    service = visit.service
    capabilities = {
        key: value
        for key, value in service.capabilities(visit.visitor).items()
        if key != "extensions" or revision >= PRIMED
    }
    result: McpObject = {
        "protocolVersion": revision,
        "capabilities": capabilities,
        "serverInfo": dict(service.info),
    }
    if service.instructions:
        result["instructions"] = service.instructions
    return result


def _wrong(asked: McpAsked, message: str) -> WireRefusedError:
    return WireRefusedError(400, INVALID_PARAMS, message, key=asked.id)
