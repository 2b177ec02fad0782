"""Many MCP servers in one process, each with its own tools, at `/NAME/mcp`: what is measured around them is not their work.

    python benchmarks/mcp_many_servers.py PORT TOOLS_EACH

They speak the newest revision and nothing else: discover, list, call. Standard library and uvicorn only.
"""

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import uvicorn

EMPTY: Final[dict[str, Any]] = {
    "resultType": "complete",
    "ttlMs": 3_600_000,
    "cacheScope": "public",
}


def tools_of(server: str, count: int) -> list[dict[str, Any]]:
    """Return the tools of one server: of the size that real ones have."""
    return [
        {
            "name": f"{server}_action_{number}",
            "title": f"Action {number}",
            "description": f"Carry out action {number} of the service {server}, on one of its records.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "record": {"type": "string", "description": "Which record, by its id."},
                    "count": {"type": "integer", "minimum": 1, "maximum": 100},
                    "note": {"type": "string", "description": "Why it is done."},
                },
                "required": ["record"],
            },
            "annotations": {"readOnlyHint": number % 2 == 0},
        }
        for number in range(count)
    ]


def answer(server: str, method: str, count: int) -> dict[str, Any]:
    """Return the result of one request."""
    if method == "server/discover":
        return {
            **EMPTY,
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": server, "version": "1.0.0"},
        }
    if method == "tools/list":
        return {**EMPTY, "tools": tools_of(server, count)}
    return {"resultType": "complete", "content": [{"type": "text", "text": "done"}]}


def application(count: int) -> Callable[..., Awaitable[None]]:
    """Return the servers as one ASGI application."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
        question = json.loads(body or b"{}")
        server = scope["path"].split("/")[1]
        status, data = 202, b""
        if "id" in question:
            result = answer(server, question.get("method", ""), count)
            data = json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": result}).encode()
            status = 200
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(data))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": data})

    return serve


if __name__ == "__main__":
    uvicorn.run(
        application(int(sys.argv[2])),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="error",
        lifespan="off",
    )
