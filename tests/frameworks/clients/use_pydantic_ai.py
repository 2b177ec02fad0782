"""Pydantic AI: both modes of OpenAI, Anthropic and Gemini, named as in its documentation."""

import report
from pydantic import BaseModel
from pydantic_ai import Agent

MODELS = {
    "chat": ("openai-chat:gpt-4o-mini", "openai"),
    "responses": ("openai-responses:gpt-4o-mini", "openai"),
    "messages": ("anthropic:claude-sonnet-4-5", "anthropic"),
    "gemini": ("google:gemini-2.5-flash", "google-genai"),
}


class City(BaseModel):
    name: str
    people: int


def streamed(agent, text):
    with agent.run_stream_sync(text) as result:
        return list(result.stream_text(delta=True, debounce_by=None))


def answer(message):
    name, distribution = MODELS[message]
    agent = Agent(name, tools=[report.people_in])
    typed = Agent(name, output_type=City)

    def structured():
        city = typed.run_sync(f"{report.RECORD} By final_result.").output
        return report.is_bern(city.name, city.people)

    features = {
        "plain": lambda: report.said_hello(agent.run_sync(report.HELLO).output),
        "stream": lambda: report.streamed_hello(streamed(agent, report.HELLO)),
        "tool": lambda: report.looked_up(agent.run_sync(report.QUESTION).output),
        "streamed_tool": lambda: report.looked_up("".join(streamed(agent, report.QUESTION))),
        "structured": structured,
        "refused": lambda: report.refused(lambda: agent.run_sync(report.HELLO)),
    }
    return report.tell(["pydantic-ai-slim", distribution], features)
