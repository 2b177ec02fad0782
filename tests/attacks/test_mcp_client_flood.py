"""A stranger names one client after the other, so that the node asks address after address for him."""

import anyio
import pytest

from hive.engines import load_migrations
from hive.protocols.mcp.oauth.clients import FETCHES_AT_ONCE_MAX, FETCHES_PER_MINUTE_MAX
from hive.protocols.mcp.oauth.fetch import FetchReply
from tests.mcp_oauth_rig import BACK, CLIENT, OauthSite, description

pytestmark = pytest.mark.anyio


@pytest.fixture
def migrations():
    return load_migrations("hive.protocols.mcp")


def named(number):
    return f"https://app{number}.example/client.json"


async def test_a_stranger_makes_the_node_ask_only_so_often_in_a_minute(database):
    site = OauthSite(database, documents={CLIENT: description()})
    assert (await site.page(site.query())).status_code == 200
    for number in range(FETCHES_PER_MINUTE_MAX + 5):
        answer = await site.page(site.query(client_id=named(number)))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "60"
    assert len(site.fetch.asked) == FETCHES_PER_MINUTE_MAX
    # Who is known already is not looked up, and so not turned away.
    assert (await site.page(site.query())).status_code == 200
    site.clock.advance(61)
    site.fetch.documents[named(0)] = description(named(0), redirect_uris=[BACK])
    assert (await site.page(site.query(client_id=named(0)))).status_code == 200


async def test_slow_addresses_do_not_hold_more_than_a_few_lookups(database):
    site = OauthSite(database, documents={})
    released, held = anyio.Event(), []

    async def slow(method, url, **_):
        held.append(url)
        await released.wait()
        return FetchReply(404, {}, b"")

    site.fetch.ask = slow
    codes = []

    async def visit(number):
        codes.append((await site.page(site.query(client_id=named(number)))).status_code)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for number in range(FETCHES_AT_ONCE_MAX):
                tasks.start_soon(visit, number)
            while len(held) < FETCHES_AT_ONCE_MAX:
                await anyio.lowlevel.checkpoint()
            await visit(99)
            assert codes == [503]
            released.set()
    assert codes[1:] == [400] * FETCHES_AT_ONCE_MAX
    assert len(held) == FETCHES_AT_ONCE_MAX
