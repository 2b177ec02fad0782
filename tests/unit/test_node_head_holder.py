"""A head goes out with what follows it, and never later than the loop's next turn."""

import asyncio

import pytest
from anyio.lowlevel import checkpoint

from hive.node.head_holder import HeadHolder

pytestmark = pytest.mark.anyio
HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class WireDouble:
    """A transport that keeps what was written, in order."""

    def __init__(self):
        self.done = []

    def write(self, data):
        self.done.append(bytes(data))

    def close(self):
        self.done.append("closed")

    def is_closing(self):
        return "closed" in self.done


@pytest.fixture
async def wire():
    return WireDouble()


def held(wire):
    return HeadHolder(wire, asyncio.get_running_loop())


async def test_a_head_and_its_body_are_one_piece(wire):
    transport = held(wire)
    transport.write(HEAD)
    transport.write(b"body")
    transport.write(b"more")
    await checkpoint()
    assert wire.done == [HEAD + b"body", b"more"]


async def test_a_head_alone_goes_out_by_itself(wire):
    held(wire).write(HEAD)
    assert wire.done == []
    await checkpoint()
    assert wire.done == [HEAD]


async def test_what_is_held_is_written_before_a_close_and_nothing_after(wire):
    transport = held(wire)
    transport.write(HEAD)
    transport.close()
    await checkpoint()
    assert wire.done == [HEAD, "closed"]


async def test_two_heads_keep_their_order(wire):
    transport = held(wire)
    transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    transport.write(HEAD)
    transport.write(b"body")
    await checkpoint()
    assert b"".join(wire.done) == b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"body"
