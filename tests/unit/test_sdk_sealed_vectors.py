"""The extension's test vectors: this code still makes them, and opens them as another's would."""

import json

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from hive_a2a.clock import MachineClock
from hive_a2a.crypto import exchange_pair
from hive_a2a.noise.cipher import wire_suite
from hive_a2a.noise.frame import decode_frame
from hive_a2a.noise.session import NoiseSession, SessionLimits
from hive_a2a.sealed.answers import AnswerOpener, FrameEvents
from hive_a2a.sealed.binding import RequestBinding, call_name, read_inner_request
from tests.sealed_vectors import VECTORS, make

VECTOR = json.loads(VECTORS.read_text())


def test_the_vectors_are_what_this_code_makes():
    assert json.loads(json.dumps(make())) == VECTOR


@pytest.mark.parametrize(
    "one", VECTOR["requests"], ids=lambda one: f"{one['suite']}-{one['number']}"
)
def test_a_session_opens_the_requests_of_the_vectors(one):
    clock = MachineClock()
    session = NoiseSession(
        bytes.fromhex(VECTOR["sessionId"]),
        wire_suite(one["suite"]),
        bytes(32),
        bytes.fromhex(one["key"]),
        b"",
        None,
        clock.monotonic(),
        initiator=False,
        limits=SessionLimits(),
        clock=clock,
    )
    sealed = decode_frame(bytes.fromhex(one["frame"]))
    binding = RequestBinding(
        one["method"].encode(),
        one["target"].encode(),
        one["version"].encode(),
        one["extensions"].encode(),
    )
    text = session.open(sealed.nonce, sealed.data, binding.associated(sealed.session_id))
    inner = read_inner_request(text)
    assert text.hex() == one["plaintext"]
    assert inner.body.hex() == one["body"]
    assert inner.query.decode() == one["query"]
    assert inner.answer_key.hex() == one["answerKey"]
    assert [[n.decode(), v.decode()] for n, v in inner.headers] == one["headers"]


@pytest.mark.parametrize(
    "one", VECTOR["requests"], ids=lambda one: f"{one['suite']}-{one['number']}"
)
def test_the_document_alone_is_enough_to_open_a_request(one):
    """Written from the words of docs/reference/a2a-noise.md, without this package's own code."""

    def fields(*parts):
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)

    frame = bytes.fromhex(one["frame"])
    assert frame[0] == 1
    session_id, number, sealed = frame[1:17], frame[17:25], frame[25:]
    extensions = sorted({word.strip() for word in one["extensions"].split(",")} - {""})
    associated = fields(
        b"hive-a2a/noise/request/v1",
        session_id,
        one["method"].encode(),
        one["target"].encode(),
        one["version"].encode(),
        ",".join(extensions).encode(),
    )
    if "AESGCM" in one["suite"]:
        cipher, nonce = AESGCM(bytes.fromhex(one["key"])), bytes(4) + number
    else:
        cipher, nonce = ChaCha20Poly1305(bytes.fromhex(one["key"])), bytes(4) + number[::-1]
    text = cipher.decrypt(nonce, sealed, associated)
    headers = [word.encode() for line in one["headers"] for word in line]
    assert text == fields(
        bytes.fromhex(one["retryOf"]),
        bytes.fromhex(one["answerKey"]),
        one["query"].encode(),
        bytes.fromhex(one["body"]),
        *headers,
    )


@pytest.mark.parametrize(
    "one", VECTOR["answers"], ids=lambda one: f"{one['suite']}-{len(one['frames'])}"
)
def test_the_answers_of_the_vectors_open_in_order(one):
    name = call_name(bytes.fromhex(VECTOR["sessionId"]), one["requestNumber"])
    assert name.hex() in one["label"]
    opener = AnswerOpener(
        wire_suite(one["suite"]), bytes.fromhex(one["answerKey"]), bytes.fromhex(one["label"])
    )
    frames = FrameEvents(10_000).feed("".join(one["events"]).encode())
    assert [frame.hex() for frame in frames] == one["frames"]
    assert [opener.open(frame).hex() for frame in frames] == one["plaintexts"]
    opener.end()


def test_the_card_of_the_vectors_names_the_responders_key():
    from hive_a2a.base64url import to_base64url

    params = VECTOR["card"]["capabilities"]["extensions"][0]["params"]
    public = exchange_pair(bytes.fromhex(VECTOR["keys"]["responderStatic"])).public
    assert params["staticKey"] == to_base64url(public).decode()
