"""Keys and answers of an issuer: cached, bounded, and no worse than they must be while it is away."""

import anyio
import pytest
from a2a.types import SecurityScheme
from google.protobuf.json_format import ParseDict

from hive_a2a.errors import A2AError
from hive_a2a.faults import UNAVAILABLE, WireFault
from hive_a2a.identity.api_key import ApiKeys, StaticBearer, new_api_key
from hive_a2a.identity.bearer import AnyBearer, JwtBearer
from hive_a2a.identity.fetch import IssuerLink, IssuerUnavailableError, safe_url
from hive_a2a.identity.introspect import Introspection
from hive_a2a.identity.jwks import FetchedKeys, read_keys
from hive_a2a.identity.mtls import SpiffeMtls
from hive_a2a.identity.proof import public_jwk
from tests.identity_rig import (
    AUDIENCE,
    DOMAIN,
    ISSUER,
    JWKS,
    KEY,
    NOW,
    OTHER_KEY,
    StandingClock,
    challenge_of,
    head,
    issuer,
    refusal,
    token,
)

pytestmark = pytest.mark.anyio
AT = int(NOW.timestamp())
ACTIVE = {"active": True, "sub": "alice", "aud": AUDIENCE, "exp": AT + 300, "scope": "a2a:call x"}


@pytest.fixture
def clock():
    return StandingClock()


def jwt_bearer(there, clock, **more):
    return JwtBearer(ISSUER, AUDIENCE, jwks_url=f"{there.url}/keys", clock=clock, **more)


async def test_keys_are_fetched_once_for_many_callers_at_once(clock):
    async with issuer(lambda *_: JWKS) as there:
        bearer = jwt_bearer(there, clock, kept_max=0)
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(bearer.identify, head(f"Bearer {token()}"))
        await bearer.aclose()
    assert len(there.asked) == 1


async def test_an_unknown_key_is_asked_for_at_a_limited_rate(clock):
    async with issuer(lambda *_: JWKS) as there:
        bearer = jwt_bearer(there, clock)
        assert await bearer.identify(head(f"Bearer {token()}"))
        odd = head(f"Bearer {token(header={'kid': 'new'})}")
        for _ in range(5):
            assert (await refusal(bearer.identify(odd))).status == 401
        assert len(there.asked) == 1
        clock.passed_s = 11
        there.answer = lambda *_: {"keys": [{**public_jwk(KEY), "kid": "new"}]}
        assert await bearer.identify(odd)
        assert len(there.asked) == 2
        await bearer.aclose()


async def test_keys_stay_good_for_a_while_when_the_issuer_is_away(clock):
    async with issuer(lambda *_: JWKS) as there:
        bearer = jwt_bearer(there, clock, kept_max=0)
        assert await bearer.identify(head(f"Bearer {token()}"))
        there.answer = lambda *_: (500, {})
        clock.passed_s = 1000
        assert await bearer.identify(head(f"Bearer {token(exp=AT + 9000)}"))
        clock.passed_s = 3601
        fault = await refusal(bearer.identify(head(f"Bearer {token(exp=AT + 9000)}")))
        assert fault.kind is UNAVAILABLE
        assert fault.retry_after_s == 10
        await bearer.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        (404, {}),
        (200, b"not json"),
        (200, b"[]"),
        (200, b'{"keys": 1}'),
        (200, b'{"keys": []}'),
        (200, b'{"keys": [1, {"kty": "EC"}]}'),
        (200, {"keys": [{}] * 100}),
        (200, b"x" * 300_000),
        (302, {}, {"location": "http://127.0.0.1:1/keys"}),
        b"nonsense\r\n\r\n",
    ],
)
async def test_an_answer_that_is_no_key_set_gives_no_keys(clock, answer):
    async with issuer(lambda *_: answer) as there:
        bearer = jwt_bearer(there, clock)
        assert (await refusal(bearer.identify(head(f"Bearer {token()}")))).status == 503
        await bearer.aclose()


async def test_an_issuer_that_never_ends_is_given_up(clock):
    async with issuer(lambda *_: b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n") as there:
        link = IssuerLink(timeout_s=0.2)
        with pytest.raises(IssuerUnavailableError):
            await link.get(there.url)
        await link.aclose()
        await link.aclose()


async def test_without_a_name_there_must_be_one_key(clock):
    two = [*JWKS["keys"], {**public_jwk(OTHER_KEY), "kid": "k2"}]
    bearer = JwtBearer(ISSUER, AUDIENCE, keys=two, clock=clock)
    nameless = token(header={"kid": ...})
    fault = await refusal(bearer.identify(head(f"Bearer {nameless}")))
    assert "does not name its key" in fault.message
    one = JwtBearer(ISSUER, AUDIENCE, keys=JWKS, clock=clock)
    assert await one.identify(head(f"Bearer {nameless}"))


async def test_a_source_of_keys_can_be_passed(clock):
    class Mine:
        async def named(self, kid):
            return read_keys(JWKS)

    bearer = JwtBearer(ISSUER, AUDIENCE, keys=Mine(), clock=clock)
    assert await bearer.identify(head(f"Bearer {token()}"))
    await bearer.aclose()


@pytest.mark.parametrize(
    "jwk", [{"use": "enc"}, {"key_ops": ["sign"]}, {"key_ops": 7}, {"alg": "RS256"}]
)
async def test_a_key_that_is_meant_for_something_else_is_passed_over(jwk):
    with pytest.raises(A2AError):
        read_keys({"keys": [{**public_jwk(KEY), **jwk}]})


async def test_scopes_are_needed_and_named(clock):
    bearer = JwtBearer(ISSUER, AUDIENCE, keys=JWKS, scopes=["a2a:admin"], clock=clock)
    fault = await refusal(bearer.identify(head(f"Bearer {token()}")))
    assert (fault.status, fault.json_rpc_status) == (403, 403)
    assert challenge_of(fault) == 'Bearer error="insufficient_scope", scope="a2a:admin"'
    for changes in ({"scope": "x a2a:admin"}, {"scope": ..., "scp": ["a2a:admin"]}):
        assert await bearer.identify(head(f"Bearer {token(**changes)}"))
    assert (await refusal(bearer.identify(head(f"Bearer {token(scope=7)}")))).status == 403


async def test_audience_may_be_a_list_on_both_sides(clock):
    bearer = JwtBearer(ISSUER, [AUDIENCE, "urn:agent"], keys=JWKS, clock=clock)
    assert await bearer.identify(head(f"Bearer {token(aud=['x', 'urn:agent'])}"))


async def test_clocks_may_differ_by_the_leeway(clock):
    bearer = JwtBearer(ISSUER, AUDIENCE, keys=JWKS, clock=clock)
    assert await bearer.identify(head(f"Bearer {token(exp=AT - 59, nbf=AT + 59, iat=AT + 60)}"))


async def test_only_access_tokens_where_that_is_wanted(clock):
    bearer = JwtBearer(ISSUER, AUDIENCE, keys=JWKS, at_jwt_only=True, clock=clock)
    assert await bearer.identify(head(f"Bearer {token(header={'typ': 'application/AT+JWT'})}"))
    assert (await refusal(bearer.identify(head(f"Bearer {token(header={'typ': 'JWT'})}")))).status


async def test_the_memory_of_tokens_is_bounded(clock):
    bearer = JwtBearer(ISSUER, AUDIENCE, keys=JWKS, kept_max=2, clock=clock)
    for name in "abc":
        assert await bearer.identify(head(f"Bearer {token(sub=name)}"))
    assert len(bearer._kept) == 2


async def test_nothing_shown_is_nobody(clock):
    known = {"a": new_api_key()[1]}
    for one in (
        JwtBearer(ISSUER, AUDIENCE, keys=JWKS),
        StaticBearer(known),
        ApiKeys(known),
        SpiffeMtls(DOMAIN),
        Introspection("https://i.example", "me", "s", issuer=ISSUER, audience=AUDIENCE),
        AnyBearer(StaticBearer(known)),
    ):
        assert await one.identify(head()) is None
        if not isinstance(one, ApiKeys | SpiffeMtls):
            assert await one.identify(head("Basic eDp5")) is None


async def test_every_scheme_is_one_that_the_card_knows(clock):
    known = {"a": new_api_key()[1]}
    for one, name in (
        (JwtBearer(ISSUER, AUDIENCE, keys=JWKS), "http_auth_security_scheme"),
        (JwtBearer(ISSUER, AUDIENCE), "open_id_connect_security_scheme"),
        (
            JwtBearer(ISSUER, AUDIENCE, token_url=f"{ISSUER}/token", scopes=["x"]),
            "oauth2_security_scheme",
        ),
        (StaticBearer(known), "http_auth_security_scheme"),
        (ApiKeys(known), "api_key_security_scheme"),
        (SpiffeMtls(DOMAIN), "mtls_security_scheme"),
        (
            Introspection("https://i.example", "me", "s", issuer=ISSUER, audience=AUDIENCE),
            "http_auth_security_scheme",
        ),
        (AnyBearer(StaticBearer(known, scheme="words")), "http_auth_security_scheme"),
    ):
        read = ParseDict(one.card_scheme(), SecurityScheme())
        assert read.WhichOneof("scheme") == name
        assert one.scheme


async def test_keys_are_known_by_their_hash():
    (key, digest), (other, _) = new_api_key(), new_api_key()
    keys = ApiKeys({"robot": digest}, header="X-Agent-Key")
    caller = await keys.identify(head(headers={"x-agent-key": key}))
    assert (caller.name, caller.scheme) == ("key:robot", "apiKey")
    for bad in (other, "", "x" * 600):
        fault = await refusal(keys.identify(head(headers={"x-agent-key": bad})))
        assert (fault.status, "ApiKey" in challenge_of(fault)) == (401, True)
    words = StaticBearer({"robot": digest})
    assert (await words.identify(head(f"Bearer {key}"))).name == "static:robot"
    assert (await refusal(words.identify(head(f"Bearer {other}")))).status == 401


@pytest.mark.parametrize("known", [{}, {"a": "xyz"}, {"a": "ab"}, {"": "00" * 32}])
async def test_keys_that_are_no_hashes_are_refused_at_the_start(known):
    with pytest.raises(A2AError):
        ApiKeys(known)


@pytest.mark.parametrize(
    ("issuer_name", "audience"), [("", "a"), ("i#j", "a"), ("i", ""), ("i", []), ("i", ["a", ""])]
)
async def test_an_issuer_and_an_audience_are_needed(issuer_name, audience):
    with pytest.raises(A2AError):
        JwtBearer(issuer_name, audience, keys=JWKS)


@pytest.mark.parametrize(
    "url", ["http://a.example", "file:///x", "https://u@a.example", "https://"]
)
async def test_an_issuer_is_asked_over_https_only(url):
    with pytest.raises(A2AError):
        safe_url(url)
    with pytest.raises(A2AError):
        FetchedKeys(url)


async def test_a_choice_of_bearers_gives_the_best_reason(clock):
    with pytest.raises(A2AError):
        AnyBearer()

    class Away:
        scheme = "away"

        async def identify(self, head):
            raise WireFault(UNAVAILABLE, "away")

    static = StaticBearer({"a": new_api_key()[1]})
    for order in ((Away(), static), (static, Away())):
        assert (await refusal(AnyBearer(*order).identify(head("Bearer x")))).status == 503


def introspection(there, clock, **more):
    return Introspection(
        f"{there.url}/introspect",
        "me",
        "s:x",
        issuer=ISSUER,
        audience=AUDIENCE,
        clock=clock,
        **more,
    )


async def test_an_opaque_token_is_asked_for_once_in_a_while(clock):
    async with issuer(lambda *_: ACTIVE) as there:
        asked = introspection(there, clock)
        for _ in range(3):
            caller = await asked.identify(head("Bearer abc"))
        assert caller.name == f"bearer:{ISSUER}#alice"
        assert caller.scopes == {"a2a:call", "x"}
        assert len(there.asked) == 1
        method, path, headers, body = there.asked[0]
        assert (method, path, body) == (
            "POST",
            "/introspect",
            b"token=abc&token_type_hint=access_token",
        )
        assert headers["authorization"] == "Basic bWU6cyUzQXg="
        # Withdrawn: believed for the short time that is left, and then no more.
        there.answer = lambda *_: {"active": False}
        clock.passed_s = 9
        assert await asked.identify(head("Bearer abc"))
        clock.passed_s = 10
        assert "not active" in (await refusal(asked.identify(head("Bearer abc")))).message
        await asked.aclose()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"active": "true"}, 401),
        ({"active": 1}, 401),
        ({"active": ...}, 401),
        ({"aud": "https://other.example"}, 401),
        ({"aud": ...}, 401),
        ({"iss": "https://evil.example"}, 401),
        ({"exp": ...}, 401),
        ({"exp": AT - 60}, 401),
        ({"nbf": AT + 61}, 401),
        ({"sub": ...}, 401),
        ({"cnf": {"x5t#S256": "AAAA"}}, 401),
        ({"scope": "other"}, 403),
    ],
)
async def test_an_active_token_must_also_fit(clock, changes, status):
    said = {k: v for k, v in {**ACTIVE, **changes}.items() if v is not ...}
    async with issuer(lambda *_: said) as there:
        asked = introspection(there, clock, scopes=["a2a:call"])
        assert (await refusal(asked.identify(head("Bearer abc")))).status == status
        await asked.aclose()


async def test_a_client_that_stands_for_itself_is_named_by_its_id(clock):
    said = {"active": True, "client_id": "robot", "exp": AT + 60}
    async with issuer(lambda *_: said) as there:
        asked = introspection(there, clock, audience_optional=True)
        assert (await asked.identify(head("Bearer abc"))).name == f"bearer:{ISSUER}#robot"
        await asked.aclose()


async def test_an_issuer_that_cannot_say_is_not_taken_for_a_yes(clock):
    async with issuer(lambda *_: (401, {"error": "invalid_client"})) as there:
        asked = introspection(there, clock)
        assert (await refusal(asked.identify(head("Bearer abc")))).status == 503
        there.answer = lambda *_: b"x\r\n\r\n"
        assert (await refusal(asked.identify(head("Bearer abc")))).status == 503
        full = introspection(there, clock, asking_max=0)
        fault = await refusal(full.identify(head("Bearer abc")))
        assert (fault.status, fault.detail) == (503, "too many questions are open")
        for bad in ("", "a b", "ä", "x" * 20_000, 'a"b'):
            assert (await refusal(asked.identify(head(f"Bearer {bad}")))).status == 401
        await asked.aclose()
