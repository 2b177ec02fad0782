"""A thief has a token that is bound to a key, and a proof that he overheard: neither opens anything."""

import pytest

from hive.engines import load_migrations
from hive.protocols.mcp.ports import Turned, Visitor
from hive_a2a.identity.proof import DpopKey
from tests.mcp_oauth_rig import ORIGIN, RESOURCE, OauthSite

pytestmark = pytest.mark.anyio
TOKEN_URL = f"{ORIGIN}/oauth/token"


@pytest.fixture
def migrations():
    return load_migrations("hive.protocols.mcp")


@pytest.fixture
def site(database):
    return OauthSite(database)


@pytest.fixture
def key(site):
    return DpopKey(clock=site.clock)


async def bound_tokens(site, key):
    code = await site.code()
    first = await site.trade(code, headers={"dpop": key.proof("POST", TOKEN_URL)})
    assert first.json()["error"] == "use_dpop_nonce"
    key.heard(TOKEN_URL, first.headers["dpop-nonce"])
    made = await site.trade(code, headers={"dpop": key.proof("POST", TOKEN_URL)})
    assert made.json()["token_type"] == "DPoP"
    return made.json()


async def shown(site, token, proof, **changes):
    return await site.knock(token, **{"word": "DPoP", "dpop": proof, **changes})


async def test_a_proof_is_good_once(site, key):
    token = (await bound_tokens(site, key))["access_token"]
    proof = key.proof("POST", RESOURCE, token=token)
    assert isinstance(await shown(site, token, proof), Visitor)
    again = await shown(site, token, proof)
    assert isinstance(again, Turned)
    assert again.status == 401
    assert again.headers["www-authenticate"].startswith("DPoP ")


async def test_a_bound_token_is_worth_nothing_as_a_bearer_or_with_another_key(site, key):
    token = (await bound_tokens(site, key))["access_token"]
    assert isinstance(await site.knock(token), Turned)
    assert isinstance(await shown(site, token, ""), Turned)
    thief = DpopKey(clock=site.clock)
    refused = await shown(site, token, thief.proof("POST", RESOURCE, token=token))
    thief.heard(RESOURCE, refused.headers["dpop-nonce"])
    assert isinstance(await shown(site, token, thief.proof("POST", RESOURCE, token=token)), Turned)


async def test_a_proof_for_another_method_address_token_or_time_is_refused(site, key):
    token = (await bound_tokens(site, key))["access_token"]
    old = key.proof("POST", RESOURCE, token=token)
    for proof in (
        key.proof("GET", RESOURCE, token=token),
        key.proof("POST", f"{ORIGIN}/mcp", token=token),
        key.proof("POST", RESOURCE, token="another"),
        key.proof("POST", RESOURCE),
    ):
        assert isinstance(await shown(site, token, proof), Turned)
    site.clock.advance(61)
    assert isinstance(await shown(site, token, old), Turned)


async def test_a_proof_without_this_process_nonce_is_refused(site, key, database):
    token = (await bound_tokens(site, key))["access_token"]
    proof = key.proof("POST", RESOURCE, token=token)
    restarted = OauthSite(database)
    turned = await shown(restarted, token, proof)
    assert isinstance(turned, Turned)
    assert 'error="use_dpop_nonce"' in turned.headers["www-authenticate"]
    key.heard(RESOURCE, turned.headers["dpop-nonce"])
    fresh = key.proof("POST", RESOURCE, token=token)
    assert isinstance(await shown(restarted, token, fresh), Visitor)


async def test_a_plain_token_is_not_taken_with_a_proof_beside_it(site, key):
    token = (await site.tokens())["access_token"]
    assert isinstance(await shown(site, token, key.proof("POST", RESOURCE, token=token)), Turned)


async def test_a_refresh_token_is_renewed_by_the_key_that_it_was_given_to(site, key):
    made = await bound_tokens(site, key)
    assert (await site.refresh(made["refresh_token"])).status_code == 400
    thief = DpopKey(clock=site.clock)
    first = await site.refresh(
        made["refresh_token"], headers={"dpop": thief.proof("POST", TOKEN_URL)}
    )
    thief.heard(TOKEN_URL, first.headers["dpop-nonce"])
    theirs = {"dpop": thief.proof("POST", TOKEN_URL)}
    assert (await site.refresh(made["refresh_token"], headers=theirs)).status_code == 400
    ours = {"dpop": key.proof("POST", TOKEN_URL)}
    assert (await site.refresh(made["refresh_token"], headers=ours)).status_code == 200
