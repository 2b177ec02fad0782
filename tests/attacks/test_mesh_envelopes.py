"""Envelopes of strangers: forged, tampered, turned elsewhere, out of time, oversized. Each is refused."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from hive.core.call import sha256_hex
from hive.core.errors import BadInputError, IdentityError, TooLargeError
from hive.core.ids import NodeId
from hive.mesh import (
    Envelope,
    NodeKeys,
    Notice,
    Sender,
    StaticPeers,
    open_envelope,
    open_notice,
    seal,
    sign_notice,
)
from hive.mesh.envelope import ENVELOPE_MAX_BYTES, lifetime
from hive_a2a.crypto import new_key, open_for, seal_for, sign

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SUBJECT = "hive.agents.reader.inbox"
BODY = b"pay the invoice"


def node(name):
    return NodeKeys(node=NodeId(name), signing=new_key(), sealing=new_key())


SENDER, RECEIVER, OTHER = node("sender"), node("receiver"), node("other")
PEERS = StaticPeers([SENDER.public, OTHER.public, RECEIVER.public])


def claims(**change):
    issued_ms, expires_ms = lifetime(NOW, seconds=60)
    fields = {
        "call_id": "call-1",
        "sender": "sender",
        "audience": "receiver",
        "subject": SUBJECT,
        "principal": Sender(kind="agent", name="planner", owner="alice"),
        "issued_ms": issued_ms,
        "expires_ms": expires_ms,
        "body_hash": sha256_hex(BODY),
        "nonce": "n-1",
        **change,
    }
    return Envelope(**fields)


def packed(envelope, *, signer=SENDER, body=BODY, to="receiver", seal_to=RECEIVER, associated=None):
    """Pack an envelope as an attacker would, without the checks of `seal`."""
    raw = envelope if isinstance(envelope, bytes) else msgspec.msgpack.encode(envelope)
    inner = msgspec.msgpack.encode(
        {
            "claims": raw,
            "body": body,
            "signature": sign(signer.signing, raw, context=b"hive/envelope/v1"),
        }
    )
    bound = b"hive/envelope/v1\x00" + (associated or to).encode()
    box = seal_for(seal_to.public.sealing, inner, bound)
    return msgspec.msgpack.encode({"v": 1, "to": to, "box": box})


def opened(data, *, subject=SUBJECT, keys=RECEIVER, peers=PEERS, now=NOW):
    return open_envelope(data, subject=subject, keys=keys, peers=peers, now=now)


def test_an_envelope_packed_by_hand_is_like_a_real_one():
    # Without this, the refusals below could have another cause than the attack.
    assert opened(packed(claims()))[1] == BODY


def test_a_stranger_who_signs_as_a_known_node_is_refused():
    with pytest.raises(IdentityError, match="known"):
        opened(packed(claims(), signer=OTHER))


def test_a_node_that_is_not_known_is_refused():
    stranger = node("stranger")
    with pytest.raises(IdentityError, match="known"):
        opened(packed(claims(sender="stranger"), signer=stranger))


def test_a_body_that_was_exchanged_is_refused():
    with pytest.raises(IdentityError, match="body"):
        opened(packed(claims(), body=b"pay the attacker"))


def test_a_receiver_cannot_pass_a_signed_envelope_on_to_another_node():
    data = seal(claims(), BODY, keys=SENDER, audience=RECEIVER.public)
    outer = msgspec.msgpack.decode(data)
    inner = open_for(RECEIVER.sealing, outer["box"], b"hive/envelope/v1\x00receiver")
    box = seal_for(OTHER.public.sealing, inner, b"hive/envelope/v1\x00other")
    passed_on = msgspec.msgpack.encode({"v": 1, "to": "other", "box": box})
    with pytest.raises(IdentityError, match="another node"):
        opened(passed_on, keys=OTHER)


def test_an_envelope_for_one_agent_is_refused_at_another():
    with pytest.raises(IdentityError, match="subject"):
        opened(packed(claims()), subject="hive.agents.treasurer.inbox")


def test_the_outer_address_cannot_be_changed():
    data = msgspec.msgpack.decode(packed(claims(audience="other"), to="other", seal_to=RECEIVER))
    with pytest.raises(IdentityError):
        opened(msgspec.msgpack.encode({**data, "to": "receiver"}))


@pytest.mark.parametrize(
    ("later_s", "match"),
    [(61, "expired"), (60, "expired"), (-40, "future"), (86_400, "expired")],
)
def test_an_envelope_out_of_its_time_is_refused(later_s, match):
    with pytest.raises(IdentityError, match=match):
        opened(packed(claims()), now=NOW + timedelta(seconds=later_s))


@pytest.mark.parametrize("life_ms", [0, -1, 10**9, 2**62])
def test_an_envelope_cannot_choose_to_live_long(life_ms):
    issued_ms, _ = lifetime(NOW, seconds=1)
    with pytest.raises(IdentityError, match="lives"):
        opened(packed(claims(expires_ms=issued_ms + life_ms)))


def test_a_reply_cannot_be_played_as_a_call():
    with pytest.raises(IdentityError, match="no call"):
        opened(packed(claims(purpose="reply")))


def test_a_flipped_bit_anywhere_is_refused():
    data = packed(claims())
    for at in range(len(data)):
        broken = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises((BadInputError, IdentityError)):
            opened(broken)


def test_a_cut_envelope_is_refused():
    data = packed(claims())
    for size in range(0, len(data), 7):
        with pytest.raises((BadInputError, IdentityError)):
            opened(data[:size])


def test_an_envelope_over_the_limit_is_refused_before_it_is_read():
    with pytest.raises(TooLargeError):
        opened(b"\x83" + b"x" * ENVELOPE_MAX_BYTES)


@pytest.mark.parametrize(
    "change",
    [
        {"admin": True},
        {"attempt": "1"},
        {"principal": None},
        {"purpose": "command"},
        {"attempt": 0},
    ],
)
def test_a_field_that_the_format_does_not_have_is_refused(change):
    document = {**msgspec.to_builtins(claims()), **change}
    with pytest.raises(BadInputError):
        opened(packed(msgspec.msgpack.encode(document)))


def test_another_version_is_refused():
    data = msgspec.msgpack.decode(packed(claims()))
    with pytest.raises(BadInputError):
        opened(msgspec.msgpack.encode({**data, "v": 2}))


def test_a_point_of_small_order_opens_nothing():
    data = msgspec.msgpack.decode(packed(claims()))
    with pytest.raises(IdentityError):
        opened(msgspec.msgpack.encode({**data, "box": b"\x00" * 32 + data["box"][32:]}))


def test_a_signature_made_for_a_notice_is_none_for_an_envelope():
    raw = msgspec.msgpack.encode(claims())
    inner = msgspec.msgpack.encode(
        {
            "claims": raw,
            "body": BODY,
            "signature": sign(SENDER.signing, raw, context=b"hive/notice/v1"),
        }
    )
    box = seal_for(RECEIVER.public.sealing, inner, b"hive/envelope/v1\x00receiver")
    with pytest.raises(IdentityError):
        opened(msgspec.msgpack.encode({"v": 1, "to": "receiver", "box": box}))


def test_a_forged_or_moved_status_is_refused():
    subject = "hive.agents.reader.status"
    notice = Notice(
        node="sender", subject=subject, task="t", state="completed", at_ms=1, sequence=1
    )
    assert open_notice(sign_notice(notice, keys=SENDER), subject=subject, peers=PEERS) == notice
    with pytest.raises(IdentityError):
        open_notice(sign_notice(notice, keys=OTHER), subject=subject, peers=PEERS)
    with pytest.raises(IdentityError):
        open_notice(
            sign_notice(notice, keys=SENDER), subject="hive.agents.other.status", peers=PEERS
        )
