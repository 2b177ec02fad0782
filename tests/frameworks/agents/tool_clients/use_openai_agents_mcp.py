"""The OpenAI Agents SDK's server object for MCP."""

import json
import os

from agents.mcp import MCPServerStreamableHttp


async def answer(_text: str) -> str:
    async with MCPServerStreamableHttp(params={"url": os.environ["HIVE_MCP_URL"]}) as server:
        shown = {"listed": [tool.name for tool in await server.list_tools()]}
        for name, tool, arguments in json.loads(_text):
            try:
                result = (await server.call_tool(tool, arguments)).model_dump(by_alias=True)
                texts = [part["text"] for part in result["content"] if part["type"] == "text"]
                shown[name] = {
                    "error": bool(result.get("isError")),
                    "text": " ".join(texts),
                    "data": result.get("structuredContent"),
                }
            except Exception as error:  # noqa: BLE001  whatever a client raises is its own words
                shown[name] = {"error": True, "text": str(error)}
    return json.dumps(shown)
