"""A command that serves A2A with the official SDK, spoken to in both versions of the protocol."""

import pytest

from hive.execution.ports import ArtifactMade, InputNeeded, TurnFailed
from hive.testing.guest_process import a_turn, answer_of, open_guest, run_to_end

pytestmark = pytest.mark.anyio

REQUIREMENTS = ("a2a-sdk[http-server]>=1.3,<1.4", "uvicorn>=0.40,<1")


@pytest.mark.parametrize("version", ["1.0", "0.3"])
async def test_its_streams_questions_and_failures_arrive_as_turns(
    version, python_with, agents, tmp_path
):
    python = python_with(*REQUIREMENTS)
    command = ["--a2a-command", "--", python, str(agents / "a2a_agent.py"), "{port}", version]
    async with open_guest(command, folder=tmp_path) as guest:
        description = await guest.channel.ready(60)
        done = await run_to_end(guest.channel, a_turn("hello"))
        asked = await run_to_end(guest.channel, a_turn("ask", number=2, task="task-2"))
        told = await run_to_end(guest.channel, a_turn("this", number=3, task="task-2"))
        failed = await run_to_end(guest.channel, a_turn("fail", number=4, task="task-4"))

    assert description.shape == "a2a-command"
    assert description.detail == f"echo (A2A {version})"
    assert description.skills[0]["id"] == "say"
    pieces = [event for event in done if isinstance(event, ArtifactMade)]
    assert [(p.artifact.parts[0].text, p.append, p.last_chunk) for p in pieces] == [
        ("first ", False, False),
        ("second", True, True),
    ]
    assert answer_of(done) == "echo: hello"
    assert isinstance(asked[-1], InputNeeded)
    assert asked[-1].message.text == "What exactly?"
    assert answer_of(told) == "echo: this"
    assert failed[-1] == TurnFailed(error="I cannot.")
