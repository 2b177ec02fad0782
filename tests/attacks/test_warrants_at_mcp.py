"""Stolen, replayed, moved and revoked warrants at an endpoint of MCP; the inner doorman alone lets all of them in."""

import secrets
from datetime import timedelta

import pytest

from hive.core.call import Principal, PrincipalKind
from hive.core.clock import SystemClock
from hive.core.ids import OwnerId
from hive.engines import load_migrations
from hive.protocols.mcp.ports import Turned, Visitor
from hive.protocols.mcp.warrants import WARRANT_NONCES, WarrantDoorman
from hive.security.capability import MintOrder
from hive.security.capability.grammar import terms_in
from hive.testing.clock import StoppedClock
from hive_a2a.crypto import new_signing_pair
from hive_a2a.stages.endpoint_proof import endpoint_headers
from hive_a2a.stages.tenuo_warrants import HeldWarrant
from tests.warrant_play import book_on

pytestmark = pytest.mark.anyio
HOLDER, THIEF = new_signing_pair(), new_signing_pair()
BASE, PATH = "https://node.example", "/mcp/tools"
CALLER = Visitor(
    principal=Principal(kind=PrincipalKind.CLIENT, name="alice", owner=OwnerId("alice"))
)


class Inner:
    """Lets everybody in as the same client."""

    async def identify(self, _scope, _headers) -> Visitor:
        return CALLER


@pytest.fixture
def migrations():
    return load_migrations("hive.security")


@pytest.fixture
def book(database):
    return book_on(database)


@pytest.fixture
async def doorman(book, messaging):
    store = await messaging.key_value(WARRANT_NONCES)
    return WarrantDoorman(Inner(), book, store, SystemClock(), BASE)


async def held(book, *lines: str) -> HeldWarrant:
    order = MintOrder(terms=(terms_in(lines or ["tool fs.read"]),), holder=HOLDER.public, ttl_s=600)
    return HeldWarrant.read((await book.mint(order, by="test")).token)


def shown(warrant, *, key=HOLDER, url=BASE + PATH, clock=None) -> dict[str, str]:
    return endpoint_headers(
        warrant,
        holder_private=key.private,
        url=url,
        nonce=secrets.token_bytes(16),
        clock=clock,
    )


async def knocks(doorman, headers, path: str = PATH):
    return await doorman.identify({"path": path}, headers)


async def test_the_holder_comes_in_under_the_warrant(doorman, book):
    warrant = await held(book)
    visitor = await knocks(doorman, shown(warrant))
    assert visitor.principal == CALLER.principal
    assert visitor.warrant.id == warrant.id
    assert (await knocks(doorman, {})).warrant is None


async def test_a_proof_is_good_for_one_request(doorman, book):
    headers = shown(await held(book))
    assert isinstance(await knocks(doorman, headers), Visitor)
    assert isinstance(await knocks(doorman, headers), Turned)


async def test_what_does_not_fit_is_turned_away(doorman, book):
    warrant = await held(book)
    good = shown(warrant)
    late = StoppedClock(SystemClock().now() - timedelta(minutes=5))
    early = StoppedClock(SystemClock().now() + timedelta(minutes=5))
    attacks = {
        "stolen": shown(warrant, key=THIEF),
        "no proof": {"a2a-warrant": good["a2a-warrant"]},
        "proof alone": {"a2a-warrant-proof": good["a2a-warrant-proof"]},
        "another endpoint": shown(warrant, url=f"{BASE}/mcp/agents"),
        "another node": shown(warrant, url=f"https://evil.example{PATH}"),
        "too old": shown(warrant, clock=late),
        "from the future": shown(warrant, clock=early),
        "another warrant's proof": {**shown(await held(book)), "a2a-warrant": good["a2a-warrant"]},
        "no warrant at all": {
            "a2a-warrant": "AAAA",
            "a2a-warrant-proof": good["a2a-warrant-proof"],
        },
    }
    for name, headers in attacks.items():
        assert isinstance(await Inner().identify({}, headers), Visitor)
        assert isinstance(await knocks(doorman, headers), Turned), name
    assert isinstance(await knocks(doorman, good), Visitor)


async def test_a_revoked_or_foreign_warrant_is_turned_away(doorman, book, database):
    warrant = await held(book)
    await book.revoke("id", warrant.id, by="operator")
    assert isinstance(await knocks(doorman, shown(warrant)), Turned)
    foreign = await held(book_on(database, root=b"f" * 32))
    assert isinstance(await knocks(doorman, shown(foreign)), Turned)
