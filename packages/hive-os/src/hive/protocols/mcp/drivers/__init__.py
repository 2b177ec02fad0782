"""The transports by which an MCP server is reached: one row each, loaded when first used."""

from typing import Final

from hive.core.drivers import DriverRow, Table
from hive.protocols.mcp.hub.ports import ServerWire

WIRES: Final[Table[ServerWire]] = Table(
    port="tools",
    setting="A tool server's transport",
    rows=(
        DriverRow(
            scheme="http",
            target="hive.protocols.mcp.drivers.http:HttpWire",
            summary="a server at a URL, streamable HTTP",
        ),
        DriverRow(
            scheme="stdio",
            target="hive.protocols.mcp.drivers.stdio:StdioWire",
            summary="a program behind the walls, spoken to by its standard input and output",
        ),
        DriverRow(
            scheme="sse",
            target="hive.protocols.mcp.drivers.sse:SseWire",
            summary="a server at a URL, the older HTTP with one event stream",
        ),
        DriverRow(
            scheme="a2a",
            target="hive.protocols.mcp.drivers.a2a:A2aWire",
            summary="an A2A agent as a server: its skills are tools",
        ),
    ),
)
