"""What the hub needs from others: wires to servers, walls for processes, pins, secrets, logins.

A wire speaks for one connection: it frames, correlates and bounds. It knows no revision but as headers
and no caller. What a revision demands of each request is put in by the hub before the wire sees it.

A driver for a transport is one class with `ServerWire`'s methods and the constructor `(opening)`:

    class A2aWire:
        def __init__(self, opening: WireOpening) -> None: ...
        def running(self) -> AbstractAsyncContextManager[None]: ...
        duplex = False
        ended = False
        def settle(self, revision: str) -> None: ...
        async def ask(self, method, params, *, hearer, result_max_bytes, named="") -> McpObject: ...
        async def tell(self, method, params) -> None: ...

It is a row of `hive.protocols.mcp.drivers.WIRES`, named by its scheme. A driver that is no MCP server
itself (an A2A agent) answers `server/discover` like a server of the newest revision, then `tools/list`,
`tools/call`, and McpError(-32601) to the rest; it is asked nothing else before.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from hive.core.clock import Clock
from hive.core.ids import OwnerId
from hive.protocols.mcp.ports import McpObject, PinnedTool, ServerSpec, ToolDefinition

if TYPE_CHECKING:
    import httpx2


class Hearer(Protocol):
    """Hears what a server says while it works on one request."""

    async def note(self, method: str, params: McpObject) -> None:
        """Take a notification that belongs to this request."""
        ...

    async def question(self, method: str, params: McpObject) -> McpObject:
        """Answer a request of the server that belongs to this request.

        Raises:
            McpError: the answer is an error.

        """
        ...


class ByteStreams(Protocol):
    """The standard input and output of a process; anyio's ByteStream fits."""

    async def send(self, item: bytes) -> None:
        """Write; BrokenResourceError or ClosedResourceError when it has ended."""
        ...

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what came; EndOfStream when it has ended."""
        ...


Launch: TypeAlias = Callable[[ServerSpec, OwnerId, str], AbstractAsyncContextManager[ByteStreams]]
"""Run a stdio server behind the walls: its spec (environment with secrets in place), for whom, and which
instance (one of several of the same server and owner). Leaving the context ends the process."""

SecretOf: TypeAlias = Callable[[str], Awaitable[str]]
"""Return a secret of the vault by its name; NotFoundError where there is none."""

AuthFor: TypeAlias = Callable[[ServerSpec, OwnerId], "httpx2.Auth"]
"""Return what signs requests to a server that wants a login, for one owner.

Its flow raises StateError where somebody has to log in first.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireOpening:
    """All that a wire is made of: the spec with secrets in place, and whom to tell what names no request."""

    spec: ServerSpec
    owner: OwnerId
    instance: str
    clock: Clock
    hearer: Hearer
    headers: Mapping[str, str] = field(default_factory=dict)
    launch: Launch | None = None
    auth: "httpx2.Auth | None" = None


class ServerWire(Protocol):
    """One connection to one server."""

    @property
    def duplex(self) -> bool:
        """Tell whether questions of the server name no request: they reach the opening's hearer."""
        ...

    @property
    def ended(self) -> bool:
        """Tell whether it broke or was closed; it never comes back."""
        ...

    def running(self) -> AbstractAsyncContextManager[None]:
        """Connect, and read until the context is left.

        Raises:
            EngineUnavailableError: it cannot be reached or did not start.

        """
        ...

    def settle(self, revision: str) -> None:
        """Take the revision that was negotiated."""
        ...

    async def ask(
        self,
        method: str,
        params: McpObject,
        *,
        hearer: Hearer,
        result_max_bytes: int,
        named: Mapping[str, str] | None = None,
    ) -> McpObject:
        """Send a request and return its result; being cancelled tells the server.

        `named` are the headers that a transport with headers repeats of the body (`Mcp-Param-*`).

        Raises:
            McpError: the server answered with an error.
            EngineUnavailableError: it broke; `__cause__` is None where the request did not leave.
            TooLargeError: the answer is over `result_max_bytes`.
            StateError: somebody has to log in first.

        """
        ...

    async def tell(self, method: str, params: McpObject) -> None:
        """Send a notification.

        Raises:
            EngineUnavailableError: it broke.

        """
        ...


class Pins(Protocol):
    """Judges definitions: which may be used, and what their effect is."""

    def judge(
        self, spec: ServerSpec, listed: Sequence[ToolDefinition]
    ) -> Awaitable[Sequence[PinnedTool]]:
        """Return what a server lists with the state of each definition; new ones are kept as first seen."""
        ...

    def on_change(self, observer: Callable[[str], None]) -> Callable[[], None]:
        """Call `observer` with a server's name after a decision on one of its definitions."""
        ...
