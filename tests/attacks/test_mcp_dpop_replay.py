"""A thief has a token that is bound to a key, and a proof that he overheard: neither opens anything."""

import pytest

from hive.engines import load_migrations
from hive.protocols.mcp.oauth import proofs
from hive.protocols.mcp.oauth.proofs import DpopProofs
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


async def test_without_a_memory_an_overheard_proof_opens_the_door_again(site, key, monkeypatch):
    class Forgetful:
        async def first_use(self, *_proof, **_more):
            return True

    token = (await bound_tokens(site, key))["access_token"]
    proof = key.proof("POST", RESOURCE, token=token)
    monkeypatch.setattr(DpopProofs, "_used", lambda _self: Forgetful())
    for _ in range(2):
        assert isinstance(await shown(site, token, proof), Visitor)


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


async def test_a_strangers_proofs_are_not_remembered_and_do_not_fill_the_memory(site, key):
    token = (await bound_tokens(site, key))["access_token"]
    memory = site.door._resources._proofs._used()
    before = len(memory)
    thief = DpopKey(clock=site.clock)
    thief.heard(RESOURCE, site.door._resources._proofs.nonce)
    thief.heard(TOKEN_URL, site.door._resources._proofs.nonce)
    for _ in range(20):
        proof = thief.proof("POST", RESOURCE, token=token)
        assert isinstance(await shown(site, token, proof), Turned)
        theirs = {"dpop": thief.proof("POST", TOKEN_URL)}
        assert (await site.trade("no-code", headers=theirs)).json()["error"] == "invalid_grant"
        assert (await site.refresh("no-token", headers=theirs)).json()["error"] == "invalid_grant"
    assert len(memory) == before
    assert isinstance(await shown(site, token, key.proof("POST", RESOURCE, token=token)), Visitor)
    assert len(memory) == before + 1


async def test_a_memory_that_remembers_before_it_verifies_is_filled_by_strangers(
    site, key, monkeypatch
):
    token = (await bound_tokens(site, key))["access_token"]
    checked = DpopProofs.read

    def read_and_remember(self, proof, **wanted):
        found = checked(self, proof, **wanted)
        now = site.clock.monotonic()
        # What a memory does that is written before the key was compared.
        digest = found.jti.encode()[:16]
        self._used()._memory.first_use(digest, until=now + 70, now=now, owner=found.jkt)
        return found

    monkeypatch.setattr(DpopProofs, "read", read_and_remember)
    thief = DpopKey(clock=site.clock)
    thief.heard(RESOURCE, site.door._resources._proofs.nonce)
    memory = site.door._resources._proofs._used()
    before = len(memory)
    for _ in range(20):
        await shown(site, token, thief.proof("POST", RESOURCE, token=token))
    assert len(memory) == before + 20


async def test_a_full_memory_refuses_and_forgets_nothing_that_still_counts(database, monkeypatch):
    monkeypatch.setattr(proofs, "PROOFS_MAX", 4)
    site = OauthSite(database)
    key = DpopKey(clock=site.clock)
    token = (await bound_tokens(site, key))["access_token"]
    used = [key.proof("POST", RESOURCE, token=token) for _ in range(3)]
    for proof in used:
        assert isinstance(await shown(site, token, proof), Visitor)
    late = key.proof("POST", RESOURCE, token=token)
    assert isinstance(await shown(site, token, late), Turned)
    for proof in used:
        assert isinstance(await shown(site, token, proof), Turned)
    site.clock.advance(71)
    fresh = key.proof("POST", RESOURCE, token=token)
    turned = await shown(site, token, fresh)
    if isinstance(turned, Turned):
        key.heard(RESOURCE, turned.headers["dpop-nonce"])
        turned = await shown(site, token, key.proof("POST", RESOURCE, token=token))
    assert isinstance(turned, Visitor)
