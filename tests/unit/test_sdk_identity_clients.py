"""What a client shows and when it asks anew; proofs, targets, ids and certificates that are read."""

import hashlib
import sys

import anyio
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hive_a2a.errors import A2AError
from hive_a2a.identity.bearer import JwtBearer
from hive_a2a.identity.credentials import (
    ApiKeyAuth,
    BearerToken,
    ClientCredentials,
    Dpop,
    DpopClientCredentials,
    TokenExchange,
    credentialed_client,
)
from hive_a2a.identity.dpop import DpopNonces, DpopVerifier, same_target
from hive_a2a.identity.endpoint import ClientCertificate, ClientSecret, TokenRefusedError
from hive_a2a.identity.jws import BadTokenError, parse_compact, public_key, thumbprint
from hive_a2a.identity.mtls import SpiffeMtls
from hive_a2a.identity.proof import DpopKey, public_jwk
from hive_a2a.identity.svid import (
    BadSvidError,
    GivenSvids,
    WorkloadSvids,
    peer_spiffe_id,
    svid_from_pem,
    tls_peer,
    trust_domain,
)
from hive_a2a.identity.tls import client_context
from tests.identity_rig import (
    AUDIENCE,
    DOMAIN,
    ISSUER,
    JWKS,
    KEY,
    OTHER_KEY,
    URL,
    Authority,
    StandingClock,
    challenge_of,
    head,
    issuer,
    refusal,
    token,
)

pytestmark = pytest.mark.anyio
ME = ClientSecret("me", "secret")


@pytest.fixture
def clock():
    return StandingClock()


def numbered(kind: str = "Bearer", **more):
    """Return an answer of a token endpoint that counts its tokens."""
    count = iter(range(100))
    return lambda *_: {"access_token": f"t{next(count)}", "token_type": kind, **more}


async def test_a_token_is_kept_until_shortly_before_its_end(clock):
    async with issuer(numbered(expires_in=300)) as there:
        auth = ClientCredentials(
            f"{there.url}/token",
            ME,
            URL,
            scopes=["a", "b"],
            resource=URL,
            audience="x",
            clock=clock,
        )

        async def seen() -> str:
            return (await auth.headers_for("POST", URL))["Authorization"]

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(seen)
        assert await seen() == "Bearer t0"
        assert len(there.asked) == 1
        body = there.asked[0][3].decode()
        assert "grant_type=client_credentials&scope=a+b&resource=https" in body
        clock.passed_s = 269
        assert await seen() == "Bearer t0"
        clock.passed_s = 271
        assert await seen() == "Bearer t1"
        await auth.aclose()


async def test_a_refused_token_is_replaced_once(clock):
    async with issuer(numbered()) as there, issuer(lambda *_: (401, {})) as agent:
        auth = ClientCredentials(f"{there.url}/token", ME, agent.url, clock=clock)
        async with credentialed_client(auth) as client:
            answer = await client.post(f"{agent.url}/rpc", content=b"body")
        assert answer.status_code == 401
        shown = [(one[2]["authorization"], one[3]) for one in agent.asked]
        assert shown == [("Bearer t0", b"body"), ("Bearer t1", b"body")]
        # An answer that arrives late does not throw away a token that is newer.
        auth._endpoint.forget("t0")
        assert (await auth.headers_for("POST", agent.url))["Authorization"] != "Bearer t0"
        await auth.aclose()


async def test_a_fixed_token_is_shown_once():
    async with issuer(lambda *_: (401, {})) as agent:
        for auth in (
            BearerToken("t", agent.url),
            ApiKeyAuth("t", agent.url),
            Dpop("t", DpopKey(), agent.url),
        ):
            agent.asked.clear()
            async with credentialed_client(auth) as client:
                await client.post(f"{agent.url}/rpc")
            assert len(agent.asked) == 1
    with (
        pytest.raises(A2AError),
        httpx.Client(auth=BearerToken("t", "https://a.example")) as client,
    ):
        client.get("https://a.example")


async def test_a_client_follows_the_servers_nonce(clock):
    nonces = DpopNonces(clock=clock)
    key = DpopKey(OTHER_KEY, clock=clock)
    bearer = JwtBearer(
        ISSUER, AUDIENCE, keys=JWKS, dpop=DpopVerifier(nonces=nonces, clock=clock), clock=clock
    )
    bound = token(cnf={"jkt": key.jkt})
    verdicts = []

    def answer(method, path, headers, body):
        said = {"www-authenticate": 'DPoP error="use_dpop_nonce"', "dpop-nonce": nonces.current()}
        verdicts.append(headers)
        return (401, {}, said) if len(verdicts) == 1 else {}

    async with issuer(answer) as agent:
        async with credentialed_client(Dpop(bound, key, agent.url)) as client:
            assert (await client.post(f"{agent.url}/rpc?x=1")).status_code == 200
        first, second = (one["dpop"] for one in verdicts)
        request = head(f"DPoP {bound}", url=f"{agent.url}/rpc", headers={"dpop": second})
        assert await bearer.identify(request)
        request = head(f"DPoP {bound}", url=f"{agent.url}/rpc", headers={"dpop": first})
        assert "use_dpop_nonce" in challenge_of(await refusal(bearer.identify(request)))


async def test_a_bound_token_is_fetched_with_the_endpoints_nonce(clock):
    key = DpopKey(clock=clock)

    def answer(method, path, headers, body):
        if parse_compact(headers["dpop"]).claims.get("nonce") != "n1":
            return 400, {"error": "use_dpop_nonce"}, {"dpop-nonce": "n1"}
        return {"access_token": "t", "token_type": "DPoP", "expires_in": 300}

    async with issuer(answer) as there, issuer(lambda *_: (401, {})) as agent:
        auth = DpopClientCredentials(
            f"{there.url}/token", ClientCertificate("me"), key, agent.url, clock=clock
        )
        async with credentialed_client(auth) as client:
            await client.post(f"{agent.url}/rpc")
        assert [one[2]["authorization"] for one in agent.asked] == ["DPoP t", "DPoP t"]
        assert b"client_id=me" in there.asked[0][3]
        there.answer = lambda *_: (400, {"error": "use_dpop_nonce"}, {"dpop-nonce": "n1"})
        auth._endpoint.forget("t")
        with pytest.raises(TokenRefusedError, match="use_dpop_nonce"):
            await auth.headers_for("POST", agent.url)
        there.answer = lambda *_: (400, {"error": "<b>"})
        with pytest.raises(TokenRefusedError, match="without a reason"):
            await auth.headers_for("POST", agent.url)
        await auth.aclose()


async def test_a_token_is_exchanged_and_never_passed_on(clock):
    async def incoming() -> str:
        return "incoming"

    async with issuer(numbered(expires_in=10)) as there:
        auth = TokenExchange(f"{there.url}/token", ME, incoming, URL, resource=URL, clock=clock)
        assert await auth.headers_for("POST", URL) == {"Authorization": "Bearer t0"}
        assert b"subject_token=incoming&subject_token_type=urn" in there.asked[0][3]
        clock.passed_s = 4
        assert await auth.headers_for("POST", URL) == {"Authorization": "Bearer t0"}
        clock.passed_s = 6
        assert await auth.headers_for("POST", URL) == {"Authorization": "Bearer t1"}
        await auth.aclose()


async def test_nonces_of_servers_are_bounded():
    key = DpopKey()
    assert not key.heard(URL, None)
    assert not key.heard(URL, "x" * 600)
    for number in range(100):
        assert key.heard(f"https://a{number}.example/x", "n")
        assert not key.heard(f"https://a{number}.example/y", "n")
    assert len(key._nonces) == 64


async def test_both_kinds_of_key_make_proofs(clock):
    for key in (DpopKey(Ed25519PrivateKey.generate(), clock=clock), DpopKey(clock=clock)):
        bearer = JwtBearer(ISSUER, AUDIENCE, keys=JWKS, dpop=DpopVerifier(clock=clock), clock=clock)
        bound = token(cnf={"jkt": key.jkt})
        proof = key.proof("POST", URL, token=bound)
        assert await bearer.identify(head(f"DPoP {bound}", headers={"dpop": proof}))
    with pytest.raises(A2AError):
        DpopKey(ec.generate_private_key(ec.SECP384R1()))


async def test_a_thumbprint_is_that_of_the_standard():
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4"
        "n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0z"
        "gdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csF"
        "Cur-kEgU8awapJzKnqDKgw"
    )
    jwk = {"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    assert thumbprint(jwk) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert public_key(jwk).algorithms == {"RS256"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://A.example/x", "https://a.example:443/x", True),
        ("https://a.example", "https://a.example/", True),
        ("https://a.example/x?y=1#z", "https://a.example/x", True),
        ("https://a.example/%7Ex", "https://a.example/~x", True),
        ("https://a.example/%c3%a4", "https://a.example/%C3%A4", True),
        ("https://a.example/message%3asend", "https://a.example/message%3Asend", True),
        ("https://a.example/a%2Fb", "https://a.example/a/b", False),
        ("https://a.example/%2e%2e/b", "https://a.example/b", False),
        ("https://a.example/%2541", "https://a.example/A", False),
        ("https://a.example/x/", "https://a.example/x", False),
        ("https://[::1]:8443/x", "https://[::1]/x", False),
        ("http://a.example:80/x", "http://a.example/x", True),
    ],
)
async def test_addresses_are_compared_as_the_standard_says(one, other, same):
    assert (same_target(one) == same_target(other)) is same
    with pytest.raises(BadTokenError):
        same_target("ftp://a.example")


@pytest.mark.parametrize(
    "odd",
    [
        "",
        "spiffe://",
        "spiffe:///x",
        "spiffe://Hive.example/x",
        "spiffe://hive.example/x/",
        "spiffe://hive.example//x",
        "spiffe://hive.example/../x",
        "spiffe://hive.example/./x",
        "spiffe://hive.example:1/x",
        "spiffe://u@hive.example/x",
        "spiffe://hive.example/x?y",
        "spiffe://hive.example/x#y",
        "spiffe://hive.example/%41",
        "SPIFFE://hive.example/x",
        "https://hive.example/x",
        "spiffe://hive.example/" + "x" * 2048,
        f"spiffe://{'a' * 256}/x",
    ],
)
async def test_an_id_has_one_form(odd):
    with pytest.raises(BadSvidError):
        trust_domain(odd)
    assert not SpiffeMtls(DOMAIN).allows(odd)


async def test_ids_are_allowed_by_pattern(clock):
    base = f"spiffe://{DOMAIN}"
    guard = SpiffeMtls(DOMAIN, allowed=[f"{base}/a", f"{base}/team/*", f"{base}/deep/**"])
    for path, allowed in {
        "/a": True,
        "/a/b": False,
        "/team": False,
        "/team/x": True,
        "/team/x/y": False,
        "/teams/x": False,
        "/deep/x": True,
        "/deep/x/y": True,
        "/deep": False,
        "/deeper": False,
    }.items():
        assert guard.allows(base + path) is allowed, path
    assert SpiffeMtls(DOMAIN).allows(f"{base}/anything")
    assert not SpiffeMtls(DOMAIN).allows("spiffe://elsewhere.example/a")
    request = head(spiffe_id=f"{base}/a/b", certificate_sha256=b"x" * 32)
    assert "may not call" in (await refusal(guard.identify(request))).message
    with pytest.raises(A2AError):
        SpiffeMtls(DOMAIN, allowed=["spiffe://elsewhere.example/a"])
    with pytest.raises(A2AError):
        SpiffeMtls("Not A Domain")


async def test_an_svid_is_read_whole_or_not_at_all():
    authority = Authority()
    chain, key = authority.leaf(f"spiffe://{DOMAIN}/a")
    svid = svid_from_pem(chain, key, authority.bundle)
    assert svid.spiffe_id == f"spiffe://{DOMAIN}/a"
    assert "PRIVATE" not in repr(svid)
    _, other_key = authority.leaf(f"spiffe://{DOMAIN}/a")
    two, two_key = authority.leaf(f"spiffe://{DOMAIN}/a", f"spiffe://{DOMAIN}/b")
    none, none_key = authority.leaf()
    for bad in (
        (chain, other_key, authority.bundle),
        (two, two_key, authority.bundle),
        (none, none_key, authority.bundle),
        (b"", key, authority.bundle),
        (chain, b"", authority.bundle),
        (chain, key, b""),
    ):
        with pytest.raises(BadSvidError):
            svid_from_pem(*bad)


async def test_a_connection_without_certificate_has_no_peer():
    class Plain:
        def getpeercert(self, binary_form=False):
            return None

    assert tls_peer(None) is None
    assert tls_peer(Plain()) is None
    with pytest.raises(BadSvidError):
        peer_spiffe_id(Plain())


async def test_a_system_without_memory_files_is_told_so(monkeypatch):
    source = GivenSvids(Authority().svid("/a"))
    monkeypatch.delattr("os.memfd_create")
    with pytest.raises(A2AError, match="memory files"):
        client_context(source)


async def test_a_key_that_tls_does_not_take_is_told(monkeypatch):
    authority = Authority()
    chain, key = authority.leaf(f"spiffe://{DOMAIN}/a")
    svid = svid_from_pem(chain, key, authority.bundle)
    from dataclasses import replace

    with pytest.raises(A2AError, match="cannot be used for TLS"):
        client_context(GivenSvids(replace(svid, key_pem=b"nonsense")))


async def test_without_the_package_the_workload_api_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "spiffe", None)
    with pytest.raises(A2AError, match="not installed"):
        WorkloadSvids("unix:///nowhere")


async def test_a_certificate_hash_is_that_of_its_bytes():
    authority = Authority()
    chain, _ = authority.leaf(f"spiffe://{DOMAIN}/a")
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from hive_a2a.identity.svid import grpc_peer

    der = x509.load_pem_x509_certificate(chain).public_bytes(Encoding.DER)
    peer = grpc_peer({"x509_pem_cert": [chain]})
    assert peer.certificate_sha256 == hashlib.sha256(der).digest()
    assert public_jwk(KEY)["kty"] == "EC"
