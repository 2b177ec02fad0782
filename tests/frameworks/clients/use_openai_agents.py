"""The OpenAI Agents SDK: responses (its default) and chat completions."""

import asyncio

import report
from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool
from openai import AsyncOpenAI
from pydantic import BaseModel


class City(BaseModel):
    name: str
    people: int


MODELS = {
    "responses": lambda: "gpt-4o-mini",
    "chat": lambda: OpenAIChatCompletionsModel(model="gpt-4o-mini", openai_client=AsyncOpenAI()),
}


runs = asyncio.Runner()  # one loop for all, for the SDK keeps its connections


def ask(agent, text):
    return runs.run(Runner.run(agent, text)).final_output


def streamed(agent, text):
    async def gather():
        result = Runner.run_streamed(agent, text)
        return [
            event.data.delta
            async for event in result.stream_events()
            if event.type == "raw_response_event"
            and event.data.type == "response.output_text.delta"
        ]

    return runs.run(gather())


def answer(message):
    def agent(**more):
        return Agent(name="assistant", model=MODELS[message](), **more)

    tools = [function_tool(report.people_in)]

    def structured():
        city = ask(agent(output_type=City), report.RECORD)
        return report.is_bern(city.name, city.people)

    features = {
        "plain": lambda: report.said_hello(ask(agent(), report.HELLO)),
        "stream": lambda: report.streamed_hello(streamed(agent(), report.HELLO)),
        "tool": lambda: report.looked_up(ask(agent(tools=tools), report.QUESTION)),
        "streamed_tool": lambda: report.looked_up(
            "".join(streamed(agent(tools=tools), report.QUESTION))
        ),
        "structured": structured,
        "refused": lambda: report.refused(lambda: ask(agent(), report.HELLO)),
    }
    return report.tell(["openai-agents", "openai"], features)
