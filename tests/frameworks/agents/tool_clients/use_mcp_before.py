"""The official MCP client for Python of the generation before, with sessions."""

import json
import os

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client


async def answer(_text: str) -> str:
    async with (
        streamablehttp_client(os.environ["HIVE_MCP_URL"]) as (read, write, _),
        ClientSession(read, write) as client,
    ):
        await client.initialize()
        shown = {"listed": [tool.name for tool in (await client.list_tools()).tools]}
        for name, tool, arguments in json.loads(_text):
            try:
                result = await client.call_tool(tool, arguments)
                texts = [part.text for part in result.content if part.type == "text"]
                shown[name] = {
                    "error": result.isError,
                    "text": " ".join(texts),
                    "data": result.structuredContent,
                }
            except Exception as error:  # noqa: BLE001  whatever a client raises is its own words
                shown[name] = {"error": True, "text": str(error)}
    return json.dumps(shown)
