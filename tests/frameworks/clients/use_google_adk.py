"""Google's Agent Development Kit with its Gemini model."""

import asyncio

import report
from google.adk.agents import LlmAgent
from google.adk.agents.run_config import RunConfig, StreamingMode
from google.adk.runners import InMemoryRunner
from google.genai import types
from pydantic import BaseModel

MODEL = "gemini-2.5-flash"


class City(BaseModel):
    name: str
    people: int


def events_of(agent, text, mode=StreamingMode.NONE):
    async def gather():
        runner = InMemoryRunner(agent=agent, app_name="clients")
        session = await runner.session_service.create_session(app_name="clients", user_id="one")
        said = types.Content(role="user", parts=[types.Part(text=text)])
        turn = runner.run_async(
            user_id="one",
            session_id=session.id,
            new_message=said,
            run_config=RunConfig(streaming_mode=mode),
        )
        events = [event async for event in turn]
        for event in events:
            if event.error_code:
                raise RuntimeError(f"{event.error_code} {event.error_message}")
        return events

    return asyncio.run(gather())


def text_of(event):
    parts = event.content.parts if event.content and event.content.parts else []
    return "".join(part.text or "" for part in parts)


def ask(agent, text):
    return text_of([event for event in events_of(agent, text) if event.is_final_response()][-1])


def streamed(agent, text):
    return [text_of(one) for one in events_of(agent, text, StreamingMode.SSE) if one.partial]


def answer(message):
    def agent(**more):
        return LlmAgent(name="assistant", model=MODEL, **more)

    def structured():
        city = City.model_validate_json(ask(agent(output_schema=City), report.RECORD))
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
    return report.tell(["google-adk", "google-genai"], features)
