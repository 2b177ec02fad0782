"""Which door answers which path: on the public port, and on a sandbox's own socket."""

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from hive.core.settings import Settings
from hive.node.http import App, Receive, Scope, Send

A2A_PREFIXES: Final = (
    "/a2a",
    "/.well-known/agent-card.json",
    "/.well-known/a2a-noise",
    "/.well-known/jwks.json",
)
MODEL_PREFIXES: Final = ("/v1/", "/v1beta/")
WITNESS_PREFIXES: Final = ("/witness",)
ATTEST_PREFIXES: Final = ("/attest",)
MCP_PREFIXES: Final = ("/mcp",)
OWN_PREFIXES: Final = ("/own",)
OAUTH_PREFIXES: Final = (
    "/oauth",
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-authorization-server",
)
_STARTING: Final = b'{"error":{"code":"E021","what":"The node is starting.","fix":"Try again."}}'
_MISDIRECTED: Final = (
    b'{"error":{"code":"E040","what":"This node does not answer to that host name.",'
    b'"fix":"Ask for 127.0.0.1, or set HIVE_PUBLIC_URL."}}'
)
_NOWHERE: Final = b'{"error":{"code":"E040","what":"There is nothing at this address."}}'


class PublicRoutes:
    """The public port: the A2A and MCP doors and the operator's site. Doors join as they open.

    `names` are the host names by which it is asked for; None lets any pass. A page of another site
    whose name was made to lead to this machine is a stranger in a browser: it gets no answer.
    """

    def __init__(self, names: frozenset[str] | None = None) -> None:
        self._names = names
        self.a2a: App | None = None
        self.mcp: App | None = None
        self.oauth: App | None = None
        self.witness: App | None = None
        self.attest: App | None = None
        self.site: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to its door."""
        path = scope["path"]
        if self._names is not None and not _is_ours(_host_of(scope), self._names):
            await _answer(send, 421, _MISDIRECTED)
            return
        door = self.site
        if _below(path, A2A_PREFIXES):
            door = self.a2a
        elif _below(path, MCP_PREFIXES):
            door = self.mcp
        elif _below(path, OAUTH_PREFIXES):
            door = self.oauth
        elif self.witness is not None and _below(path, WITNESS_PREFIXES):
            door = self.witness
        elif self.attest is not None and _below(path, ATTEST_PREFIXES):
            door = self.attest
        if door is None:
            await _answer(send, 503, _STARTING)
        else:
            await door(scope, receive, send)


class SandboxRoutes:
    """A sandbox's socket: other agents, models, tools and what is the agent's own. The operator's paths do not exist here."""

    def __init__(self) -> None:
        self.a2a: App | None = None
        self.models: App | None = None
        self.mcp: App | None = None
        self.own: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to its door."""
        path = scope["path"]
        door = None
        if _below(path, A2A_PREFIXES):
            door = self.a2a
        elif _below(path, MODEL_PREFIXES):
            door = self.models
        elif _below(path, MCP_PREFIXES):
            door = self.mcp
        elif _below(path, OWN_PREFIXES):
            door = self.own
        if door is None:
            await _answer(send, 404, _NOWHERE)
        else:
            await door(scope, receive, send)


def names_of(settings: Settings) -> frozenset[str] | None:
    """Return the names that a port on loopback answers to; None for one that is open to a network."""
    if not _is_loopback(settings.host):
        return None
    public = urlsplit(settings.public_url).hostname or ""
    return frozenset({"localhost", settings.host.lower(), public.lower()} - {""})


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host_of(scope: Scope) -> str:
    shown = next((value for key, value in scope["headers"] if key == b"host"), b"")
    try:
        return (urlsplit("//" + shown.decode("latin-1")).hostname or "").rstrip(".")
    except ValueError:
        return "?"


def _is_ours(host: str, names: frozenset[str]) -> bool:
    """Tell whether a host is one of ours; an address is: no name was made to lead here."""
    if not host or host in names or host.endswith(".localhost"):
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _below(path: str, prefixes: tuple[str, ...]) -> bool:
    return any(
        path == prefix or path.startswith(prefix if prefix.endswith("/") else prefix + "/")
        for prefix in prefixes
    )


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", b"1"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
