"""A card is fetched within bounds, and leads only where somebody vouches for."""

import json

import anyio
import httpx
import pytest

from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.jcs import card_hash
from hive_a2a.cards.jwk import CardAlgorithm, key_set
from hive_a2a.cards.noise_params import NoiseParams, put_noise
from hive_a2a.cards.policies import Pinned, Tofu, Unsigned
from hive_a2a.cards.reading import CardLimits
from hive_a2a.cards.resolve import (
    CARD_PATH,
    card_url,
    check_extended,
    fetch_card,
    key_fetcher,
    read_card,
)
from hive_a2a.cards.sign import SigningKey, sign_card
from hive_a2a.cards.trust import MemoryTrust
from hive_a2a.cards.verify import TrustedBy
from hive_a2a.origins import beneath, is_loopback, origin_of, same_host, same_origin
from tests.cards_rig import PEER, as_dict, from_dict, refusal, serving, whole_card
from tests.unit.test_sdk_cards_trust import without_jwk

pytestmark = pytest.mark.anyio
BASE = "https://agent.example"
OFFER = {"protocolBinding": "JSONRPC", "protocolVersion": "1.0"}


async def refused_with(pages, url=BASE, trust=None, **more):
    client, asked = serving(pages)
    async with client:
        with pytest.raises(CardError) as refused:
            await fetch_card(url, trust or Unsigned(), http=client, **more)
    return refusal(refused), asked


async def test_a_signed_card_is_fetched_verified_and_remembered():
    key, store = SigningKey.make(), MemoryTrust()
    signed = sign_card(whole_card(), key)
    raw = json.dumps(as_dict(signed), indent=3).encode()
    client, asked = serving({PEER: raw})
    async with client:
        taken = await fetch_card(BASE, Tofu(store), http=client)
        again = await fetch_card(PEER, Tofu(store), http=client)
    assert taken.card == signed
    assert taken.raw == raw
    assert taken.url == PEER
    assert taken.sha256 == card_hash(whole_card())
    assert taken.verdict.trusted_by is TrustedBy.FIRST_SEEN
    assert again.verdict.trusted_by is TrustedBy.SEEN_BEFORE
    assert asked == [PEER, PEER]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://a.example", f"https://a.example{CARD_PATH}"),
        ("https://a.example/", f"https://a.example{CARD_PATH}"),
        ("https://a.example/x/y/#f", f"https://a.example/x/y{CARD_PATH}"),
        ("https://a.example/x/card.json", "https://a.example/x/card.json"),
    ],
)
def test_the_card_of_an_agent_is_below_it(url, address):
    assert card_url(url) == address


@pytest.mark.parametrize("url", ["ftp://a.example", "a.example", "https://a@b.example", "https://"])
def test_an_agent_has_a_clean_address(url):
    with pytest.raises(CardError) as refused:
        card_url(url)
    assert refusal(refused) is CardFault.MALFORMED


OLD_CARD = {
    "name": "old",
    "description": "Speaks 0.3.",
    "version": "1",
    "url": f"{BASE}/rpc",
    "preferredTransport": "JSONRPC",
    "protocolVersion": "0.3.0",
    "capabilities": {"streaming": True},
    "defaultInputModes": ["text/plain"],
    "defaultOutputModes": ["text/plain"],
    "security": [{"bearer": []}],
    "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
    "skills": [{"id": "s", "name": "S", "description": "d", "tags": ["t"]}],
}


async def test_a_card_of_the_old_protocol_is_read():
    client, _ = serving({PEER: OLD_CARD})
    async with client:
        taken = await fetch_card(BASE, Unsigned(), http=client)
    assert taken.card.supported_interfaces[0].url == f"{BASE}/rpc"
    assert taken.card.security_schemes["bearer"].http_auth_security_scheme.scheme == "bearer"
    assert taken.verdict.trusted_by is TrustedBy.UNSIGNED


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        (b"{", CardFault.MALFORMED),
        (b"[]", CardFault.MALFORMED),
        (b'{"name": "a", "name": "b"}', CardFault.MALFORMED),
        (b'{"name": 7}', CardFault.MALFORMED),
        (b'{"skills": 7}', CardFault.MALFORMED),
        (b'{"skills": [7]}', CardFault.MALFORMED),
        (b'{"securitySchemes": []}', CardFault.MALFORMED),
        (b'{"a":' * 70 + b"1" + b"}" * 70, CardFault.TOO_LARGE),
        (b" " * (1 << 20) + b"{}", CardFault.TOO_LARGE),
        ((500, {}, b""), CardFault.UNREACHABLE),
        ((204, {}, b""), CardFault.UNREACHABLE),
        ((200, {"content-encoding": "gzip"}, b""), CardFault.UNREACHABLE),
    ],
)
async def test_what_is_no_card_is_refused(page, fault):
    assert (await refused_with({PEER: page}))[0] is fault


async def test_an_endless_answer_is_cut():
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 4096
            yield b" " * 4096

    class Endless(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            return httpx.Response(200, content=endless())

    async with httpx.AsyncClient(transport=Endless()) as client:
        with pytest.raises(CardError) as refused:
            await fetch_card(BASE, Unsigned(), http=client, limits=CardLimits(size_bytes=10_000))
    assert refusal(refused) is CardFault.TOO_LARGE
    assert sent < 20_000


async def test_an_answer_that_does_not_come_is_not_waited_for():
    class Silent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            await anyio.sleep_forever()

    async with httpx.AsyncClient(transport=Silent()) as client:
        with anyio.fail_after(5), pytest.raises(CardError) as refused:
            await fetch_card(BASE, Unsigned(), http=client, limits=CardLimits(timeout_s=0.05))
    assert refusal(refused) is CardFault.UNREACHABLE


async def test_a_connection_that_breaks_is_said():
    def broken(request):
        raise httpx.ConnectError("no")

    assert (await refused_with({PEER: broken}))[0] is CardFault.UNREACHABLE


def moved(to, status=302):
    return status, {"location": to}, b""


async def test_a_redirect_at_the_same_origin_is_followed_a_few_times():
    card = as_dict(sign_card(whole_card(), SigningKey.make()))
    client, asked = serving({PEER: moved("/b.json"), f"{BASE}/b.json": card})
    async with client:
        taken = await fetch_card(BASE, Tofu(), http=client)
    assert taken.url == PEER
    assert asked == [PEER, f"{BASE}/b.json"]
    fault, asked = await refused_with({PEER: moved(CARD_PATH)})
    assert fault is CardFault.REDIRECTED
    assert len(asked) == 4


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example/card.json",
        "//evil.example/card.json",
        "http://agent.example/card.json",
        "https://agent.example:444/card.json",
        "https://agent.example@evil.example/",
        "file:///etc/passwd",
        "https://[",
    ],
)
async def test_a_redirect_to_another_origin_is_not_followed(to):
    fault, asked = await refused_with({PEER: moved(to, 308)})
    assert fault is CardFault.REDIRECTED
    assert asked == [PEER]


async def test_a_key_set_is_never_fetched_over_a_redirect():
    key = SigningKey.make(CardAlgorithm.ES256, kid="key-1")
    own = f"{BASE}/.well-known/jwks.json"
    keys = key_set((key.public,))
    card = as_dict(without_jwk(key))
    client, _ = serving({PEER: card, own: keys})
    async with client:
        assert (await fetch_card(BASE, Tofu(fetch=key_fetcher(client)), http=client)).verdict.signed
    client, asked = serving({PEER: card, own: moved("/other.json"), f"{BASE}/other.json": keys})
    async with client:
        with pytest.raises(CardError) as refused:
            await fetch_card(BASE, Tofu(fetch=key_fetcher(client)), http=client)
    assert refusal(refused) is CardFault.REDIRECTED
    assert f"{BASE}/other.json" not in asked


async def test_plain_http_is_for_this_machine_or_by_a_word():
    key = SigningKey.make()
    card = whole_card()
    for offer in card.supported_interfaces:
        offer.url = offer.url.replace(BASE, "http://agent.example")
    page = as_dict(sign_card(card, key))
    pages = {f"http://agent.example{CARD_PATH}": page}
    fault, asked = await refused_with(pages, url="http://agent.example")
    assert fault is CardFault.PLAIN_HTTP
    assert asked == []
    client, _ = serving(pages)
    async with client:
        await fetch_card("http://agent.example", Pinned([key.public]), http=client, plain_http=True)
    local = {**OLD_CARD, "url": "http://127.0.0.1:7/rpc"}
    client, _ = serving({f"http://127.0.0.1:7{CARD_PATH}": local})
    async with client:
        await fetch_card("http://127.0.0.1:7", Unsigned(), http=client)


@pytest.mark.parametrize(
    ("url", "binding", "near"),
    [
        ("https://agent.example/x", "JSONRPC", True),
        ("https://AGENT.example:443/x", "JSONRPC", True),
        ("https://friend.example/x", "JSONRPC", True),
        ("https://evil.example/x", "JSONRPC", False),
        ("http://agent.example/x", "JSONRPC", False),
        ("https://agent.example:8443/x", "HTTP+JSON", False),
        ("agent.example:50051", "GRPC", True),
        ("https://agent.example:50051", "GRPC", True),
        ("friend.example:50051", "GRPC", True),
        ("evil.example:50051", "GRPC", False),
        ("dns:///evil.example:50051", "GRPC", False),
        ("unix:/run/x", "GRPC", False),
    ],
)
async def test_a_card_of_an_unknown_signer_leads_to_its_own_place_only(url, binding, near):
    card = whole_card(supportedInterfaces=[{**OFFER, "url": url, "protocolBinding": binding}])
    key, store = SigningKey.make(), MemoryTrust()
    page = {PEER: as_dict(sign_card(card, key))}
    client, _ = serving(page)
    friends = ["https://friend.example"]
    async with client:
        await fetch_card(BASE, Pinned([key.public]), http=client)
        if near:
            await fetch_card(BASE, Tofu(store), http=client, origins=friends)
    if not near:
        fault, _ = await refused_with(page, trust=Tofu(store), origins=friends)
        assert fault is CardFault.ELSEWHERE
        assert await store.get(PEER) is None, "a refused card was remembered"


@pytest.mark.parametrize("url", ["x", "file:///etc/passwd", "javascript:1", "https://a@b.example/"])
async def test_no_key_vouches_for_an_address_that_is_none(url):
    card = whole_card()
    card.supported_interfaces[0].url = url
    key = SigningKey.make()
    page = {PEER: as_dict(sign_card(card, key))}
    fault, _ = await refused_with(page, trust=Pinned([key.public]))
    assert fault is CardFault.ELSEWHERE


async def test_a_second_card_is_held_to_the_first():
    key, trust = SigningKey.make(), Tofu()
    card = whole_card()
    put_noise(card, NoiseParams(static_key=b"k" * 32))
    client, _ = serving({PEER: as_dict(sign_card(card, key))})
    async with client:
        first = await fetch_card(BASE, trust, http=client)
    assert (await check_extended(sign_card(card, key), first, trust)).known_before
    elsewhere = from_dict(as_dict(card))
    elsewhere.supported_interfaces[0].url = "https://other.example/"
    # Its key is known by now, so it may lead elsewhere.
    await check_extended(sign_card(elsewhere, key), first, trust)
    for weaker, fault in (
        (card, CardFault.STRIPPED),
        (sign_card(whole_card(), key, epoch=1), CardFault.NOISE_STRIPPED),
        (sign_card(card, SigningKey.make()), CardFault.KEY_CHANGED),
    ):
        with pytest.raises(CardError) as refused:
            await check_extended(weaker, first, trust)
        assert refusal(refused) is fault
    with pytest.raises(CardError) as refused:
        await check_extended(card, first, Unsigned())
    assert refusal(refused) is CardFault.STRIPPED


def test_a_card_is_read_without_a_web():
    assert read_card(json.dumps(as_dict(whole_card())).encode()) == whole_card()


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://A.example/x?y", "https://a.example:443"),
        ("http://a.example", "http://a.example:80"),
        ("http://a.example:8080/", "http://a.example:8080"),
        ("https://[::1]:1/", "https://[::1]:1"),
        ("https://a.example\\@b.example/", ""),
        ("https://a.example/ x", ""),
        ("https://a.example/\n", ""),
        ("https://ä.example/", ""),
        ("https://user@a.example/", ""),
        ("https://a.example:0/", ""),
        ("https://a.example:x/", ""),
        ("https://a.example:99999/", ""),
        ("https://[::1/", ""),
        ("https://a%2eexample/", ""),
        ("ws://a.example/", ""),
        ("//a.example/", ""),
        ("", ""),
    ],
)
def test_an_origin_is_that_of_a_clean_address(url, origin):
    assert origin_of(url) == origin
    assert same_origin(url, url) is bool(origin)


@pytest.mark.parametrize(
    ("url", "allowed", "below"),
    [
        ("https://a.example/keys/x.json", "https://a.example/keys/", True),
        ("https://a.example/keys/", "https://a.example/keys/", True),
        ("https://a.example/x.json", "https://a.example/x.json", True),
        ("https://a.example/x.json", "https://a.example/", True),
        ("https://a.example/x.jsonp", "https://a.example/x.json", False),
        ("https://a.example/keysx", "https://a.example/keys/", False),
        ("https://a.example/keys/../x", "https://a.example/keys/", False),
        ("https://a.example/keys/./x", "https://a.example/keys/", False),
        ("https://a.example/keys/%2e%2e/x", "https://a.example/keys/", False),
        ("https://a.example/keys//x", "https://a.example/keys/", False),
        ("https://a.example/keys/x?u=1", "https://a.example/keys/", False),
        ("https://a.example/keys/x#f", "https://a.example/keys/", False),
        ("https://b.example/keys/x", "https://a.example/keys/", False),
        ("https://a.example.evil/keys/x", "https://a.example/keys/", False),
        ("http://a.example/keys/x", "https://a.example/keys/", False),
        ("https://a.example:444/keys/x", "https://a.example/keys/", False),
        ("nonsense", "https://a.example/", False),
        ("https://a.example/", "nonsense", False),
    ],
)
def test_an_address_lies_below_another_or_does_not(url, allowed, below):
    assert beneath(url, allowed) is below


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:1/", True),
        ("http://127.9.9.9/", True),
        ("http://[::1]/", True),
        ("http://localhost/", True),
        ("http://localhost.evil.example/", False),
        ("http://10.0.0.1/", False),
        ("nonsense", False),
    ],
)
def test_an_address_of_this_machine_is_known(url, local):
    assert is_loopback(url) is local


def test_hosts_are_compared_without_ports():
    assert same_host("http://a.example:1/", "https://A.example/")
    assert not same_host("http://a.example", "http://b.example")
    assert not same_host("a.example", "a.example")
