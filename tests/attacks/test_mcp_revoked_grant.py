"""A program whose login was taken back holds on to what it opened before: a call, a stream, a session."""

import contextlib

import anyio
import httpx
import pytest

from hive.core.call import Principal, PrincipalKind
from hive.core.ids import OwnerId
from hive.protocols.mcp.ports import Visitor
from tests.mcp_front_rig import http_client, shake_hands, small_front, stateless

pytestmark = pytest.mark.anyio
WAIT_S = 30


class GrantedDoor:
    """Knows one program by the grants that it shows."""

    async def identify(self, _scope, headers):
        grant = headers.get("authorization", "").removeprefix("Bearer ")
        who = Principal(kind=PrincipalKind.CLIENT, name="app", owner=OwnerId("local"))
        return Visitor(principal=who, grant="" if grant == "forgotten" else grant)


@contextlib.asynccontextmanager
async def granted(grant="first"):
    async with small_front() as (url, service, front), http_client(grant) as http:
        front._doorman = GrantedDoor()
        yield url, service, front, http


async def drained(stream):
    """Read a stream to its end, which may be a broken one."""
    with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError):
        async for _ in stream.aiter_raw():
            pass


@pytest.mark.parametrize("grant", ["first", "forgotten"])
async def test_a_held_call_ends_with_its_grant_and_without_the_bond_it_goes_on(grant):
    body, headers = stateless("tools/call", {"name": "wait"})
    answers = []
    async with granted(grant) as (url, service, front, http):

        async def call():
            answers.append(await http.post(url, json=body, headers=headers))

        with anyio.fail_after(WAIT_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                await service.started.wait()
                front.end_grant(grant)
                if grant == "forgotten":
                    service.release.set()
    assert answers[0].status_code == (200 if grant == "forgotten" else 401)
    assert service.cancelled.is_set() is (grant == "first")


async def test_a_call_of_a_session_that_streams_already_ends_with_its_grant():
    async with granted() as (url, service, front, http):
        client = await shake_hands(http, url)
        body = client.body("tools/call", {"name": "notify", "arguments": {"hold": True}})
        with anyio.fail_after(WAIT_S):
            async with http.stream("POST", url, json=body, headers=client.headers) as stream:
                await service.started.wait()
                front.end_grant("first")
                await drained(stream)
            await service.cancelled.wait()
        assert front.sessions == 0
        assert (await client.call("echo")).status_code == 404


async def test_open_streams_of_both_eras_end_with_their_grant():
    asked = {"notifications": {"toolsListChanged": True}}
    body, headers = stateless("subscriptions/listen", asked)
    async with granted() as (url, service, front, http):
        client = await shake_hands(http, url)
        for method, fields in (
            ("GET", {"headers": client.headers}),
            ("POST", {"headers": headers, "json": body}),
        ):
            with anyio.fail_after(WAIT_S):
                async with http.stream(method, url, **fields) as stream:
                    assert stream.status_code == 200
                    await service.watched.wait()
                    service.watched = anyio.Event()
                    front.end_grant("first")
                    await drained(stream)


async def test_another_grant_of_the_same_program_goes_on_and_cannot_take_up_that_session():
    async with granted() as (url, service, front, http), http_client("second") as other:
        first, second = await shake_hands(http, url), await shake_hands(other, url)
        answers = []

        async def call():
            answers.append(await second.call("wait"))

        with anyio.fail_after(WAIT_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                await service.started.wait()
                front.end_grant("first")
                service.release.set()
        assert answers[0].json()["result"]["content"][0]["text"] == "waited"
        first.http = other
        assert (await first.call("echo")).status_code == 404
        second.http = http
        assert (await second.call("echo")).status_code == 404
