"""DSSE envelopes (v1.0) inside a Sigstore bundle (v0.3): one file, whoever signs.

What is signed is the payload *with its type* (the pre-authentication encoding), so bytes that were signed as one kind of
document never pass as another.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from hive.core.json import Json, encode
from hive.security.supply_chain.strict_json import decode_strict, malformed

BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGNATURES_MAX: Final = 16
_WHAT: Final = "The signature bundle"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPayload:
    """An envelope taken apart; nothing of it is checked yet. Signatures are pairs of key id and bytes."""

    payload_type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]

    @property
    def signed_bytes(self) -> bytes:
        """Return what a signature covers."""
        return pre_authentication(self.payload_type, self.payload)


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed for a payload of a type."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def write_bundle(payload_type: str, payload: bytes, key: str, signature: bytes) -> bytes:
    """Return the bundle of one signature by a key that both sides know."""
    return encode(
        {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": key}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": _base64(payload),
                "payloadType": payload_type,
                "signatures": [{"keyid": key, "sig": _base64(signature)}],
            },
        }
    )


def read_bundle(data: bytes) -> SignedPayload:
    """Take a bundle, or a bare envelope, apart.

    Raises:
        SupplyError: it is none.

    """
    document = decode_strict(data, what=_WHAT)
    if isinstance(document, dict) and "dsseEnvelope" in document:
        hint = _hint(document)
        envelope = document["dsseEnvelope"]
    else:
        hint, envelope = "", document
    match envelope:
        case {
            "payload": str(payload),
            "payloadType": str(payload_type),
            "signatures": list(signatures),
        } if 0 < len(signatures) <= SIGNATURES_MAX:
            return SignedPayload(
                payload_type=payload_type,
                payload=unbase64(payload),
                signatures=tuple(_signature(one, hint) for one in signatures),
            )
    raise malformed(_WHAT, f"It holds no DSSE envelope with 1 to {SIGNATURES_MAX} signatures.")


def unbase64(text: str) -> bytes:
    """Read base64, the standard alphabet alone. Raises SupplyError."""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise malformed(_WHAT, "Its base64 is not valid.") from error


def _hint(document: dict[str, Json]) -> str:
    match document.get("verificationMaterial"):
        case {"publicKey": {"hint": str(hint)}}:
            return hint
    return ""


def _signature(one: Json, hint: str) -> tuple[str, bytes]:
    match one:
        case {"sig": str(signature), **rest}:
            key = rest.get("keyid") or hint
            return (key if isinstance(key, str) else "", unbase64(signature))
    raise malformed(_WHAT, "A signature has no `sig`.")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
