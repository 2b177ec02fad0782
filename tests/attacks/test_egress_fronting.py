"""Domain fronting: a tunnel to a granted host, and inside it the name of another one; and hellos that hide theirs."""

import contextlib
import socket
import ssl

import anyio
import pytest
from anyio import fail_after, to_thread

from hive.core.call import Outcome, Principal, PrincipalKind
from hive.core.clock import SystemClock
from hive.core.grant import Grant, HostRule
from hive.core.ids import OwnerId
from hive.protocols.egress import EgressDoor, EgressLimits
from hive.protocols.egress.hello import ALERT, UnfinishedError, objection
from hive.testing.rehearsal_gate import SANDBOX, RehearsalGate

pytestmark = pytest.mark.anyio
BUILDER = Principal(kind=PrincipalKind.NODE, name="builder", owner=OwnerId("alice"))
GRANTED, OTHER = "granted.example", "other.example"


def hello_of(name):
    """Return the hello of this machine's TLS library."""
    context = ssl.create_default_context()
    context.check_hostname = False
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(coming, going, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return going.read()


def in_records(hello, size):
    """Return the same hello, cut into records of a few bytes."""
    message = hello[5:]
    cuts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(hello[:3] + len(one).to_bytes(2, "big") + one for one in cuts)


@contextlib.asynccontextmanager
async def tunnel(tmp_path, *, port=0):
    """Serve a host that keeps what reaches it; give a client in an open tunnel to it, what arrived, and the gate."""
    arrived = bytearray()

    async def serve(stream):
        async with stream:
            with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    arrived.extend(await stream.receive())

    async def resolve(_host, _port):
        return ("127.0.0.1",)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    grant = Grant(hosts=tuple(HostRule(host=one, ports=(port,)) for one in (GRANTED, "127.0.0.1")))
    gate = RehearsalGate()
    door = EgressDoor(
        gate=gate,
        principal_for=lambda _sandbox: BUILDER,
        grant_for=lambda _sandbox: grant,
        clock=SystemClock(),
        resolve=resolve,
        limits=EgressLimits(idle_timeout_s=5),
    )
    path = tmp_path / "egress.sock"
    with fail_after(20):
        async with listener, anyio.create_task_group() as tasks, door.serve_unix(path, SANDBOX):
            tasks.start_soon(listener.serve, serve)
            async with await anyio.connect_unix(path) as client:
                await client.send(f"CONNECT {GRANTED}:{port} HTTP/1.1\r\n\r\n".encode())
                assert (await client.receive()).startswith(b"HTTP/1.1 200")
                yield client, arrived, gate
            tasks.cancel_scope.cancel()


async def arrives(arrived, hello):
    while True:
        if bytes(arrived) == hello:
            return
        await anyio.sleep(0.01)


async def rest_of(client):
    told = b""
    with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        while True:
            told += await client.receive()
    return told


async def test_the_granted_name_passes(tmp_path):
    hello = hello_of(GRANTED)
    async with tunnel(tmp_path) as (client, arrived, _):
        await client.send(hello)
        await arrives(arrived, hello)


@pytest.mark.parametrize(
    "hello",
    [hello_of(OTHER), hello_of(None), in_records(hello_of(OTHER), 7)],
    ids=["another name", "no name", "another name in small records"],
)
async def test_another_name_never_arrives_and_is_on_record(tmp_path, hello):
    async with tunnel(tmp_path) as (client, arrived, gate):
        await client.send(hello)
        assert await rest_of(client) == ALERT
        with anyio.move_on_after(2):
            while not gate.outcomes:  # noqa: ASYNC110 - the gate is a rehearsal's, it tells nobody
                await anyio.sleep(0.01)
    assert bytes(arrived) == b""
    assert gate.outcomes == [Outcome.FAILED]


async def test_without_the_check_the_other_name_would_arrive(tmp_path, monkeypatch):
    monkeypatch.setattr("hive.protocols.egress.hello.objection", lambda *_, **__: "")
    hello = hello_of(OTHER)
    async with tunnel(tmp_path) as (client, arrived, _):
        await client.send(hello)
        await arrives(arrived, hello)


async def test_a_name_that_comes_byte_by_byte_is_read_all_the_same(tmp_path):
    async with tunnel(tmp_path) as (client, arrived, gate):
        with contextlib.suppress(anyio.BrokenResourceError):
            for one in hello_of(OTHER):
                await client.send(bytes((one,)))
        assert ALERT in await rest_of(client)
    assert bytes(arrived) == b""
    assert gate.outcomes == [Outcome.FAILED]


async def test_a_real_client_says_why_it_cannot(tmp_path):
    """Python's own TLS prints the alert; it does not wait for a timeout."""
    async with tunnel(tmp_path) as (client, arrived, _):
        ours, theirs = socket.socketpair()

        def handshake():
            with ours, ssl.create_default_context().wrap_socket(ours, server_hostname=OTHER):
                return "connected"

        async def pump():
            theirs.setblocking(False)
            async with await anyio.abc.SocketStream.from_socket(theirs) as inner:
                await client.send(await inner.receive())
                await inner.send(await client.receive())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pump)
            with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
                await to_thread.run_sync(handshake)
    assert bytes(arrived) == b""


def judged(data, port=443, host=GRANTED, *, literal=False):
    return objection(data, host, port, literal=literal)


def with_names(*names, kind=0):
    """Return a hello with a list of names in one extension, or in several."""
    lists = [b"".join(bytes((kind,)) + len(n).to_bytes(2, "big") + n for n in one) for one in names]
    extensions = b"".join(
        b"\0\0" + (len(one) + 2).to_bytes(2, "big") + len(one).to_bytes(2, "big") + one
        for one in lists
    )
    body = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0"
    body += len(extensions).to_bytes(2, "big") + extensions
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\1" + len(message).to_bytes(2, "big") + message


@pytest.mark.parametrize(
    ("hello", "why"),
    [
        (with_names([OTHER.encode()]), "and not"),
        (with_names([GRANTED.encode(), OTHER.encode()]), "more than one"),
        (with_names([GRANTED.encode()], [OTHER.encode()]), "more than one"),
        (with_names([GRANTED.encode()], kind=1), "no host"),
        (with_names([GRANTED.encode() + b"\0"]), "and not"),
        (with_names([b"x." + GRANTED.encode()]), "and not"),
        (with_names([b"\xff" * 20]), "and not"),
        (with_names(), "does not name"),
        (b"GET / HTTP/1.1\r\n\r\n", "does not begin"),
        (b"\x16\3\1\0\4\2\0\0\0", "does not begin"),
        (b"\x16\3\1\0\0", "does not begin"),
        (b"\x80\x2e\1\3\1", "does not begin"),
    ],
)
def test_a_hello_that_can_be_read_twice_is_refused(hello, why):
    assert why in judged(hello)


def test_what_is_granted_passes_in_any_case_and_form():
    assert judged(with_names([b"Granted.EXAMPLE"])) == ""
    assert judged(hello_of(GRANTED)) == ""
    assert judged(in_records(hello_of(GRANTED), 5)) == ""
    assert judged(hello_of(None), host="192.0.2.1", literal=True) == ""
    assert "and not" in judged(hello_of(OTHER), host="192.0.2.1", literal=True)


def test_another_protocol_passes_where_it_may_be_spoken():
    assert judged(b"SSH-2.0-OpenSSH\r\n", port=22) == ""
    assert "does not begin" in judged(b"SSH-2.0-OpenSSH\r\n", port=443)
    assert "and not" in judged(hello_of(OTHER), port=22)


def test_every_beginning_of_a_hello_waits_for_the_rest():
    hello = hello_of(OTHER)
    for end in range(len(hello)):
        with pytest.raises(UnfinishedError):
            judged(hello[:end])
