"""An agent of Pydantic AI that says something before it calls its tool, and one with a typed answer."""

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import (
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import DeltaToolCall, FunctionModel


def _parts(messages, kind):
    return [part for message in messages for part in message.parts if isinstance(part, kind)]


def _answer(messages):
    heard = [part.content for part in _parts(messages, UserPromptPart)]
    return f"echo: {heard[-1]} | heard {len(heard)}"


def _whole(messages, info):
    return ModelResponse(parts=[TextPart(_answer(messages))])


async def _stream(messages, info):
    if info.function_tools and not _parts(messages, ToolReturnPart):
        yield "Let me look. "
        yield {1: DeltaToolCall(name="look", json_args="{}")}
        return
    for word in _answer(messages).split(" "):
        yield word if word == "echo:" else f" {word}"


agent = Agent(FunctionModel(_whole, stream_function=_stream))
with_tool = Agent(FunctionModel(_whole, stream_function=_stream))


@with_tool.tool_plain
def look() -> str:
    return "seen"


class City(BaseModel):
    name: str
    people: int


async def _typed(messages, info):
    yield {
        0: DeltaToolCall(name=info.output_tools[0].name, json_args='{"name": "Bern", "people": 9}')
    }


def _typed_whole(messages, info):
    call = ToolCallPart(info.output_tools[0].name, {"name": "Bern", "people": 9})
    return ModelResponse(parts=[call])


typed = Agent(FunctionModel(_typed_whole, stream_function=_typed), output_type=City)
