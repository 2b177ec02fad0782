"""The node tells clients where to log in, gives tokens for one endpoint, and takes them back."""

import pytest

from hive.core.clock import SystemClock
from hive.core.randomness import SystemRandomness
from hive.engines import load_migrations
from hive.protocols.mcp.oauth.login import UpstreamLogin
from hive.protocols.mcp.ports import Turned, Visitor
from tests.conformance.client_auth import MemoryVault
from tests.mcp_oauth_rig import ORIGIN, OauthSite

pytestmark = pytest.mark.anyio


@pytest.fixture
def migrations():
    return load_migrations("hive.protocols.mcp")


@pytest.fixture
def site(database):
    return OauthSite(database)


async def test_each_endpoint_describes_itself(site):
    for path, scopes in (
        ("/mcp", ["observe", "operate"]),
        ("/mcp/tools", ["tools"]),
        ("/mcp/servers/files", ["tools"]),
        ("/mcp/agents/echo", ["agents"]),
    ):
        found = (await site.browser.get(f"/.well-known/oauth-protected-resource{path}")).json()
        assert found["resource"] == ORIGIN + path
        assert found["authorization_servers"] == [ORIGIN]
        assert found["scopes_supported"] == scopes
    nowhere = await site.browser.get("/.well-known/oauth-protected-resource/mcp/else")
    assert nowhere.status_code == 404


async def test_the_authorization_server_describes_itself(site):
    found = (await site.browser.get("/.well-known/oauth-authorization-server")).json()
    assert found["issuer"] == ORIGIN
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert found["client_id_metadata_document_supported"] is True
    assert "registration_endpoint" not in found


async def test_a_login_gives_what_was_ticked_and_no_more(site):
    resource = f"{ORIGIN}/mcp"
    query = site.query(resource=resource, scope="observe operate")
    page = await site.page(query)
    assert "app.example" in page.text
    form = {"word": page.text.split('name="word" value="')[1][:64], "decision": "yes"}
    form |= {"token": "the-operators-token", "scope-observe": "1"}
    answer = await site.browser.post(f"/oauth/consent?{query}", data=form)
    code = answer.headers["location"].split("code=")[1].split("&")[0]
    made = (await site.trade(code, resource=resource)).json()
    assert made["scope"] == "observe"
    visitor = await site.knock(made["access_token"], "/mcp")
    assert isinstance(visitor, Visitor)
    assert visitor.scopes == {"observe"}


async def test_the_pages_cookie_agrees_to_nothing(site):
    # Any server on this machine may be sent it, for a browser does not bind a cookie to a port.
    site.browser.cookies.set("hive_page", "open", domain="node.example")
    assert (await site.decide(site.query(), token="")).status_code == 401


async def test_a_token_ends_by_itself_is_renewed_and_survives_a_restart(site, database):
    made = await site.tokens()
    restarted = OauthSite(database)
    assert isinstance(await restarted.knock(made["access_token"]), Visitor)
    site.clock.advance(901)
    assert isinstance(await site.knock(made["access_token"]), Turned)
    renewed = (await site.refresh(made["refresh_token"])).json()
    assert isinstance(await site.knock(renewed["access_token"]), Visitor)


async def test_a_revoked_token_opens_nothing_at_once(site):
    made = await site.tokens()
    assert isinstance(await site.knock(made["access_token"]), Visitor)
    form = {"token": made["refresh_token"], "client_id": "https://evil.example/client.json"}
    await site.browser.post("/oauth/revoke", data=form)
    assert isinstance(await site.knock(made["access_token"]), Visitor)
    form["client_id"] = "https://app.example/client.json"
    assert (await site.browser.post("/oauth/revoke", data=form)).status_code == 200
    assert isinstance(await site.knock(made["access_token"]), Turned)


async def test_what_is_no_token_of_oauth_is_left_to_others(site):
    assert await site.knock("hive-client.abc.def") is None
    assert await site.door.recognise({"path": "/mcp/tools"}, {}) is None
    told = site.door.challenge({"path": "/mcp/tools"})
    assert f'resource_metadata="{ORIGIN}/.well-known/oauth-protected-resource/mcp/tools"' in told


async def test_secrets_are_kept_as_hashes_only(site, database):
    made = await site.tokens()
    for table in ("oauth_token", "oauth_code", "oauth_grant"):
        for row in await database.fetch(f"SELECT * FROM {table}"):
            assert made["access_token"] not in str(dict(row))
            assert made["refresh_token"] not in str(dict(row))


async def test_the_node_describes_itself_as_a_client_only_at_a_public_address():
    def login(origin):
        return UpstreamLogin(
            vault=MemoryVault(),
            clock=SystemClock(),
            randomness=SystemRandomness(),
            origin=lambda: origin,
        )

    document = login(ORIGIN).client_document()
    assert document["client_id"] == f"{ORIGIN}/oauth/client.json"
    assert document["redirect_uris"] == [f"{ORIGIN}/oauth/callback"]
    assert login("http://127.0.0.1:8700").client_document() is None
