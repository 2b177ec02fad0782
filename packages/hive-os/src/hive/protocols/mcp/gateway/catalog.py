"""Which tools a visitor sees. The same view answers the list and finds the tool of a call.

A view is made once for each set of granted tools and each revision of the hub, from entries that all views
share; so a list of thousands costs a look and the writing of the answer.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from hive.core.call import Principal, PrincipalKind
from hive.core.grant import ANY, Grant
from hive.core.json import Json, encode
from hive.protocols.mcp.gateway.names import outward_name
from hive.protocols.mcp.ports import McpError, McpObject, PinnedTool, ToolHub, Visitor

SCOPE: Final = "tools"
PAGE_MAX_BYTES: Final = 8 << 20
PAGE_MAX_TOOLS: Final = 10_000
CURSOR_MAX_CHARS: Final = 512
VIEWS_MAX: Final = 64
INVALID_PARAMS: Final = -32602
_NOTHING: Final = Grant()
_EVERYTHING: Final = Grant(tools=(ANY,))

GrantOf: TypeAlias = Callable[[Principal], Grant | None]
"""Return the grant of the sandbox that an agent calls from."""


@dataclass(frozen=True, slots=True)
class ToolEntry:
    """A tool under the name by which it is called here, and as it is listed."""

    name: str
    tool: PinnedTool
    listed: McpObject
    size_bytes: int

    @property
    def schema(self) -> Mapping[str, Json] | None:
        """Return what its arguments have to be."""
        return _object(self.tool.definition.raw.get("inputSchema"))

    @property
    def result_schema(self) -> Mapping[str, Json] | None:
        """Return what its structured result has to be, None where it says nothing of it."""
        return _object(self.tool.definition.raw.get("outputSchema"))


@dataclass(frozen=True, slots=True)
class ToolPage:
    """Some of the tools, and the cursor behind them; empty at the end."""

    tools: list[Json]
    next_cursor: str = ""


@dataclass(frozen=True, slots=True)
class ToolView:
    """What one set of grants shows, by name."""

    entries: Mapping[str, ToolEntry] = field(default_factory=dict)
    names: Sequence[str] = ()
    whole: ToolPage | None = None

    def get(self, name: str) -> ToolEntry | None:
        """Return a tool by its name here."""
        return self.entries.get(name)

    def page(self, cursor: str) -> ToolPage:
        """Return one page; a cursor names the last tool of the page before, so changes do not shift it.

        Raises:
            McpError: the cursor is not one.

        """
        if not cursor and self.whole is not None:
            return self.whole
        start = bisect_right(self.names, _last_named(cursor)) if cursor else 0
        tools: list[Json] = []
        size = 0
        for name in self.names[start : start + PAGE_MAX_TOOLS]:
            entry = self.entries[name]
            size += entry.size_bytes
            if tools and size > PAGE_MAX_BYTES:
                break
            tools.append(entry.listed)
        end = start + len(tools)
        return ToolPage(tools, _cursor(self.names[end - 1]) if end < len(self.names) else "")


class ToolCatalog:
    """The tools of the hub under their names here; `server` narrows it to one, under its own names."""

    def __init__(self, hub: ToolHub, grant_of: GrantOf, *, server: str = "") -> None:
        self._hub = hub
        self._grant_of = grant_of
        self._server = server
        self._revision = -1
        self._entries: dict[str, ToolEntry] = {}
        self._views: OrderedDict[tuple[str, ...], ToolView] = OrderedDict()
        self._private: dict[str, str] = {}

    def granted(self, visitor: Visitor) -> Grant:
        """Return what a visitor may use, as a grant that names tools only."""
        if visitor.scopes is not None and SCOPE not in visitor.scopes:
            return _NOTHING
        if visitor.principal.kind is not PrincipalKind.AGENT:
            return _EVERYTHING
        grant = self._grant_of(visitor.principal)
        return _NOTHING if grant is None else Grant(tools=grant.tools)

    def view(self, visitor: Visitor) -> ToolView:
        """Return what a visitor sees now."""
        grant = self.granted(visitor)
        if self._revision != self._hub.revision:
            self._fill()
        owner = str(visitor.principal.owner)
        # Views of one grant differ between owners only where a list is private.
        key = (*grant.tools, f"\0{owner}") if self._private else grant.tools
        found = self._views.get(key)
        if found is None:
            found = self._views[key] = self._seen(grant, owner)
            while len(self._views) > VIEWS_MAX:
                self._views.popitem(last=False)
        else:
            self._views.move_to_end(key)
        return found

    def _fill(self) -> None:
        # First: a change that comes meanwhile is seen the next time.
        self._revision = self._hub.revision
        self._views.clear()
        self._private = {
            one.spec.name: one.private_to for one in self._hub.servers() if one.private_to
        }
        before, entries = self._entries, dict[str, ToolEntry]()
        for tool in self._hub.tools():
            definition = tool.definition
            if not tool.usable or (self._server and definition.server != self._server):
                continue
            own = definition.name
            name = own if self._server else outward_name(definition.server, own)
            kept = before.get(name)
            if kept is None or kept.tool.definition is not definition:
                listed = {**definition.raw, "name": name}
                kept = ToolEntry(name, tool, listed, len(encode(listed)))
            elif kept.tool is not tool:
                kept = ToolEntry(name, tool, kept.listed, kept.size_bytes)
            # Two names are equal only if somebody found a collision: whoever came first keeps it.
            entries.setdefault(name, kept)
        self._entries = entries

    def _seen(self, grant: Grant, owner: str) -> ToolView:
        allowed = set(grant.tools)
        every = ANY in allowed
        servers = {one[: -len(ANY) - 1] for one in allowed if one.endswith(f".{ANY}")}
        shown = {
            name: entry
            for name, entry in self._entries.items()
            if (
                every
                or entry.tool.definition.server in servers
                or entry.tool.definition.full_name in allowed
            )
            and self._private.get(entry.tool.definition.server, owner) == owner
        }
        view = ToolView(shown, sorted(shown))
        return ToolView(shown, view.names, view.page(""))


def _object(value: Json) -> Mapping[str, Json] | None:
    return value if isinstance(value, dict) else None


def _cursor(name: str) -> str:
    return urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _last_named(cursor: str) -> str:
    try:
        return urlsafe_b64decode(cursor[:CURSOR_MAX_CHARS].encode("ascii") + b"==").decode()
    except ValueError:
        raise McpError(INVALID_PARAMS, "The cursor is not one of this list.") from None
