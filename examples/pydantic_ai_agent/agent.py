"""A Pydantic AI agent with a tool of its own: nothing here knows of Hive."""

from pydantic_ai import Agent

agent = Agent("openai-chat:gpt-4o-mini", instructions="Answer in one sentence.")


@agent.tool_plain
def add(first: int, second: int) -> int:
    """Add two numbers."""
    return first + second
