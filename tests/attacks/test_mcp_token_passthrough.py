"""Tokens stay where they belong: a caller's never leaves the node, and one of a server is shown to no other."""

from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest

from hive.core.errors import StateError
from hive.core.ids import OwnerId
from hive.core.randomness import SystemRandomness
from hive.protocols.mcp.oauth.fetch import FetchReply
from hive.protocols.mcp.oauth.login import UpstreamLogin
from hive.protocols.mcp.ports import ServerSpec, TransportKind
from hive.testing.clock import StoppedClock
from tests.conformance.client_auth import MemoryVault
from tests.mcp_oauth_rig import PaperFetch

pytestmark = pytest.mark.anyio
URL = "https://tools.example/mcp"
ISSUER = "https://login.example"
SPEC = ServerSpec(name="tools", transport=TransportKind.HTTP, url=URL, oauth=True)
ADA, BOB = OwnerId("ada"), OwnerId("bob")
RESOURCE_AT = "https://tools.example/.well-known/oauth-protected-resource/mcp"
SERVER_AT = f"{ISSUER}/.well-known/oauth-authorization-server"


def documents(**changes):
    server = {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/authorize",
        "token_endpoint": f"{ISSUER}/token",
        "registration_endpoint": f"{ISSUER}/register",
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }
    return {
        RESOURCE_AT: {"resource": URL, "authorization_servers": [ISSUER]},
        SERVER_AT: {**server, **changes},
        f"{ISSUER}/register": {"client_id": "c1"},
        f"{ISSUER}/token": token_answer,
    }


def token_answer(form):
    if form["grant_type"] == "refresh_token":
        return {"access_token": "second", "token_type": "Bearer", "expires_in": 600}
    return {
        "access_token": "first",
        "token_type": "Bearer",
        "expires_in": 600,
        "refresh_token": "again",
    }


class LoginRig:
    """A node that logs in at paper servers."""

    def __init__(self, **changes):
        self.clock = StoppedClock()
        self.vault = MemoryVault()
        self.fetch = PaperFetch(documents(**changes))
        self.login = self.restarted()

    def restarted(self):
        return UpstreamLogin(
            vault=self.vault,
            clock=self.clock,
            randomness=SystemRandomness(),
            origin=lambda: "https://node.example",
            fetch=self.fetch,
        )

    async def state(self, owner=ADA):
        url = await self.login.begin(SPEC, owner)
        return dict(parse_qsl(urlsplit(url).query))["state"]

    async def enter(self, owner=ADA):
        state = await self.state(owner)
        await self.login.finish({"state": state, "code": "x", "iss": ISSUER})

    async def signed(self, spec=SPEC, owner=ADA):
        return await self.login.headers(spec, owner, "POST", spec.url)


async def test_what_a_caller_shows_is_replaced_by_what_is_the_nodes():
    import httpx2

    rig = LoginRig()
    await rig.enter()
    asked = httpx2.Request(
        "POST", URL, headers={"authorization": "Bearer callers", "dpop": "callers"}
    )
    flow = rig.login.auth_for(SPEC, ADA).async_auth_flow(asked)
    sent = await anext(flow)
    assert sent.headers["authorization"] == "Bearer first"
    assert "dpop" not in sent.headers
    await flow.aclose()
    stranger = rig.login.auth_for(SPEC, BOB).async_auth_flow(
        httpx2.Request("POST", URL, headers={"authorization": "Bearer callers"})
    )
    assert "authorization" not in (await anext(stranger)).headers
    await stranger.aclose()


async def test_a_token_is_shown_to_no_other_address_under_the_same_name():
    rig = LoginRig()
    await rig.enter()
    moved = replace(SPEC, url="https://evil.example/mcp")
    assert await rig.signed(moved) == {}
    assert await rig.signed() == {"authorization": "Bearer first"}


async def test_a_login_is_one_owners_and_survives_a_restart():
    rig = LoginRig()
    await rig.enter()
    assert await rig.signed(owner=BOB) == {}
    rig.login = rig.restarted()
    assert await rig.signed() == {"authorization": "Bearer first"}


async def test_an_old_token_is_renewed_for_the_same_resource():
    rig = LoginRig()
    await rig.enter()
    rig.clock.advance(590)
    assert await rig.signed() == {"authorization": "Bearer second"}
    _, _, form, _ = rig.fetch.asked[-1]
    assert form["resource"] == URL
    assert form["refresh_token"] == "again"


async def test_a_state_is_good_once_and_for_the_server_that_was_asked():
    rig = LoginRig()
    state = await rig.state()
    for wrong in (
        {"state": state[:-1] + "_", "code": "x", "iss": ISSUER},
        {"state": "", "code": "x", "iss": ISSUER},
        {"code": "x", "iss": ISSUER},
    ):
        with pytest.raises(StateError):
            await rig.login.finish(wrong)
    await rig.login.finish({"state": state, "code": "x", "iss": ISSUER})
    with pytest.raises(StateError):
        await rig.login.finish({"state": state, "code": "y", "iss": ISSUER})


@pytest.mark.parametrize("said", [None, "https://evil.example", f"{ISSUER}/", ISSUER.upper()])
async def test_a_code_of_another_server_is_not_shown_to_this_one(said):
    rig = LoginRig()
    fields = {"state": await rig.state(), "code": "x"}
    with pytest.raises(StateError):
        await rig.login.finish(fields if said is None else {**fields, "iss": said})
    assert not [one for one in rig.fetch.asked if one[1].endswith("/token")]


async def test_a_login_that_began_long_ago_is_not_finished():
    rig = LoginRig()
    state = await rig.state()
    rig.clock.advance(901)
    with pytest.raises(StateError):
        await rig.login.finish({"state": state, "code": "x", "iss": ISSUER})


async def test_a_server_speaks_for_itself_alone():
    for resource in ("https://bank.example/mcp", "https://tools.example/mc", f"{URL}/deeper", 5):
        rig = LoginRig()
        rig.fetch.documents[RESOURCE_AT] = {"resource": resource, "authorization_servers": [ISSUER]}
        with pytest.raises(StateError):
            await rig.login.begin(SPEC, ADA)


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://evil.example"},
        {"issuer": f"{ISSUER}/"},
        {"code_challenge_methods_supported": ["plain"]},
        {"code_challenge_methods_supported": None},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
)
async def test_an_authorization_server_that_is_another_or_weak_gets_nothing(changes):
    rig = LoginRig(**changes)
    with pytest.raises(StateError):
        await rig.login.begin(SPEC, ADA)
    assert not [one for one in rig.fetch.asked if one[1].endswith("/token")]


async def test_a_secret_of_one_authorization_server_is_not_shown_to_the_next():
    rig = LoginRig()
    await rig.vault.put("oauth-client.tools", _secret("id:secret"))
    await rig.enter()
    rig.fetch.documents[RESOURCE_AT] = {
        "resource": URL,
        "authorization_servers": ["https://evil.example"],
    }
    evil = {**documents()[SERVER_AT], "issuer": "https://evil.example"}
    evil["token_endpoint"] = "https://evil.example/token"
    rig.fetch.documents["https://evil.example/.well-known/oauth-authorization-server"] = evil
    with pytest.raises(StateError, match="another authorization server"):
        await rig.login.begin(SPEC, ADA)


async def test_a_server_that_wants_more_gets_a_new_login_with_both():
    rig = LoginRig(scopes_supported=["read", "write"])
    rig.fetch.documents[RESOURCE_AT]["scopes_supported"] = ["read"]
    await rig.enter()
    told = {"www-authenticate": 'Bearer error="insufficient_scope", scope="write"'}
    with pytest.raises(StateError):
        await rig.login.heard(SPEC, ADA, URL, 403, told)
    url = await rig.login.begin(SPEC, ADA)
    assert dict(parse_qsl(urlsplit(url).query))["scope"] == "read write"


async def test_a_refused_renewal_ends_the_login_and_is_not_tried_again():
    rig = LoginRig()
    await rig.enter()
    rig.fetch.documents[f"{ISSUER}/token"] = FetchReply(400, {}, b'{"error":"invalid_grant"}')
    rig.clock.advance(590)
    with pytest.raises(StateError):
        await rig.signed()
    before = len(rig.fetch.asked)
    assert await rig.signed() == {}
    assert len(rig.fetch.asked) == before


def _secret(text):
    from hive.core.secret import Secret

    return Secret(text)
