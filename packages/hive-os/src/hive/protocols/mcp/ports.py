"""What the parts of the MCP layer say to each other, on one screen.

    client ──HTTP──► McpFront ──► McpService ──► Gate ──► ServerLink ──► the server
                     (bytes)      (meaning)      (yes?)   (hub)

The front speaks the wire and knows no tool. A service knows what stands behind an endpoint: the tools of
the hub, one agent, or the node itself. The hub keeps connections to servers and knows no caller's rights.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from hive.core.call import EffectClass, Principal
from hive.core.grant import Grant
from hive.core.ids import AgentId
from hive.core.json import Json
from hive.security.capability.warrant import Warrant

NEWEST: Final = "2026-07-28"
"""The newest revision; from it on an exchange is stateless."""
REVISIONS: Final = ("2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26")

McpObject: TypeAlias = dict[str, Json]
"""Params or result of one method, decoded."""


class McpError(Exception):
    """An answer that is an error of JSON-RPC: code, message and data go to the client as they stand."""

    def __init__(self, code: int, message: str, data: Json = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class TransportKind(StrEnum):
    """How a server is reached."""

    STDIO = "stdio"
    HTTP = "http"
    SSE = "sse"
    A2A = "a2a"


class Sharing(StrEnum):
    """Who shares one running connection: everybody, the agents of one owner, or one sandbox alone."""

    NODE = "node"
    OWNER = "owner"
    SANDBOX = "sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """One MCP server as an operator declared it.

    STDIO: `argv` runs behind the walls of the process tier under `grant`; `package` (`npm:NAME@VERSION`,
    `pypi:NAME==VERSION`, empty for none) is built into its environment first. HTTP and SSE: `url`. A2A:
    `url` of an agent card. Values of `environment` and `headers` that read `secret:NAME` are taken from
    the vault when a connection is made. `effects` is the operator's word on single tools, over the hints
    of the server. What a `trusted` one answers counts as the user's own words: no stranger writes into it.
    Sizes in bytes, times in seconds.
    """

    name: str
    transport: TransportKind
    argv: tuple[str, ...] = ()
    package: str = ""
    url: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    grant: Grant = field(default_factory=Grant)
    sharing: Sharing = Sharing.OWNER
    oauth: bool = False
    effects: Mapping[str, EffectClass] = field(default_factory=dict)
    timeout_s: float = 60.0
    result_max_bytes: int = 4 << 20
    enabled: bool = True
    trusted: bool = False


FIRST_SIGHT: Final = "first sight"
"""Who let a definition be used that no person has looked at."""


class PinState(StrEnum):
    """Whether a definition may be used: only `PINNED` may."""

    PINNED = "pinned"
    FLAGGED = "flagged"
    CHANGED = "changed"
    SHADOWING = "shadowing"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDefinition:
    """A tool as its server lists it. `raw` is the whole object of `tools/list`.

    `digest` is the SHA-256 over the canonical JSON of what a model or a check reads of it: name, title,
    description, inputSchema, outputSchema, annotations.
    """

    server: str
    name: str
    raw: McpObject
    digest: str

    @property
    def full_name(self) -> str:
        """Return `server.tool`: the target of the call in grant, ledger and commands."""
        return f"{self.server}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedTool:
    """A tool with what is known of its definition.

    `flags` say what a look at it found (hidden characters, a look-alike name, instructions). For a changed
    one `definition` is the new form and `approved` the form that was pinned.
    """

    definition: ToolDefinition
    state: PinState
    effect: EffectClass
    flags: tuple[str, ...] = ()
    approved: ToolDefinition | None = None
    approved_by: str = ""
    seen_at: datetime | None = None

    @property
    def usable(self) -> bool:
        """Tell whether it may be listed to agents and called."""
        return self.state is PinState.PINNED


class ServerState(StrEnum):
    """Where a server stands."""

    IDLE = "idle"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    NEEDS_LOGIN = "needs-login"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerView:
    """A server as people and the gateway see it; `revision` as negotiated last, empty before.

    Where every owner has a login of their own at it, a list that it does not call public is not shared:
    `private_to` is the owner for whom it was made, empty where all may see it.
    """

    spec: ServerSpec
    state: ServerState
    revision: str = ""
    info: Mapping[str, Json] = field(default_factory=dict)
    capabilities: Mapping[str, Json] = field(default_factory=dict)
    instructions: str = ""
    tools: int = 0
    blocked: int = 0
    links: int = 0
    reason: str = ""
    changed_at: datetime | None = None
    private_to: str = ""


class Courier(Protocol):
    """The client's side of one exchange: what a server says or asks while it works on the answer."""

    @property
    def revision(self) -> str:
        """Return the revision that the client speaks."""
        ...

    @property
    def client(self) -> Mapping[str, Json]:
        """Return the capabilities that the client declared."""
        ...

    async def notify(self, method: str, params: McpObject) -> None:
        """Pass on a notification that belongs to this exchange (progress, a log line)."""
        ...

    async def ask(self, method: str, params: McpObject) -> McpObject:
        """Ask the client (elicitation, sampling, roots) and return its answer.

        A stateless client cannot be asked in the middle: a service that needs an answer gives it an
        InputRequiredResult instead (MCP 2026-07-28, multi-round requests).

        Raises:
            McpError: it declared no such capability, cannot be asked here, or refused.

        """
        ...


class ServerLink(Protocol):
    """One connection to one server, as its user sees it."""

    @property
    def view(self) -> ServerView:
        """Return the server as this connection knows it."""
        ...

    async def request(
        self,
        method: str,
        params: McpObject,
        *,
        timeout_s: float,
        courier: Courier | None = None,
    ) -> McpObject:
        """Ask the server and return its result; cancelling tells the server.

        What the server says or asks meanwhile goes to `courier`; without one it is dropped or refused.

        Raises:
            McpError: the server answered with an error.
            EngineTimeoutError: it did not answer in time.
            EngineUnavailableError: it cannot be reached, or the connection broke. `__cause__` is None
                where the request certainly did not leave.
            TooLargeError: the answer is over the server's `result_max_bytes`.

        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ListChange:
    """A list changed: `kind` is tools, prompts, resources or resource (then `uri` says which)."""

    server: str
    kind: str
    uri: str = ""


class ToolHub(Protocol):
    """All servers of this node and what they offer. Reading costs no I/O."""

    @property
    def revision(self) -> int:
        """Return a number that grows whenever a server, a tool or a pin changes."""
        ...

    def servers(self) -> Sequence[ServerView]:
        """Return all servers, by name."""
        ...

    def server(self, name: str) -> ServerView | None:
        """Return one server."""
        ...

    def tools(self) -> Sequence[PinnedTool]:
        """Return all tools of all servers, by full name, blocked ones too."""
        ...

    def tool(self, full_name: str) -> PinnedTool | None:
        """Return one tool."""
        ...

    def link(
        self, server: str, caller: Principal, *, courier: Courier | None = None
    ) -> AbstractAsyncContextManager[ServerLink]:
        """Hold a connection for a caller, opened if need be; shared as the spec says.

        With a `courier` whose client can be asked, a server of an older revision gets a connection of this
        caller's own, for there its questions name no request.

        Raises:
            NotFoundError: there is no such server.
            StateError: it is disabled, or somebody has to log in first.
            EngineUnavailableError: it cannot be reached or did not start.

        """
        ...

    def on_change(self, observer: Callable[[ListChange], None]) -> Callable[[], None]:
        """Call `observer` after every change of a list; return what ends that."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who asks at an endpoint, and what the token that was shown opens; None means all.

    `grant` is what the operator can take back while the visit lasts, empty for nothing.
    """

    principal: Principal
    agents: frozenset[AgentId] | None = None
    scopes: frozenset[str] | None = None
    traceparent: str = ""
    warrant: Warrant | None = None
    grant: str = ""


class McpService(Protocol):
    """What stands behind one endpoint."""

    @property
    def info(self) -> Mapping[str, Json]:
        """Return the Implementation object: name, version, title."""
        ...

    @property
    def instructions(self) -> str:
        """Return what a client should know, empty for nothing."""
        ...

    def capabilities(self, visitor: Visitor) -> Mapping[str, Json]:
        """Return the ServerCapabilities object, extensions included."""
        ...

    async def answer(
        self, visitor: Visitor, method: str, params: McpObject, courier: Courier
    ) -> McpObject:
        """Answer one request; everything but initialize, discover, ping and subscriptions comes here.

        Raises:
            McpError: the answer is an error (-32601 for a method that is unknown here).

        """
        ...

    def input_schema(self, visitor: Visitor, tool: str) -> Mapping[str, Json] | None:
        """Return a tool's input schema without I/O: the front compares `Mcp-Param-*` headers with it."""
        ...

    def changes(self, visitor: Visitor) -> AbstractAsyncContextManager[AsyncIterator[ListChange]]:
        """Watch the lists that this visitor sees."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """Why a request was turned away at the door: an HTTP answer, written as it stands."""

    status: int
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Doorman(Protocol):
    """Finds out who knocks, by what the connection and the head of a request say."""

    async def identify(
        self, scope: Mapping[str, object], headers: Mapping[str, str]
    ) -> Visitor | Turned:
        """Return who it is, or the answer that turns them away (401 with a challenge, 403)."""
        ...
