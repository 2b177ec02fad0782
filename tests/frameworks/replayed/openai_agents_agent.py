"""A shop's agent of the OpenAI Agents SDK, as its author would write it."""

from agents import Agent, function_tool, set_tracing_disabled
from tools import order_id, ship, stock

set_tracing_disabled(True)
agent = Agent(
    name="shop",
    instructions="Be brief.",
    model="gpt-4o-mini",
    tools=[function_tool(one) for one in (order_id, stock, ship)],
)
