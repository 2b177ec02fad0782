"""A spoofed card that leads elsewhere: the plain resolver follows it, ours does not."""

import json

import httpx
import pytest
from a2a.client import A2ACardResolver

from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.keys import AgentKeys
from hive_a2a.cards.policies import Pinned, Tofu, Unsigned
from hive_a2a.cards.resolve import fetch_card
from hive_a2a.cards.sign import SigningKey, sign_card
from tests.cards_rig import PEER, as_dict, refusal, serving, whole_card

pytestmark = pytest.mark.anyio
BASE = "https://agent.example"


def leading_to(url):
    offer = {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    return whole_card(supportedInterfaces=[offer])


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "http://169.254.169.254/latest/meta-data/",
        "http://localhost:6379/",
        "https://agent.example.evil.example/",
        "https://agent.example@evil.example/",
    ],
)
async def test_a_spoofed_card_does_not_lead_elsewhere(url):
    for card, trust in (
        (leading_to(url), Unsigned()),
        (sign_card(leading_to(url), SigningKey.make()), Tofu()),
    ):
        client, _ = serving({PEER: as_dict(card)})
        async with client:
            plain = await A2ACardResolver(client, BASE).get_agent_card()
            assert plain.supported_interfaces[0].url == url  # the attack
            with pytest.raises(CardError) as refused:
                await fetch_card(BASE, trust, http=client)
        assert refusal(refused) is CardFault.ELSEWHERE


async def test_a_card_that_says_a_member_twice_has_no_meaning():
    keys = AgentKeys.ephemeral()
    good = json.dumps(as_dict(keys.sign(whole_card())))
    other = json.dumps([as_dict(leading_to("https://evil.example/"))["supportedInterfaces"][0]])
    twice = f'{{"supportedInterfaces": {other}, {good[1:]}'.encode()
    client, _ = serving({PEER: twice})
    async with client:
        # Two readers, two cards: this one keeps the last, others keep the first.
        plain = await A2ACardResolver(client, BASE).get_agent_card()
        assert plain.supported_interfaces[0].url.startswith(BASE)
        with pytest.raises(CardError) as refused:
            await fetch_card(BASE, Pinned(keys.public), http=client)
    assert refusal(refused) is CardFault.MALFORMED


async def test_members_of_the_old_protocol_do_not_outweigh_signed_ones():
    keys = AgentKeys.ephemeral()
    members = as_dict(keys.sign(whole_card()))
    old = {"url": "https://evil.example/", "security": [], "preferredTransport": "JSONRPC"}
    client, _ = serving({PEER: {**members, **old}})
    async with client:
        taken = await fetch_card(BASE, Pinned(keys.public), http=client)
    assert taken.card.supported_interfaces[0].url == f"{BASE}/a"
    replaced = {**{k: v for k, v in members.items() if k != "supportedInterfaces"}, **old}
    client, _ = serving({PEER: replaced})
    async with client:
        with pytest.raises(CardError) as refused:
            await fetch_card(BASE, Pinned(keys.public), http=client)
    assert refusal(refused) is CardFault.BAD_SIGNATURE


async def test_a_large_or_deep_card_is_not_read():
    for page in (b'{"name": "' + b"x" * (2 << 20) + b'"}', b'{"a":' * 5000 + b"1" + b"}" * 5000):
        client, _ = serving({PEER: page})
        async with client:
            with pytest.raises(CardError) as refused:
                await fetch_card(BASE, Unsigned(), http=client)
        assert refusal(refused) is CardFault.TOO_LARGE


async def test_a_redirect_does_not_carry_the_first_meeting_elsewhere():
    evil = "https://evil.example/card.json"
    spoofed = as_dict(sign_card(leading_to("https://evil.example/"), SigningKey.make()))
    pages = {PEER: (302, {"location": evil}, b""), evil: spoofed}
    client, asked = serving(pages)
    following = httpx.AsyncClient(transport=client._transport, follow_redirects=True)
    async with client, following:
        plain = await A2ACardResolver(following, BASE).get_agent_card()
        assert plain.supported_interfaces[0].url == "https://evil.example/"  # the attack
        asked.clear()
        with pytest.raises(CardError) as refused:
            await fetch_card(BASE, Tofu(), http=following)
    assert refusal(refused) is CardFault.REDIRECTED
    assert asked == [PEER]
