"""Tool servers and their tools on the operator's wire: `/api/tools` and `/api/tool-names`."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec

from hive.core.errors import BadInputError, NotFoundError
from hive.web.chapters import Answer, ApiQuestion, Chapter, Lines, RouteKey


class ToolServerOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server to be added; paths are seen from `folder`.

    `paths` are `HOST[:INSIDE][:ro|rw]`, `hosts` are `NAME[:PORT]`. Values of `environment` and `headers` that
    read `secret:NAME` come from the vault; `secrets` holds new ones by their names. `bundle` is the text of
    what vouches for its package. `confirmed` is the digest of the plan that a person agreed to.
    """

    name: str
    transport: Literal["stdio", "http", "sse", "a2a"] = "stdio"
    argv: list[str] = []
    package: str = ""
    url: str = ""
    environment: dict[str, str] = {}
    headers: dict[str, str] = {}
    secrets: dict[str, str] = {}
    folder: str = "/"
    paths: list[str] = []
    hosts: list[str] = []
    sharing: Literal["node", "owner", "sandbox"] = "owner"
    oauth: bool = False
    allow_build: bool = False
    effects: dict[str, Literal["pure", "idempotent", "once"]] = {}
    timeout_s: float = 60.0
    enabled: bool = True
    trusted: bool = False
    bundle: str = ""
    confirmed: str = ""

    def __repr__(self) -> str:
        return f"ToolServerOrder(name={self.name!r}, transport={self.transport!r})"


class ToolServerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What adding a server would start and let it do."""

    name: str
    starts: str
    lines: list[str]
    digest: str
    missing_secrets: list[str] = []


class ToolServerStep(msgspec.Struct, frozen=True, kw_only=True):
    """One thing on the way to a server that answers; `server` comes with the last one, `ready` or `stopped`."""

    stage: Literal["progress", "kept", "ready", "stopped"]
    text: str = ""
    took_ms: float | None = None
    server: "ToolServerReport | None" = None


class ToolServerLine(msgspec.Struct, frozen=True, kw_only=True):
    """One server in a list. `place` is its package, command or address."""

    name: str
    transport: str
    state: str
    place: str
    reason: str = ""
    revision: str = ""
    version: str = ""
    tools: int = 0
    blocked: int = 0
    links: int = 0
    sharing: str = "owner"
    changed_at: datetime | None = None


class ToolLine(msgspec.Struct, frozen=True, kw_only=True):
    """One tool in a list. `pin`: pinned, flagged, changed, shadowing; only a pinned one may be called."""

    name: str
    server: str
    pin: str
    effect: str
    title: str = ""
    description: str = ""
    flags: list[str] = []
    usable: bool = False


class ToolsOverview(msgspec.Struct, frozen=True, kw_only=True):
    """Servers, and the tools that were asked for."""

    servers: list[ToolServerLine]
    tools: list[ToolLine] = []
    more: int = 0


class ToolServerReport(msgspec.Struct, frozen=True, kw_only=True):
    """One server whole. Secrets stand in it by their names."""

    line: ToolServerLine
    title: str = ""
    instructions: str = ""
    offers: list[str] = []
    grant: list[str] = []
    environment: dict[str, str] = {}
    headers: dict[str, str] = {}
    oauth: bool = False
    timeout_s: float = 60.0
    result_max_bytes: int = 0
    tools: list[ToolLine] = []


class ToolUser(msgspec.Struct, frozen=True, kw_only=True):
    """Who called a tool, how often, and when last."""

    who: str
    calls: int
    last_at: datetime


class ToolReport(msgspec.Struct, frozen=True, kw_only=True):
    """One tool whole: its definition as the server lists it, and the one that was approved if they differ.

    `used` is None where the record is so long that nobody waited for the answer.
    """

    line: ToolLine
    digest: str
    definition: dict[str, Any]
    approved: dict[str, Any] | None = None
    approved_digest: str = ""
    approved_by: str = ""
    seen_at: datetime | None = None
    used: list[ToolUser] | None = []


class ToolFound(msgspec.Struct, frozen=True, kw_only=True):
    """What a name means: a server or a tool."""

    server: ToolServerReport | None = None
    tool: ToolReport | None = None


class ToolCallOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of a call by the operator."""

    arguments: dict[str, Any] = {}


class ToolCallEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What happens in a call: `progress` and `log` on the way, `result` or `error` as the last."""

    kind: Literal["progress", "log", "result", "error"]
    text: str = ""
    progress: float | None = None
    total: float | None = None
    result: dict[str, Any] | None = None
    code: int = 0
    took_ms: float | None = None


class ToolApproval(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A yes to a definition: the digest says to which."""

    digest: str


class ToolLogin(msgspec.Struct, frozen=True, kw_only=True):
    """Where to log in with a browser; empty where nothing has to be done."""

    url: str = ""
    note: str = ""


class ToolLogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line that a server wrote beside its protocol."""

    at: datetime
    text: str
    level: str = "info"


class LiveTools(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows: all servers, the tools that wait for somebody, and how many there are."""

    servers: list[ToolServerLine]
    blocked: list[ToolLine]
    tools: int = 0


class LiveToolsSource(Protocol):
    """Who tells the page of tools."""

    def live(self) -> LiveTools:
        """Tell how servers and tools stand, from memory."""
        ...


class ToolDesk(Protocol):
    """Who keeps tool servers. Errors are `HiveError`."""

    async def overview(self, *, search: str, tools: bool) -> ToolsOverview:
        """Tell of all servers; with `tools`, of those tools whose name or description holds `search`."""
        ...

    async def names(self) -> Sequence[str]:
        """Return the names of servers and tools, from memory."""
        ...

    async def plan(self, order: ToolServerOrder) -> ToolServerPlan:
        """Tell what adding a server would let it do; changes nothing. Raises SpecError, ConfigError."""
        ...

    def add(self, order: ToolServerOrder) -> AsyncIterator[ToolServerStep]:
        """Keep a server, start it and list its tools. Raises ConflictError, SpecError, NotFoundError."""
        ...

    async def find(self, name: str) -> ToolFound:
        """Describe a server or a tool. Raises NotFoundError."""
        ...

    async def remove(self, name: str) -> None:
        """Take a server away. Raises NotFoundError."""
        ...

    async def set_enabled(self, name: str, *, enabled: bool) -> ToolServerLine:
        """Switch a server on or off. Raises NotFoundError."""
        ...

    async def refresh(self, name: str) -> ToolServerReport:
        """Connect anew and list anew. Raises NotFoundError, EngineError."""
        ...

    def call(self, name: str, order: ToolCallOrder) -> AsyncIterator[ToolCallEvent]:
        """Call a tool as the operator, through the gate. Raises NotFoundError."""
        ...

    async def approve(self, name: str, digest: str) -> ToolReport:
        """Say yes to the definition of that digest. Raises NotFoundError, ConflictError, StateError."""
        ...

    async def login(self, name: str) -> ToolLogin:
        """Begin to log in at a server. Raises NotFoundError, StateError."""
        ...

    def logs(self, name: str, *, last: int) -> AsyncIterator[ToolLogLine]:
        """Read what a server wrote beside its protocol. Raises NotFoundError."""
        ...


class ToolsChapter(Chapter):
    """The paths of tools."""

    def __init__(self, desk: ToolDesk) -> None:
        self._desk = desk
        self.answers: Mapping[RouteKey, Answer] = {
            ("GET", "tools", 0): self._overview,
            ("GET", "tool-names", 0): self._names,
            ("GET", "tools", 1): self._find,
            ("DELETE", "tools", 1): self._remove,
            ("POST", "tools", 1): self._plan,
            ("POST", "tools", 2): self._change,
        }
        self.streams: Mapping[RouteKey, Lines] = {
            ("POST", "tools", 0): self._add,
            ("POST", "tool-calls", 1): self._call,
            ("GET", "tool-logs", 1): self._logs,
        }

    async def _overview(self, question: ApiQuestion) -> object:
        search = question.query.get("search", "")
        return await self._desk.overview(search=search, tools=question.query.get("tools") == "1")

    async def _names(self, _question: ApiQuestion) -> object:
        return list(await self._desk.names())

    async def _find(self, question: ApiQuestion) -> object:
        return await self._desk.find(question.rest[0])

    async def _remove(self, question: ApiQuestion) -> object:
        await self._desk.remove(question.rest[0])
        return {"removed": question.rest[0]}

    async def _plan(self, question: ApiQuestion) -> object:
        if question.rest[0] != "plan":
            raise _no_path()
        return await self._desk.plan(question.read(ToolServerOrder))

    async def _change(self, question: ApiQuestion) -> object:
        name, verb = question.rest
        if verb in ("enable", "disable"):
            return await self._desk.set_enabled(name, enabled=verb == "enable")
        if verb == "refresh":
            return await self._desk.refresh(name)
        if verb == "approve":
            return await self._desk.approve(name, question.read(ToolApproval).digest)
        if verb == "login":
            return await self._desk.login(name)
        raise _no_path()

    def _add(self, question: ApiQuestion) -> AsyncIterator[object]:
        return self._desk.add(question.read(ToolServerOrder))

    def _call(self, question: ApiQuestion) -> AsyncIterator[object]:
        return self._desk.call(question.rest[0], question.read(ToolCallOrder))

    def _logs(self, question: ApiQuestion) -> AsyncIterator[object]:
        text = question.query.get("last", "100")
        if not (text.isascii() and text.isdigit() and len(text) < 7):
            raise BadInputError("The field last is not a number.")
        return self._desk.logs(question.rest[0], last=int(text))


def _no_path() -> NotFoundError:
    return NotFoundError("The operator API has no such path.")
