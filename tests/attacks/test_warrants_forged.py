"""Holders who rewrite what they hold: links dropped, moved, made by the wrong key, terms left out, time and depth won back.

What each attacker makes reads like a warrant that allows the deed (`parse` trusts nobody's signature); it is `verify` and the terms of
the links above that stop it.
"""

from base64 import b64decode, urlsafe_b64encode

import pytest
import tenuo_core

from hive.core.clock import SystemClock
from hive.core.errors import BadInputError, IdentityError
from hive.security.capability import MintOrder
from hive.security.capability.drivers import WARRANTS
from hive.security.capability.grammar import terms_in
from hive.security.capability.ports import WarrantOpening
from hive_a2a.crypto import new_signing_pair
from hive_a2a.stages.tenuo_warrants import HeldWarrant, attenuate_for
from tests.warrant_rig import invoke

HOLDER, NEXT = new_signing_pair(), new_signing_pair()
NOW = SystemClock().now


def engine(root: bytes = b"r" * 32):
    opening = WarrantOpening(url="tenuo:", root=root, clock=SystemClock())
    return WARRANTS.load("tenuo:").open(opening)


def order(*lines: str, holder=HOLDER, ttl_s: int = 600, depth: int = 2) -> MintOrder:
    return MintOrder(terms=(terms_in(lines),), holder=holder.public, ttl_s=ttl_s, depth=depth)


@pytest.fixture
def mine():
    return engine()


@pytest.fixture
def narrow(mine) -> str:
    return mine.mint(order("tool fs.read path=under:/data"))


def stacked(*links) -> str:
    packed = b64decode(tenuo_core.encode_warrant_stack(list(links)))
    return urlsafe_b64encode(packed).rstrip(b"=").decode()


def allows(warrant, path: str = "/etc/shadow") -> bool:
    return invoke(warrant, "fs.read", {"path": path}, now=NOW()) is None


def test_a_warrant_that_the_holder_mints_for_itself(mine):
    own = engine(HOLDER.private).mint(order("tool *"))
    assert allows(mine.parse(own)), "it says so"
    with pytest.raises(IdentityError):
        mine.verify(own)


def test_an_own_warrant_put_under_a_real_root(mine, narrow):
    real = HeldWarrant.read(narrow).chain
    own = HeldWarrant.read(engine(HOLDER.private).mint(order("tool *", holder=NEXT))).chain
    for links in ((*real, *own), (*own, *real)):
        with pytest.raises((IdentityError, BadInputError)):
            mine.verify(stacked(*links))


def test_the_last_link_alone(mine, narrow):
    child = mine.attenuate(narrow, order("tool *", holder=NEXT), holder_private=HOLDER.private)
    alone = stacked(HeldWarrant.read(child).chain[-1])
    with pytest.raises(IdentityError):
        mine.verify(alone)


def test_a_link_left_out_in_the_middle(mine):
    first = mine.mint(order("tool *", depth=3))
    second = mine.attenuate(first, order("tool fs.read path=under:/data", holder=NEXT), holder_private=HOLDER.private)  # fmt: skip
    third = mine.attenuate(second, order("tool *", holder=HOLDER), holder_private=NEXT.private)
    links = HeldWarrant.read(third).chain
    with pytest.raises(IdentityError):
        mine.verify(stacked(links[0], links[2]))
    assert not allows(mine.verify(third))


def test_a_link_that_leaves_the_terms_out_has_those_above_and_no_more(mine, narrow):
    held = attenuate_for(
        NEXT.public,
        HeldWarrant.read(narrow),
        holder_private=HOLDER.private,
        ttl_s=60,
        tools={"a2a.SendMessage": {}},
    )
    warrant = mine.verify(held.header())
    assert not allows(warrant)
    assert not allows(warrant, "/data/x"), "what is not named any more is gone"


def test_terms_of_another_warrant_in_place_of_the_own(mine, narrow):
    """The format itself refuses a link that requires less than the one above."""
    other = HeldWarrant.read(mine.mint(order("tool *"))).leaf.capabilities["hive.terms"]
    leaf = HeldWarrant.read(narrow).leaf
    changed = {**leaf.capabilities, "hive.terms": other}
    with pytest.raises(Exception, match="require"):
        leaf.attenuate(
            changed,
            tenuo_core.SigningKey.from_bytes(HOLDER.private),
            60,
            holder=tenuo_core.PublicKey.from_bytes(NEXT.public),
        )


def test_time_and_depth_are_not_won_back(mine):
    first = mine.mint(order("tool *", ttl_s=30, depth=1))
    child = mine.attenuate(first, order("tool *", holder=NEXT, ttl_s=9000, depth=8), holder_private=HOLDER.private)  # fmt: skip
    warrant = mine.verify(child)
    assert warrant.not_after <= mine.verify(first).not_after
    assert warrant.depth == 0
    with pytest.raises(BadInputError):
        mine.attenuate(child, order("tool *"), holder_private=NEXT.private)


def test_a_link_by_hand_beyond_the_depth_is_refused(mine):
    """The library of the format would make it: its own limit is 64."""
    token = mine.mint(order("tool *", depth=0))
    held = attenuate_for(
        NEXT.public, HeldWarrant.read(token), holder_private=HOLDER.private, ttl_s=60
    )
    with pytest.raises(IdentityError):
        mine.verify(held.header())


def test_a_chain_longer_than_any_may_be(mine):
    token = mine.mint(order("tool *", depth=8))
    held, holders = HeldWarrant.read(token), [HOLDER, NEXT]
    links = list(held.chain)
    for number in range(9):
        signer, following = holders[number % 2], holders[(number + 1) % 2]
        links.append(
            links[-1].attenuate(
                links[-1].capabilities,
                tenuo_core.SigningKey.from_bytes(signer.private),
                60,
                holder=tenuo_core.PublicKey.from_bytes(following.public),
            )
        )
    tenuo_core.Authorizer(
        trusted_roots=[tenuo_core.PublicKey.from_bytes(bytes.fromhex(mine.root))],
        clock_tolerance_secs=0,
    ).verify_chain(links)
    with pytest.raises(IdentityError):
        mine.verify(stacked(*links))
