"""A token for one endpoint, or of one issuer, is shown at another: it opens what it was given for and nothing else."""

import pytest

from hive.engines import load_migrations
from hive.protocols.mcp.ports import Turned, Visitor
from hive_a2a.identity.proof import public_jwk, signed_compact
from tests.mcp_oauth_rig import ORIGIN, RESOURCE, OauthSite

pytestmark = pytest.mark.anyio
ISSUER = "https://login.example"


@pytest.fixture
def migrations():
    return load_migrations("hive.protocols.mcp")


@pytest.fixture
def site(database):
    return OauthSite(database)


async def test_a_token_of_one_endpoint_is_refused_at_every_other(site):
    token = (await site.tokens())["access_token"]
    assert isinstance(await site.knock(token), Visitor)
    for path in ("/mcp", "/mcp/servers/files", "/mcp/agents/echo", "/mcp/tools/more", "/"):
        turned = await site.knock(token, path)
        assert isinstance(turned, Turned)
        assert turned.status == 401


async def test_a_login_names_the_endpoint_or_there_is_none(site):
    await site.tokens()
    for resource in (
        None,
        ORIGIN,
        f"{RESOURCE}/",
        f"{ORIGIN}/mcp/tools?x",
        "https://else.example/mcp",
    ):
        answer = await site.page(site.query(resource=resource))
        assert answer.status_code == 302
        assert "error=invalid_target" in answer.headers["location"]


async def test_a_token_with_too_little_names_the_scopes_that_are_missing(database, key):
    site = _trusting(database, key)
    turned = await site.knock(_signed(site, key, scope="agents"))
    assert isinstance(turned, Turned)
    assert turned.status == 403
    told = turned.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in told
    assert 'scope="tools"' in told
    assert f'resource_metadata="{ORIGIN}/.well-known/oauth-protected-resource/mcp/tools"' in told


async def test_a_foreign_token_counts_only_with_our_audience_its_issuer_and_its_time(database, key):
    site = _trusting(database, key)
    good = await site.knock(_signed(site, key))
    assert isinstance(good, Visitor)
    assert good.scopes == {"tools"}
    now = site.clock.now().timestamp()
    for wrong in (
        {"aud": "https://else.example"},
        {"aud": ORIGIN},
        {"aud": None},
        {"iss": "https://evil.example"},
        {"exp": now - 100},
        {"exp": None},
        {"nbf": now + 100},
        {"sub": None},
        {"cnf": {"x5t#S256": "abc"}},
    ):
        turned = await site.knock(_signed(site, key, **wrong))
        assert isinstance(turned, Turned), wrong
        assert turned.status == 401


async def test_a_foreign_token_without_a_true_signature_is_refused(database, key):
    import jwt

    site = _trusting(database, key)
    claims = _claims(site)
    unsigned = jwt.encode(claims, None, algorithm="none")
    shared = jwt.encode(claims, "x" * 40, algorithm="HS256", headers={"kid": "k"})
    brought = {"alg": "ES256", "kid": "k", "jwk": public_jwk(_fresh_key())}
    for token in (
        unsigned,
        shared,
        signed_compact(brought, claims, _fresh_key()),
        signed_compact({"alg": "ES256", "kid": "k"}, claims, _fresh_key()),
        signed_compact({"alg": "ES256", "kid": "k", "typ": "logout+jwt"}, claims, key),
    ):
        turned = await site.knock(token)
        assert isinstance(turned, Turned)
        assert turned.status == 401


@pytest.fixture
def key():
    return _fresh_key()


def _fresh_key():
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    return generate_private_key(SECP256R1())


def _trusting(database, key):
    metadata = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}
    keys = {"keys": [{**public_jwk(key), "kid": "k", "alg": "ES256"}]}
    return OauthSite(
        database,
        issuers=(ISSUER,),
        documents={
            f"{ISSUER}/.well-known/openid-configuration": metadata,
            f"{ISSUER}/.well-known/oauth-authorization-server": metadata,
            f"{ISSUER}/keys": keys,
        },
    )


def _claims(site, **changes):
    fields = {
        "iss": ISSUER,
        "aud": RESOURCE,
        "sub": "ada",
        "scope": "tools",
        "exp": site.clock.now().timestamp() + 300,
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _signed(site, key, **changes):
    return signed_compact({"alg": "ES256", "kid": "k"}, _claims(site, **changes), key)
