"""A tool server on the official SDK, as a program: `tool_shop FILE` prints its URL and serves both eras.

FILE gets a line for each request that names a tool, before anything of the SDK looks at it.
"""

import json
import socket
import sys
from pathlib import Path

import uvicorn
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

server = MCPServer("shop")


class Price(BaseModel):
    name: str
    cents: int


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def price(name: str) -> Price:
    """Tell what something costs."""
    return Price(name=name, cents=len(name) * 100)


@server.tool()
def till() -> str:
    """Open the till."""
    return "the till is open"


@server.tool()
def refund(cents: int) -> str:
    """Pay money back."""
    return f"{cents} cents paid back"


class Noted:
    """Writes down every call of a tool as it stands in the request."""

    def __init__(self, app: ASGIApp, file: Path) -> None:
        self._app, self._file = app, file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        asked = json.loads(body)
        if asked.get("method") == "tools/call":
            params = asked["params"]
            with self._file.open("a") as file:
                file.write(json.dumps([params["name"], params["arguments"]]) + "\n")
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, again, send)


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        print(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", flush=True)  # noqa: T201
        app = Noted(server.streamable_http_app(), Path(sys.argv[1]))
        uvicorn.Server(uvicorn.Config(app, log_level="error")).run([listening])


if __name__ == "__main__":
    sys.exit(main())
