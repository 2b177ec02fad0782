"""Warrants that travel: minted, handed on, read and verified in the open format."""

import secrets
from datetime import timedelta

import pytest

from hive.core.call import Verb
from hive.core.clock import SystemClock
from hive.core.errors import BadInputError, ConfigError, IdentityError
from hive.security.capability import MintOrder, objection
from hive.security.capability.drivers import WARRANTS
from hive.security.capability.grammar import terms_in
from hive.security.capability.ports import WarrantOpening
from hive.testing.clock import StoppedClock
from hive_a2a.crypto import new_signing_pair
from hive_a2a.stages import tenuo_warrants as sdk
from tests.warrant_rig import invoke

HOLDER, NEXT, MALLORY = (new_signing_pair() for _ in range(3))


def engine(root: bytes = b"r" * 32, *, roots=(), clock=None):
    opening = WarrantOpening(url="tenuo:", root=root, roots=roots, clock=clock or SystemClock())
    return WARRANTS.load("tenuo:").open(opening)


def order(*lines: str, holder=HOLDER, ttl_s=600, depth=3, task=""):
    return MintOrder(
        terms=(terms_in(lines),), holder=holder.public, ttl_s=ttl_s, depth=depth, task=task
    )


def now():
    return SystemClock().now()


def test_a_minted_warrant_says_what_was_ordered_and_verifies():
    one = engine()
    warrant = one.verify(one.mint(order("tool fs.read path=under:/data", "agent b", task="t1")))
    assert (warrant.issuer, warrant.holder) == (one.root, HOLDER.public.hex())
    assert (warrant.depth, warrant.task) == (3, "t1")
    assert invoke(warrant, "fs.read", {"path": "/data/x"}, now=now()) is None
    assert invoke(warrant, "fs.read", {"path": "/etc/x"}, now=now()) is not None
    assert objection(warrant, Verb.SEND, "b", None, now()) is None
    assert objection(warrant, Verb.SEND, "c", None, now()) is not None


def test_handing_on_narrows_depth_time_and_terms():
    one = engine()
    token = one.mint(order("tool *", ttl_s=60))
    child = one.attenuate(
        token,
        order("tool fs.*", holder=NEXT, ttl_s=6000, depth=8),
        holder_private=HOLDER.private,
    )
    warrant = one.verify(child)
    assert warrant.depth == 2
    assert warrant.holder == NEXT.public.hex()
    assert warrant.not_after <= one.verify(token).not_after
    assert len(warrant.parents) == 1
    assert invoke(warrant, "fs.read", now=now()) is None
    assert invoke(warrant, "mail.send", now=now()) is not None


def test_a_child_that_asks_for_more_gets_no_more():
    one = engine()
    token = one.mint(order("tool fs.read path=under:/data/x"))
    child = one.attenuate(token, order("tool *", holder=NEXT), holder_private=HOLDER.private)
    warrant = one.verify(child)
    assert invoke(warrant, "fs.read", {"path": "/data/x/y"}, now=now()) is None
    assert invoke(warrant, "fs.read", {"path": "/data/y"}, now=now()) is not None
    assert invoke(warrant, "mail.send", now=now()) is not None


def test_depth_runs_out():
    one = engine()
    token = one.mint(order("tool *", depth=0))
    with pytest.raises(BadInputError):
        one.attenuate(token, order("tool *", holder=NEXT), holder_private=HOLDER.private)


def test_only_the_holder_hands_on():
    one = engine()
    token = one.mint(order("tool *"))
    with pytest.raises(BadInputError):
        one.attenuate(token, order("tool *", holder=MALLORY), holder_private=MALLORY.private)


def test_a_root_that_is_not_trusted_counts_for_nothing_until_it_is():
    theirs = engine(b"t" * 32)
    token = theirs.mint(order("tool *"))
    with pytest.raises(IdentityError):
        engine().verify(token)
    assert engine(roots=(bytes.fromhex(theirs.root),)).verify(token).issuer == theirs.root


def test_every_changed_bit_is_seen():
    one = engine()
    token = one.mint(order("tool fs.read path=under:/data"))
    for place in range(0, len(token), 7):
        other = "A" if token[place] != "A" else "B"
        with pytest.raises(IdentityError):
            one.verify(token[:place] + other + token[place + 1 :])


@pytest.mark.parametrize("text", ["", "x", "!!!", "A" * 40_000, "é", secrets.token_hex(100)])
def test_what_is_no_warrant_is_refused(text):
    with pytest.raises(BadInputError):
        engine().parse(text)
    with pytest.raises(IdentityError):
        engine().verify(text)


def test_a_warrant_ends_also_for_a_clock_that_runs_ahead():
    one = engine()
    token = one.mint(order("tool *", ttl_s=60))
    ahead = engine(clock=StoppedClock(now() + timedelta(seconds=61)))
    with pytest.raises(IdentityError, match="expired"):
        ahead.verify(token)


def test_a_signed_list_revokes_a_link_and_all_below_and_an_older_one_is_refused():
    one = engine()
    token = one.mint(order("tool *"))
    child = one.attenuate(token, order("tool fs.*", holder=NEXT), holder_private=HOLDER.private)
    one.install(one.revocation_list([one.parse(token).id], version=2))
    for void in (token, child):
        with pytest.raises(IdentityError):
            one.verify(void)
    with pytest.raises(IdentityError):
        one.install(one.revocation_list([], version=1))
    with pytest.raises(IdentityError):
        one.install(engine(b"x" * 32).revocation_list([], version=3))


def test_a_warrant_of_the_sdk_is_read_as_far_as_it_can_be():
    import tenuo_core as t

    root = new_signing_pair()
    held = sdk.mint(
        root.private,
        holder=HOLDER.public,
        tools={
            "a2a.SendMessage": {},
            "fs.read": {"data.path": t.Subpath("/data/x"), "data.head": t.Range(0, 10)},
            "fs.glob": {"data.name": t.Pattern("*.txt")},
            "files": {},
            "mail.send": {"data.to": t.OneOf(["a@x.org"])},
        },
        ttl_s=60,
    )
    warrant = engine(roots=(root.public,)).verify(held.header())
    assert invoke(warrant, "fs.read", {"path": "/data/x/y", "head": 3}, now=now()) is None
    assert invoke(warrant, "fs.read", {"path": "/data/y", "head": 3}, now=now()) is not None
    assert invoke(warrant, "mail.send", {"to": "b@x.org"}, now=now()) is not None
    assert invoke(warrant, "fs.glob", {"name": "a.txt"}, now=now()) is not None
    assert invoke(warrant, "files.read", {}, now=now()) is not None
    assert warrant.depth == 1
    assert objection(warrant, Verb.SEND, "any", None, now()) is None
    assert objection(warrant, Verb.ASK, "gpt", None, now()) is not None


def test_a_root_that_is_no_key_stops_the_start():
    with pytest.raises(ConfigError):
        engine(roots=(b"short",))


@pytest.mark.parametrize(
    "change", [{"ttl_s": 0}, {"ttl_s": 99_999_999}, {"depth": 9}, {"depth": -1}]
)
def test_an_order_has_bounds(change):
    with pytest.raises(BadInputError):
        engine().mint(order("tool *", **change))
