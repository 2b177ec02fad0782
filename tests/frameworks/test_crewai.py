"""CrewAI: a crew whose placeholder takes the message, a flow, and a single agent."""

import pytest

from hive.testing.guest_process import a_turn, answer_of, open_guest, run_to_end

pytestmark = pytest.mark.anyio


@pytest.fixture
def open_agent(python_with, agents, tmp_path):
    def open_named(name):
        arguments = ["--source", str(agents), "--path", "crewai_agent.py", "--attribute", name]
        return open_guest(arguments, folder=tmp_path, python=python_with("crewai>=1.15,<2"))

    return open_named


async def test_the_message_fills_the_placeholder_of_a_crew(open_agent):
    async with open_agent("crew") as guest:
        description = await guest.channel.ready(120)
        first = await run_to_end(guest.channel, a_turn("bees"))
        second = await run_to_end(guest.channel, a_turn("birds", number=2))

    assert description.shape == "crewai"
    assert "Write about bees." in answer_of(first)
    assert "Write about birds." in answer_of(second)


async def test_a_flow_starts_afresh_in_each_turn(open_agent):
    async with open_agent("flow") as guest:
        await guest.channel.ready(120)
        first = await run_to_end(guest.channel, a_turn("bees"))
        second = await run_to_end(guest.channel, a_turn("birds", number=2))

    assert answer_of(first) == "hello bees"
    assert answer_of(second) == "hello birds"


async def test_a_single_agent_answers(open_agent):
    async with open_agent("writer") as guest:
        await guest.channel.ready(120)
        events = await run_to_end(guest.channel, a_turn("bees"))

    assert "bees" in answer_of(events)
