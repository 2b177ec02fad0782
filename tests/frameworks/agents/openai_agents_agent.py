"""An agent of the OpenAI Agents SDK; its model is wherever OPENAI_BASE_URL says."""

from agents import Agent, OpenAIChatCompletionsModel, set_tracing_disabled
from openai import AsyncOpenAI

set_tracing_disabled(True)
assistant = Agent(
    name="assistant",
    instructions="Be brief.",
    model=OpenAIChatCompletionsModel(model="stub", openai_client=AsyncOpenAI()),
)
