"""What the operator let programs in for: seen, ended by time or by his word, and written down."""

from datetime import timedelta

import pytest

from hive.core.errors import NotFoundError
from hive.engines import load_migrations
from hive.node.mcp_grants import NodeGrants
from hive.protocols.mcp.oauth.records import GRANT_S
from hive.protocols.mcp.ports import Turned, Visitor
from hive.web.chapters import ApiQuestion
from hive.web.mcp_grants import OauthGrantsChapter
from tests.mcp_oauth_rig import CLIENT, RESOURCE, OauthSite

pytestmark = pytest.mark.anyio
DAY_S = 86400.0


@pytest.fixture
def migrations():
    return load_migrations("hive.protocols.mcp")


@pytest.fixture
def site(database):
    return OauthSite(database)


async def test_the_operator_sees_what_stands_and_takes_it_back_at_once(site):
    made = await site.tokens()
    assert isinstance(await site.knock(made["access_token"]), Visitor)
    chapter = OauthGrantsChapter(NodeGrants(site.door))
    ask = chapter.answers["GET", "mcp-grants", 0]
    (line,) = await ask(ApiQuestion(rest=(), query={}, body=b""))
    assert (line.client, line.resource, line.scopes) == (CLIENT, RESOURCE, ["tools"])
    assert line.ends_at - line.created_at == timedelta(seconds=GRANT_S)
    cut = []
    site.door.tell_ended(cut.append)
    take_back = chapter.answers["DELETE", "mcp-grants", 1]
    await take_back(ApiQuestion(rest=(line.id,), query={}, body=b""))
    assert cut == [line.id]
    assert isinstance(await site.knock(made["access_token"]), Turned)
    assert (await site.refresh(made["refresh_token"])).json()["error"] == "invalid_grant"
    assert await ask(ApiQuestion(rest=(), query={}, body=b"")) == []
    with pytest.raises(NotFoundError):
        await take_back(ApiQuestion(rest=(line.id,), query={}, body=b""))


async def test_taking_back_one_grant_leaves_another_of_the_same_program(site):
    first, second = await site.tokens(), await site.tokens()
    visitor = await site.knock(first["access_token"])
    await site.door.end_grant(visitor.grant)
    assert isinstance(await site.knock(first["access_token"]), Turned)
    assert isinstance(await site.knock(second["access_token"]), Visitor)


async def test_however_often_it_is_renewed_a_grant_ends_by_itself(site):
    made = await site.tokens()
    for _ in range(29):
        site.clock.advance(DAY_S)
        made = (await site.refresh(made["refresh_token"])).json()
    assert isinstance(await site.knock(made["access_token"]), Visitor)
    site.clock.advance(DAY_S - 60)
    made = (await site.refresh(made["refresh_token"])).json()
    assert isinstance(await site.knock(made["access_token"]), Visitor)
    # The last access token would last a quarter of an hour; the grant has a minute.
    site.clock.advance(61)
    assert isinstance(await site.knock(made["access_token"]), Turned)
    assert (await site.refresh(made["refresh_token"])).json()["error"] == "invalid_grant"
    assert await site.door.grants() == []


async def test_a_refresh_token_of_an_older_release_ends_with_its_grant_too(site, database):
    made = await site.tokens()
    await database.execute("UPDATE oauth_token SET expires_at = expires_at + interval '1 year'")
    site.clock.advance(GRANT_S)
    assert isinstance(await site.knock(made["access_token"]), Turned)
    assert (await site.refresh(made["refresh_token"])).json()["error"] == "invalid_grant"


async def test_giving_reuse_and_taking_back_are_written_down_and_no_secret_is(site):
    made = await site.tokens()
    await site.refresh(made["refresh_token"])
    await site.refresh(made["refresh_token"])
    await site.refresh(made["refresh_token"])
    second = await site.tokens()
    await site.door.end_grant((await site.knock(second["access_token"])).grant)
    names = [name for name, _ in site.notes]
    assert names == ["oauth.granted", "oauth.revoked", "oauth.granted", "oauth.revoked"]
    assert site.notes[1][1]["reason"] == "oauth_token shown twice"
    assert site.notes[1][1]["by"] == CLIENT
    assert "by" not in site.notes[3][1]
    for secret in (made["access_token"], made["refresh_token"], second["access_token"]):
        assert secret not in str(site.notes)
