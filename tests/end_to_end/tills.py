"""A tool server that counts what it is asked, and answers when a file says so: `python tills.py FOLDER`.

FOLDER/asked has a line for each call. A call with the label L ends when FOLDER/go-L exists.
"""

import socket
import sys
from pathlib import Path

import anyio
import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

FOLDER = Path(sys.argv[1])
server = MCPServer("tills")


async def counted(tool: str, label: str) -> str:
    with (FOLDER / "asked").open("a") as asked:
        asked.write(f"{tool} {label}\n")
    while not (FOLDER / f"go-{label}").exists():  # noqa: ASYNC110  the file comes from another process
        await anyio.sleep(0.02)
    return f"{tool} {label}"


@server.tool()
async def charge(label: str, reason: str = "") -> str:
    """Charge somebody, for a reason that may be long."""
    del reason
    return await counted("charge", label)


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
async def look(label: str) -> str:
    """Look something up."""
    return await counted("look", label)


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", int(sys.argv[2])))
        print("ready", flush=True)  # noqa: T201
        config = uvicorn.Config(server.streamable_http_app(), log_level="error")
        uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    main()
