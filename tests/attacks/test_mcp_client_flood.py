"""A stranger names one client after the other, so that the node asks address after address for him."""

import anyio
import pytest

from hive.engines import load_migrations
from hive.protocols.mcp.oauth import lookups
from hive.protocols.mcp.oauth.fetch import FetchReply
from hive.protocols.mcp.oauth.lookups import (
    FETCHES_AT_ONCE_MAX,
    FETCHES_PER_MINUTE_MAX,
    KNOWN_FETCHES_PER_MINUTE_MAX,
    SOURCE_FETCHES_PER_MINUTE_MAX,
    source_group,
)
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


async def test_without_that_bound_the_node_asks_for_a_stranger_as_often_as_he_likes(
    database, monkeypatch
):
    monkeypatch.setattr(lookups, "FETCHES_PER_MINUTE_MAX", 1 << 20)
    site = OauthSite(database, documents={})
    for number in range(FETCHES_PER_MINUTE_MAX + 5):
        await site.page(site.query(client_id=named(number)))
    assert len(site.fetch.asked) == FETCHES_PER_MINUTE_MAX + 5


@pytest.mark.parametrize("guarded", [True, False])
async def test_slow_addresses_do_not_hold_more_than_a_few_lookups(database, monkeypatch, guarded):
    if not guarded:
        monkeypatch.setattr(lookups, "FETCHES_AT_ONCE_MAX", 1 << 20)
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
            if guarded:
                await visit(99)
                assert codes == [503]
            else:
                tasks.start_soon(visit, 99)
                while len(held) == FETCHES_AT_ONCE_MAX:
                    await anyio.lowlevel.checkpoint()
                assert codes == []
            released.set()
    assert codes[-FETCHES_AT_ONCE_MAX:] == [400] * FETCHES_AT_ONCE_MAX
    assert len(held) == FETCHES_AT_ONCE_MAX + (not guarded)


STRANGER = "203.0.113.7"


async def flooded(site, browser, count):
    for number in range(count):
        await site.page(site.query(client_id=named(number)), browser)


async def test_one_source_uses_up_its_own_share_and_leaves_the_rest_to_others(database):
    site = OauthSite(database)
    await flooded(site, site.new_browser(STRANGER), FETCHES_PER_MINUTE_MAX + 5)
    assert len(site.fetch.asked) == SOURCE_FETCHES_PER_MINUTE_MAX
    other = site.new_browser("198.51.100.1")
    assert (await site.page(site.query(), other)).status_code == 200


async def test_without_a_share_of_its_own_one_source_turns_everybody_away(database, monkeypatch):
    monkeypatch.setattr(lookups, "SOURCE_FETCHES_PER_MINUTE_MAX", 1 << 20)
    site = OauthSite(database)
    await flooded(site, site.new_browser(STRANGER), FETCHES_PER_MINUTE_MAX + 5)
    other = site.new_browser("198.51.100.1")
    assert (await site.page(site.query(), other)).status_code == 503


async def test_a_program_that_was_let_in_is_looked_up_whatever_strangers_do(database):
    first = OauthSite(database)
    await first.tokens()
    # After a restart nothing is cached any more.
    site = OauthSite(database)
    for number in range(FETCHES_PER_MINUTE_MAX):
        browser = site.new_browser(f"198.51.100.{number}")
        await site.page(site.query(client_id=named(number)), browser)
    unknown = await site.page(site.query(client_id=named(99)), site.new_browser(STRANGER))
    assert unknown.status_code == 503
    assert (await site.page(site.query(), site.new_browser(STRANGER))).status_code == 200


async def test_nor_is_a_known_program_s_address_asked_without_bound(database):
    site = OauthSite(database)
    await site.tokens()
    site.clock.advance(301)
    site.fetch.documents.clear()
    before = len(site.fetch.asked)
    for _ in range(KNOWN_FETCHES_PER_MINUTE_MAX + 3):
        answer = await site.page(site.query(), site.new_browser(STRANGER))
    assert answer.status_code == 503
    assert len(site.fetch.asked) - before == KNOWN_FETCHES_PER_MINUTE_MAX


def test_a_network_of_ipv6_is_one_source_and_this_machine_is_none():
    assert source_group("2001:db8::1") == source_group("2001:db8::ffff:1") != ""
    assert source_group("::ffff:203.0.113.7") == STRANGER
    assert source_group("::1") == source_group("127.0.0.1") == source_group("") == ""
