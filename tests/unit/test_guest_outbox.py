"""Files that an agent leaves in its outbox, without the walls: what is handed out, and what is not."""

import pytest

from hive.execution.ports import ArtifactMade, LogLine, TurnFailed
from hive.testing.guest_process import a_turn, answer_of, open_guest, run_to_end

pytestmark = pytest.mark.anyio

AGENT = """
import os, hive_guest
OUTBOX = os.environ["HIVE_OUTBOX"]

def agent(text):
    name, _, size = text.partition(" ")
    for one in name.split(","):
        with open(os.path.join(OUTBOX, one), "wb") as file:
            file.write(b"x" * int(size or 1))
    return "written"

def fails(text):
    agent("left 3")
    raise ValueError("no")

def sneaks(text):
    os.symlink("/etc/passwd", os.path.join(OUTBOX, "passwords"))
    os.mkfifo(os.path.join(OUTBOX, "pipe"))
    return "tried"

def names(text):
    return hive_guest.artifact("y", artifact_id=text)
"""


@pytest.fixture
def turn_with(tmp_path):
    (tmp_path / "agent.py").write_text(AGENT)
    outbox = tmp_path / "outbox"
    outbox.mkdir()

    async def run(attribute, *texts):
        arguments = ["--source", str(tmp_path), "--path", "agent.py", "--attribute", attribute]
        environment = {"HIVE_OUTBOX": str(outbox)}
        async with open_guest(arguments, folder=tmp_path, environment=environment) as guest:
            await guest.channel.ready(20)
            return [
                await run_to_end(guest.channel, a_turn(text, number=number))
                for number, text in enumerate(texts, 1)
            ]

    return run


def files_of(events):
    return {
        event.artifact.name: event.artifact.parts[0]
        for event in events
        if isinstance(event, ArtifactMade)
    }


async def test_each_file_is_handed_out_once_and_in_order(turn_with, tmp_path):
    first, second = await turn_with("agent", "b.json,a.txt 3", "c.bin")
    assert list(files_of(first)) == ["a.txt", "b.json"]
    assert files_of(first)["b.json"].media_type == "application/json"
    assert files_of(first)["a.txt"].raw == b"xxx"
    assert list(files_of(second)) == ["c.bin"]
    assert answer_of(first) == "written"
    assert list((tmp_path / "outbox").iterdir()) == []


async def test_a_failed_turn_hands_out_what_it_had(turn_with):
    (events,) = await turn_with("fails", "x")
    assert list(files_of(events)) == ["left"]
    assert isinstance(events[-1], TurnFailed)


async def test_links_and_pipes_are_no_files(turn_with):
    (events,) = await turn_with("sneaks", "x")
    assert files_of(events) == {}
    assert answer_of(events) == "tried"


async def test_what_is_too_large_or_too_many_stays_and_is_told(turn_with, tmp_path):
    many = ",".join(f"f{number:03}" for number in range(70))
    large, crowd = await turn_with("agent", f"huge {6 << 20}", many)
    assert files_of(large) == {}
    assert any(isinstance(event, LogLine) and "huge" in event.text for event in large)
    assert len(files_of(crowd)) == 64
    assert len(list((tmp_path / "outbox").iterdir())) == 7


async def test_an_artifact_id_of_any_form_reaches_the_node_in_one_that_it_takes(turn_with):
    strange = "reports/\u00fcber all?"
    once, again, plain = await turn_with("names", strange, strange, "report-1")
    ids = [
        [event.artifact.id for event in one if isinstance(event, ArtifactMade)]
        for one in (once, again, plain)
    ]
    assert ids[0] == ids[1]
    assert ids[0][0].startswith("reports--ber-all-")
    assert ids[2] == ["report-1"]
