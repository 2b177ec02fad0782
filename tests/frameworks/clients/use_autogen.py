"""AutoGen: chat completions and Anthropic."""

import asyncio

import report
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ModelClientStreamingChunkEvent
from autogen_ext.models.anthropic import AnthropicChatCompletionClient
from autogen_ext.models.openai import OpenAIChatCompletionClient
from pydantic import BaseModel

MODELS = {
    "chat": ("openai", lambda: OpenAIChatCompletionClient(model="gpt-4o-mini")),
    "messages": (
        "anthropic",
        lambda: AnthropicChatCompletionClient(model="claude-sonnet-4-5"),
    ),
}


class City(BaseModel):
    name: str
    people: int


async def people_in(city: str) -> str:
    """Tell how many people live in a city."""
    return report.people_in(city)


def answer(message):
    distribution, make = MODELS[message]

    def agent(**more):
        return AssistantAgent("assistant", make(), reflect_on_tool_use=True, **more)

    def ask(text, **more):
        async def once():
            return (await agent(**more).run(task=text)).messages[-1].content

        return asyncio.run(once())

    def streamed(text, **more):
        async def gather():
            events = agent(model_client_stream=True, **more).run_stream(task=text)
            return [
                event.content
                async for event in events
                if isinstance(event, ModelClientStreamingChunkEvent)
            ]

        return asyncio.run(gather())

    def structured():
        if message == "messages":
            raise report.NotOfferedError("its Anthropic client has no typed answers")
        city = ask(report.RECORD, output_content_type=City)
        return report.is_bern(city.name, city.people)

    tools = [people_in]
    features = {
        "plain": lambda: report.said_hello(ask(report.HELLO)),
        "stream": lambda: report.streamed_hello(streamed(report.HELLO)),
        "tool": lambda: report.looked_up(ask(report.QUESTION, tools=tools)),
        "streamed_tool": lambda: report.looked_up("".join(streamed(report.QUESTION, tools=tools))),
        "structured": structured,
        "refused": lambda: report.refused(lambda: ask(report.HELLO)),
    }
    return report.tell(["autogen-agentchat", "autogen-ext", distribution], features)
