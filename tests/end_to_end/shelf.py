"""A careless tool server that reads whatever it is told below a folder, and climbs: `python shelf.py FOLDER PORT`."""

import socket
import sys
from pathlib import Path

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

FOLDER = Path(sys.argv[1])
server = MCPServer("shelf")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
async def read(path: str) -> str:
    """Read a file below /data."""
    return (FOLDER / path.removeprefix("/data/")).read_text()


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", int(sys.argv[2])))
        print("ready", flush=True)  # noqa: T201
        config = uvicorn.Config(server.streamable_http_app(), log_level="error")
        uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    main()
