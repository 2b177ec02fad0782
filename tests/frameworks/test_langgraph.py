"""LangGraph beyond a conversation: interrupts, checkpoints, graphs without messages."""

import pytest

from hive.core.task import Role
from hive.execution.ports import InputNeeded
from hive.testing.guest_process import a_turn, answer_of, open_guest, run_to_end

pytestmark = pytest.mark.anyio

REQUIREMENT = "langgraph>=1,<2"


@pytest.fixture
def open_agent(python_with, agents, tmp_path):
    def open_named(name):
        arguments = ["--source", str(agents), "--path", "langgraph_agent.py", "--attribute", name]
        return open_guest(arguments, folder=tmp_path, python=python_with(REQUIREMENT))

    return open_named


async def test_an_interrupt_asks_the_client_and_goes_on_with_the_answer(open_agent):
    async with open_agent("careful") as guest:
        await guest.channel.ready(60)
        asked = await run_to_end(guest.channel, a_turn("do it"))
        other = await run_to_end(guest.channel, a_turn("do it too", number=2, context="context-2"))
        done = await run_to_end(guest.channel, a_turn("yes", number=3))

    assert isinstance(asked[-1], InputNeeded)
    assert asked[-1].message.text == "May I go on?"
    assert isinstance(other[-1], InputNeeded)
    assert answer_of(done) == "you said yes"


async def test_a_graph_with_checkpoints_remembers_by_itself_and_is_told_nothing_twice(open_agent):
    async with open_agent("remembering") as guest:
        await guest.channel.ready(60)
        await run_to_end(guest.channel, a_turn("first"))
        past = [(Role.USER, "first"), (Role.AGENT, "echo: first | heard 1")]
        second = await run_to_end(guest.channel, a_turn("second", number=2, past=past))
        # A sandbox that never saw this context is told what was said in another one.
        moved = await run_to_end(guest.channel, a_turn("x", number=3, past=past, context="moved"))

    assert answer_of(second) == "echo: second | heard 2"
    assert answer_of(moved) == "echo: x | heard 2"


async def test_a_graph_without_messages_takes_the_text_in_its_own_field(open_agent):
    async with open_agent("report") as guest:  # not compiled by its author, either
        await guest.channel.ready(60)
        events = await run_to_end(guest.channel, a_turn("bees"))

    assert answer_of(events) == "all about bees"
