"""Pydantic AI beyond a conversation: tools after a first word, typed answers."""

import pytest

from hive.execution.ports import TurnDone
from hive.testing.guest_process import a_turn, answer_of, chunks_of, open_guest, run_to_end

pytestmark = pytest.mark.anyio


@pytest.fixture
def open_agent(python_with, agents, tmp_path):
    def open_named(name):
        arguments = ["--source", str(agents), "--path", "pydantic_ai_agent.py", "--attribute", name]
        python = python_with("pydantic-ai-slim>=2,<3")
        return open_guest(arguments, folder=tmp_path, python=python)

    return open_named


async def test_a_word_before_a_tool_call_is_not_taken_for_the_answer(open_agent):
    async with open_agent("with_tool") as guest:
        await guest.channel.ready(60)
        events = await run_to_end(guest.channel, a_turn("hello"))

    assert chunks_of(events)[0] == "Let me look. "
    assert answer_of(events) == "echo: hello | heard 1"


async def test_a_typed_answer_arrives_as_data(open_agent):
    async with open_agent("typed") as guest:
        await guest.channel.ready(60)
        events = await run_to_end(guest.channel, a_turn("which city?"))

    assert isinstance(events[-1], TurnDone)
    assert events[-1].message.parts[0].data == {"name": "Bern", "people": 9}
