"""A stranger writes a description of himself and uses this node's good name to lead browsers to his own place."""

import pytest

from hive.engines import load_migrations
from hive.protocols.mcp.oauth.records import OauthRecords
from tests.mcp_oauth_rig import OauthSite, fields_in

pytestmark = pytest.mark.anyio
WRONG = (
    {"response_type": "token"},
    {"scope": "everything"},
    {"code_challenge": None},
    {"resource": "https://else.example/mcp"},
)


@pytest.fixture
def migrations():
    return load_migrations("hive.protocols.mcp")


@pytest.fixture
def site(database):
    return OauthSite(database)


async def test_a_wrong_request_of_an_unknown_program_is_a_page_and_leads_nowhere(site):
    for wrong in WRONG:
        answer = await site.page(site.query(**wrong))
        assert answer.status_code == 400, wrong
        assert "location" not in answer.headers
        assert answer.headers["content-type"].startswith("text/html")
        assert "app.example" not in answer.text


async def test_without_that_rule_the_browser_is_sent_to_the_stranger(site, monkeypatch):
    async def everybody(_self, _client):
        return True

    monkeypatch.setattr(OauthRecords, "is_known", everybody)
    answer = await site.page(site.query(scope="everything"))
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("https://app.example/back?")


async def test_a_program_that_was_let_in_is_told_at_its_own_address_until_that_is_taken_back(site):
    await site.tokens()
    answer = await site.page(site.query(scope="everything"))
    assert fields_in(answer)["error"] == "invalid_scope"
    (grant,) = await site.door.grants()
    await site.door.end_grant(grant.grant.id)
    assert (await site.page(site.query(scope="everything"))).status_code == 400


async def test_a_client_without_a_description_is_a_page_that_shows_its_text_escaped(site):
    answer = await site.page(site.query(client_id="https://evil.example/<script>"))
    assert answer.status_code == 400
    assert "location" not in answer.headers
    assert answer.headers["content-type"].startswith("text/html")
    assert "<script>" not in answer.text
