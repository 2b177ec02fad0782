"""A tool server on the official SDK, as a program: prints its URL and serves both eras until it is killed."""

import socket
import sys

import uvicorn
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel

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


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        print(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", flush=True)  # noqa: T201
        config = uvicorn.Config(server.streamable_http_app(), log_level="error")
        uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    sys.exit(main())
