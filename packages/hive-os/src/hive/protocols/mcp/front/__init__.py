"""The wire of MCP: streamable HTTP in every revision, for any service.

How it is put together (one front may serve any number of paths and services):

    front = McpFront(
        service_for=lambda visitor, path: ...,   # McpService, or None: 404
        doorman=doorman, settings=settings, clock=clock, randomness=randomness,
        names=names_of(settings),                # host names it answers to; None: any (a sandbox's socket)
    )
    async with front:                            # closing it ends every session, stream and call
        routes.mcp = front

`path` is the path of the request as it came (`/mcp/servers/NAME`, `/mcp/~HANDLE/...`). `app` is the door,
`wire` reads and writes JSON-RPC, `stateless` speaks 2026-07-28, `stateful` the revisions with a handshake.
"""

from hive.protocols.mcp.front.app import McpFront, ServiceFor
from hive.protocols.mcp.front.limits import FrontLimits

__all__ = ("FrontLimits", "McpFront", "ServiceFor")
