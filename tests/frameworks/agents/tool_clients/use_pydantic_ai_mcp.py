"""Pydantic AI's toolset for MCP."""

import json
import os

from pydantic_ai.mcp import MCPToolset


async def answer(_text: str) -> str:
    async with MCPToolset(os.environ["HIVE_MCP_URL"]) as toolset:
        shown = {"listed": [tool.name for tool in await toolset.list_tools()]}
        for name, tool, arguments in json.loads(_text):
            try:
                result = await toolset.direct_call_tool(tool, arguments)
                shown[name] = {"error": False, "text": str(result), "data": result}
            except Exception as error:  # noqa: BLE001  whatever a client raises is its own words
                shown[name] = {"error": True, "text": str(error)}
    return json.dumps(shown, default=str)
