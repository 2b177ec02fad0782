"""The official Anthropic client."""

import report
from anthropic import Anthropic
from pydantic import BaseModel

ASK = {"model": "claude-sonnet-4-5", "max_tokens": 300}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "people_in", "description": "Tell how many.", "input_schema": SCHEMA}


class City(BaseModel):
    name: str
    people: int


client = Anthropic()


def user(content):
    return {"role": "user", "content": content}


def create(text, **more):
    return client.messages.create(**ASK, messages=[user(text)], **more)


def plain():
    return report.said_hello(create(report.HELLO).content[0].text)


def stream():
    with client.messages.stream(**ASK, messages=[user(report.HELLO)]) as events:
        return report.streamed_hello(list(events.text_stream))


def finish(asked):
    [call] = [block for block in asked.content if block.type == "tool_use"]
    result = {
        "type": "tool_result",
        "tool_use_id": call.id,
        "content": report.people_in(**call.input),
    }
    turn = {"role": "assistant", "content": [block.to_dict() for block in asked.content]}
    messages = [user(report.QUESTION), turn, user([result])]
    answer = client.messages.create(**ASK, messages=messages, tools=[TOOL])
    return report.looked_up(answer.content[0].text)


def tool():
    return finish(create(report.QUESTION, tools=[TOOL]))


def streamed_tool():
    with client.messages.stream(**ASK, messages=[user(report.QUESTION)], tools=[TOOL]) as events:
        return finish(events.get_final_message())


def structured():
    answer = client.messages.parse(**ASK, messages=[user(report.RECORD)], output_format=City)
    return report.is_bern(answer.parsed_output.name, answer.parsed_output.people)


def refused():
    return report.refused(lambda: create(report.HELLO))


def answer(message):
    checks = (plain, stream, tool, streamed_tool, structured, refused)
    return report.tell(["anthropic"], {check.__name__: check for check in checks})
