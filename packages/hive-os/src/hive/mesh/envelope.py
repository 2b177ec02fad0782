"""The envelope: what makes a message on the bus more than a stranger's bytes. Format 1.

    outer   version, audience, box          MessagePack map; version and audience are bound to the box
    box     sealed for the audience          X25519, HKDF, AES-256-GCM
    inner   claims, body, signature          Ed25519 by the sending node over the exact claims
    claims  `Envelope`                       with the SHA-256 of the body

Signed first and sealed then, with sender, audience and subject inside the signature: nobody can take a
signed message and send it on to another node, agent or subject as if it were meant for them. Whether it
came before is not known here; the receiver claims `nonce` once.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeVar

import msgspec

from hive.core.call import sha256_hex
from hive.core.errors import BadInputError, IdentityError, TooLargeError
from hive.core.ids import NodeId
from hive.mesh.ports import PeerKeys, Peers
from hive_a2a.crypto import (
    exchange_pair,
    open_for,
    seal_for,
    sign,
    signing_pair,
    verify,
)
from hive_a2a.errors import CryptoError

ENVELOPE_MAX_BYTES: Final = 1 << 20
LIFETIME_MAX_S: Final = 300
CLOCK_SKEW_S: Final = 30
WARRANTS_MAX: Final = 16
_ENVELOPE_CONTEXT: Final = b"hive/envelope/v1"
_NOTICE_CONTEXT: Final = b"hive/notice/v1"
StructT = TypeVar("StructT", bound=msgspec.Struct)


class Sender(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For whom the sending node speaks; a claim of that node, believed as far as it is."""

    kind: Literal["operator", "client", "agent", "node", "anonymous"]
    name: str
    owner: str
    agent: str = ""


class Escrow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the sender set aside for the call: it may cost no more."""

    model_calls: int = 0
    tokens: int = 0
    micro_usd: int = 0


class EnvelopeLabel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a value comes from, as the sender says; a peer may only lower trust."""

    integrity: str
    readers: tuple[str, ...] = ()


class Envelope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a sending node states and signs. Times in milliseconds since 1970, UTC."""

    call_id: str
    sender: str
    audience: str
    subject: str
    principal: Sender
    issued_ms: int
    expires_ms: int
    body_hash: str
    nonce: str
    attempt: int = 1
    purpose: Literal["call", "reply"] = "call"
    answer: Literal["accepted", "settled"] = "accepted"
    warrants: tuple[str, ...] = ()
    labels: tuple[EnvelopeLabel, ...] = ()
    escrow: Escrow = Escrow()
    traceparent: str = ""

    @property
    def expires(self) -> datetime:
        """Return when it ends."""
        return datetime.fromtimestamp(self.expires_ms / 1000, UTC)


class Notice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What everybody may read: a status on the bus, signed and not sealed; never any content."""

    node: str
    subject: str
    task: str
    state: str
    at_ms: int
    sequence: int


class _Outer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    v: Literal[1]
    to: str
    box: bytes


class _Inner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    claims: bytes
    body: bytes
    signature: bytes


class _SignedNotice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    v: Literal[1]
    notice: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKeys:
    """A node's private halves (32 bytes each); they never print."""

    node: NodeId
    signing: bytes
    sealing: bytes

    @property
    def public(self) -> PeerKeys:
        """Return what other nodes may know."""
        return PeerKeys(
            node=self.node,
            signing=signing_pair(self.signing).public,
            sealing=exchange_pair(self.sealing).public,
        )

    def __repr__(self) -> str:
        return f"NodeKeys(node={self.node!r})"


def seal(envelope: Envelope, body: bytes, *, keys: NodeKeys, audience: PeerKeys) -> bytes:
    """Sign an envelope with its body and seal both for the audience.

    Raises:
        BadInputError: the envelope does not fit its body, sender or audience.
        TooLargeError: it would be over the limit.

    """
    fits = (envelope.sender, envelope.audience, envelope.body_hash)
    if fits != (keys.node, audience.node, sha256_hex(body)):
        raise BadInputError(
            "An envelope cannot be sealed.",
            why="Its sender, audience or body hash is not that of what is sealed.",
            fix="Build it from the keys and the body that are given.",
        )
    claims = msgspec.msgpack.encode(envelope)
    signature = sign(keys.signing, claims, context=_ENVELOPE_CONTEXT)
    inner = msgspec.msgpack.encode(_Inner(claims=claims, body=body, signature=signature))
    box = seal_for(audience.sealing, inner, _associated(envelope.audience))
    data = msgspec.msgpack.encode(_Outer(v=1, to=envelope.audience, box=box))
    if len(data) > ENVELOPE_MAX_BYTES:
        raise _too_large()
    return data


def open_envelope(
    data: bytes,
    *,
    subject: str,
    keys: NodeKeys,
    peers: Peers,
    now: datetime,
    purpose: Literal["call", "reply"] = "call",
) -> tuple[Envelope, bytes]:
    """Return what a known node signed for this one, on this subject, within its time.

    Raises:
        TooLargeError: it is over the limit; nothing was read.
        BadInputError: it is not of this format.
        IdentityError: it is for another node or subject, not signed by a known one, or not of now.

    """
    if len(data) > ENVELOPE_MAX_BYTES:
        raise _too_large()
    outer = _decode(data, _Outer)
    if outer.to != keys.node:
        raise _stranger("It is for another node.")
    try:
        opened = open_for(keys.sealing, outer.box, _associated(outer.to))
    except CryptoError as error:
        raise _stranger("It was not sealed for this node, or it was changed.") from error
    inner = _decode(opened, _Inner)
    envelope = _decode(inner.claims, Envelope)
    peer = peers.get(NodeId(envelope.sender))
    if peer is None or not verify(
        peer.signing, inner.signature, inner.claims, context=_ENVELOPE_CONTEXT
    ):
        raise _stranger("It is not signed by a node that is known.")
    if envelope.purpose != purpose:
        raise _stranger(f"It is no {purpose}.")
    _check_claims(envelope, inner.body, subject=subject, keys=keys, now=now)
    return envelope, inner.body


def _check_claims(
    envelope: Envelope, body: bytes, *, subject: str, keys: NodeKeys, now: datetime
) -> None:
    if envelope.audience != keys.node:
        raise _stranger("It is for another node.")
    if envelope.subject != subject:
        raise _stranger("It was signed for another subject.")
    if envelope.body_hash != sha256_hex(body):
        raise _stranger("Its body is not the one that was signed.")
    now_ms = int(now.timestamp() * 1000)
    if not 0 < envelope.expires_ms - envelope.issued_ms <= LIFETIME_MAX_S * 1000:
        raise _stranger(f"It lives longer than {LIFETIME_MAX_S} s, or not at all.")
    if envelope.expires_ms <= now_ms:
        raise _stranger("It has expired.")
    if envelope.issued_ms > now_ms + CLOCK_SKEW_S * 1000:
        raise _stranger("It comes from the future.")
    if envelope.attempt < 1 or len(envelope.warrants) > WARRANTS_MAX:
        raise BadInputError("An envelope is not valid.", why="A count is out of its bounds.")


def sign_notice(notice: Notice, *, keys: NodeKeys) -> bytes:
    """Sign a notice that everybody may read."""
    data = msgspec.msgpack.encode(notice)
    signature = sign(keys.signing, data, context=_NOTICE_CONTEXT)
    return msgspec.msgpack.encode(_SignedNotice(v=1, notice=data, signature=signature))


def open_notice(data: bytes, *, subject: str, peers: Peers) -> Notice:
    """Return a notice of a known node.

    Raises:
        TooLargeError: it is over the limit.
        BadInputError: it is not of this format.
        IdentityError: it is not signed by a known node, or for another subject.

    """
    if len(data) > ENVELOPE_MAX_BYTES:
        raise _too_large()
    signed = _decode(data, _SignedNotice)
    notice = _decode(signed.notice, Notice)
    peer = peers.get(NodeId(notice.node))
    if peer is None or not verify(
        peer.signing, signed.signature, signed.notice, context=_NOTICE_CONTEXT
    ):
        raise _stranger("It is not signed by a node that is known.")
    if notice.subject != subject:
        raise _stranger("It was signed for another subject.")
    return notice


def lifetime(now: datetime, *, seconds: float) -> tuple[int, int]:
    """Return `issued_ms` and `expires_ms` for an envelope that lives from now."""
    seconds = min(seconds, LIFETIME_MAX_S)
    ends = now + timedelta(seconds=seconds)
    return int(now.timestamp() * 1000), int(ends.timestamp() * 1000)


def _associated(audience: str) -> bytes:
    return b"hive/envelope/v1\x00" + audience.encode()


def _decode(data: bytes, kind: type[StructT]) -> StructT:
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInputError(
            "An envelope cannot be read.",
            why="It does not have the fields of format 1.",
            fix="Let the sender use the same version of Hive.",
        ) from error


def _stranger(why: str) -> IdentityError:
    return IdentityError(
        "An envelope was refused.", why=why, fix="Look at the sender's clock, keys and address."
    )


def _too_large() -> TooLargeError:
    return TooLargeError(
        "An envelope is too large.",
        why=f"It is over {ENVELOPE_MAX_BYTES} bytes.",
        fix="Send the content by reference.",
    )
