"""What a server lists for one login is read by another owner: names of tools alone can tell of his affairs."""

import anyio
import pytest

from hive.core.call import Principal, PrincipalKind
from hive.core.grant import Grant
from hive.core.ids import OwnerId
from hive.protocols.mcp.gateway.catalog import ToolCatalog
from hive.protocols.mcp.hub.hub import HUB
from hive.protocols.mcp.ports import Visitor
from tests.mcp_hub_rig import (
    ALICE,
    BOB,
    ECHO,
    LineServer,
    TablesInMemory,
    hub_with,
    line_spec,
)

pytestmark = pytest.mark.anyio
EVERYTHING = Grant(tools=("*",))
OPERATOR = Principal(kind=PrincipalKind.OPERATOR, name="operator", owner=OwnerId("operator"))


def listing(scope, *, stateless=True):
    said = {"tools": [ECHO]} if scope is None else {"tools": [ECHO], "cacheScope": scope}
    return LineServer({"tools/list": said}, stateless=stateless)


def logged_in(spec, owner):
    return None


def seen(hub, *who):
    catalog = ToolCatalog(hub, lambda _: EVERYTHING)
    return [list(catalog.view(Visitor(principal=one)).names) for one in who]


@pytest.mark.parametrize(
    ("scope", "oauth", "for_bob"),
    [
        ("private", True, []),
        (None, True, []),
        ({"a": 1}, True, []),
        # Without the guard, this is what Bob sees of the private ones as well.
        ("public", True, ["line__echo"]),
        # Every owner comes with the node's own credential there: to the server they are one.
        ("private", False, ["line__echo"]),
    ],
)
async def test_a_private_list_is_seen_by_the_owner_for_whom_it_was_made(scope, oauth, for_bob):
    server = listing(scope)
    spec = line_spec(oauth=oauth)
    async with hub_with(spec, launch=server.launch, auth_for=logged_in) as hub:
        await hub.refresh("line", caller=ALICE)
        assert seen(hub, ALICE, BOB) == [["line__echo"], for_bob]
        # A view that was made for one is not handed to the next.
        assert seen(hub, BOB, ALICE) == [for_bob, ["line__echo"]]


async def test_an_older_server_cannot_say_that_its_list_is_public_and_so_it_is_not():
    server = listing(None, stateless=False)
    spec = line_spec(oauth=True)
    async with hub_with(spec, launch=server.launch, auth_for=logged_in) as hub:
        await hub.refresh("line")
        assert seen(hub, OPERATOR, ALICE) == [["line__echo"], []]


async def test_a_private_list_stays_private_over_a_restart():
    server, tables = listing("private"), TablesInMemory()
    spec = line_spec(oauth=True)
    async with hub_with(spec, launch=server.launch, tables=tables, auth_for=logged_in) as hub:
        await hub.refresh("line", caller=ALICE)
    async with hub_with(tables=tables) as hub:
        assert seen(hub, ALICE, BOB) == [["line__echo"], []]


async def test_another_owners_connection_does_not_take_a_private_list_over():
    server = listing("private")
    server.capabilities = {"tools": {"listChanged": True}}
    spec = line_spec(oauth=True)
    async with hub_with(spec, launch=server.launch, auth_for=logged_in) as hub:
        await hub.refresh("line", caller=ALICE)
        told = anyio.Event()
        hub.on_change(lambda _: told.set())
        async with hub.link("line", BOB):
            await server.say({"method": "notifications/tools/list_changed"})
            with anyio.fail_after(20):
                await told.wait()
        assert hub.server("line").private_to == "alice"
        assert seen(hub, ALICE, BOB) == [["line__echo"], []]


async def test_a_call_of_a_tool_that_is_not_seen_is_a_call_of_no_tool():
    server = listing("private")
    spec = line_spec(oauth=True)
    async with hub_with(spec, launch=server.launch, auth_for=logged_in) as hub:
        await hub.refresh("line", caller=HUB)
        catalog = ToolCatalog(hub, lambda _: EVERYTHING)
        assert catalog.view(Visitor(principal=BOB)).get("line__echo") is None
        assert catalog.view(Visitor(principal=OPERATOR)).get("line__echo") is not None
