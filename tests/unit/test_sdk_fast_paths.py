"""What makes the SDK's server quick, and that nothing of it is at the cost of what it promises."""

import anyio
import pytest

from hive_a2a.asgi import WHOLE_KEY, respond
from hive_a2a.crypto import new_signing_pair
from hive_a2a.policy import Policy, WireLimits
from hive_a2a.stages.audit import AuditKind, CallRecord
from hive_a2a.stages.audit_disk import LogFile
from hive_a2a.stages.audit_file import FileAudit
from hive_a2a.wire.corked import HELD_BYTES_MAX, CorkedTransport
from hive_a2a.wire.serve import serving
from tests.wire_rig import endpoint

pytestmark = pytest.mark.anyio


class NotingTransport:
    """Keeps what was written to it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed


class NotingLoop:
    """Keeps what was to be called soon."""

    def __init__(self) -> None:
        self.soon = []

    def call_soon(self, callback) -> None:
        self.soon.append(callback)


@pytest.fixture
def below() -> NotingTransport:
    return NotingTransport()


@pytest.fixture
def loop() -> NotingLoop:
    return NotingLoop()


def test_head_and_body_are_one_write(below, loop):
    corked = CorkedTransport(below, loop)
    corked.write(b"head")
    corked.write(b"body")
    assert below.written == []
    corked.flush()
    assert below.written == [b"headbody"]
    loop.soon[0]()
    assert below.written == [b"headbody"], "what was sent is not sent again"


def test_a_head_without_a_body_goes_with_the_next_turn_of_the_loop(below, loop):
    corked = CorkedTransport(below, loop)
    corked.write(b"head")
    assert len(loop.soon) == 1
    loop.soon[0]()
    assert below.written == [b"head"]


def test_no_more_than_a_little_is_held(below, loop):
    corked = CorkedTransport(below, loop)
    for _ in range(100):
        corked.write(b"x" * 1000)
    assert len(b"".join(below.written)) >= 100_000 - HELD_BYTES_MAX
    assert max(map(len, below.written)) <= HELD_BYTES_MAX + 1000


def test_closing_sends_what_is_held_and_aborting_does_not(below, loop):
    corked = CorkedTransport(below, loop)
    corked.write(b"last words")
    corked.close()
    assert below.written == [b"last words"]
    assert corked.is_closing()
    corked.write(b"too late")
    corked.flush()
    assert below.written == [b"last words"]
    other = NotingTransport()
    cut = CorkedTransport(other, loop)
    cut.write(b"lost")
    cut.abort()
    cut.flush()
    assert other.closed
    assert other.written == []


class WholeTeller:
    """An application that answers whether it was told that the body is here, after it read it."""

    async def __call__(self, scope, receive, send) -> None:
        told = WHOLE_KEY in scope
        while (await receive()).get("more_body"):
            pass
        await respond(send, b"whole" if told else b"pieces")


def asking(body: bytes, more: bytes = b"") -> bytes:
    head = f"POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {len(body + more)}\r\n"
    return head.encode() + b"\r\n" + body


async def answer_of(stream) -> bytes:
    received = b""
    with anyio.fail_after(10):
        while b"\r\n\r\n" not in received:
            received += await stream.receive()
        head, _, body = received.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length:")[2].split()[0])
        while len(body) < size:
            body += await stream.receive()
    return head + b"\r\n\r\n" + body


async def test_only_a_body_that_came_with_its_head_is_called_whole():
    async with (
        serving(WholeTeller()) as port,
        await anyio.connect_tcp("127.0.0.1", port) as stream,
    ):
        await stream.send(asking(b"{}"))
        assert (await answer_of(stream)).endswith(b"whole")
        await stream.send(asking(b"{", b"}"))
        # The answer to another connection says that the first half was taken in.
        async with await anyio.connect_tcp("127.0.0.1", port) as other:
            await other.send(asking(b"{}"))
            await answer_of(other)
        await stream.send(b"}")
        assert (await answer_of(stream)).endswith(b"pieces")


async def test_requests_sent_at_once_are_answered_in_their_order():
    async with (
        serving(WholeTeller()) as port,
        await anyio.connect_tcp("127.0.0.1", port) as stream,
    ):
        await stream.send(asking(b"{}") * 3)
        received = b""
        with anyio.fail_after(10):
            while received.count(b"HTTP/1.1 200") < 3 or not received.endswith(b"whole"):
                received += await stream.receive()
        assert received.count(b"whole") == 3


async def test_a_body_that_dawdles_on_a_socket_is_not_waited_for():
    policy = Policy.open()
    limits = WireLimits(body_timeout_s=0.2)
    from dataclasses import replace

    app = endpoint(policy=replace(policy, limits=limits))
    async with serving(app, limits=limits) as port:
        for sent in (asking(b"", b"{}"), asking(b"{", b"}")):
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(sent)
                assert (await answer_of(stream)).startswith(b"HTTP/1.1 408")


async def test_calls_that_are_ready_together_share_one_write(tmp_path):
    writes: list[bytes] = []

    class NotedLog(LogFile):
        def write(self, data):
            writes.append(bytes(data))
            return super().write(data)

    async with FileAudit(
        tmp_path,
        new_signing_pair().private,
        open_log=lambda path, synced: NotedLog(path, synced=synced),
    ) as audit:
        await audit.attempt(CallRecord(kind=AuditKind.ATTEMPT, call="first"))
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                one = CallRecord(kind=AuditKind.ATTEMPT, call=f"together-{number}")
                tasks.start_soon(audit.attempt, one)
    assert [one.count(b'"together-') for one in writes if b'"together-' in one] == [50]


async def test_an_attempt_alone_is_not_kept_waiting_for_others(tmp_path):
    """The rest of an idle writer is an hour: without a call of its own, an attempt would wait for it."""
    async with FileAudit(tmp_path, new_signing_pair().private) as audit:
        with anyio.fail_after(10):
            for number in range(20):
                await audit.attempt(CallRecord(kind=AuditKind.ATTEMPT, call=f"c-{number}"))
