"""A client on the official package for the client suites: `python -m tests.conformance.official_client URL`.

It connects, lists the tools and calls each with arguments made from its schema.
"""

import os
import sys

import anyio
import mcp_types as types
from mcp import Client

_VALUES: dict[str, object] = {"number": 2, "integer": 2, "boolean": True, "string": "text"}


async def _accept(context: object, params: types.ElicitRequestParams) -> types.ElicitResult:
    del context
    schema = getattr(params, "requested_schema", None) or {}
    fields = schema.get("properties", {})
    content = {name: field["default"] for name, field in fields.items() if "default" in field}
    return types.ElicitResult(action="accept", content=content)


async def use(url: str, revision: str) -> None:
    """Use a server once."""
    mode = "legacy" if revision < "2026" else revision
    async with Client(url, mode=mode, elicitation_callback=_accept) as client:
        for tool in (await client.list_tools()).tools:
            fields = tool.input_schema.get("properties", {})
            given = {name: _VALUES.get(str(field.get("type"))) for name, field in fields.items()}
            await client.call_tool(tool.name, given)


if __name__ == "__main__":
    revision = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "2025-11-25")  # noqa: TID251
    anyio.run(use, sys.argv[1], revision)
