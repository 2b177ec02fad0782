"""Made-up bytes for everything of the seal that reads a stranger's: a refusal comes out, and nothing else."""

import json
from binascii import Error as Base64Error

import pytest

from hive_a2a.base64url import from_base64url, to_base64url
from hive_a2a.cards.noise_params import NoiseParams, noise_of, put_noise
from hive_a2a.crypto import new_exchange_pair
from hive_a2a.errors import SealError
from hive_a2a.noise.cipher import CHACHA, wire_suite
from hive_a2a.noise.store import StoreLimits
from hive_a2a.sealed.answers import AnswerOpener, AnswerSealer, FrameEvents, event_of
from hive_a2a.sealed.binding import InnerHead, InnerRequest, read_inner_head, read_inner_request
from hive_a2a.sealed.errors import BrokenAnswerError, SealFault
from hive_a2a.sealed.fields import pack_fields, read_fields
from hive_a2a.sealed.http_server import _request_id
from hive_a2a.sealed.responder import Responder, SealedAgent
from tests.fuzz.mutator import fuzz
from tests.sealed_rig import card_of
from tests.sealed_vectors import VECTORS

pytestmark = pytest.mark.fuzz
VECTOR = json.loads(VECTORS.read_text())
KEY = bytes(range(32))


def test_fields():
    good = [pack_fields(b"a", b"", b"bcd"), pack_fields(*[b"x"] * 9)]
    fuzz(good, lambda data: read_fields(data, least=2, most=10), allowed=SealFault)


def test_inner_requests():
    good = [bytes.fromhex(one["plaintext"]) for one in VECTOR["requests"]]
    good.append(InnerRequest(body=b"{}", headers=((b"a-bin", b"\n"), (b"b", b"c"))).encode())
    fuzz(good, read_inner_request, allowed=SealFault)


def test_inner_heads():
    good = [InnerHead(200, b"x", ((b"a", b"b"),)).encode(), InnerHead(0, b"", ()).encode()]
    fuzz(good, read_inner_head, allowed=SealFault)


def test_base64url():
    fuzz([to_base64url(bytes(range(n))) for n in range(60)], from_base64url, allowed=Base64Error)


def test_event_streams():
    good = ["".join(one["events"]).encode() for one in VECTOR["answers"]]
    good.append(b": ping\r\n\r\n" + good[1])

    def read(data: bytes) -> None:
        events = FrameEvents(10_000)
        for at in range(0, len(data), 17):
            events.feed(data[at : at + 17])

    fuzz(good, read, allowed=BrokenAnswerError)


def test_answers():
    sealer = AnswerSealer(wire_suite(CHACHA), KEY, b"l")
    stream = event_of(sealer.frame(b"head", final=False)) + event_of(sealer.frame(b"", final=True))

    def read(data: bytes) -> None:
        opener = AnswerOpener(wire_suite(CHACHA), KEY, b"l")
        texts = [opener.open(one) for one in FrameEvents(10_000).feed(data)]
        opener.end()
        # Whatever was done to the wire: what opens as whole is whole.
        assert texts == [b"head", b""]

    fuzz([stream], read, allowed=BrokenAnswerError)


@pytest.mark.parametrize("pattern", ["IK", "XX"])
def test_handshakes(pattern):
    responder = Responder()
    static = new_exchange_pair()
    agent = SealedAgent(
        card_hash=bytes.fromhex(VECTOR["cardHash"]),
        static=static,
        interfaces=frozenset({(VECTOR["audience"], VECTOR["version"])}),
        hybrid=True,
    )
    from hive_a2a.cards.noise_params import NOISE_URI
    from hive_a2a.noise.handshake import Handshake
    from hive_a2a.noise.prologue import prologue
    from hive_a2a.sealed.responder import handshake_request

    begun = Handshake(
        pattern,
        wire_suite(CHACHA),
        initiator=True,
        prologue=prologue(NOISE_URI, agent.card_hash, VECTOR["audience"], VECTOR["version"]),
        static=new_exchange_pair(),
        remote_static=static.public if pattern == "IK" else None,
    )
    good = handshake_request(
        pattern, CHACHA, agent.card_hash, VECTOR["audience"], VECTOR["version"], begun.write(b"")
    )
    fuzz([good], lambda data: responder.shake(data, (agent,)), allowed=SealFault)
    assert len(responder.store) <= StoreLimits().pending_max
    assert responder.store.pending <= StoreLimits().pending_max


def test_parameters_of_cards():
    document = {
        "suites": [CHACHA],
        "staticKey": to_base64url(KEY).decode(),
        "epoch": 3,
        "handshakePath": "/.well-known/a2a-noise",
    }

    def read(data: bytes) -> None:
        card = card_of("http://a.test")
        put_noise(card, NoiseParams())
        try:
            params = json.loads(data)
            card.capabilities.extensions[0].params.Clear()
            card.capabilities.extensions[0].params.update(params)
        except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
            raise SealError("no card can say that") from None
        noise_of(card)

    fuzz([json.dumps(document).encode()], read, allowed=SealError)


def test_ids_of_refused_requests():
    def read(data: bytes) -> None:
        if _request_id(data) is None:
            raise SealError("none")

    fuzz([b'{"jsonrpc":"2.0","id":"a"}', b'{"id":7,"x":[{}]}'], read, allowed=SealError)
