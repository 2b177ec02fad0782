"""The official OpenAI client: chat completions and responses."""

import json

import report
from openai import OpenAI
from pydantic import BaseModel

MODEL = "gpt-4o-mini"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


class City(BaseModel):
    name: str
    people: int


client = OpenAI()
CHAT_TOOL = {"type": "function", "function": {"name": "people_in", "parameters": PARAMETERS}}
RESPONSES_TOOL = {"type": "function", "name": "people_in", "parameters": PARAMETERS, "strict": True}


def user(text):
    return {"role": "user", "content": text}


def chat(text, **more):
    return client.chat.completions.create(model=MODEL, messages=[user(text)], **more)


def chat_plain():
    return report.said_hello(chat(report.HELLO).choices[0].message.content)


def chat_stream():
    chunks = chat(report.HELLO, stream=True)
    return report.streamed_hello([c.choices[0].delta.content for c in chunks if c.choices])


def chat_answer(asked):
    [call] = asked.tool_calls
    result = report.people_in(**json.loads(call.function.arguments))
    messages = [user(report.QUESTION), asked.model_dump(exclude_none=True)]
    messages += [{"role": "tool", "tool_call_id": call.id, "content": result}]
    answer = client.chat.completions.create(model=MODEL, messages=messages, tools=[CHAT_TOOL])
    return report.looked_up(answer.choices[0].message.content)


def chat_tool():
    return chat_answer(chat(report.QUESTION, tools=[CHAT_TOOL]).choices[0].message)


def chat_streamed_tool():
    ask = {"model": MODEL, "messages": [user(report.QUESTION)], "tools": [CHAT_TOOL]}
    with client.chat.completions.stream(**ask) as stream:
        final = stream.get_final_completion()
    asked = final.choices[0].message
    asked.tool_calls[0].function.parsed_arguments = None
    return chat_answer(asked)


def chat_structured():
    answer = client.chat.completions.parse(
        model=MODEL, messages=[user(report.RECORD)], response_format=City
    )
    city = answer.choices[0].message.parsed
    return report.is_bern(city.name, city.people)


def chat_refused():
    return report.refused(lambda: chat(report.HELLO))


def responses_plain():
    return report.said_hello(client.responses.create(model=MODEL, input=report.HELLO).output_text)


def responses_stream():
    events = client.responses.create(model=MODEL, input=report.HELLO, stream=True)
    return report.streamed_hello(
        [event.delta for event in events if event.type == "response.output_text.delta"]
    )


def responses_answer(asked):
    [call] = [item for item in asked.output if item.type == "function_call"]
    result = report.people_in(**json.loads(call.arguments))
    output = {"type": "function_call_output", "call_id": call.call_id, "output": result}
    items = [user(report.QUESTION), call.model_dump(exclude={"parsed_arguments"}), output]
    answer = client.responses.create(model=MODEL, input=items, tools=[RESPONSES_TOOL])
    return report.looked_up(answer.output_text)


def responses_tool():
    return responses_answer(
        client.responses.create(model=MODEL, input=report.QUESTION, tools=[RESPONSES_TOOL])
    )


def responses_streamed_tool():
    ask = {"model": MODEL, "input": report.QUESTION, "tools": [RESPONSES_TOOL]}
    with client.responses.stream(**ask) as stream:
        return responses_answer(stream.get_final_response())


def responses_structured():
    answer = client.responses.parse(model=MODEL, input=report.RECORD, text_format=City)
    return report.is_bern(answer.output_parsed.name, answer.output_parsed.people)


def responses_refused():
    return report.refused(lambda: client.responses.create(model=MODEL, input=report.HELLO))


FEATURES = ("plain", "stream", "tool", "streamed_tool", "structured", "refused")


def answer(message):
    return report.tell(["openai"], {name: globals()[f"{message}_{name}"] for name in FEATURES})
