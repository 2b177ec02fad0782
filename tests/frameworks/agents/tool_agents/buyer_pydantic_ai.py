"""An agent of Pydantic AI as its documentation writes one: a model, and a server of MCP for its tools."""

import os

from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset

agent = Agent("openai-chat:gpt-4o-mini", toolsets=[MCPToolset(os.environ["HIVE_MCP_URL"])])
