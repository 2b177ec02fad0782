"""The official Google Gen AI client."""

import report
from google import genai
from google.genai import types
from pydantic import BaseModel

MODEL = "gemini-2.5-flash"


class City(BaseModel):
    name: str
    people: int


client = genai.Client()
models = client.models
TOOLS = types.GenerateContentConfig(tools=[report.people_in])
BY_HAND = types.GenerateContentConfig(
    tools=[report.people_in],
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
)


def plain():
    return report.said_hello(models.generate_content(model=MODEL, contents=report.HELLO).text)


def stream():
    chunks = models.generate_content_stream(model=MODEL, contents=report.HELLO)
    return report.streamed_hello([chunk.text for chunk in chunks])


def tool():
    answer = models.generate_content(model=MODEL, contents=report.QUESTION, config=TOOLS)
    return report.looked_up(answer.text)


def streamed_tool():
    question = types.Content(role="user", parts=[types.Part(text=report.QUESTION)])
    asked = None
    for chunk in models.generate_content_stream(model=MODEL, contents=question, config=BY_HAND):
        if chunk.function_calls:
            asked = chunk
    [call] = asked.function_calls
    part = types.Part.from_function_response(
        name=call.name, response={"result": report.people_in(**call.args)}
    )
    turns = [question, asked.candidates[0].content, types.Content(role="user", parts=[part])]
    chunks = models.generate_content_stream(model=MODEL, contents=turns, config=BY_HAND)
    return report.looked_up("".join(chunk.text or "" for chunk in chunks))


def structured():
    config = types.GenerateContentConfig(
        response_mime_type="application/json", response_schema=City
    )
    answer = models.generate_content(model=MODEL, contents=report.RECORD, config=config)
    return report.is_bern(answer.parsed.name, answer.parsed.people)


def refused():
    return report.refused(lambda: models.generate_content(model=MODEL, contents=report.HELLO))


def answer(message):
    checks = (plain, stream, tool, streamed_tool, structured, refused)
    return report.tell(["google-genai"], {check.__name__: check for check in checks})
