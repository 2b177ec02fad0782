"""Ways around the egress door: inner addresses, rebinding, other notations, smuggling, slow clients."""

import contextlib

import anyio
import pytest
from anyio import fail_after

from hive.core.call import Outcome, Principal, PrincipalKind, Refused
from hive.core.clock import SystemClock
from hive.core.errors import BadInputError
from hive.core.grant import Grant, HostRule
from hive.core.ids import OwnerId
from hive.protocols.egress import EgressDoor, EgressLimits, parse_head
from hive.protocols.egress.addresses import is_public
from hive.testing.proxy_client import exchange, served_bytes, status_of
from hive.testing.rehearsal_gate import SANDBOX, RehearsalGate

pytestmark = pytest.mark.anyio
BUILDER = Principal(kind=PrincipalKind.NODE, name="builder", owner=OwnerId("alice"))


@contextlib.asynccontextmanager
async def door_at(tmp_path, gate, *, grant=Grant(), resolve=None, **limits):  # noqa: B008
    async def nowhere(_host, _port):
        return ()

    door = EgressDoor(
        gate=gate,
        principal_for=lambda _sandbox: BUILDER,
        grant_for=lambda _sandbox: grant,
        clock=SystemClock(),
        resolve=resolve or nowhere,
        limits=EgressLimits(head_timeout_s=0.2, **limits),
    )
    path = tmp_path / "egress.sock"
    async with door.serve_unix(path, SANDBOX):
        with fail_after(15):
            yield path


def judged_by(grant):
    """Judge as the kernel does: by what the grant names."""

    def judge(attempt):
        host, _, port = attempt.target.rpartition(":")
        if grant.allows_host(host, int(port)):
            return None
        return Refused(check="grant", reason="the host is not in the grant")

    return judge


def get(url_host, host_header=None):
    return (
        f"GET http://{url_host}/secret HTTP/1.1\r\nHost: {host_header or url_host}\r\n\r\n"
    ).encode()


INNER = [
    "127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
    "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1",
    "2002:7f00:1::", "ff02::1", "not an address",
]  # fmt: skip


@pytest.mark.parametrize("address", INNER)
def test_an_inner_address_is_never_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111"])
def test_an_outer_address_is_public(address):
    assert is_public(address)


@pytest.mark.parametrize("address", INNER)
async def test_a_name_that_is_allowed_cannot_be_pointed_inside(tmp_path, address):
    async def rebound(_host, _port):
        return ("1.1.1.1", address)

    gate = RehearsalGate()
    async with door_at(tmp_path, gate, resolve=rebound) as path:
        got = await exchange(path, b"CONNECT allowed.example:443 HTTP/1.1\r\n\r\n")
    assert status_of(got) == 403
    assert gate.outcomes == [Outcome.FAILED]


async def test_rebinding_between_check_and_connect_finds_no_second_lookup(tmp_path):
    seen, asked = [], []
    async with served_bytes(b"the database", seen) as port:

        async def flipping(host, _port):
            asked.append(host)
            return ("127.0.0.1",)

        grant = Grant(hosts=(HostRule(host="allowed.example", ports=(port,)),))
        gate = RehearsalGate(judge=judged_by(grant))
        connect = f"CONNECT allowed.example:{port} HTTP/1.1\r\n\r\n".encode()
        async with door_at(tmp_path, gate, grant=grant, resolve=flipping) as path:
            refused = await exchange(path, connect)
        open_grant = Grant(hosts=(*grant.hosts, HostRule(host="127.0.0.1", ports=(port,))))
        async with door_at(
            tmp_path, gate, grant=open_grant, resolve=flipping, idle_timeout_s=0.2
        ) as path:
            admitted = await exchange(path, connect)
    # The same name reaches the same place when the grant names the address: the wall is the check.
    assert (status_of(refused), status_of(admitted)) == (403, 200)
    assert asked == ["allowed.example"] * 2


@pytest.mark.parametrize(
    "host", ["127.0.0.1:5432", "169.254.169.254:80", "[::1]:5432", "[::ffff:127.0.0.1]:80"]
)
async def test_a_database_or_metadata_address_is_refused_even_by_a_careless_gate(tmp_path, host):
    gate = RehearsalGate()
    async with door_at(tmp_path, gate) as path:
        by_tunnel = await exchange(path, f"CONNECT {host} HTTP/1.1\r\n\r\n".encode())
        by_url = await exchange(path, get(host))
    assert (status_of(by_tunnel), status_of(by_url)) == (403, 403)


async def test_a_wildcard_rule_does_not_cover_an_inner_address(tmp_path):
    grant = Grant(hosts=(HostRule(host="*.0.0.1", ports=(80,)),))
    gate = RehearsalGate(judge=judged_by(grant))
    async with door_at(tmp_path, gate, grant=grant) as path:
        got = await exchange(path, b"CONNECT 127.0.0.1:80 HTTP/1.1\r\n\r\n")
    assert status_of(got) == 403


@pytest.mark.parametrize(
    "host",
    [
        "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.1", "127.0.0.01", "0", "1.2.3.4.5",
        "user@allowed.example", "allowed.example@127.0.0.1", "user:pw@allowed.example",
        "al%6cowed.example", "allowed.example..", ".allowed.example", "a..b", "-a.example", "a_b.example",
        "[::1", "::1", "[fe80::1%25eth0]", "[v1.x]", "allowed.example\\@x", "*", "*.example", "a" * 64,
    ],
)  # fmt: skip
async def test_a_host_in_another_notation_is_not_read(tmp_path, host):
    gate = RehearsalGate()
    async with door_at(tmp_path, gate) as path:
        tunnel = await exchange(path, f"CONNECT {host}:443 HTTP/1.1\r\n\r\n".encode())
        url = await exchange(path, get(host))
    assert (status_of(tunnel), status_of(url)) == (400, 400)
    assert gate.calls == []


@pytest.mark.parametrize(
    "host", ["b\u00fccher.example", "\uff4cocalhost", "127\u30020\u30020\u30021", "a\u202eb"]
)
async def test_a_unicode_host_is_not_read(tmp_path, host):
    gate = RehearsalGate()
    async with door_at(tmp_path, gate) as path:
        got = await exchange(path, f"CONNECT {host}:443 HTTP/1.1\r\n\r\n".encode())
    assert status_of(got) == 400
    assert gate.calls == []


@pytest.mark.parametrize("host", ["Allowed.EXAMPLE", "allowed.example."])
async def test_capitals_and_a_last_dot_are_the_same_name_to_the_gate(tmp_path, host):
    gate = RehearsalGate(judge=lambda _attempt: Refused(check="grant", reason="no"))
    async with door_at(tmp_path, gate) as path:
        await exchange(path, f"CONNECT {host}:443 HTTP/1.1\r\n\r\n".encode())
    assert [one.attempt.target for one in gate.calls] == ["allowed.example:443"]


HEAD = b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n"
SMUGGLED = {
    "two lengths": HEAD + b"Content-Length: 0\r\nContent-Length: 30\r\n\r\n",
    "length in a list": HEAD + b"Content-Length: 0, 30\r\n\r\n",
    "a signed length": HEAD + b"Content-Length: +5\r\n\r\n",
    "chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
    "chunked and length": HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
    "an obscure encoding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n",
    "space before the colon": HEAD + b"Content-Length : 5\r\n\r\n",
    "a folded line": HEAD + b"X: a\r\n b\r\n\r\n",
    "a bare line feed": HEAD + b"X: a\nTransfer-Encoding: chunked\r\n\r\n",
    "a bare carriage return": HEAD + b"X: a\rY: b\r\n\r\n",
    "a zero byte": HEAD + b"X: a\x00b\r\n\r\n",
    "two hosts": HEAD + b"Host: b.example\r\n\r\n",
    "another host": b"GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n",
    "another port": b"GET http://a.example/ HTTP/1.1\r\nHost: a.example:8080\r\n\r\n",
    "no host": b"GET http://a.example/ HTTP/1.1\r\n\r\n",
    "a tunnel with a body": b"CONNECT a.example:443 HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
    "a tunnel without port": b"CONNECT a.example HTTP/1.1\r\n\r\n",
    "port zero": b"CONNECT a.example:0 HTTP/1.1\r\n\r\n",
    "port too high": b"CONNECT a.example:65536 HTTP/1.1\r\n\r\n",
    "an https URL": b"GET https://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "a file URL": b"GET file:///etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
    "a plain path": b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "an old version": b"GET http://a.example/\r\n\r\n",
    "a tab in the line": b"GET\thttp://a.example/ HTTP/1.1\r\n\r\n",
    "a fragment": b"GET http://a.example/x#y HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "an unknown method": b"TRACE http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "too many headers": HEAD + b"X: y\r\n" * 200 + b"\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLED)
async def test_what_can_be_read_in_two_ways_is_not_read(tmp_path, name):
    gate = RehearsalGate()
    with pytest.raises(BadInputError):
        parse_head(SMUGGLED[name])
    async with door_at(tmp_path, gate) as path:
        got = await exchange(path, SMUGGLED[name])
    assert status_of(got) == 400
    assert gate.calls == []


def test_headers_named_by_connection_do_not_go_on():
    head = parse_head(
        HEAD + b"Connection: x-inner, content-length\r\nX-Inner: 1\r\nTE: trailers\r\n\r\n"
    )
    assert b"x-inner" not in head.onward
    assert b"te: " not in head.onward
    assert head.onward.count(b"host: ") == 1


async def test_a_slow_loris_is_cut_off(tmp_path):
    async with (
        door_at(tmp_path, RehearsalGate()) as path,
        await anyio.connect_unix(path) as stream,
    ):
        await stream.send(b"CONNECT a.ex")
        got = await stream.receive()
    assert status_of(got) == 408


async def test_a_head_without_end_is_cut_off(tmp_path):
    async with door_at(tmp_path, RehearsalGate()) as path:
        got = await exchange(path, b"GET http://a.example/ HTTP/1.1\r\nX: " + b"a" * 200_000)
    assert status_of(got) in (431, 0)


async def test_too_many_connections_of_one_sandbox_are_turned_away(tmp_path):
    async with (
        door_at(tmp_path, RehearsalGate(), connections_max=2) as path,
        await anyio.connect_unix(path),
        await anyio.connect_unix(path),
    ):
        await anyio.wait_all_tasks_blocked()
        got = await exchange(path, b"CONNECT a.example:443 HTTP/1.1\r\n\r\n")
    assert status_of(got) == 503


async def test_a_client_that_vanishes_does_not_end_the_door(tmp_path):
    gate = RehearsalGate(judge=lambda _attempt: Refused(check="grant", reason="no"))
    async with door_at(tmp_path, gate) as path:
        for _ in range(5):
            async with await anyio.connect_unix(path) as stream:
                await stream.send(b"CONNECT a.example:443 HTTP/1.1\r\n")
        got = await exchange(path, b"CONNECT a.example:443 HTTP/1.1\r\n\r\n")
    assert status_of(got) == 403
