"""The hub's tables: a node that starts knows every server and tool without asking any of them."""

import pytest
from tests.mcp_hub_rig import LineServer, hub_with, line_spec

from hive.core.clock import SystemClock
from hive.core.errors import BadInputError, ConflictError, InvalidIdError, NotFoundError
from hive.core.grant import Grant, HostRule
from hive.engines import load_migrations
from hive.protocols.mcp.hub.definitions import digest_of
from hive.protocols.mcp.hub.records import ServerRecords
from hive.protocols.mcp.hub.revisions import ServerDescription
from hive.protocols.mcp.ports import ServerSpec, Sharing, ToolDefinition, TransportKind

pytestmark = pytest.mark.anyio


@pytest.fixture
def migrations():
    return load_migrations("hive.protocols.mcp")


@pytest.fixture
def tables(database):
    return ServerRecords(database=database, clock=SystemClock())


def tool(number, server="web", text="It does something."):
    raw = {"name": f"t{number}", "description": text, "inputSchema": {"type": "object"}}
    return ToolDefinition(server=server, name=f"t{number}", raw=raw, digest=digest_of(raw))


async def test_what_a_server_listed_is_there_after_a_start(tables):
    server = LineServer(
        tools=[{"name": "echo", "description": "é", "inputSchema": {"a": [1, None]}}]
    )
    spec = line_spec(
        environment={"API_KEY": "secret:line-key"},
        grant=Grant(hosts=(HostRule(host="example.org"),)),
        sharing=Sharing.SANDBOX,
        timeout_s=7.5,
    )
    secrets = {"line-key": "hidden"}
    async with hub_with(spec, launch=server.launch, tables=tables, secrets=secrets) as hub:
        await hub.refresh("line")
        before = hub.tool("line.echo").definition
    async with hub_with(tables=tables) as hub:
        assert hub.tool("line.echo").definition == before
        view = hub.server("line")
        assert view.spec == spec
        assert view.instructions == "Be brief."
        assert view.revision == "2025-11-25"
        assert view.tools == 1
    assert len(server.starts) == 1


async def test_no_secret_is_in_the_tables(tables, database):
    server = LineServer()
    spec = line_spec(environment={"API_KEY": "secret:line-key"})
    async with hub_with(
        spec, launch=server.launch, tables=tables, secrets={"line-key": "hidden"}
    ) as hub:
        await hub.refresh("line")
    assert server.starts[0][2] == {"API_KEY": "hidden"}
    rows = await database.fetch("SELECT spec, described FROM mcp_connection")
    assert "secret:line-key" in rows[0]["spec"]
    assert "hidden" not in str(rows)


@pytest.mark.parametrize("name", ["authorization", "X-Api-Key", "cookie"])
async def test_a_secret_in_the_open_is_refused(tables, name):
    async with hub_with(tables=tables) as hub:
        spec = ServerSpec(
            name="web", transport=TransportKind.HTTP, url="http://x/", headers={name: "s3cret"}
        )
        with pytest.raises(BadInputError, match="secret"):
            await hub.add(spec)
        assert not hub.servers()


@pytest.mark.parametrize("name", ["", "a.b", "a__b", "-a", "A", "x" * 41, "ä"])
async def test_a_name_that_would_be_mistaken_is_refused(tables, name):
    async with hub_with(tables=tables) as hub:
        with pytest.raises(InvalidIdError):
            await hub.add(line_spec(name))


async def test_servers_are_added_once_disabled_and_removed_with_their_tools(tables, database):
    server = LineServer()
    async with hub_with(line_spec(), launch=server.launch, tables=tables) as hub:
        await hub.refresh("line")
        with pytest.raises(ConflictError):
            await hub.add(line_spec())
        await hub.set_enabled("line", False)
    async with hub_with(tables=tables) as hub:
        assert not hub.server("line").spec.enabled
        await hub.remove("line")
        with pytest.raises(NotFoundError):
            await hub.remove("line")
    assert await database.fetch("SELECT 1 FROM mcp_tool") == []


async def test_a_listing_replaces_the_one_before(tables):
    await tables.add(ServerSpec(name="web", transport=TransportKind.HTTP, url="http://x/"))
    first = [tool(1), tool(2)]
    await tables.keep_listing("web", ServerDescription(), first, before={})
    second = [tool(3), tool(2, text="It does something else.")]
    before = {one.name: one.digest for one in first}
    await tables.keep_listing("web", ServerDescription(), second, before=before)
    (kept,) = await tables.load()
    assert list(kept.tools) == second


async def test_for_whom_a_list_was_made_is_kept_with_it(tables):
    await tables.add(ServerSpec(name="web", transport=TransportKind.HTTP, url="http://x/"))
    for owner in ("alice", ""):
        await tables.keep_listing(
            "web", ServerDescription(), [tool(1)], before={}, private_to=owner
        )
        (kept,) = await tables.load()
        assert kept.private_to == owner


async def test_two_hundred_servers_with_five_thousand_tools_are_there_at_once(tables):
    for server in range(200):
        name = f"server-{server}"
        await tables.add(ServerSpec(name=name, transport=TransportKind.HTTP, url="http://x/"))
        listed = [tool(number, name, "Some words. " * 40) for number in range(25)]
        await tables.keep_listing(name, ServerDescription(), listed, before={})
    clock = SystemClock()
    began = clock.monotonic()
    async with hub_with(tables=tables) as hub:
        loaded_s = clock.monotonic() - began
        assert len(hub.tools()) == 5000
        assert loaded_s < 2.0
        again = clock.monotonic()
        hub.tools()
        hub.servers()
        assert clock.monotonic() - again < 0.02
