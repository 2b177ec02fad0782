"""Servers of relationships that are away, slow, huge, broken or lead elsewhere: an error each time, never a yes."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest

from hive.core.errors import (
    BadInputError,
    ConfigError,
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
    UnknownSchemeError,
)
from hive.core.settings import Settings
from hive.node.relations import FAILURE_PAUSE_S, LateRelations
from hive.security.relations import RelationOpening, Relationship
from hive.security.relations.drivers import RELATIONS
from hive.security.relations.drivers.asked_http import ANSWER_MAX_BYTES
from hive.security.relations.drivers.spicedb import schema_of
from hive.security.relations.dsl_json import read_model
from hive.testing.clock import StoppedClock
from hive.testing.node_process import free_port

pytestmark = pytest.mark.anyio
ASKED = Relationship("document:plan", "viewer", "user:ann")


@asynccontextmanager
async def server(
    answer: bytes, *, status: str = "200 OK", after: float = 0.0
) -> AsyncIterator[str]:
    """Serve one answer to whoever asks."""
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(answer)}\r\nconnection: close\r\n"
    head += "location: http://127.0.0.1:1/elsewhere\r\n\r\n"

    async def one(stream: anyio.abc.SocketStream) -> None:
        with anyio.move_on_after(30):
            async with stream:
                await stream.receive()
                await anyio.sleep(after)
                try:
                    await stream.send(head.encode() + answer)
                except anyio.BrokenResourceError:
                    return

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, one)
        yield f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


def opened(url: str, timeout_s: float = 20):
    opening = RelationOpening(url=url, database=None, timeout_s=timeout_s)
    return RELATIONS.load(url).open(opening)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"not json", "200 OK"),
        (b"[" * 100_000, "200 OK"),
        (b"{}" + b" " * ANSWER_MAX_BYTES, "200 OK"),
        (b"{}", "302 Found"),
        (b'{"allowed": true, "permissionship": "PERMISSIONSHIP_HAS_PERMISSION"}', "500 Oops"),
        (b"", "503 Away"),
    ],
    ids=["text", "deep", "huge", "elsewhere", "broken", "away"],
)
async def test_an_answer_that_is_none_is_an_error(answer, status):
    async with server(answer, status=status) as url:
        with pytest.raises(EngineError):
            async with opened(f"openfga:{url}") as there:
                await there.check(ASKED)
        async with opened(f"spicedb:{url}") as there:
            with pytest.raises(EngineError):
                await there.check(ASKED)


async def test_only_the_plain_word_is_a_yes():
    for word in (b"PERMISSIONSHIP_CONDITIONAL_PERMISSION", b"PERMISSIONSHIP_UNSPECIFIED", b"true"):
        answer = b'{"permissionship": "%s"}' % word
        async with server(answer) as url, opened(f"spicedb:{url}") as there:
            assert not (await there.check(ASKED)).allowed


async def test_a_slow_server_is_not_waited_for():
    async with server(b"{}", after=25) as url, opened(f"spicedb:{url}", timeout_s=0.05) as there:
        with pytest.raises(EngineTimeoutError):
            await there.check(ASKED)


@pytest.mark.parametrize(
    "url",
    [
        "openfga:",
        "openfga:ftp://x",
        "spicedb:http://user:word@x",
        "spicedb:http://x?token=/no/such",
    ],
)
async def test_a_url_that_names_no_server_is_refused(url):
    with pytest.raises(ConfigError):
        async with opened(url):
            pass


async def test_a_server_that_is_away_is_tried_again_after_a_while():
    clock, url = StoppedClock(), f"openfga:http://127.0.0.1:{free_port()}"
    settings = Settings(relations_url=url)
    async with AsyncExitStack() as stack:
        late = LateRelations(stack, settings, None, None, clock)
        with pytest.raises(EngineUnavailableError) as first:
            await late.check(ASKED)
        with pytest.raises(EngineUnavailableError) as second:
            await late.check(ASKED)
        assert second.value is first.value
        clock.advance(FAILURE_PAUSE_S + 1)
        with pytest.raises(EngineUnavailableError) as third:
            await late.check(ASKED)
        assert third.value is not first.value
        with pytest.raises(UnknownSchemeError):
            LateRelations(stack, Settings(relations_url="paper:"), None, None, clock)


def test_a_model_becomes_a_schema_of_spicedb_or_is_refused():
    head = "model\n  schema 1.1\ntype user\ntype doc\n  relations\n    define own: [user]\n"
    made = schema_of(read_model(f"{head}    define may: ([user:*] or own) but not own\n"))
    assert "relation own: user\n" in made
    assert "relation may_direct: user:*\n" in made
    assert "permission may = ((may_direct + own) - own)" in made
    with pytest.raises(BadInputError, match="SpiceDB"):
        schema_of(read_model(f"{head}    define x: own\n"))
