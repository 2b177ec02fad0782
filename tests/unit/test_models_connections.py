"""The connections to a provider: what is kept, what is read byte by byte, what ends them."""

import contextlib
import time

import anyio
import httpcore
import pytest
from anyio import fail_after
from anyio.abc import SocketAttribute

from hive.core.secret import Secret
from hive.protocols.models import connections as pool
from hive.protocols.models import exchange
from hive.protocols.models.addresses import provider_place
from hive.protocols.models.connections import ProviderConnections

pytestmark = pytest.mark.anyio
ASK = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class RawServer:
    """Answers every request with exact bytes, in the pieces given; counts connections."""

    def __init__(self, *pieces, close=False):
        self.pieces, self.close = pieces, close
        self.connections = 0
        self.asked = 0
        self.ended = anyio.Event()

    async def _connection(self, stream):
        self.connections += 1
        async with stream:
            with contextlib.suppress(
                anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError
            ):
                while True:
                    await stream.receive()
                    self.asked += 1
                    for piece in self.pieces:
                        await stream.send(piece)
                        await anyio.wait_all_tasks_blocked()
                    if self.close:
                        break
        self.ended.set()

    @contextlib.asynccontextmanager
    async def opened(self, *, read_s=5.0, kept_s=30.0):
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(SocketAttribute.local_port)
        place = provider_place(f"x:http://127.0.0.1:{port}", Secret(""), example="x")
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, self._connection)
            opened = ProviderConnections(
                place=place, context=None, connect_s=2.0, read_s=read_s, kept_s=kept_s
            )
            with fail_after(20):
                yield opened
            opened.close()
            tasks.cancel_scope.cancel()


async def read(opened):
    response = await opened.send(ASK)
    try:
        body = b""
        while piece := await response.piece():
            body += piece
        return response.status, body
    finally:
        response.close()


@pytest.mark.parametrize(
    "answer",
    [
        WHOLE,
        CHUNKED + b"2;odd=1\r\nhe\r\n3\r\nllo\r\n0\r\nx-after: 1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + WHOLE,
    ],
)
@pytest.mark.parametrize("bytewise", [False, True])
async def test_an_answer_is_whole_however_it_is_cut_and_the_connection_is_kept(answer, bytewise):
    pieces = [answer[at : at + 1] for at in range(len(answer))] if bytewise else [answer]
    server = RawServer(*pieces)
    async with server.opened() as opened:
        assert [await read(opened) for _ in range(3)] == [(200, b"hello")] * 3
    assert (server.connections, server.asked) == (1, 3)


async def test_a_body_without_a_length_ends_with_its_connection():
    server = RawServer(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo", close=True)
    async with server.opened() as opened:
        assert [await read(opened) for _ in range(2)] == [(200, b"hello")] * 2
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello",
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"5\r\nhello\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/2.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        b"",
    ],
)
async def test_what_is_torn_or_has_two_readings_is_no_answer(answer):
    async with RawServer(answer, close=True).opened() as opened:
        with pytest.raises((httpcore.ProtocolError, httpcore.NetworkError)):
            await read(opened)


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\n", b"x: " + b"y" * exchange.HEAD_MAX_BYTES),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 8000,),
        (CHUNKED + b"0\r\n", b"x: " + b"y" * 2 * exchange.HEAD_MAX_BYTES),
    ],
)
async def test_a_head_or_an_end_without_an_end_is_cut(pieces):
    server = RawServer(*pieces)
    async with server.opened() as opened:
        with pytest.raises(httpcore.RemoteProtocolError):
            await read(opened)
        await server.ended.wait()


async def test_bytes_that_nobody_asked_for_answer_no_later_question():
    """Without the look, the second question would be answered with what the first one left behind."""
    server = RawServer(WHOLE + WHOLE.replace(b"hello", b"other"))
    async with server.opened() as opened:
        assert [await read(opened) for _ in range(2)] == [(200, b"hello")] * 2
    assert server.connections == 2


async def test_a_kept_connection_that_the_server_closed_costs_no_question():
    server = RawServer(WHOLE, close=True)
    async with server.opened() as opened:
        for _ in range(3):
            server.ended = anyio.Event()
            assert await read(opened) == (200, b"hello")
            await server.ended.wait()
            # The loop has not come to the close yet; only a look at the socket itself tells.
            time.sleep(0.005)  # noqa: ASYNC251
    assert server.connections == 3


async def test_a_connection_is_kept_for_a_time_and_not_longer():
    server = RawServer(WHOLE)
    async with server.opened(kept_s=0.0) as opened:
        await read(opened)
        await read(opened)
    assert server.connections == 2


async def test_an_answer_that_is_left_ends_its_connection():
    server = RawServer(CHUNKED + b"5\r\nhello\r\n")
    async with server.opened() as opened:
        response = await opened.send(ASK)
        assert await response.piece() == b"hello"
        with anyio.move_on_after(0.01):
            await response.piece()
        response.close()
        await server.ended.wait()


async def test_a_server_that_says_nothing_is_left_in_time():
    server = RawServer()
    async with server.opened(read_s=0.05) as opened:
        with pytest.raises(httpcore.ReadTimeout):
            await read(opened)
        await server.ended.wait()


async def test_there_are_only_so_many_questions_at_once(monkeypatch):
    monkeypatch.setattr(pool, "CONNECTIONS_MAX", 1)
    server = RawServer(WHOLE)
    async with server.opened() as opened:
        opened._connect_s = 0.05
        response = await opened.send(ASK)
        with pytest.raises(httpcore.PoolTimeout):
            await opened.send(ASK)
        response.close()
        assert await read(opened) == (200, b"hello")


@pytest.mark.peers
async def test_a_reader_that_is_slow_holds_only_a_bounded_part():
    size = 8 << 20
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n".encode()
    server = RawServer(head, *([b"x" * (1 << 16)] * (size >> 16)))
    async with server.opened() as opened:
        response = await opened.send(ASK)
        wire, got, most = response._wire, 0, 0
        while piece := await response.piece():
            got += len(piece)
            most = max(most, wire._held_bytes)
            await anyio.lowlevel.checkpoint()
        response.close()
        assert await read(opened) == (200, b"x" * size)
    assert got == size
    assert most <= 2 * exchange.HELD_MAX_BYTES
    assert server.connections == 1
