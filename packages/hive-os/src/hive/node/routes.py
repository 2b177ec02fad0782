"""Which door answers which path: on the public port, and on a sandbox's own socket."""

from typing import Final

from hive.node.http import App, Receive, Scope, Send

A2A_PREFIXES: Final = ("/a2a", "/.well-known/agent-card.json")
MODEL_PREFIXES: Final = ("/v1/",)
_STARTING: Final = b'{"error":{"code":"E021","what":"The node is starting.","fix":"Try again."}}'
_NOWHERE: Final = b'{"error":{"code":"E040","what":"There is nothing at this address."}}'


class PublicRoutes:
    """The public port: the A2A door and the operator's site. Doors join as they open."""

    def __init__(self) -> None:
        self.a2a: App | None = None
        self.site: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to its door."""
        path = scope["path"]
        door = self.a2a if _below(path, A2A_PREFIXES) else self.site
        if door is None:
            await _answer(send, 503, _STARTING)
        else:
            await door(scope, receive, send)


class SandboxRoutes:
    """A sandbox's socket: other agents and models. The operator's paths do not exist here."""

    def __init__(self) -> None:
        self.a2a: App | None = None
        self.models: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to its door."""
        path = scope["path"]
        door = None
        if _below(path, A2A_PREFIXES):
            door = self.a2a
        elif _below(path, MODEL_PREFIXES):
            door = self.models
        if door is None:
            await _answer(send, 404, _NOWHERE)
        else:
            await door(scope, receive, send)


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
