"""One MCP server with one tool, on the official SDK: streamable HTTP, stateless, answers as JSON.

    python benchmarks/mcp_echo_server.py PORT

It stands in a process of its own, so that what it costs is told apart from what stands around it.
"""

import sys

import anyio
from mcp.server import MCPServer


def server() -> MCPServer:
    """Return the server."""
    made = MCPServer("echo", log_level="ERROR")

    @made.tool()
    def echo(text: str) -> str:
        """Say a text again."""
        return text

    return made


if __name__ == "__main__":
    anyio.run(
        lambda: server().run_streamable_http_async(
            port=int(sys.argv[1]), stateless_http=True, json_response=True
        )
    )
