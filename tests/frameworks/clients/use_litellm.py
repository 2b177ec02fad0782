"""litellm: its prefixes for OpenAI, Anthropic and Gemini."""

import json

import litellm
import report
from pydantic import BaseModel

MODELS = {
    "chat": "openai/gpt-4o-mini",
    "responses": "openai/responses/gpt-4o-mini",
    "messages": "anthropic/claude-sonnet-4-5",
    "gemini": "gemini/gemini-2.5-flash",
}
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
TOOLS = [
    {
        "type": "function",
        "function": {"name": "people_in", "description": "Tell.", "parameters": PARAMETERS},
    }
]


class City(BaseModel):
    name: str
    people: int


def user(text):
    return {"role": "user", "content": text}


def answer(message):
    def ask(*messages, **more):
        return litellm.completion(
            model=MODELS[message], messages=list(messages), num_retries=0, **more
        )

    def plain():
        return report.said_hello(ask(user(report.HELLO)).choices[0].message.content)

    def stream():
        chunks = ask(user(report.HELLO), stream=True)
        return report.streamed_hello([c.choices[0].delta.content for c in chunks if c.choices])

    def finish(asked):
        [call] = asked.tool_calls
        result = report.people_in(**json.loads(call.function.arguments))
        brought = {"role": "tool", "tool_call_id": call.id, "content": result}
        answer = ask(user(report.QUESTION), asked.model_dump(), brought, tools=TOOLS)
        return report.looked_up(answer.choices[0].message.content)

    def tool():
        return finish(ask(user(report.QUESTION), tools=TOOLS).choices[0].message)

    def streamed_tool():
        chunks = list(ask(user(report.QUESTION), tools=TOOLS, stream=True))
        return finish(litellm.stream_chunk_builder(chunks).choices[0].message)

    def structured():
        text = ask(user(report.RECORD), response_format=City).choices[0].message.content
        city = City.model_validate_json(text)
        return report.is_bern(city.name, city.people)

    def refused():
        return report.refused(lambda: ask(user(report.HELLO)))

    checks = (plain, stream, tool, streamed_tool, structured, refused)
    return report.tell(["litellm"], {check.__name__: check for check in checks})
