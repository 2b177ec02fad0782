"""LangChain's adapters: tools of MCP as tools of LangChain; what they do not list is asked in their session."""

import json
import os

from langchain_mcp_adapters.client import MultiServerMCPClient


async def asked(session, tool, arguments):
    try:
        result = await session.call_tool(tool, arguments)
    except Exception as error:  # noqa: BLE001  before the session's tasks wrap it
        return {"error": True, "text": str(error)}
    texts = [part.text for part in result.content if part.type == "text"]
    return {"error": result.isError, "text": " ".join(texts)}


async def answer(_text: str) -> str:
    connection = {"transport": "streamable_http", "url": os.environ["HIVE_MCP_URL"]}
    client = MultiServerMCPClient({"all": connection})
    tools = {tool.name: tool for tool in await client.get_tools()}
    shown = {"listed": sorted(tools)}
    for name, tool, arguments in json.loads(_text):
        try:
            if tool not in tools:
                async with client.session("all") as session:
                    shown[name] = await asked(session, tool, arguments)
                continue
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
