"""The official MCP client for Python, newest generation."""

import json
import os

from mcp import Client


async def answer(_text: str) -> str:
    async with Client(os.environ["HIVE_MCP_URL"]) as client:
        shown = {"listed": [tool.name for tool in (await client.list_tools()).tools]}
        for name, tool, arguments in json.loads(_text):
            try:
                result = await client.call_tool(tool, arguments)
                texts = [part.text for part in result.content if part.type == "text"]
                shown[name] = {
                    "error": result.is_error,
                    "text": " ".join(texts),
                    "data": result.structured_content,
                }
            except Exception as error:  # noqa: BLE001  whatever a client raises is its own words
                shown[name] = {"error": True, "text": str(error)}
    return json.dumps(shown)
