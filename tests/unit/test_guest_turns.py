"""A guest and its channel: what plain agents may look like, and how their turns begin and end."""

import shutil
from pathlib import Path

import anyio
import pytest

from hive.core.errors import SandboxError, SpecError
from hive.core.ids import MessageId
from hive.core.task import Message, Part, Role
from hive.execution.guest_frames import message_json
from hive.execution.ports import ArtifactMade, InputNeeded, LogLine, TextChunk, TurnDone, TurnFailed
from hive.testing.guest_process import a_turn, answer_of, chunks_of, open_guest, run_to_end

pytestmark = pytest.mark.anyio

AGENTS = """
import asyncio, contextlib, functools, sys, threading, time
import hive_guest

def agent(text):
    return "you said " + text

async def waits(text, context):
    await asyncio.sleep(0)
    return f"{text} in {context.task_id}, {len(context.past())} before"

def counts(text):
    for number in range(3):
        yield f"{number} "

async def streams(text):
    yield "a"
    yield "b"

class Assistant:
    def __init__(self):
        self.turns = 0
    def run(self, text):
        self.turns += 1
        return f"{text} {self.turns}"

def make_assistant():
    return Assistant()

def gives_data(text):
    return {"length": len(text)}

def gives_bytes(text):
    return text.encode()

def gives_parts(text):
    return [hive_guest.part(text), hive_guest.part(url="https://example.org/a", media_type="text/html")]

def gives_nothing(text):
    hive_guest.artifact("whole", name="report", filename="report.txt", media_type="text/plain")

def asks(text):
    if text == "which?":
        try:
            hive_guest.ask_input("this or that?")
        except Exception:
            return "swallowed"
    return "thank you for " + text

def swallows(text):
    try:
        hive_guest.ask_input("really?")
    except BaseException:
        return "never mind"

def logs(text):
    hive_guest.log("looking at " + text, level="warning")
    print("on standard output")
    return "ok"

def fails(text):
    raise ValueError("no " + text)

def exits(text):
    sys.exit(4)

def sleeps(text):
    time.sleep(60)

def is_interrupted_while_it_streams(text):
    while True:
        sum(range(20_000))  # works and never waits; without it the turn's size limit can come first
        yield "more "

async def awaits(text):
    try:
        await asyncio.sleep(60)
    finally:
        hive_guest.log("cleaned up")

async def leaves_work(text):
    async def later():
        await asyncio.sleep(60)
    leaves_work.task = getattr(leaves_work, "task", None) or asyncio.create_task(later())
    await asyncio.sleep(0)
    return "cancelled" if leaves_work.task.cancelled() else "running"

def never_stops(text):
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(0.05)

def two(text, style):
    return "never called"

def three(one, two, three):
    return "never called"

partly = functools.partial(lambda before, text: before + text, "before ")
"""


@pytest.fixture
def open_agent(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "agents.py").write_text(AGENTS)

    def open_named(name, **options):
        arguments = [
            "--source",
            str(tmp_path / "source"),
            "--path",
            "agents.py",
            "--attribute",
            name,
        ]
        return open_guest(arguments, folder=tmp_path, **options)

    return open_named


@pytest.mark.parametrize(
    ("name", "shape", "answer"),
    [
        ("agent", "function", "you said hello"),
        ("waits", "async function", "hello in task-1, 0 before"),
        ("counts", "generator", "0 1 2 "),
        ("streams", "async generator", "ab"),
        ("Assistant", "function", "hello 1"),
        ("make_assistant", "function", "hello 1"),
        ("partly", "function", "before hello"),
    ],
)
async def test_a_plain_agent_of_any_shape_answers(open_agent, name, shape, answer):
    async with open_agent(name) as guest:
        description = await guest.channel.ready(10)
        events = await run_to_end(guest.channel, a_turn())

    assert description.shape == shape
    assert description.streams is bool(chunks_of(events))
    assert answer_of(events) == answer
    assert "".join(chunks_of(events)) in ("", answer)


async def test_one_object_serves_all_turns_and_history_reaches_it(open_agent):
    past = [(Role.USER, "one"), (Role.AGENT, "two")]
    async with open_agent("Assistant") as guest:
        await guest.channel.ready(10)
        await run_to_end(guest.channel, a_turn())
        assert answer_of(await run_to_end(guest.channel, a_turn(number=2))) == "hello 2"
    async with open_agent("waits") as guest:
        await guest.channel.ready(10)
        events = await run_to_end(guest.channel, a_turn(past=past))
    assert answer_of(events) == "hello in task-1, 2 before"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("gives_data", (Part(data={"length": 5}, has_data=True),)),
        ("gives_bytes", (Part(raw=b"hello", media_type="application/octet-stream"),)),
        (
            "gives_parts",
            (Part(text="hello"), Part(url="https://example.org/a", media_type="text/html")),
        ),
    ],
)
async def test_an_answer_may_be_more_than_text(open_agent, name, parts):
    async with open_agent(name) as guest:
        await guest.channel.ready(10)
        events = await run_to_end(guest.channel, a_turn())

    assert isinstance(events[-1], TurnDone)
    assert events[-1].message.parts == parts
    assert events[-1].message.role is Role.AGENT


async def test_an_artifact_is_an_answer_of_its_own(open_agent):
    async with open_agent("gives_nothing") as guest:
        await guest.channel.ready(10)
        made, end = await run_to_end(guest.channel, a_turn())

    assert isinstance(made, ArtifactMade)
    assert made.artifact.name == "report"
    assert made.artifact.parts == (
        Part(text="whole", filename="report.txt", media_type="text/plain"),
    )
    assert end == TurnDone(message=None)


async def test_a_question_ends_the_turn_even_where_the_agent_swallows_it(open_agent):
    for name, question in (("asks", "this or that?"), ("swallows", "really?")):
        async with open_agent(name) as guest:
            await guest.channel.ready(10)
            events = await run_to_end(guest.channel, a_turn("which?"))
            assert isinstance(events[-1], InputNeeded)
            assert events[-1].message.text == question
    async with open_agent("asks") as guest:
        await guest.channel.ready(10)
        assert answer_of(await run_to_end(guest.channel, a_turn("this"))) == "thank you for this"


async def test_what_is_printed_is_a_log_and_never_the_protocol(open_agent):
    async with open_agent("logs") as guest:
        await guest.channel.ready(10)
        events = await run_to_end(guest.channel, a_turn())
        assert "on standard output" in guest.log.read_text()

    assert events[0] == LogLine(text="looking at hello", level="warning")
    assert answer_of(events) == "ok"


@pytest.mark.parametrize(
    ("name", "error"), [("fails", "ValueError: no hello"), ("exits", "SystemExit: 4")]
)
async def test_an_agent_that_raises_fails_its_turn_and_serves_the_next(open_agent, name, error):
    async with open_agent(name) as guest:
        await guest.channel.ready(10)
        first = await run_to_end(guest.channel, a_turn())
        second = await run_to_end(guest.channel, a_turn(number=2))

    assert first == second == [TurnFailed(error=error)]


@pytest.mark.parametrize("name", ["sleeps", "awaits", "is_interrupted_while_it_streams"])
async def test_a_cancelled_turn_stops_at_once_and_the_next_one_runs(open_agent, name):
    async with open_agent(name) as guest:
        await guest.channel.ready(10)
        for number in (1, 2):
            turn = a_turn(number=number)
            with anyio.fail_after(30):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_cancel_later, guest.channel, turn)
                    events = [event async for event in guest.channel.run_turn(turn)]
            assert events[-1] == TurnFailed(error="canceled", canceled=True)
            if name == "awaits":
                assert LogLine(text="cleaned up") in events


async def _cancel_later(channel, turn):
    await anyio.sleep(0.1)  # long enough that the agent is in its wait; nothing signals that
    await channel.cancel(turn.id)


async def test_closing_the_iterator_cancels_the_turn_inside(open_agent):
    async with open_agent("is_interrupted_while_it_streams") as guest:
        await guest.channel.ready(10)
        events = guest.channel.run_turn(a_turn())
        assert isinstance(await anext(events), TextChunk)
        await events.aclose()
        with anyio.fail_after(30):
            again = guest.channel.run_turn(a_turn(number=2))
            assert isinstance(await anext(again), TextChunk)
            await again.aclose()


async def test_an_agent_that_does_not_stop_is_given_up_after_the_grace(open_agent):
    broken = []
    async with open_agent("never_stops", cancel_grace_s=0.3, on_broken=broken.append) as guest:
        await guest.channel.ready(10)
        turn = a_turn()
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_later, guest.channel, turn)
                events = [event async for event in guest.channel.run_turn(turn)]

    assert events == [TurnFailed(error="canceled", canceled=True)]
    assert broken[0].code == "E062"


async def test_what_a_turn_leaves_on_the_loop_is_cancelled(open_agent):
    async with open_agent("leaves_work") as guest:
        await guest.channel.ready(10)
        assert answer_of(await run_to_end(guest.channel, a_turn())) == "running"
        assert answer_of(await run_to_end(guest.channel, a_turn(number=2))) == "cancelled"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--path", "agents.py", "--attribute", "missing"], "has no 'missing'"),
        (["--path", "missing.py"], "no file 'missing.py'"),
        (["--path", "agents.py", "--attribute", "three"], "takes one, two, three"),
        (["--path", "broken.py"], "No module named 'nowhere'"),
        (["--path", "empty.py"], "holds no agent"),
        (["--command", "--", "/no/such/program"], "no program"),
        (["--command"], "No command"),
    ],
)
async def test_an_agent_that_cannot_be_used_says_why(open_agent, tmp_path, arguments, why):
    source = tmp_path / "source"
    (source / "broken.py").write_text("import nowhere\n")
    (source / "empty.py").write_text("x = 1\n")
    async with open_guest(["--source", str(source), *arguments], folder=tmp_path) as guest:
        with pytest.raises(SpecError) as caught:
            await guest.channel.ready(10)
    assert why in caught.value.why


async def test_the_agent_is_found_without_its_name_and_its_files_can_be_read(tmp_path):
    package = tmp_path / "source" / "house"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "words.py").write_text("GREETING = 'good day'\n")
    (package / "start.py").write_text(
        "from .words import GREETING\n"
        "def respond(text):\n"
        "    open('written.txt', 'w').write(text)\n"
        "    return GREETING + open('notes.txt').read()\n"
    )
    (tmp_path / "source" / "notes.txt").write_text(", note")
    arguments = ["--source", str(tmp_path / "source"), "--path", "house/start.py"]
    async with open_guest(arguments, folder=tmp_path) as guest:
        description = await guest.channel.ready(10)
        events = await run_to_end(guest.channel, a_turn())

    assert description.detail == "house/start.py:respond"
    assert answer_of(events) == "good day, note"
    assert not (tmp_path / "source" / "written.txt").exists()


async def test_a_sandbox_that_dies_in_a_turn_is_told_apart_from_an_agent_that_fails(open_agent):
    async with open_agent("sleeps") as guest:
        await guest.channel.ready(10)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_ends_with, guest.channel.run_turn(a_turn()), SandboxError)
            await anyio.wait_all_tasks_blocked()
            guest.process.kill()


async def _ends_with(events, error):
    with anyio.fail_after(30), pytest.raises(error):
        await anext(events)


async def test_a_guest_is_gone_when_its_node_is(open_agent):
    async with open_agent("never_stops") as guest:
        await guest.channel.ready(10)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_ends_with, guest.channel.run_turn(a_turn()), SandboxError)
            await anyio.wait_all_tasks_blocked()
            guest.channel.close()
        with anyio.fail_after(30):
            assert await guest.process.wait() == 0


async def test_a_plain_agent_answers_within_tens_of_milliseconds_and_imports_no_event_loop(
    tmp_path,
):
    (tmp_path / "agent.py").write_text(
        "import sys\ndef agent(text):\n    return ' '.join(sorted(sys.modules))\n"
    )
    async with open_guest(
        ["--source", str(tmp_path), "--path", "agent.py"], folder=tmp_path
    ) as guest:
        await guest.channel.ready(10)
        events = await run_to_end(guest.channel, a_turn())
    loaded = set(answer_of(events).split())
    assert not loaded & {
        "asyncio",
        "typing",
        "socket",
        "inspect",
        "http",
        "threading",
        "subprocess",
    }


async def test_too_long_a_history_loses_its_oldest_messages(open_agent):
    long = [(Role.USER, "x" * (3 << 20)) for _ in range(4)]
    async with open_agent("waits") as guest:
        await guest.channel.ready(10)
        events = await run_to_end(guest.channel, a_turn(past=long))
    assert answer_of(events) == "hello in task-1, 2 before"


@pytest.mark.parametrize("version", ["3.10", "3.12", "3.13", "3.14"])
async def test_the_guest_runs_on_other_pythons(tmp_path, version):
    python = await _find_python(version)
    if python is None:
        pytest.skip(f"Python {version} is not installed")
    (tmp_path / "agent.py").write_text("async def agent(text):\n    return text\n")
    arguments = ["--source", str(tmp_path), "--path", "agent.py"]
    async with open_guest(arguments, folder=tmp_path, python=python) as guest:
        await guest.channel.ready(20)
        assert answer_of(await run_to_end(guest.channel, a_turn())) == "hello"


async def _find_python(version):
    named = [str(path) for path in Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    for python in (*named, f"python{version}"):
        try:
            probe = await anyio.run_process([python, "-c", ""], check=False)
        except FileNotFoundError:
            continue
        if probe.returncode == 0:
            return shutil.which(python)
    return None


def test_a_message_of_the_user_arrives_whole():
    message = Message(
        id=MessageId("m"),
        role=Role.USER,
        parts=(Part(raw=b"\x00\xff", filename="a"), Part(data=None, has_data=True), Part(url="u")),
    )
    assert message_json(message)["parts"] == [
        {"raw": b"\x00\xff", "filename": "a"},
        {"data": None},
        {"url": "u"},
    ]
