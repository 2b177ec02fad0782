"""Somebody names an address for the node to ask: the node's own network, a metadata service, or a name that moves."""

import socket
from contextlib import asynccontextmanager

import anyio
import pytest

from hive.core.errors import EngineUnavailableError, TooLargeError
from hive.protocols.mcp.oauth.fetch import Reach, ScreenedFetch

pytestmark = pytest.mark.anyio
INSIDE = (
    "127.0.0.1",
    "::1",
    "::ffff:127.0.0.1",
    "10.0.0.1",
    "192.168.1.1",
    "172.16.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "fd00:ec2::254",
    "fe80::1",
    "fc00::1",
    "64:ff9b::7f00:1",
    "0.0.0.0",
)


def resolving(*answers):
    """Give each answer once, the last one for ever."""
    left = list(answers)
    asked = []

    async def resolve(host, port):
        asked.append(host)
        return left.pop(0) if len(left) > 1 else left[0]

    resolve.asked = asked
    return resolve


@pytest.mark.parametrize("address", INSIDE)
async def test_a_strangers_address_never_leads_inside(address):
    fetch = ScreenedFetch(resolve=resolving((address,)))
    with pytest.raises(EngineUnavailableError, match="is not asked"):
        await fetch.ask("GET", "https://app.example/client.json", reach=Reach())


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "fe80::1"]
)
async def test_no_servers_metadata_leads_to_a_metadata_service(address):
    fetch = ScreenedFetch(resolve=resolving((address,)))
    with pytest.raises(EngineUnavailableError, match="is not asked"):
        await fetch.ask("GET", "https://x.example/", reach=Reach(loopback=True, networks=True))
    with pytest.raises(EngineUnavailableError):
        await fetch.reach_of("https://x.example/mcp")


async def test_a_public_server_sends_the_node_to_no_private_address():
    reach = await ScreenedFetch(resolve=resolving(("93.184.216.34",))).reach_of("https://x.example")
    assert reach == Reach()
    reach = await ScreenedFetch(resolve=resolving(("10.1.2.3",))).reach_of("https://x.corp/mcp")
    assert reach == Reach(networks=True)
    assert not reach.allows("127.0.0.1")


async def test_a_name_that_moves_inside_after_it_was_looked_at_is_not_followed():
    async with _listening() as (port, heard):
        resolve = resolving(("93.184.216.34",), ("127.0.0.1",))
        fetch = ScreenedFetch(resolve=resolve)
        reach = await fetch.reach_of("https://moves.example")
        with pytest.raises(EngineUnavailableError, match="is not asked"):
            await fetch.ask("GET", f"http://moves.example:{port}/", reach=reach)
        assert heard == []
        # Where the address is not looked at again, the inside is asked.
        anywhere = Reach(loopback=True, networks=True)
        await fetch.ask("GET", f"http://moves.example:{port}/", reach=anywhere)
        assert len(heard) == 1


async def test_what_comes_back_is_bounded_and_a_redirect_is_not_followed():
    async with _listening(b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\n\r\n") as (
        port,
        heard,
    ):
        fetch = ScreenedFetch()
        reply = await fetch.ask("GET", f"http://127.0.0.1:{port}/", reach=Reach(loopback=True))
        assert reply.status == 302
        assert len(heard) == 1
    huge = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000
    async with _listening(huge) as (port, _):
        with pytest.raises(TooLargeError):
            await ScreenedFetch().ask(
                "GET", f"http://127.0.0.1:{port}/", reach=Reach(loopback=True), limit_bytes=1000
            )


async def test_plain_http_is_spoken_to_this_machine_alone():
    fetch = ScreenedFetch(resolve=resolving(("93.184.216.34",)))
    for url in ("http://x.example/", "ftp://x.example/", "file:///etc/passwd", "https://a@b/"):
        with pytest.raises(EngineUnavailableError, match="is not asked"):
            await fetch.ask("GET", url, reach=Reach(loopback=True, networks=True))


@asynccontextmanager
async def _listening(answer=b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"):
    """Open a server on loopback that answers everything with the same bytes and remembers what it heard."""
    heard = []

    async def one(stream):
        try:
            heard.append(await stream.receive())
            await stream.send(answer)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            return
        finally:
            await stream.aclose()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", family=socket.AF_INET)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, one)
        yield listener.extra(anyio.abc.SocketAttribute.local_port), heard
        tasks.cancel_scope.cancel()
