"""A stranger tries to have the operator's yes, code or tokens meant for somebody else delivered to himself."""

import pytest

from hive.engines import load_migrations
from hive.protocols.mcp.ports import Turned, Visitor
from tests.mcp_oauth_rig import BACK, CLIENT, ORIGIN, OauthSite, description, fields_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def migrations():
    return load_migrations("hive.protocols.mcp")


@pytest.fixture
def site(database):
    return OauthSite(database)


async def test_an_answer_goes_to_no_address_that_is_not_the_clients(site):
    for address in (
        "https://evil.example/back",
        f"{BACK}/more",
        f"{BACK}?x=1",
        "https://app.example/back/../evil",
        "https://app.example@evil.example/back",
        "https://app.example/BACK",
        "http://app.example/back",
        "javascript:alert(1)",
        f"{BACK}#x",
        "",
    ):
        answer = await site.page(site.query(redirect_uri=address))
        assert answer.status_code == 400, address
        assert "location" not in answer.headers


async def test_only_a_native_app_chooses_its_port(database):
    local = description(redirect_uris=["http://127.0.0.1/back", BACK])
    site = OauthSite(database, documents={CLIENT: local})
    assert (
        await site.page(site.query(redirect_uri="http://127.0.0.1:4711/back"))
    ).status_code == 200
    for address in (
        "https://app.example:444/back",
        "http://127.0.0.1:4711/else",
        "http://localhost:1/back",
    ):
        assert (await site.page(site.query(redirect_uri=address))).status_code == 400


async def test_a_description_speaks_for_its_own_address_only(database):
    other = description("https://trusted.example/client.json")
    site = OauthSite(database, documents={CLIENT: other})
    assert (await site.page(site.query())).status_code == 400
    for wrong in (
        description(redirect_uris=[]),
        description(token_endpoint_auth_method="client_secret_post"),
    ):
        site = OauthSite(database, documents={CLIENT: wrong})
        assert (await site.page(site.query())).status_code == 400


async def test_nobody_registers_unless_the_operator_allows_it(site):
    answer = await site.browser.post("/oauth/register", json={"redirect_uris": [BACK]})
    assert answer.status_code == 404


async def test_the_page_shows_that_nobody_vouches_for_a_client_that_registered_itself(database):
    site = OauthSite(database, registration=True)
    made = (
        await site.browser.post(
            "/oauth/register", json={"redirect_uris": [BACK], "client_name": "Trusted <b>App</b>"}
        )
    ).json()
    page = await site.page(site.query(client_id=made["client_id"]))
    assert "<strong>nobody</strong>" in page.text
    assert "<b>App" not in page.text


async def test_the_page_cannot_be_framed_nor_answered_from_elsewhere(site):
    page = await site.page(site.query())
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"
    assert (await site.decide(site.query(), word="0" * 64)).status_code == 403
    elsewhere = {"sec-fetch-site": "cross-site"}
    site.browser.headers.update(elsewhere)
    assert (await site.decide(site.query())).status_code == 403


async def test_a_yes_to_one_request_is_no_yes_to_another_nor_from_another_browser(site):
    import re

    page = await site.page(site.query())
    word = re.search(r'name="word" value="([0-9a-f]+)"', page.text)[1]
    form = {"word": word, "decision": "yes", "token": "the-operators-token", "scope-tools": "1"}
    other = site.query(state="another")
    assert (await site.browser.post(f"/oauth/consent?{other}", data=form)).status_code == 403
    stranger = site.new_browser()
    await site.page(site.query(), stranger)
    assert (await stranger.post(f"/oauth/consent?{site.query()}", data=form)).status_code == 403
    assert (await site.browser.post(f"/oauth/consent?{site.query()}", data=form)).status_code == 303


async def test_only_the_operator_says_yes_and_each_time(site):
    assert (await site.decide(site.query(), token="guess")).status_code == 401
    assert (await site.decide(site.query(), token="")).status_code == 401
    assert (await site.decide(site.query())).status_code == 303
    assert (await site.decide(site.query(), token="")).status_code == 401


async def test_a_code_is_good_once_and_a_second_use_ends_what_came_of_the_first(site):
    code = await site.code()
    made = (await site.trade(code)).json()
    assert isinstance(await site.knock(made["access_token"]), Visitor)
    assert (await site.trade(code)).json()["error"] == "invalid_grant"
    assert isinstance(await site.knock(made["access_token"]), Turned)
    assert (await site.refresh(made["refresh_token"])).status_code == 400


async def test_a_code_is_worth_nothing_to_another_client_address_verifier_or_resource(site):
    for wrong in (
        {"client_id": "https://evil.example/client.json"},
        {"redirect_uri": "https://evil.example/back"},
        {"code_verifier": "w" * 64},
        {"code_verifier": ""},
        {"resource": f"{ORIGIN}/mcp"},
    ):
        answer = await site.trade(await site.code(), **wrong)
        assert answer.json()["error"] == "invalid_grant", wrong


async def test_a_code_that_is_old_is_worth_nothing(site):
    code = await site.code()
    site.clock.advance(61)
    assert (await site.trade(code)).status_code == 400


async def test_a_refresh_token_that_comes_twice_ends_the_login_for_thief_and_owner(site):
    made = await site.tokens()
    renewed = (await site.refresh(made["refresh_token"])).json()
    assert isinstance(await site.knock(renewed["access_token"]), Visitor)
    assert (await site.refresh(made["refresh_token"])).status_code == 400
    assert (await site.refresh(renewed["refresh_token"])).status_code == 400
    assert isinstance(await site.knock(renewed["access_token"]), Turned)


async def test_no_login_without_pkce_of_the_strong_kind(site):
    await site.tokens()
    for wrong in (
        {"code_challenge_method": "plain"},
        {"code_challenge_method": None},
        {"code_challenge": None},
        {"response_type": "token"},
        {"scope": "everything"},
        {"scope": "operate"},
    ):
        answer = await site.page(site.query(**wrong))
        assert answer.status_code == 302, wrong
        found = fields_in(answer)
        assert found["error"]
        assert found["iss"] == ORIGIN


async def test_a_field_that_comes_twice_is_read_in_no_way(site):
    answer = await site.browser.get(
        f"/oauth/authorize?{site.query()}&redirect_uri=https://evil.example"
    )
    assert answer.status_code == 400


async def test_every_answer_says_who_gives_it(site):
    found = fields_in(await site.decide(site.query()))
    assert found["iss"] == ORIGIN
    assert found["state"] == "s1"
    refused = fields_in(await site.decide(site.query(), decision="no"))
    assert refused == {"error": "access_denied", "state": "s1", "iss": ORIGIN}
