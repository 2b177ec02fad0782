"""Whose bundle is it: DSSE envelopes (Ed25519) over manifests, and the folder of keys that are trusted.

The envelope's payload is the manifest itself, so what was signed is what is read. A key file holds a public key as
PEM; its name is what people call the key. The key id is the SHA-256 of the raw public key.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from hive.core.errors import PolicyError
from hive.core.ids import plain_text
from hive.security.policy.bundle import Bundle, manifest_bytes
from hive_a2a.crypto import sign_note, signing_pair, verify_note

PAYLOAD_TYPE: Final = "application/vnd.hive.policy-manifest+json"
KEYS_MAX: Final = 100
KEY_FILE_MAX_BYTES: Final = 4096
SIGNATURES_MAX: Final = 16
_KEY_BYTES: Final = 32
_SPKI: Final = bytes.fromhex("302a300506032b6570032100")  # an Ed25519 public key in DER (RFC 8410)
_PKCS8: Final = bytes.fromhex("302e020100300506032b657004220420")  # a private one


class _DsseSignature(msgspec.Struct, frozen=True):
    keyid: str
    sig: str


class _DsseEnvelope(msgspec.Struct, frozen=True):
    payloadType: str  # noqa: N815  DSSE spells it so
    payload: str
    signatures: list[_DsseSignature]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKeys:
    """Public keys by their id, each with the name of its file."""

    keys: Mapping[str, tuple[str, bytes]]

    def signer_of(self, bundle: Bundle) -> str:
        """Return the name of a trusted key that signed a bundle, empty where it is not signed.

        Raises:
            PolicyError: it is signed, but by nobody who is trusted, or for something else.

        """
        if not bundle.signature:
            return ""
        envelope = _envelope(bundle.signature)
        payload = _unbase64(envelope.payload)
        if envelope.payloadType != PAYLOAD_TYPE or payload != manifest_bytes(bundle.manifest):
            raise _forged("The signature is for something else than this manifest.")
        signed = _pae(envelope.payloadType, payload)
        for one in envelope.signatures[:SIGNATURES_MAX]:
            known = self.keys.get(one.keyid)
            if known is not None and verify_note(known[1], _unbase64(one.sig), signed):
                return known[0]
        raise _forged("None of its signatures is of a key that is trusted.")


def read_keys(folder: Path) -> TrustedKeys:
    """Read `*.pub` of a folder; a folder that is not there holds no key.

    Raises:
        PolicyError: a file is no Ed25519 public key.

    """
    keys: dict[str, tuple[str, bytes]] = {}
    for path in sorted(folder.glob("*.pub"))[:KEYS_MAX]:
        public = _from_pem(path, "PUBLIC KEY", _SPKI)
        keys[key_id(public)] = (path.stem, public)
    return TrustedKeys(keys=keys)


def sign_bundle(bundle: Bundle, private: bytes) -> Bundle:
    """Return a bundle with a signature over its manifest."""
    payload = manifest_bytes(bundle.manifest)
    public = signing_pair(private).public
    signature = sign_note(private, _pae(PAYLOAD_TYPE, payload))
    envelope = _DsseEnvelope(
        payloadType=PAYLOAD_TYPE,
        payload=base64.b64encode(payload).decode(),
        signatures=[_DsseSignature(keyid=key_id(public), sig=base64.b64encode(signature).decode())],
    )
    return replace(bundle, signature=msgspec.json.encode(envelope))


def read_private_key(path: Path) -> bytes:
    """Read an Ed25519 private key. Raises PolicyError."""
    return _from_pem(path, "PRIVATE KEY", _PKCS8)


def private_pem(private: bytes) -> str:
    """Return a private key as a PEM file holds it."""
    return _pem("PRIVATE KEY", _PKCS8 + private)


def public_pem(private: bytes) -> str:
    """Return the public half of a private key as a PEM file holds it."""
    return _pem("PUBLIC KEY", _SPKI + signing_pair(private).public)


def key_id(public: bytes) -> str:
    """Return the id of a public key."""
    return sha256(public).hexdigest()


def _pae(payload_type: str, payload: bytes) -> bytes:
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _envelope(data: bytes) -> _DsseEnvelope:
    try:
        return msgspec.json.decode(data, type=_DsseEnvelope)
    except msgspec.MsgspecError as error:
        raise _forged(f"signature.json: {error}") from error


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise _forged("signature.json holds no base64.") from error


def _pem(what: str, der: bytes) -> str:
    return f"-----BEGIN {what}-----\n{base64.b64encode(der).decode()}\n-----END {what}-----\n"


def _from_pem(path: Path, what: str, prefix: bytes) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(KEY_FILE_MAX_BYTES).decode("ascii")
        _, _, rest = text.partition(f"-----BEGIN {what}-----")
        inner, end, _ = rest.partition(f"-----END {what}-----")
        der = base64.b64decode("".join(inner.split()), validate=True)
    except (OSError, ValueError, binascii.Error) as error:
        raise _no_key(path, str(error)) from error
    if not end or not der.startswith(prefix) or len(der) != len(prefix) + _KEY_BYTES:
        raise _no_key(path, f"It holds no Ed25519 {what.lower()} as PEM.")
    return der.removeprefix(prefix)


def _no_key(path: Path, why: str) -> PolicyError:
    return PolicyError(
        f"{plain_text(str(path))} is no key.", why=why, fix="hive policy key FILE     makes a pair"
    )


def _forged(why: str) -> PolicyError:
    return PolicyError(
        "The bundle's signature is not accepted.",
        why=why,
        fix="Sign it with a key whose public half lies in the folder of trusted keys: hive policy sign BUNDLE --key FILE",
    )
