"""What a server lists, read with suspicion: names that can be names, sizes that can be held, one digest each."""

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from hive.core.json import Json, encode
from hive.protocols.mcp.ports import McpObject, ToolDefinition

TOOLS_MAX: Final = 5000
DEFINITION_MAX_BYTES: Final = 256 << 10
_NAME: Final = re.compile(r"[A-Za-z0-9_./:-][A-Za-z0-9_./:@-]{0,127}")
_DIGESTED: Final = (
    "name",
    "title",
    "description",
    "inputSchema",
    "outputSchema",
    "annotations",
)
_HEADER_MARK: Final = b'"x-mcp-header"'


def digest_of(raw: McpObject) -> str:
    """Return the SHA-256 over what a model or a check reads of a definition."""
    read = {key: raw[key] for key in _DIGESTED if key in raw}
    return hashlib.sha256(encode(read)).hexdigest()


def read_definitions(
    server: str, listed: Sequence[Json], *, over_http: bool
) -> tuple[list[ToolDefinition], list[str]]:
    """Return the definitions that can be held, and why others are left out."""
    found: dict[str, ToolDefinition] = {}
    left_out: list[str] = []
    for raw in listed:
        if not isinstance(raw, dict):
            left_out.append("a tool is no object")
            continue
        why = _unfit(raw, found, over_http=over_http)
        name = raw.get("name")
        if why or not isinstance(name, str):
            left_out.append(f"{str(name)[:60]!r} {why}")
            continue
        found[name] = ToolDefinition(server=server, name=name, raw=raw, digest=digest_of(raw))
        if len(found) >= TOOLS_MAX:
            left_out.append(f"it lists more than {TOOLS_MAX} tools")
            break
    return list(found.values()), left_out


def _unfit(raw: McpObject, found: dict[str, ToolDefinition], *, over_http: bool) -> str:
    name = raw.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "is no name for a tool"
    if name in found:
        return "stands there twice"
    if not isinstance(raw.get("inputSchema"), dict):
        return "has no schema for its input"
    size = len(encode(raw))
    if size > DEFINITION_MAX_BYTES:
        return f"has a definition of {size} bytes"
    if over_http and _HEADER_MARK in encode(raw["inputSchema"]):
        from mcp.shared.inbound import find_invalid_x_mcp_header

        return find_invalid_x_mcp_header(raw["inputSchema"]) or ""
    return ""


def headers_of(definition: ToolDefinition, arguments: Json) -> dict[str, str]:
    """Return the headers that repeat arguments of a call where the definition asks for it."""
    schema = definition.raw.get("inputSchema")
    if not isinstance(arguments, dict) or not asks_for_headers(schema):
        return {}
    from mcp.shared.inbound import mcp_param_headers, x_mcp_header_map

    return {
        name.lower(): value
        for name, value in mcp_param_headers(x_mcp_header_map(schema), arguments).items()
    }


def asks_for_headers(schema: Json) -> bool:
    """Tell whether an input schema marks a property for a header; looked at once a definition."""
    return isinstance(schema, dict) and _HEADER_MARK in encode(schema)
