"""A shop's agent of Pydantic AI, as its author would write it."""

from pydantic_ai import Agent
from tools import order_id, ship, stock

agent = Agent("openai-chat:gpt-4o-mini", tools=[order_id, stock, ship])
