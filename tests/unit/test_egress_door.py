"""The egress door on good input: what the gate admits is reached, counted and recorded without its bytes."""

import contextlib

import anyio
import httpx
import pytest
from anyio import fail_after

from hive.core.call import EffectClass, Outcome, Principal, PrincipalKind, Refused, Verb
from hive.core.clock import SystemClock
from hive.core.grant import Grant, HostRule
from hive.core.ids import OwnerId
from hive.protocols.egress import EgressDoor, EgressLimits
from hive.protocols.egress.tunnel import KEPT_MAX_BYTES
from hive.testing.loopback import serve_app
from hive.testing.proxy_client import exchange, served_bytes, status_of
from hive.testing.rehearsal_gate import CALLER, HANDLE, SANDBOX, RehearsalGate

pytestmark = pytest.mark.anyio
BUILDER = Principal(kind=PrincipalKind.NODE, name="builder", owner=OwnerId("alice"))
LIMITS = EgressLimits(head_timeout_s=0.3, connect_timeout_s=1.0, idle_timeout_s=0.3)


@contextlib.asynccontextmanager
async def door_at(tmp_path, gate, *, ports=(), resolve=None, limits=LIMITS, principal=BUILDER):
    grant = Grant(hosts=(HostRule(host="127.0.0.1", ports=tuple(ports)),))
    extra = {} if resolve is None else {"resolve": resolve}
    door = EgressDoor(
        gate=gate,
        principal_for=lambda _sandbox: principal,
        grant_for=lambda _sandbox: grant,
        clock=SystemClock(),
        limits=limits,
        **extra,
    )
    path = tmp_path / "egress.sock"
    async with door.serve_unix(path, SANDBOX):
        with fail_after(15):
            yield path


async def test_a_tunnel_carries_bytes_both_ways_and_records_only_their_number(tmp_path):
    gate, seen = RehearsalGate(), []
    async with served_bytes(b"pong" * 10_000, seen) as port:  # noqa: SIM117
        async with door_at(tmp_path, gate, ports=[port]) as path:
            async with await anyio.connect_unix(path) as stream:
                await stream.send(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
                head = await stream.receive()
                await stream.send(b"ping")
                answer = b""
                with contextlib.suppress(anyio.EndOfStream):
                    while True:
                        answer += await stream.receive()
                await stream.send_eof()
            await anyio.wait_all_tasks_blocked()
    assert status_of(head) == 200
    assert answer == b"pong" * 10_000
    assert seen == [b"ping"]
    [kept] = gate.calls
    assert kept.attempt.verb is Verb.REACH
    assert kept.attempt.target == f"127.0.0.1:{port}"
    assert kept.attempt.effect is EffectClass.ONCE
    assert kept.attempt.principal is BUILDER
    assert kept.frames == []
    assert (kept.cost["sent_bytes"], kept.cost["received_bytes"]) == (4, 40_000)
    assert kept.outcome is Outcome.OK


async def test_an_http_client_reads_a_page_through_the_proxy(tmp_path):
    seen = []

    async def page(scope, receive, send):
        seen.append(dict(scope["headers"]) | {b":path": scope["raw_path"]})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a wheel"})

    gate = RehearsalGate()
    async with serve_app(page) as url:
        port = int(url.rpartition(":")[2])
        async with door_at(tmp_path, gate, ports=[port]) as path:
            transport = httpx.AsyncHTTPTransport(uds=str(path))
            async with httpx.AsyncClient(transport=transport) as client:
                request = client.build_request(
                    "GET", url + "/simple/?q=1", headers={"proxy-connection": "x"}
                )
                # What a client sends to a proxy: the whole URL as the target.
                request.extensions["target"] = (url + "/simple/?q=1").encode()
                answer = await client.send(request)
    assert answer.text == "a wheel"
    assert seen[0][b":path"].split(b"?")[0] == b"/simple/"
    assert seen[0][b"connection"] == b"close"
    assert b"proxy-connection" not in seen[0]
    assert gate.calls[0].attempt.effect is EffectClass.PURE
    assert gate.calls[0].attempt.facts["method"] == "GET"


async def test_a_body_passes_by_its_length_and_makes_the_effect_once(tmp_path):
    gate, seen = RehearsalGate(), []
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
    async with served_bytes(answer, seen) as port:
        request = (
            f"POST http://127.0.0.1:{port}/up HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            "Content-Length: 5\r\n\r\nhelloGET /second HTTP/1.1\r\n\r\n"
        ).encode()
        async with door_at(tmp_path, gate, ports=[port]) as path:
            got = await exchange(path, request)
    assert got == answer
    sent = b"".join(seen)
    assert sent.endswith(b"\r\n\r\nhello")
    assert b"second" not in sent
    assert gate.calls[0].attempt.effect is EffectClass.ONCE


async def test_a_refused_host_is_told_plainly(tmp_path):
    no = Refused(check="grant", reason="its grant does not name the host evil.example:443")
    gate = RehearsalGate(judge=lambda _attempt: no)
    async with door_at(tmp_path, gate) as path:
        got = await exchange(path, b"CONNECT evil.example:443 HTTP/1.1\r\n\r\n")
    assert status_of(got) == 403
    assert b"evil.example:443" in got
    assert b"operator" in got
    assert b"hive-reason: hive.grant" in got


async def test_nobody_in_the_sandbox_means_nobody_gets_out(tmp_path):
    gate = RehearsalGate()
    nobody = Refused(check="handle", reason="no turn runs in this sandbox")
    async with door_at(tmp_path, gate, principal=nobody) as path:
        got = await exchange(path, b"CONNECT a.example:443 HTTP/1.1\r\n\r\n")
    assert status_of(got) == 403
    assert gate.calls == []


async def test_a_handle_that_is_shown_is_resolved(tmp_path):
    gate = RehearsalGate(judge=lambda _attempt: Refused(check="grant", reason="no"))
    request = "CONNECT a.example:443 HTTP/1.1\r\nProxy-Authorization: Bearer {}\r\n\r\n"
    async with door_at(tmp_path, gate) as path:
        await exchange(path, request.format(HANDLE).encode())
        wrong = await exchange(path, request.format("stolen").encode())
    assert [one.attempt.principal for one in gate.calls] == [CALLER]
    assert status_of(wrong) == 403


async def test_a_host_that_is_away_is_a_bad_gateway(tmp_path):
    gate = RehearsalGate()
    async with served_bytes(b"", []) as port:
        pass
    async with door_at(tmp_path, gate, ports=[port]) as path:
        got = await exchange(path, f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
    assert status_of(got) == 502
    assert gate.outcomes == [Outcome.FAILED]


async def test_a_tunnel_in_which_nothing_moves_ends(tmp_path):
    gate = RehearsalGate()
    async with served_bytes(b"", []) as port, door_at(tmp_path, gate, ports=[port]) as path:
        got = await exchange(path, f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
    assert status_of(got) == 200
    assert gate.outcomes == [Outcome.OK]


async def test_a_rerun_is_served_what_it_read_and_never_tunnels_again(tmp_path):
    first, second, seen = RehearsalGate(), RehearsalGate(), []
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    async with served_bytes(answer, seen) as port:
        get = f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        connect = f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode()
        async with door_at(tmp_path, first, ports=[port]) as path:
            await exchange(path, get)
            await exchange(path, connect)
        second.replay = first.calls
        seen.clear()
        async with door_at(tmp_path, second, ports=[port]) as path:
            read = await exchange(path, get)
            tunnel = await exchange(path, connect)
    assert read == answer
    assert status_of(tunnel) == 409
    assert seen == []


async def test_a_rerun_reads_again_what_was_too_large_to_keep(tmp_path):
    first, second, seen = RehearsalGate(), RehearsalGate(), []
    answer = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (KEPT_MAX_BYTES + 1)
    async with served_bytes(answer, seen) as port:
        get = f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        async with door_at(tmp_path, first, ports=[port]) as path:
            await exchange(path, get)
        second.replay = first.calls
        seen.clear()
        async with door_at(tmp_path, second, ports=[port]) as path:
            assert await exchange(path, get) == answer
    assert len(seen) == 1


async def test_a_finished_post_is_answered_again_from_the_record_and_not_sent_again(tmp_path):
    first, second, seen = RehearsalGate(), RehearsalGate(), []
    answer = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok"
    async with served_bytes(answer, seen) as port:
        post = (
            f"POST http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            "Content-Length: 4\r\n\r\nbody"
        ).encode()
        async with door_at(tmp_path, first, ports=[port]) as path:
            assert await exchange(path, post) == answer
        assert len(seen) >= 1
        second.replay = first.calls
        seen.clear()
        async with door_at(tmp_path, second, ports=[port]) as path:
            assert await exchange(path, post) == answer
    assert seen == []
