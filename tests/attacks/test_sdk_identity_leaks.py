"""Ways to make a client show its credential to somebody else: redirects, other hosts, a downgraded token."""

import httpx
import pytest

from hive_a2a.errors import A2AError
from hive_a2a.identity.credentials import (
    ApiKeyAuth,
    BearerToken,
    ClientCredentials,
    Dpop,
    DpopClientCredentials,
    credentialed_client,
)
from hive_a2a.identity.endpoint import ClientSecret, TokenRefusedError
from hive_a2a.identity.proof import DpopKey
from tests.identity_rig import issuer

pytestmark = pytest.mark.anyio
SECRET = "the-secret"


def credentials(origin: str):
    return [
        ApiKeyAuth(SECRET, origin),
        BearerToken(SECRET, origin),
        Dpop(SECRET, DpopKey(), origin),
    ]


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_a_redirect_to_another_origin_gets_nothing(which):
    async with issuer(lambda *_: {}) as thief, issuer(lambda *_: {}) as agent:
        agent.answer = lambda *_: (307, {}, {"location": f"{thief.url}/steal"})
        auth = credentials(agent.url)[which]
        async with credentialed_client(auth) as client:
            assert (await client.post(f"{agent.url}/rpc", json={})).status_code == 307
        # Even a client that was told to follow.
        async with credentialed_client(auth, follow_redirects=True) as client:
            with pytest.raises(httpx.RequestError, match="another origin"):
                await client.post(f"{agent.url}/rpc", json={})
        assert thief.asked == []
        # A plain client with the same credential as a header gives it away.
        plain = {"x-api-key": SECRET}
        async with httpx.AsyncClient(follow_redirects=True, headers=plain) as client:
            await client.post(f"{agent.url}/rpc", json={})
        assert SECRET in str(thief.asked[0][2])


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_another_host_gets_nothing(which):
    async with issuer(lambda *_: {}) as thief:
        auth = credentials("https://agent.example")[which]
        async with credentialed_client(auth) as client:
            await client.post(f"{thief.url}/rpc", json={})
        assert SECRET not in str(thief.asked[0][2])
        assert "dpop" not in thief.asked[0][2]
        assert await auth.headers_for("POST", thief.url) == {}


@pytest.mark.parametrize(
    "url",
    [
        "https://agent.example.evil.example/",
        "https://evil.example/agent.example",
        "https://agent.example:8443/",
        "http://agent.example/",
        "https://agent.example@evil.example/",
        "https://xn--gent-5q5a.example/",
    ],
)
async def test_an_address_that_looks_alike_is_another_origin(url):
    auth = ApiKeyAuth(SECRET, "https://agent.example/some/path")
    assert not auth.shows_to(url)
    assert auth.shows_to("https://AGENT.example:443/rpc?x=1")


@pytest.mark.parametrize(
    "origins",
    ["http://agent.example", "ftp://agent.example", "agent.example", "https://u@a.example", []],
)
async def test_a_credential_needs_origins_that_keep_it(origins):
    with pytest.raises(A2AError):
        ApiKeyAuth(SECRET, origins)


async def test_a_token_request_does_not_follow_a_redirect():
    async with issuer(lambda *_: {}) as thief, issuer(lambda *_: {}) as there:
        there.answer = lambda *_: (307, {}, {"location": f"{thief.url}/token"})
        auth = ClientCredentials(f"{there.url}/token", ClientSecret("me", SECRET), there.url)
        with pytest.raises(TokenRefusedError, match="HTTP 307"):
            await auth.headers_for("POST", there.url)
        await auth.aclose()
        assert thief.asked == []


async def test_a_bound_token_is_not_downgraded_to_a_bearer_token():
    plain = {"access_token": "t", "token_type": "Bearer", "expires_in": 60}
    async with issuer(lambda *_: plain) as there:
        auth = DpopClientCredentials(
            f"{there.url}/token", ClientSecret("me", SECRET), DpopKey(), there.url
        )
        with pytest.raises(TokenRefusedError, match="another kind"):
            await auth.headers_for("POST", there.url)
        await auth.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        {"access_token": "a b", "token_type": "Bearer"},
        {"access_token": "a\r\nx-evil: 1", "token_type": "Bearer"},
        {"access_token": "", "token_type": "Bearer"},
        {"access_token": "x" * 20_000, "token_type": "Bearer"},
        {"access_token": 7, "token_type": "Bearer"},
        {"access_token": "t"},
        {"access_token": "t", "token_type": "MAC"},
        {"access_token": "t", "token_type": "Bearer", "expires_in": 0},
        {"access_token": "t", "token_type": "Bearer", "expires_in": "60"},
        {"access_token": "t", "token_type": "Bearer", "expires_in": True},
    ],
)
async def test_an_answer_that_is_no_token_is_not_shown_to_anybody(answer):
    async with issuer(lambda *_: answer) as there:
        auth = ClientCredentials(f"{there.url}/token", ClientSecret("me", SECRET), there.url)
        with pytest.raises(TokenRefusedError):
            await auth.headers_for("POST", there.url)
        await auth.aclose()


async def test_secrets_do_not_print():
    key = DpopKey()
    for one in (*credentials("https://agent.example"), ClientSecret("me", SECRET)):
        assert SECRET not in repr(one)
    assert repr(key) == f"DpopKey({key.jkt})"
