"""Asks a server for its tools, page by page, and stops in time: pages may never end, or lead in a circle."""

from dataclasses import dataclass
from typing import Final

from hive.core.errors import BadInputError
from hive.core.json import Json, encode
from hive.protocols.mcp.hub.definitions import TOOLS_MAX, read_definitions
from hive.protocols.mcp.ports import (
    McpError,
    McpObject,
    ServerLink,
    ServerSpec,
    ToolDefinition,
    TransportKind,
)

PAGES_MAX: Final = 200
LISTING_MAX_BYTES: Final = 32 << 20
CURSOR_MAX_CHARS: Final = 4096
TTL_MAX_S: Final = 86400.0
PAGE_TIMEOUT_S: Final = 30.0
_METHOD_NOT_FOUND: Final = -32601


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolListing:
    """What a server listed; `left_out` says what was not taken, and why. `ttl_s` is how long it holds.

    `private` is every list that the server does not call public: it was made for whoever asked.
    """

    tools: tuple[ToolDefinition, ...]
    left_out: tuple[str, ...] = ()
    ttl_s: float | None = None
    private: bool = False


async def listed_tools(link: ServerLink, spec: ServerSpec) -> ToolListing:
    """Ask for all tools.

    Raises:
        McpError: the server refuses.
        BadInputError: what it answers is no list.
        EngineError: it cannot be reached.

    """
    listed: list[Json] = []
    left_out: list[str] = []
    seen: set[str] = set()
    params: McpObject = {}
    page: McpObject = {}
    size = 0
    ttl_s: float | None = None
    private = False
    for _ in range(PAGES_MAX):
        page = await _page(link, params)
        tools = page.get("tools")
        if not isinstance(tools, list):
            raise BadInputError(
                f"The tool server {spec.name} lists no tools.", why="It is no list."
            )
        listed += tools
        size += len(encode(tools))
        private = private or page.get("cacheScope") != "public"
        ttl_s = _shorter(ttl_s, page.get("ttlMs"))
        cursor = page.get("nextCursor")
        if not isinstance(cursor, str):
            break
        if cursor in seen or len(cursor) > CURSOR_MAX_CHARS:
            left_out.append("its pages lead in a circle")
            break
        if len(listed) > TOOLS_MAX or size > LISTING_MAX_BYTES:
            left_out.append(f"it lists more than {TOOLS_MAX} tools or {LISTING_MAX_BYTES} bytes")
            break
        seen.add(cursor)
        params = {"cursor": cursor}
    else:
        left_out.append(f"it has more than {PAGES_MAX} pages")
    over_http = spec.transport is not TransportKind.STDIO
    found, unfit = read_definitions(spec.name, listed, over_http=over_http)
    return ToolListing(
        tools=tuple(found),
        left_out=(*left_out, *unfit),
        ttl_s=ttl_s,
        private=private,
    )


async def _page(link: ServerLink, params: McpObject) -> McpObject:
    try:
        return await link.request("tools/list", params, timeout_s=PAGE_TIMEOUT_S)
    except McpError as error:
        if error.code == _METHOD_NOT_FOUND and not params:
            return {"tools": []}
        raise


def _shorter(ttl_s: float | None, said: Json) -> float | None:
    if isinstance(said, bool) or not isinstance(said, int | float) or said < 0:
        return ttl_s
    found = min(said / 1000, TTL_MAX_S)
    return found if ttl_s is None else min(ttl_s, found)
