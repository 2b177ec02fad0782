"""A node that shows another's warrant in its envelope, or one that nobody here trusts; the envelope alone is in order."""

from dataclasses import dataclass

import pytest

from hive.core.call import Refused
from hive.core.clock import SystemClock
from hive.core.ids import NodeId
from hive.mesh import Envelope, NodeKeys, StaticPeers
from hive.mesh.envelope import Sender
from hive.protocols.inbox.warrants import warrant_in
from hive.security.capability import MintOrder, Warrant
from hive.security.capability.drivers import WARRANTS
from hive.security.capability.grammar import terms_in
from hive.security.capability.ports import WarrantOpening
from hive_a2a.crypto import new_key

CLOCK = SystemClock()


def node(name: str) -> NodeKeys:
    return NodeKeys(node=NodeId(name), signing=new_key(), sealing=new_key())


THERE, THIEF = node("there"), node("thief")
PEERS = StaticPeers([THERE.public, THIEF.public])


@dataclass
class Book:
    root: bytes = b"r" * 32

    def __post_init__(self) -> None:
        opening = WarrantOpening(url="tenuo:", root=self.root, clock=CLOCK)
        self.engine = WARRANTS.load("tenuo:").open(opening)

    def minted(self, *, ttl_s: int = 60) -> str:
        return self.engine.mint(
            MintOrder(terms=(terms_in(["agent reader"]),), holder=THERE.public.signing, ttl_s=ttl_s)
        )


def envelope(*warrants: str, sender: NodeKeys = THERE) -> Envelope:
    return Envelope(
        call_id="c",
        sender=sender.node,
        audience="here",
        subject="s",
        principal=Sender(kind="agent", name="planner", owner="alice", agent="planner"),
        issued_ms=0,
        expires_ms=1,
        body_hash="00",
        nonce="n",
        warrants=warrants,
    )


def test_the_node_that_holds_a_warrant_sends_under_it():
    book = Book()
    found = warrant_in(envelope(book.minted()), PEERS, book.engine.verify)
    assert isinstance(found, Warrant)
    assert warrant_in(envelope(), PEERS, book.engine.verify) is None


@pytest.mark.parametrize("attack", ["stolen", "stranger", "forged", "two", "none honoured", "junk"])
def test_what_does_not_fit_is_refused(attack):
    book, token = Book(), Book().minted()
    assert isinstance(book.engine.parse(token), Warrant), "it reads like any other"
    given = {
        "stolen": (envelope(token, sender=THIEF), book.engine.verify),
        "stranger": (envelope(token, sender=node("stranger")), book.engine.verify),
        "forged": (envelope(Book(root=b"f" * 32).minted()), book.engine.verify),
        "two": (envelope(token, token), book.engine.verify),
        "none honoured": (envelope(token), None),
        "junk": (envelope("AAAA"), book.engine.verify),
    }
    shown, verify = given[attack]
    assert isinstance(warrant_in(shown, PEERS, verify), Refused)
