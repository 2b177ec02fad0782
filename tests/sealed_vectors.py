"""Test vectors of `urn:hive-a2a:noise:1`: run as a script it writes them, and a test says if they still hold.

    python -m tests.sealed_vectors          write tests/vectors/sealed/noise-1.json

All that is random on a real wire is fixed here: static and ephemeral keys, session ids, answer keys.
"""

import json
from pathlib import Path

from a2a.types.a2a_pb2 import AgentCard
from google.protobuf.json_format import MessageToDict

from hive_a2a.base64url import to_base64url
from hive_a2a.cards.jcs import card_hash, exact_card
from hive_a2a.cards.noise_params import NOISE_URI, NoiseParams, put_noise
from hive_a2a.crypto import KeyPair, exchange_pair
from hive_a2a.noise.cipher import AES, CHACHA, wire_suite
from hive_a2a.noise.frame import encode_frame
from hive_a2a.noise.handshake import Handshake
from hive_a2a.noise.prologue import prologue
from hive_a2a.sealed.answers import AnswerSealer, event_of
from hive_a2a.sealed.binding import (
    InnerHead,
    InnerRequest,
    RequestBinding,
    answer_label,
    call_name,
)
from hive_a2a.sealed.responder import handshake_end, handshake_request
from tests.sealed_rig import card_of

VECTORS = Path(__file__).parent / "vectors" / "sealed" / "noise-1.json"
AUDIENCE = "https://agent.example/a2a"
VERSION = "1.0"


def pair(first: int) -> KeyPair:
    return exchange_pair(bytes(range(first, first + 32)))


INITIATOR, RESPONDER = pair(1), pair(65)
INITIATOR_EPHEMERAL, RESPONDER_EPHEMERAL = pair(129), pair(193)
SESSION_ID = bytes(range(16))
ANSWER_KEY = bytes(range(100, 132))


def vector_card() -> AgentCard:
    card = card_of(AUDIENCE, ("JSONRPC", "HTTP+JSON"))
    put_noise(card, NoiseParams(static_key=RESPONDER.public, epoch=3, required=True))
    return card


def handshakes(pattern: str, suite: str) -> tuple[dict, Handshake, Handshake]:
    """Walk through one handshake."""
    hashed = card_hash(vector_card())
    bound = prologue(NOISE_URI, hashed, AUDIENCE, VERSION)
    one = Handshake(
        pattern,
        wire_suite(suite),
        initiator=True,
        prologue=bound,
        static=INITIATOR,
        remote_static=RESPONDER.public if pattern == "IK" else None,
        ephemeral=INITIATOR_EPHEMERAL,
    )
    two = Handshake(
        pattern,
        wire_suite(suite),
        initiator=False,
        prologue=bound,
        static=RESPONDER,
        ephemeral=RESPONDER_EPHEMERAL,
    )
    first = one.write(b"")
    two.read(first)
    second = two.write(SESSION_ID)
    one.read(second)
    bodies = [
        handshake_request(pattern, suite, hashed, AUDIENCE, VERSION, first).hex(),
        second.hex(),
    ]
    if pattern == "XX":
        third = one.write(b"")
        two.read(third)
        bodies += [handshake_end(SESSION_ID, third).hex(), ""]
    send, receive = one.split()
    written = {
        "pattern": pattern,
        "suite": suite,
        "bodies": bodies,
        "handshakeHash": one.hash.hex(),
        "initiatorKey": send.hex(),
        "responderKey": receive.hex(),
    }
    return written, one, two


def request(suite: str, key: bytes, number: int, binding: RequestBinding, inner: InnerRequest):
    """Seal one request, by hand, with the key of generation 0."""
    primitives = wire_suite(suite)
    associated = binding.associated(SESSION_ID)
    data = primitives.aead(key).encrypt(primitives.nonce(number), inner.encode(), associated)
    frame = encode_frame(SESSION_ID, number, data)
    return {
        "suite": suite,
        "key": key.hex(),
        "number": number,
        "method": binding.method.decode(),
        "target": binding.target.decode(),
        "version": binding.version.decode(),
        "extensions": binding.extensions.decode(),
        "associated": associated.hex(),
        "retryOf": inner.retry_of.hex(),
        "answerKey": inner.answer_key.hex(),
        "query": inner.query.decode(),
        "headers": [[name.decode(), value.decode()] for name, value in inner.headers],
        "body": inner.body.hex(),
        "plaintext": inner.encode().hex(),
        "frame": frame.hex(),
        "header": to_base64url(frame).decode(),
    }


def answer(suite: str, handshake_hash: bytes, number: int, texts: list[bytes]):
    name = call_name(SESSION_ID, number)
    label = answer_label(handshake_hash, name)
    sealer = AnswerSealer(wire_suite(suite), ANSWER_KEY, label)
    last = len(texts) - 1
    frames = [sealer.frame(one, final=place == last) for place, one in enumerate(texts)]
    return {
        "suite": suite,
        "answerKey": ANSWER_KEY.hex(),
        "handshakeHash": handshake_hash.hex(),
        "requestNumber": number,
        "label": label.hex(),
        "plaintexts": [one.hex() for one in texts],
        "frames": [one.hex() for one in frames],
        "events": [event_of(one).decode() for one in frames],
    }


def make() -> dict:
    """Return all vectors."""
    shaken = {
        (pattern, suite): handshakes(pattern, suite)
        for pattern in ("IK", "XX")
        for suite in (CHACHA, AES)
    }
    requests, answers = [], []
    for suite in (CHACHA, AES):
        written, one, _ = shaken["IK", suite]
        key = bytes.fromhex(written["initiatorKey"])
        post = RequestBinding(b"POST", b"/a2a", b"1.0", f"urn:z, {NOISE_URI},urn:a".encode())
        get = RequestBinding(b"GET", b"/a2a/tasks/42", b"1.0", NOISE_URI.encode())
        headers = ((b"content-type", b"application/json"), (b"authorization", b"Bearer t"))
        requests += [
            request(
                suite,
                key,
                0,
                post,
                InnerRequest(body=b'{"jsonrpc":"2.0"}', headers=headers, answer_key=ANSWER_KEY),
            ),
            request(
                suite,
                key,
                1,
                get,
                InnerRequest(
                    body=b"",
                    query=b"historyLength=7",
                    retry_of=call_name(SESSION_ID, 0),
                    answer_key=ANSWER_KEY,
                ),
            ),
        ]
        whole = InnerHead(200, b'{"ok":true}', ((b"content-type", b"application/json"),))
        head = InnerHead(200, b"", ((b"content-type", b"text/event-stream"),))
        answers += [
            answer(suite, one.hash, 0, [whole.encode()]),
            answer(suite, one.hash, 1, [head.encode(), b"data: 1\n\n", b"data: 2\n\n", b""]),
        ]
    card = vector_card()
    return {
        "extension": NOISE_URI,
        "audience": AUDIENCE,
        "version": VERSION,
        "card": MessageToDict(card),
        "canonicalCard": exact_card(card).decode(),
        "cardHash": card_hash(card).hex(),
        "prologue": prologue(NOISE_URI, card_hash(card), AUDIENCE, VERSION).hex(),
        "keys": {
            "initiatorStatic": INITIATOR.private.hex(),
            "initiatorEphemeral": INITIATOR_EPHEMERAL.private.hex(),
            "responderStatic": RESPONDER.private.hex(),
            "responderEphemeral": RESPONDER_EPHEMERAL.private.hex(),
        },
        "sessionId": SESSION_ID.hex(),
        "handshakes": [written for written, _, _ in shaken.values()],
        "requests": requests,
        "answers": answers,
    }


def write() -> None:
    """Write the file."""
    VECTORS.parent.mkdir(parents=True, exist_ok=True)
    VECTORS.write_text(json.dumps(make(), indent=1, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    write()
