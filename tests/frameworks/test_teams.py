"""Teams, apps and agents that do not stream, of several frameworks."""

import pytest

from hive.testing.guest_process import a_turn, answer_of, chunks_of, open_guest, run_to_end

pytestmark = pytest.mark.anyio

AUTOGEN = ("autogen-agentchat>=0.7,<0.8", "autogen-ext>=0.7,<0.8")
TEAMS = {
    "agno team": (("agno>=3,<4", "openai>=3,<4"), "agno_agent.py:team", True),
    "autogen team": (AUTOGEN, "autogen_agent.py:team", True),
    "autogen agent that does not stream": (AUTOGEN, "autogen_agent.py:silent", False),
    "google adk app": (("google-adk>=2,<3",), "google_adk_agent.py:application", True),
}


@pytest.mark.parametrize("team", TEAMS)
async def test_it_answers_turn_after_turn(team, python_with, agents, model_server, tmp_path):
    requirements, place, streams = TEAMS[team]
    path, _, attribute = place.partition(":")
    arguments = ["--source", str(agents), "--path", path, "--attribute", attribute]
    environment = {"OPENAI_BASE_URL": model_server, "OPENAI_API_KEY": "handle"}

    async with open_guest(
        arguments, folder=tmp_path, python=python_with(*requirements), environment=environment
    ) as guest:
        description = await guest.channel.ready(90)
        first = await run_to_end(guest.channel, a_turn("hello"))
        second = await run_to_end(guest.channel, a_turn("again", number=2, context="other"))

    assert description.streams is streams
    assert answer_of(first) == "echo: hello | heard 1"
    assert answer_of(second) == "echo: again | heard 1"
    assert bool(chunks_of(first)) is streams
