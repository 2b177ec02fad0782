"""A server on the official package: `official.py stdio`, or `official.py PORT` for HTTP and SSE. Run by the tests."""

import logging
import sys

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.routing import Mount

server = MCPServer("official", instructions="For tests.", log_level="WARNING")


class Name(BaseModel):
    """What the question asks for."""

    name: str


@server.tool()
def echo(text: str) -> str:
    """Return the text."""
    return text


@server.tool()
async def count(ctx: Context, to: int) -> str:
    """Count, and tell of every step."""
    for number in range(to):
        await ctx.report_progress(number, to, "step")
    return "counted"


@server.tool()
async def greet(ctx: Context) -> str:
    """Ask for a name and greet it."""
    answer = await ctx.elicit("Name?", Name)
    return f"Hello {answer.data.name}" if answer.action == "accept" else "Hello stranger"


@server.tool()
async def grow(ctx: Context) -> str:
    """Add a tool and say so."""
    server.add_tool(echo, name="echo_again")
    await ctx.session.send_tool_list_changed()
    return "grown"


@server.resource("note://one")
def note() -> str:
    """Return a note."""
    return "a note"


if __name__ == "__main__":
    logging.disable(logging.INFO)
    if sys.argv[1] == "stdio":
        server.run("stdio")
    else:
        web = server.streamable_http_app()
        app = Starlette(
            routes=[*web.routes, Mount("/old", app=server.sse_app())],
            lifespan=web.router.lifespan_context,
        )
        uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
