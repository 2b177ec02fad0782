"""A LangGraph agent whose model decides; its tools are what a server of MCP lists."""

import os

from langchain.agents import create_agent
from langchain_mcp_adapters.client import MultiServerMCPClient


async def answer(text: str) -> str:
    connection = {"transport": "streamable_http", "url": os.environ["HIVE_MCP_URL"]}
    tools = await MultiServerMCPClient({"all": connection}).get_tools()
    graph = create_agent("openai:gpt-4o-mini", tools)
    ended = await graph.ainvoke({"messages": [("user", text)]})
    return ended["messages"][-1].text
