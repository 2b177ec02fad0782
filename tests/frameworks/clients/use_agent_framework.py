"""The Microsoft Agent Framework: responses, chat completions and Anthropic."""

import asyncio

import report
from agent_framework import Agent
from agent_framework.anthropic import AnthropicClient
from agent_framework.openai import OpenAIChatClient, OpenAIChatCompletionClient
from pydantic import BaseModel

MODELS = {
    "responses": ("agent-framework-openai", lambda: OpenAIChatClient(model="gpt-4o-mini")),
    "chat": ("agent-framework-openai", lambda: OpenAIChatCompletionClient(model="gpt-4o-mini")),
    "messages": (
        "agent-framework-anthropic",
        lambda: AnthropicClient(model="claude-sonnet-4-5"),
    ),
}


class City(BaseModel):
    name: str
    people: int


def answer(message):
    distribution, make = MODELS[message]

    def run(text, tools=(), **more):
        async def once():
            return await Agent(make(), tools=list(tools)).run(text, **more)

        return asyncio.run(once())

    def streamed(text, tools=()):
        async def gather():
            updates = Agent(make(), tools=list(tools)).run(text, stream=True)
            # The whole text comes once more at the end, to take the place of its pieces.
            return [
                content.text
                async for update in updates
                for content in update.contents
                if content.type == "text" and content.merge_mode != "replace"
            ]

        return asyncio.run(gather())

    def structured():
        city = run(report.RECORD, options={"response_format": City}).value
        return report.is_bern(city.name, city.people)

    tools = [report.people_in]
    features = {
        "plain": lambda: report.said_hello(run(report.HELLO).text),
        "stream": lambda: report.streamed_hello(streamed(report.HELLO)),
        "tool": lambda: report.looked_up(run(report.QUESTION, tools).text),
        "streamed_tool": lambda: report.looked_up("".join(streamed(report.QUESTION, tools))),
        "structured": structured,
        "refused": lambda: report.refused(lambda: run(report.HELLO)),
    }
    return report.tell(["agent-framework-core", distribution], features)
