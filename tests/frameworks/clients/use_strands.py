"""Strands: chat completions, responses, Anthropic and Gemini."""

import asyncio

import report
from pydantic import BaseModel
from strands import Agent, tool
from strands.models.anthropic import AnthropicModel
from strands.models.gemini import GeminiModel
from strands.models.openai import OpenAIModel
from strands.models.openai_responses import OpenAIResponsesModel

MODELS = {
    "chat": ("openai", lambda: OpenAIModel(model_id="gpt-4o-mini")),
    "responses": ("openai", lambda: OpenAIResponsesModel(model_id="gpt-4o-mini")),
    "messages": (
        "anthropic",
        lambda: AnthropicModel(model_id="claude-sonnet-4-5", max_tokens=300),
    ),
    "gemini": ("google-genai", lambda: GeminiModel(model_id="gemini-2.5-flash")),
}


class City(BaseModel):
    """A city."""

    name: str
    people: int


@tool
def people_in(city: str) -> str:
    """Tell how many people live in a city."""
    return report.people_in(city)


def answer(message):
    distribution, make = MODELS[message]

    def agent(**more):
        return Agent(model=make(), callback_handler=None, **more)

    def streamed(text, tools=()):
        async def gather():
            events = agent(tools=list(tools)).stream_async(text)
            return [event["data"] async for event in events if "data" in event]

        return asyncio.run(gather())

    def structured():
        said = f"{report.RECORD} By City."
        city = agent()(said, structured_output_model=City).structured_output
        return report.is_bern(city.name, city.people)

    features = {
        "plain": lambda: report.said_hello(str(agent()(report.HELLO))),
        "stream": lambda: report.streamed_hello(streamed(report.HELLO)),
        "tool": lambda: report.looked_up(str(agent(tools=[people_in])(report.QUESTION))),
        "streamed_tool": lambda: report.looked_up("".join(streamed(report.QUESTION, [people_in]))),
        "structured": structured,
        "refused": lambda: report.refused(lambda: agent(retry_strategy=None)(report.HELLO)),
    }
    return report.tell(["strands-agents", distribution], features)
