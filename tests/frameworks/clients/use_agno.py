"""Agno: chat completions, responses, Anthropic and Gemini."""

import report
from agno.agent import Agent
from agno.models.anthropic import Claude
from agno.models.google import Gemini
from agno.models.openai import OpenAIChat, OpenAIResponses
from pydantic import BaseModel

MODELS = {
    "chat": ("openai", lambda: OpenAIChat(id="gpt-4o-mini")),
    "responses": ("openai", lambda: OpenAIResponses(id="gpt-4o-mini")),
    "messages": ("anthropic", lambda: Claude(id="claude-sonnet-4-5")),
    "gemini": ("google-genai", lambda: Gemini(id="gemini-2.5-flash")),
}


class RunStatusError(Exception):
    """A run ended with the status ERROR."""


class City(BaseModel):
    name: str
    people: int


def ask(agent, text):
    run = agent.run(text)
    if run.status.value != "COMPLETED":
        raise RunStatusError(run.content)
    return run.content


def streamed(agent, text):
    events = agent.run(text, stream=True)
    return [event.content or "" for event in events if event.event == "RunContent"]


def answer(message):
    distribution, make = MODELS[message]

    def agent(**more):
        return Agent(model=make(), **more)

    def structured():
        city = ask(agent(output_schema=City), report.RECORD)
        return report.is_bern(city.name, city.people)

    tools = [report.people_in]
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
    return report.tell(["agno", distribution], features)
