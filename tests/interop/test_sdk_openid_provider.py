"""A foreign authorization server (npm `oidc-provider`) between our client and our server; needs node and npm."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.identity_rig import AUDIENCE, URL, head, refusal

from hive_a2a.base64url import to_base64url_text
from hive_a2a.identity.bearer import JwtBearer
from hive_a2a.identity.credentials import ClientCredentials, DpopClientCredentials
from hive_a2a.identity.dpop import DpopVerifier
from hive_a2a.identity.endpoint import ClientKey, ClientSecret, TokenRefusedError
from hive_a2a.identity.introspect import Introspection
from hive_a2a.identity.jws import parse_compact
from hive_a2a.identity.proof import DpopKey, public_jwk

pytestmark = pytest.mark.anyio
HERE = Path(__file__).parent / "js_issuer"
CLIENT_KEY = ec.generate_private_key(ec.SECP256R1())
SECRET = "s3cret/with:odd chars+"


@pytest.fixture(scope="module")
def program():
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")  # noqa: TID251
    folder = cache / "hive-tests" / "oidc-provider-9.13.3"
    if not (folder / "node_modules").is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
            shutil.copy(HERE / "package.json", fresh)
            made = subprocess.run(
                ["npm", "install", "--no-audit", "--no-fund"],
                cwd=fresh,
                capture_output=True,
                timeout=120,
                check=False,
            )
            if made.returncode != 0:
                pytest.skip("npm could not install oidc-provider")
            shutil.copytree(fresh, folder, dirs_exist_ok=True, symlinks=True)
    shutil.copy(HERE / "issuer.mjs", folder)
    return folder / "issuer.mjs"


@pytest.fixture(scope="module")
def provider(program):
    shared = {
        "redirect_uris": [],
        "id_token_signed_response_alg": "ES256",
        "response_types": [],
        "grant_types": ["client_credentials"],
        "scope": "a2a:call",
    }
    clients = [
        {**shared, "client_id": "basic:1", "client_secret": SECRET},
        {
            **shared,
            "client_id": "form",
            "client_secret": SECRET,
            "token_endpoint_auth_method": "client_secret_post",
        },
        {
            **shared,
            "client_id": "key",
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": "ES256",
            "jwks": {"keys": [{**public_jwk(CLIENT_KEY), "kid": "c1", "use": "sig"}]},
        },
    ]
    signing = ec.generate_private_key(ec.SECP256R1())
    d = signing.private_numbers().private_value.to_bytes(32, "big")
    jwk = {
        **public_jwk(signing),
        "d": to_base64url_text(d),
        "kid": "s1",
        "use": "sig",
        "alg": "ES256",
    }
    command = ["node", str(program), json.dumps(clients), AUDIENCE, json.dumps(jwk)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            url = process.stdout.readline().decode().strip()
            assert url, "the provider did not start"
            yield SimpleNamespace(
                url=url, token=f"{url}/token", introspect=f"{url}/token/introspection"
            )
        finally:
            process.kill()


async def shown(auth) -> dict[str, str]:
    return await auth.headers_for("POST", URL)


async def test_client_and_server_find_each_other_by_the_issuers_metadata(provider):
    ways = (
        ClientSecret("basic:1", SECRET),
        ClientSecret("form", SECRET, in_form=True),
        ClientKey("key", CLIENT_KEY, kid="c1", audience=provider.url),
    )
    bearer = JwtBearer(provider.url, AUDIENCE, scopes=["a2a:call"], at_jwt_only=True)
    for client, name in zip(ways, ("basic:1", "form", "key"), strict=True):
        auth = ClientCredentials(
            provider.token, client, URL, scopes=["a2a:call"], resource=AUDIENCE
        )
        caller = await bearer.identify(head((await shown(auth))["Authorization"]))
        assert caller.name == f"bearer:{provider.url}#{name}"
        await auth.aclose()
    await bearer.aclose()


async def test_a_wrong_secret_and_a_foreign_key_get_no_token(provider):
    for client in (
        ClientSecret("basic:1", "wrong"),
        ClientSecret("nobody", SECRET),
        ClientKey("key", ec.generate_private_key(ec.SECP256R1()), kid="c1", audience=provider.url),
    ):
        auth = ClientCredentials(provider.token, client, URL, resource=AUDIENCE)
        with pytest.raises(TokenRefusedError, match="invalid_client"):
            await shown(auth)
        await auth.aclose()


async def test_a_token_for_another_resource_is_refused_here(provider):
    auth = ClientCredentials(
        provider.token,
        ClientSecret("basic:1", SECRET),
        URL,
        scopes=["a2a:call"],
        resource="https://another.example",
    )
    bearer = JwtBearer(provider.url, AUDIENCE)
    fault = await refusal(bearer.identify(head((await shown(auth))["Authorization"])))
    assert "meant for somebody else" in fault.message
    await auth.aclose()
    await bearer.aclose()


async def test_dpop_with_the_providers_nonce(provider):
    key = DpopKey()
    auth = DpopClientCredentials(
        provider.token,
        ClientSecret("basic:1", SECRET),
        key,
        URL,
        scopes=["a2a:call"],
        resource=AUDIENCE,
    )
    bearer = JwtBearer(provider.url, AUDIENCE, dpop=DpopVerifier(), bound=True)
    headers = await shown(auth)
    token = headers["Authorization"].removeprefix("DPoP ")
    assert parse_compact(token).claims["cnf"] == {"jkt": key.jkt}
    request = head(headers["Authorization"], headers={"dpop": headers["DPoP"]})
    assert await bearer.identify(request)
    assert "used before" in (await refusal(bearer.identify(request))).message
    assert "proof is needed" in (await refusal(bearer.identify(head(f"Bearer {token}")))).message
    await auth.aclose()
    await bearer.aclose()


async def test_an_opaque_token_is_introspected_and_withdrawn(provider):
    resource = f"{AUDIENCE}/opaque"
    auth = ClientCredentials(
        provider.token,
        ClientSecret("form", SECRET, in_form=True),
        URL,
        scopes=["a2a:call"],
        resource=resource,
    )
    asked = Introspection(
        provider.introspect, "basic:1", SECRET, issuer=provider.url, audience=resource, keep_s=0
    )
    headers = await shown(auth)
    caller = await asked.identify(head(headers["Authorization"]))
    assert caller.name == f"bearer:{provider.url}#form"
    assert caller.scopes == {"a2a:call"}
    elsewhere = Introspection(
        provider.introspect, "basic:1", SECRET, issuer=provider.url, audience=AUDIENCE
    )
    assert (await refusal(elsewhere.identify(head(headers["Authorization"])))).status == 401
    async with httpx.AsyncClient() as client:
        await client.post(
            f"{provider.url}/token/revocation",
            data={
                "client_id": "form",
                "client_secret": SECRET,
                "token": headers["Authorization"].removeprefix("Bearer "),
            },
        )
    fault = await refusal(asked.identify(head(headers["Authorization"])))
    assert "not active" in fault.message
    for one in (auth, asked, elsewhere):
        await one.aclose()
