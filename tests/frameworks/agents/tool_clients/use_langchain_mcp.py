"""LangChain's adapters: tools of MCP as tools of LangChain."""

import json
import os

from langchain_mcp_adapters.client import MultiServerMCPClient


async def answer(_text: str) -> str:
    connection = {"transport": "streamable_http", "url": os.environ["HIVE_MCP_URL"]}
    tools = {
        tool.name: tool for tool in await MultiServerMCPClient({"all": connection}).get_tools()
    }
    shown = {"listed": sorted(tools)}
    for name, tool, arguments in json.loads(_text):
        try:
            if tool not in tools:
                raise LookupError(f"Unknown tool: {tool}")  # noqa: TRY301
            call = {"name": tool, "args": arguments, "id": "1", "type": "tool_call"}
            message = await tools[tool].ainvoke(call)
            data = message.artifact
            shown[name] = {
                "error": message.status == "error",
                "text": message.text if isinstance(message.text, str) else message.text(),
                "data": None if data is None else data.get("structured_content"),
            }
        except Exception as error:  # noqa: BLE001  whatever a client raises is its own words
            shown[name] = {"error": True, "text": str(error)}
    return json.dumps(shown)
