"""Stolen, replayed, moved, forged and revoked warrants at the A2A door of a node, shown by the official client.

Without the stage that verifies them, each of these calls reaches the gate.
"""

import secrets

import httpx
import pytest
from a2a.client import ClientConfig, create_client
from a2a.client.errors import A2AClientError
from a2a.types import Message, Part, Role, SendMessageRequest
from a2a.utils.errors import A2AError

from hive.engines import load_migrations
from hive.security.capability import MintOrder
from hive.security.capability.grammar import terms_in
from hive.testing.a2a_door import OPERATOR_TOKEN, open_door
from hive_a2a.crypto import new_signing_pair
from hive_a2a.stages.show_warrant import ShowWarrant
from hive_a2a.stages.tenuo_warrants import HeldWarrant, proof_headers
from tests.warrant_play import book_on

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
HOLDER, THIEF = new_signing_pair(), new_signing_pair()
SENDING = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "SendMessage",
    "params": {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}},
}


@pytest.fixture
def migrations():
    return [*load_migrations("hive.security"), *load_migrations("hive.protocols.a2a")]


@pytest.fixture
def book(database):
    return book_on(database)


@pytest.fixture
async def door(database, messaging, book):
    store = await messaging.key_value("warrant-nonces")
    async with open_door(database, warrants=(book, store)) as door:
        yield door


@pytest.fixture
async def open_to_all(database):
    async with open_door(database) as door:
        yield door


@pytest.fixture
async def http(anyio_backend):
    headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
    async with httpx.AsyncClient(timeout=30, headers=headers) as http:
        yield http


async def minted(book, *lines: str, ttl_s: int = 600) -> HeldWarrant:
    order = MintOrder(
        terms=(terms_in(lines or ("agent echo", "tool fs.read")),),
        holder=HOLDER.public,
        ttl_s=ttl_s,
    )
    return HeldWarrant.read((await book.mint(order, by="test")).token)


def hi() -> SendMessageRequest:
    return SendMessageRequest(
        message=Message(message_id="m", role=Role.ROLE_USER, parts=[Part(text="hi")])
    )


def headers_of(held, audience, *, key=HOLDER) -> dict[str, str]:
    proof = proof_headers(
        held, holder_private=key.private, method="SendMessage", params=hi(), audience=audience,
        nonce=secrets.token_bytes(16),
    )  # fmt: skip
    return {"a2a-version": "1.0", **proof}


async def posted(http, door, headers, agent="echo") -> bool:
    answer = await http.post(door.agent(agent), json=SENDING, headers=headers)
    return "result" in answer.json()


async def test_the_holder_passes_with_the_official_client_and_its_warrant_comes_to_the_gate(
    door, book, http
):
    held = await minted(book)
    client = await create_client(
        door.agent("echo"),
        client_config=ClientConfig(httpx_client=http, streaming=False),
        interceptors=[ShowWarrant(held, holder_private=HOLDER.private)],
    )
    assert [event async for event in client.send_message(hi())]
    shown = door.gate.attempts[-1].warrant
    assert shown is not None
    assert (shown.id, shown.holder) == (held.id, HOLDER.public.hex())


async def test_streams_are_held_to_warrants_as_well(door, book, http):
    held = await minted(book)
    for key, passes in ((HOLDER, True), (THIEF, False)):
        client = await create_client(
            door.agent("echo"),
            client_config=ClientConfig(httpx_client=http, streaming=True),
            interceptors=[ShowWarrant(held, holder_private=key.private)],
        )
        before = len(door.gate.attempts)
        try:
            assert [event async for event in client.send_message(hi())]
        except (A2AError, A2AClientError):
            assert not passes
        assert (len(door.gate.attempts) > before) is passes


async def refused(http, door, open_to_all, headers, agent="echo") -> bool:
    assert await posted(http, open_to_all, headers, agent), "without the stage it goes through"
    before = len(door.gate.attempts)
    passed = await posted(http, door, headers, agent)
    return not passed and len(door.gate.attempts) == before


async def test_a_stolen_warrant_is_worth_nothing_without_the_key(door, open_to_all, book, http):
    held = await minted(book)
    headers = headers_of(held, door.agent("echo"), key=THIEF)
    assert await refused(http, door, open_to_all, headers)
    del headers["A2A-Warrant-Proof".lower()]
    assert await refused(http, door, open_to_all, headers)


async def test_a_proof_that_was_shown_is_not_shown_again(door, open_to_all, book, http):
    headers = headers_of(await minted(book), door.agent("echo"))
    assert await posted(http, door, headers)
    assert await refused(http, door, open_to_all, headers)


async def test_a_proof_is_not_shown_again_after_a_restart(
    database, messaging, open_to_all, book, http
):
    headers = None
    for _ in range(2):
        store = await messaging.key_value("warrant-nonces")
        async with open_door(database, warrants=(book, store)) as door:
            audience = "https://node.example/a2a/echo"
            door.door.cards = type(door.door.cards)(
                public_url="https://node.example", grpc_address="", required_extensions=()
            )
            if headers is None:
                headers = headers_of(await minted(book), audience)
                assert await posted(http, door, headers)
            else:
                assert await refused(http, door, open_to_all, headers)


async def test_a_proof_for_another_agent_or_message_is_refused(door, open_to_all, book, http):
    held = await minted(book, "agent echo", "agent streamer")
    elsewhere = headers_of(held, door.agent("streamer"))
    assert await refused(http, door, open_to_all, elsewhere)
    proof = proof_headers(
        held, holder_private=HOLDER.private, method="SendMessage", audience=door.agent("echo"),
        params=SendMessageRequest(message=Message(message_id="other")),
        nonce=secrets.token_bytes(16),
    )  # fmt: skip
    assert await refused(http, door, open_to_all, {"a2a-version": "1.0", **proof})


async def test_a_forged_root_is_refused(door, open_to_all, book, http, database):
    forged = await minted(book_on(database, root=b"f" * 32))
    assert await refused(http, door, open_to_all, headers_of(forged, door.agent("echo")))


async def test_a_revoked_warrant_is_refused_at_once(door, open_to_all, book, http):
    held = await minted(book)
    assert await posted(http, door, headers_of(held, door.agent("echo")))
    await book.revoke("id", held.id, by="operator")
    assert await refused(http, door, open_to_all, headers_of(held, door.agent("echo")))


async def test_warrants_of_a_revoked_root_are_refused(door, open_to_all, book, http):
    held = await minted(book)
    await book.revoke("root", book.root, by="operator")
    assert await refused(http, door, open_to_all, headers_of(held, door.agent("echo")))
