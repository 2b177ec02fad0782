"""A guest that speaks to the node as no honest one would: it loses its sandbox, and nothing else happens."""

import json
import socket

import anyio
import pytest

from hive.core.errors import GuestError, SpecError
from hive.execution.guest_channel import EVENTS_MAX, FRAMES_PER_S_MAX, GuestChannel
from hive.execution.ports import LogLine, TextChunk, TurnDone, TurnFailed
from hive.testing.guest_process import a_turn, run_to_end

pytestmark = pytest.mark.anyio

HELLO = {"type": "hello", "v": 1, "shape": "function", "streams": True}


class Attacker:
    """The other end of the socket, in the hands of hostile code."""

    def __init__(self, sock):
        self._sock = sock
        self.answers = 0

    async def send(self, data):
        loop_socket = self._sock
        view = memoryview(data)
        while view:
            try:
                sent = loop_socket.send(view)
            except BlockingIOError:
                await anyio.wait_writable(loop_socket)
                continue
            view = view[sent:]

    async def frame(self, **frame):
        await self.send(framed(json.dumps(frame).encode()))

    async def turn_arrived(self):
        await anyio.wait_readable(self._sock)
        self._sock.recv(1 << 20)


def framed(body):
    return len(body).to_bytes(4, "big") + body


@pytest.fixture
async def broken():
    return []


@pytest.fixture
async def channel_and_attacker(broken):
    near, far = socket.socketpair()
    far.settimeout(0)
    channel = GuestChannel(near, on_broken=broken.append, turn_max_bytes=4 << 20)
    attacker = Attacker(far)
    await attacker.frame(**HELLO)
    await channel.ready(5)
    yield channel, attacker
    channel.close()
    far.close()


async def attack(channel_and_attacker, data, *, then_end=False):
    """Start a turn, let the guest answer with some bytes, and return how the turn ended."""
    channel, attacker = channel_and_attacker

    async def strike():
        await attacker.turn_arrived()
        try:
            await attacker.send(data)
            if then_end:
                attacker._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the node hung up in the middle of it

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(strike)
            try:
                return await run_to_end(channel, a_turn())
            except GuestError as error:
                return error


DONE = {"type": "done", "turn": "turn-1", "message": None}
CHUNK = {"type": "chunk", "turn": "turn-1", "text": "x"}
ATTACKS = {
    "another sandbox's turn": {**CHUNK, "turn": "turn-2"},
    "an answer for another turn": {**DONE, "turn": "turn-2"},
    "a second hello": HELLO,
    "an unknown type": {"type": "grant", "turn": "turn-1", "hosts": ["*"]},
    "an unknown field": {**CHUNK, "owner": "root"},
    "a turn of its own": {"type": "turn", "turn": "turn-1"},
    "no turn": {"type": "chunk", "text": "x"},
    "a number for a text": {**CHUNK, "text": 1},
    "a list for a frame": [CHUNK],
    "a part with two contents": {
        **DONE,
        "message": {"parts": [{"text": "a", "url": "https://example.org"}]},
    },
    "a part with no content": {**DONE, "message": {"parts": [{}]}},
    "too many parts": {**DONE, "message": {"parts": [{"text": "a"}] * 257}},
    "an artifact whose id is a path": {
        "type": "artifact",
        "turn": "turn-1",
        "artifact": {"artifactId": "../../etc/passwd", "parts": []},
    },
    "an artifact whose id is a wildcard": {
        "type": "artifact",
        "turn": "turn-1",
        "artifact": {"artifactId": "hive.>", "parts": []},
    },
    "a control frame of 2 MiB": {**CHUNK, "text": "x" * (2 << 20)},
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_frame_that_breaks_the_protocol_ends_the_sandbox(
    name, channel_and_attacker, broken
):
    ended = await attack(channel_and_attacker, framed(json.dumps(ATTACKS[name]).encode()))

    assert isinstance(ended, GuestError)
    assert len(broken) == 1
    with pytest.raises(GuestError):  # nothing runs in it again
        await run_to_end(channel_and_attacker[0], a_turn(number=3))


BYTES = {
    "a length of 4 GiB": b"\xff\xff\xff\xff",
    "a length one over the limit": ((8 << 20) + 1).to_bytes(4, "big"),
    "no JSON": framed(b"chunk turn-1 hello"),
    "nothing": framed(b""),
    "deep JSON": framed(
        b'{"type":"done","turn":"turn-1","message":{"parts":[{"data":'
        + b"[" * 100_000
        + b"]" * 100_000
        + b"}]}}"
    ),
    "a little too deep": framed(
        b'{"type":"done","turn":"turn-1","message":{"parts":[{"data":'
        + b"[" * 62
        + b"]" * 62
        + b"}]}}"
    ),
    "invalid UTF-8": framed(b'{"type":"chunk","turn":"turn-1","text":"\xff\xfe"}'),
    "a lone surrogate": framed(rb'{"type":"chunk","turn":"turn-1","text":"\ud800"}'),
    "two documents": framed(json.dumps(DONE).encode() * 2),
    "a number without end": framed(b'{"type":"hello","v":' + b"9" * 10_000 + b"}"),
}


@pytest.mark.parametrize("name", BYTES)
async def test_bytes_that_are_no_frame_end_the_sandbox(name, channel_and_attacker, broken):
    ended = await attack(channel_and_attacker, BYTES[name])

    assert isinstance(ended, GuestError)
    assert len(broken) == 1


async def test_a_truncated_frame_is_a_dead_sandbox_and_not_an_answer(channel_and_attacker):
    channel, attacker = channel_and_attacker
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:

            async def strike():
                await attacker.turn_arrived()
                await attacker.send(framed(json.dumps(DONE).encode())[:-5])
                attacker._sock.shutdown(socket.SHUT_RDWR)

            tasks.start_soon(strike)
            with pytest.raises(Exception, match="The sandbox died"):
                await run_to_end(channel, a_turn())


async def test_a_flood_of_frames_ends_the_sandbox(channel_and_attacker, broken):
    flood = framed(json.dumps(CHUNK).encode()) * (FRAMES_PER_S_MAX * 2)

    ended = await attack(channel_and_attacker, flood)

    assert isinstance(ended, GuestError)
    assert "frames came in a second" in ended.why


async def test_a_flood_of_bytes_ends_the_sandbox(channel_and_attacker, broken):
    big = framed(json.dumps({**CHUNK, "text": "x" * (512 << 10)}).encode())

    ended = await attack(channel_and_attacker, big * 10)

    assert isinstance(ended, GuestError)
    assert "more than" in ended.why


async def test_a_fast_guest_waits_for_a_slow_reader_and_fills_no_memory(channel_and_attacker):
    channel, attacker = channel_and_attacker
    sent = 0

    async def strike():
        nonlocal sent
        await attacker.turn_arrived()
        for _ in range(1900):
            await attacker.frame(
                **CHUNK,
            )
            sent += 1
        await attacker.frame(**DONE)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(strike)
            events = channel.run_turn(a_turn())
            await anext(events)
            await anyio.wait_all_tasks_blocked()
            waiting = len(channel._events)
            rest = [event async for event in events]

    assert EVENTS_MAX <= waiting < 1900  # the rest stays in the kernel's own bounded buffer
    assert len(rest) == 1900
    assert rest[-1] == TurnDone(message=None)


async def test_a_frame_between_turns_ends_the_sandbox(channel_and_attacker, broken):
    channel, attacker = channel_and_attacker
    await attacker.frame(**CHUNK)
    with anyio.fail_after(30):
        while not broken:
            await anyio.lowlevel.checkpoint()
    with pytest.raises(GuestError):
        await run_to_end(channel, a_turn())


async def test_a_frame_after_the_end_of_a_turn_ends_the_sandbox(channel_and_attacker, broken):
    data = framed(json.dumps(DONE).encode()) + framed(json.dumps(CHUNK).encode())

    ended = await attack(channel_and_attacker, data)

    assert ended == [TurnDone(message=None)]
    assert len(broken) == 1


async def test_escape_sequences_reach_no_terminal(channel_and_attacker):
    nasty = "\x1b[2J\x1b]0;owned\x07ok\x9b31m\u202egnp.exe\r\nHIVE: all is well\x00"
    data = b"".join(
        framed(json.dumps(frame).encode())
        for frame in (
            {"type": "log", "turn": "turn-1", "text": nasty, "level": "\x1b[31mpanic"},
            {"type": "failed", "turn": "turn-1", "error": nasty},
        )
    )

    events = await attack(channel_and_attacker, data)

    logs = [event for event in events if isinstance(event, LogLine)]
    assert [line.text for line in logs] == ["ok31mgnp.exe", "HIVE: all is well"]
    assert {line.level for line in logs} == {"info"}
    assert events[-1] == TurnFailed(error="ok31mgnp.exe HIVE: all is well")


async def test_an_answer_is_kept_as_it_is_but_for_the_one_character_no_store_takes(
    channel_and_attacker,
):
    said = "\x1b[1mbold\x1b[0m \u202e tab\t nul\x00 😀"
    data = framed(json.dumps({**CHUNK, "text": said}).encode()) + framed(
        json.dumps({**DONE, "message": {"parts": [{"data": {"a\x00": ["\x00"]}}]}}).encode()
    )

    chunk, done = await attack(channel_and_attacker, data)

    assert chunk == TextChunk(text=said.replace("\x00", "\ufffd"))
    assert done.message.parts[0].data == {"a\ufffd": ["\ufffd"]}


@pytest.mark.parametrize(
    "hello",
    [
        {**HELLO, "v": 2},
        {**HELLO, "skills": [{"id": "a"}] * 65},
        {**HELLO, "tier": "microvm"},
    ],
)
async def test_a_greeting_that_lies_is_no_greeting(hello):
    near, far = socket.socketpair()
    far.settimeout(0)
    channel = GuestChannel(near)
    await Attacker(far).frame(**hello)
    with pytest.raises(GuestError):
        await channel.ready(5)
    channel.close()
    far.close()


@pytest.fixture
async def stranger():
    """Give a channel that was not greeted yet, and the other end of it."""
    near, far = socket.socketpair()
    far.settimeout(0)
    channel = GuestChannel(near)
    yield channel, Attacker(far)
    channel.close()
    far.close()


async def test_a_description_carries_no_escape_sequence(stranger):
    channel, attacker = stranger
    skills = [{"id": "a\x1b[2J", "tags": ["\x07"]}]
    await attacker.frame(**HELLO | {"shape": "\x1b[31mred", "skills": skills})

    description = await channel.ready(5)

    assert description.shape == "red"
    assert description.skills[0]["id"] == "a"
    assert description.skills[0]["tags"] == [""]


async def test_a_reason_carries_no_escape_sequence(stranger):
    channel, attacker = stranger
    error = "\x1b[31mred\nHIVE: fine"
    await attacker.frame(type="unusable", error=error, fix="\x1b]0;x\x07run this")

    with pytest.raises(SpecError) as caught:
        await channel.ready(5)

    assert (caught.value.why, caught.value.fix) == ("red HIVE: fine", "run this")


async def test_a_guest_that_says_nothing_is_not_waited_for():
    near, far = socket.socketpair()
    channel = GuestChannel(near)
    with anyio.fail_after(30), pytest.raises(Exception, match="did not become ready"):
        await channel.ready(0.1)
    channel.close()
    far.close()
