"""Google's Agent Development Kit and its toolset for MCP; what it does not list is asked in its session."""

import json
import os

from google.adk.agents import LlmAgent
from google.adk.agents.invocation_context import InvocationContext
from google.adk.sessions import InMemorySessionService
from google.adk.tools.mcp_tool import McpToolset, StreamableHTTPConnectionParams
from google.adk.tools.mcp_tool.mcp_session_manager import MCPSessionManager
from google.adk.tools.tool_context import ToolContext


async def context() -> ToolContext:
    sessions = InMemorySessionService()
    session = await sessions.create_session(app_name="shown", user_id="somebody")
    agent = LlmAgent(name="shown")
    return ToolContext(
        InvocationContext(session_service=sessions, invocation_id="1", agent=agent, session=session)
    )


async def answer(_text: str) -> str:
    connection = StreamableHTTPConnectionParams(url=os.environ["HIVE_MCP_URL"])
    toolset = McpToolset(connection_params=connection)
    sessions = MCPSessionManager(connection_params=connection)
    try:
        tools = {tool.name: tool for tool in await toolset.get_tools()}
        shown = {"listed": sorted(tools)}
        for name, tool, arguments in json.loads(_text):
            try:
                if tool not in tools:
                    session = await sessions.create_session()
                    result = await session.call_tool(tool, arguments)
                    texts = [part.text for part in result.content if part.type == "text"]
                    shown[name] = {"error": result.isError, "text": " ".join(texts)}
                    continue
                result = await tools[tool].run_async(args=arguments, tool_context=await context())
                texts = [part["text"] for part in result.get("content", []) if "text" in part]
                shown[name] = {
                    "error": bool(result.get("isError") or result.get("error")),
                    "text": " ".join(texts) or str(result.get("error")),
                    "data": result.get("structuredContent"),
                }
            except Exception as error:  # noqa: BLE001  whatever a client raises is its own words
                shown[name] = {"error": True, "text": str(error)}
    finally:
        await toolset.close()
        await sessions.close()
    return json.dumps(shown, default=str)
