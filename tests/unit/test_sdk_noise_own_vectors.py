"""Our own vectors, for whoever builds the same from the description: they are what the code gives.

`python -m tests.unit.test_sdk_noise_own_vectors` prints them anew; a change of theirs is a change of the wire.
"""

import json
import sys
from pathlib import Path
from typing import Any

from hive_a2a.crypto import KeyPair, exchange_pair
from hive_a2a.noise import (
    WIRE_SUITES,
    Handshake,
    NoiseSession,
    SessionLimits,
    decode_frame,
    encode_frame,
    prologue,
    wire_suite,
)
from tests.noise_rig import StillClock

FILE = Path(__file__).parents[1] / "vectors" / "noise" / "hive-a2a.json"
ABOUT = {
    "extension_uri": "urn:example:noise:1",
    "card_hash": bytes(range(32)).hex(),
    "audience": "https://agent.example/a2a",
    "a2a_version": "1.0",
}
KEYS: dict[str, KeyPair] = {
    name: exchange_pair(bytes((number,)) * 32)
    for number, name in enumerate(
        ("initiator_static", "initiator_ephemeral", "responder_static", "responder_ephemeral"), 1
    )
}
SESSION_ID = bytes(range(16))
REKEY_AFTER = 2
TEXTS = (b"", b"one", b"two", b"three", b"\x00" * 40, b"six")
BOUND = b"bound"


def sides(pattern: str, suite: str) -> tuple[Handshake, Handshake]:
    known = KEYS["responder_static"].public
    hashed = prologue(
        ABOUT["extension_uri"],
        bytes.fromhex(ABOUT["card_hash"]),
        ABOUT["audience"],
        ABOUT["a2a_version"],
    )
    return (
        Handshake(
            pattern,
            wire_suite(suite),
            initiator=True,
            prologue=hashed,
            static=KEYS["initiator_static"],
            remote_static=known if pattern == "IK" else None,
            ephemeral=KEYS["initiator_ephemeral"],
        ),
        Handshake(
            pattern,
            wire_suite(suite),
            initiator=False,
            prologue=hashed,
            static=KEYS["responder_static"],
            ephemeral=KEYS["responder_ephemeral"],
        ),
    )


def case(pattern: str, suite: str) -> dict[str, Any]:
    one, other = sides(pattern, suite)
    messages = []
    while not one.finished:
        payload = b"payload %d" % len(messages)
        messages.append({"payload": payload.hex(), "message": one.write(payload).hex()})
        other.read(bytes.fromhex(messages[-1]["message"]))
        one, other = other, one
    initiator = one if one.initiator else other
    keys = initiator.split()
    found: dict[str, Any] = {
        "protocol_name": f"Noise_{pattern}_{suite}",
        "messages": messages,
        "handshake_hash": initiator.hash.hex(),
        "initiator_key": keys[0].hex(),
        "responder_key": keys[1].hex(),
    }
    limits = SessionLimits(rekey_messages=REKEY_AFTER)
    session = NoiseSession.of(initiator, SESSION_ID, limits=limits, clock=StillClock())
    found["frames"] = [
        {
            "plaintext": text.hex(),
            "associated": BOUND.hex(),
            "nonce": sealed.nonce,
            "frame": encode_frame(SESSION_ID, *sealed).hex(),
        }
        for text in TEXTS
        for sealed in [session.seal(text, BOUND)]
    ]
    return found


def document() -> dict[str, Any]:
    return {
        "about": {
            **ABOUT,
            "session_id": SESSION_ID.hex(),
            "rekey_after_messages": REKEY_AFTER,
            "private_keys": {name: pair.private.hex() for name, pair in KEYS.items()},
        },
        "prologue": prologue(
            ABOUT["extension_uri"],
            bytes.fromhex(ABOUT["card_hash"]),
            ABOUT["audience"],
            ABOUT["a2a_version"],
        ).hex(),
        "vectors": [case(pattern, suite) for pattern in ("IK", "XX") for suite in WIRE_SUITES],
    }


def test_the_code_gives_what_was_published():
    assert json.loads(FILE.read_text()) == document()


def test_the_published_frames_open_in_any_order_on_the_other_side():
    for vector in json.loads(FILE.read_text())["vectors"]:
        _, pattern, suite = vector["protocol_name"].split("_", 2)
        one, other = sides(pattern, suite)
        for step in vector["messages"]:
            one.write(bytes.fromhex(step["payload"]))
            other.read(bytes.fromhex(step["message"]))
            one, other = other, one
        responder = other if one.initiator else one
        session = NoiseSession.of(responder, SESSION_ID, clock=StillClock())
        generations = set()
        for step in sorted(vector["frames"], key=lambda step: step["frame"][::-1]):
            frame = decode_frame(bytes.fromhex(step["frame"]))
            assert (frame.session_id, frame.nonce) == (SESSION_ID, step["nonce"])
            text = session.open(frame.nonce, frame.data, bytes.fromhex(step["associated"]))
            assert text.hex() == step["plaintext"]
            generations.add(frame.nonce >> 20)
        assert generations == {0, 1, 2}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(document(), indent=1) + "\n")
