"""CrewAI: a crew of one, with the models of OpenAI, Anthropic and Gemini."""

import report
from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool
from pydantic import BaseModel

MODELS = {
    "chat": ("openai/gpt-4o-mini", "openai"),
    "messages": ("anthropic/claude-sonnet-4-5", "anthropic"),
    "gemini": ("gemini/gemini-2.5-flash", "google-genai"),
}


class City(BaseModel):
    """A city."""

    name: str
    people: int


@tool("people_in")
def people_in(city: str) -> str:
    """Tell how many people live in a city."""
    return report.people_in(city)


def crew(model, text, *, stream=False, tools=(), **more):
    llm = LLM(model=model, stream=stream)
    agent = Agent(role="guide", goal="answer", backstory="local", llm=llm, tools=list(tools))
    task = Task(description=text, expected_output="an answer", agent=agent, **more)
    return Crew(agents=[agent], tasks=[task], stream=stream)


def ask(model, text, **more):
    return crew(model, text, **more).kickoff()


def streamed(model, text, **more):
    pieces = crew(model, text, stream=True, **more).kickoff()
    return [piece.content for piece in pieces if piece.chunk_type.value == "text"]


def answer(message):
    model, distribution = MODELS[message]

    def structured():
        city = ask(model, f"{report.RECORD}", output_pydantic=City).pydantic
        return report.is_bern(city.name, city.people)

    tools = [people_in]
    features = {
        "plain": lambda: report.said_hello(ask(model, report.HELLO).raw),
        "stream": lambda: report.streamed_hello(streamed(model, report.HELLO)),
        "tool": lambda: report.looked_up(ask(model, report.QUESTION, tools=tools).raw),
        "streamed_tool": lambda: report.looked_up(
            "".join(streamed(model, report.QUESTION, tools=tools))
        ),
        "structured": structured,
        "refused": lambda: report.refused(lambda: ask(model, report.HELLO)),
    }
    return report.tell(["crewai", distribution], features)
