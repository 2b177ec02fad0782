"""A host process that was taken over: it speaks for others, floods, or says nonsense. Only its own agents fall."""

import json
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest

from hive.core.errors import GuestError, SandboxError
from hive.execution.drivers.wasm_hosts import ComponentHost
from hive.execution.guest_channel import GuestChannel

pytestmark = pytest.mark.anyio


class TakenOver:
    """A host whose socket is ours, with one instance that the node believes in."""

    def __init__(self):
        self.killed = []
        launched = SimpleNamespace(kill=self.killed.append, walls=(), pid=1)
        self.host = ComponentHost(launched, Path("/nowhere"))
        self.channel = GuestChannel(None, on_broken=self.broke)
        self.seat = self.host.take_seat(self.channel)
        self.channel.attach(self.seat)
        self.broken = []

    def broke(self, error):
        self.broken.append(str(error))

    def say(self, number, frame):
        body = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
        self.host.receive(len(body).to_bytes(4, "big") + number.to_bytes(4, "big") + body)


@pytest.fixture
async def taken(anyio_backend):
    return TakenOver()


async def test_a_frame_for_an_instance_that_does_not_exist_is_dropped(taken):
    taken.say(99, {"type": "done", "turn": "x", "message": None})
    taken.say(1, {"type": "hello", "v": 1, "shape": "component", "streams": True})
    assert (await taken.channel.ready(1)).shape == "component"
    assert not taken.killed


async def test_a_frame_of_a_turn_that_does_not_run_ends_the_instance(taken):
    taken.say(1, {"type": "hello", "v": 1, "shape": "component", "streams": True})
    taken.say(1, {"type": "done", "turn": "another's", "message": None})
    assert "does not run in this sandbox" in taken.broken[0]


async def test_a_frame_that_is_too_large_ends_the_host(taken):
    taken.host.receive((9 << 20).to_bytes(4, "big") + (1).to_bytes(4, "big"))
    assert "too large" in taken.killed[0]


async def test_nonsense_of_the_host_itself_ends_it(taken):
    taken.say(0, b"\xff\xfe")
    taken.say(0, b"[]")
    assert len(taken.killed) == 2


async def test_nonsense_in_the_name_of_an_instance_ends_that_instance(taken):
    taken.say(1, b"{")
    with pytest.raises((GuestError, SandboxError)):
        await taken.channel.ready(1)
    assert taken.broken
    assert not taken.killed


async def test_an_end_that_is_no_json_ends_the_instance(taken):
    taken.say(1, b'{"type":"closed"')
    with anyio.fail_after(1):
        await taken.seat.dead.wait()


async def test_frames_in_pieces_are_one_frame(taken):
    body = json.dumps({"type": "hello", "v": 1, "shape": "component", "streams": True}).encode()
    for byte in len(body).to_bytes(4, "big") + (1).to_bytes(4, "big") + body:
        taken.host.receive(bytes([byte]))
    assert await taken.channel.ready(1)
