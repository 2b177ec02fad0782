"""A public or private Rekor log (v2, tiles) beside a second key: each checkpoint's hash is written there for all to see.

`rekor:https://log.example?key=NAME+HASH+BASE64` pins the log's own key. What comes back is checked before it counts: our
entry, the inclusion proof, the log's signature over its root; it is kept as a receipt that anybody can check later. The
second key and its memory are those of a witness in a folder. Whether the log itself keeps one history, its own witnesses watch.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self
from urllib.parse import unquote

import anyio.to_thread
import httpcore
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from hive.core.clock import Clock
from hive.core.drivers import query_of
from hive.core.errors import ConfigError, LedgerError, WitnessAwayError
from hive.core.ids import plain_text
from hive.core.json import Json, decode, encode
from hive.core.randomness import Randomness
from hive.ledger.drivers.file import FileWitness, append_line
from hive.ledger.merkle import verify_inclusion
from hive.ledger.notes import Checkpoint, NoteKey, parse_checkpoint, parse_key
from hive.ledger.ports import GrowthProver

TIMEOUT_S: Final = 25.0
ANSWER_MAX_BYTES: Final = 1 << 20
PROOF_MAX_STEPS: Final = 63
_DETAILS: Final = "PKIX_ECDSA_P256_SHA_256"


class RekorWitness:
    """A second key here, and the log's receipt for everything that it signs."""

    independent = True

    def __init__(
        self,
        base: str,
        log: NoteKey,
        *,
        own: FileWitness,
        private: ec.EllipticCurvePrivateKey,
        receipts: Path,
        pool: httpcore.AsyncConnectionPool,
    ) -> None:
        self._base = base
        self._log = log
        self._own = own
        self._private = private
        self._receipts = receipts
        self._pool = pool
        self.key = own.key

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, clock: Clock, randomness: Randomness) -> AsyncIterator[Self]:
        """Open the log behind a URL; nothing is asked yet.

        Raises:
            ConfigError: the URL names no address, no key or no folder that can be used.

        """
        base, query = url.partition(":")[2].partition("?")[0].rstrip("/"), query_of(url)
        folder = Path(unquote(query.get("folder", "")) or "receipts")
        if not base.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise _bad_url("After `rekor:` stands an https address.")
        try:
            log = parse_key(unquote(query.get("key", "")))
        except LedgerError as error:
            raise _bad_url(error.why) from error
        opening = FileWitness.open(f"file:{folder}", clock=clock, randomness=randomness)
        async with opening as own, httpcore.AsyncConnectionPool(max_connections=2) as pool:
            private = await anyio.to_thread.run_sync(_key, folder / "rekor.key")
            yield cls(
                base,
                log,
                own=own,
                private=private,
                receipts=folder / "receipts.jsonl",
                pool=pool,
            )

    async def countersign(self, checkpoint: Checkpoint, prove: GrowthProver) -> str:
        """Sign with the second key, write the checkpoint's hash into the log, keep its receipt.

        Raises:
            LedgerError: it contradicts one that was signed before, or the log's answer is not what it has to be.
            WitnessAwayError: the log does not answer.

        """
        line = await self._own.countersign(checkpoint, prove)
        receipt = await self._submit(checkpoint)
        check_receipt(receipt, checkpoint, self._public(), self._log)
        kept = encode({"note": checkpoint.note + line, "receipt": receipt}) + b"\n"
        await anyio.to_thread.run_sync(append_line, self._receipts, kept)
        return line

    async def latest(self) -> Sequence[Checkpoint]:
        """Return the largest checkpoint of every chain for which the log gave a receipt.

        Raises:
            LedgerError: a receipt that was kept is not one of this log.

        """
        found: dict[str, tuple[Checkpoint, Json]] = {}
        for kept in await anyio.to_thread.run_sync(_read, self._receipts):
            match kept:
                case {"note": str(note), "receipt": receipt}:
                    checkpoint = parse_checkpoint(note)
                    found[checkpoint.origin] = (checkpoint, receipt)
        for checkpoint, receipt in found.values():
            check_receipt(receipt, checkpoint, self._public(), self._log)
        return [checkpoint for checkpoint, _ in found.values()]

    def _public(self) -> bytes:
        return self._private.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )

    async def _submit(self, checkpoint: Checkpoint) -> Json:
        text = checkpoint.text.encode()
        signature = self._private.sign(text, ec.ECDSA(SHA256()))
        verifier = {"publicKey": {"rawBytes": _base64(self._public())}, "keyDetails": _DETAILS}
        request = {
            "hashedRekordRequestV002": {
                "digest": _base64(hashlib.sha256(text).digest()),
                "signature": {"content": _base64(signature), "verifier": verifier},
            }
        }
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT_S)
        try:
            async with self._pool.stream(
                "POST",
                f"{self._base}/api/v2/log/entries",
                headers={b"content-type": b"application/json"},
                content=encode(request),
                extensions={"timeout": timeouts},
            ) as answer:
                body = b""
                async for chunk in answer.aiter_stream():
                    body += chunk
                    if len(body) > ANSWER_MAX_BYTES:
                        raise _away("Its answer is too long.")
                if answer.status not in (200, 201):
                    raise _away(
                        f"It answered {answer.status}: {body[:200].decode('utf-8', 'replace')}"
                    )
                return decode(body)
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            raise _away(str(error) or type(error).__name__) from error
        except ValueError as error:
            raise _away("Its answer is no JSON.") from error


def check_receipt(receipt: Json, checkpoint: Checkpoint, public: bytes, log: NoteKey) -> None:
    """Check that a log has an entry with a checkpoint's hash, under a root that the log's key signed.

    Raises:
        LedgerError: it does not show that.

    """
    try:
        match receipt:
            case {
                "canonicalizedBody": str(coded),
                "inclusionProof": {
                    "logIndex": str(index),
                    "hashes": list(hashes),
                    "checkpoint": {"envelope": str(envelope)},
                },
            } if len(hashes) <= PROOF_MAX_STEPS:
                body = base64.b64decode(coded, validate=True)
                path = [base64.b64decode(str(step), validate=True) for step in hashes]
                tree = parse_checkpoint(envelope)
                good = (
                    _is_ours(decode(body), checkpoint, public)
                    and tree.signed_by(log)
                    and tree.origin == log.name
                    and verify_inclusion(int(index), tree.size, body, path, tree.root)
                )
            case _:
                good = False
    except (ValueError, binascii.Error) as error:
        raise _false_receipt(str(error)) from error
    if not good:
        raise _false_receipt("Its entry, its proof or its signature is another one.")


def _is_ours(body: Json, checkpoint: Checkpoint, public: bytes) -> bool:
    match body:
        case {
            "kind": "hashedrekord",
            "spec": {
                "hashedRekordV002": {
                    "data": {"algorithm": "SHA2_256", "digest": str(digest)},
                    "signature": {"verifier": {"publicKey": {"rawBytes": str(key)}}},
                }
            },
        }:
            hashed = hashlib.sha256(checkpoint.text.encode()).digest()
            return (digest, key) == (_base64(hashed), _base64(public))
    return False


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        private = load_der_private_key(path.read_bytes(), None)
        if isinstance(private, ec.EllipticCurvePrivateKey):
            return private
        raise _bad_url(f"{path} holds another kind of key.") from None
    private = ec.generate_private_key(ec.SECP256R1())
    with os.fdopen(descriptor, "wb") as file:
        file.write(private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        os.fsync(file.fileno())
    return private


def _read(path: Path) -> list[Json]:
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [one for line in lines if (one := _decoded(line)) is not None]


def _decoded(line: bytes) -> Json:
    try:
        return decode(line)
    except ValueError:
        return None  # A crash cut this line; the signature that it was for was never given away.


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _away(why: str) -> WitnessAwayError:
    return WitnessAwayError("The Rekor log does not answer.", why=plain_text(why)[:300])


def _false_receipt(why: str) -> LedgerError:
    return LedgerError(
        "What the Rekor log says is not accepted.",
        why=why,
        fix="Compare its key in HIVE_WITNESS_URL.",
    )


def _bad_url(why: str) -> ConfigError:
    return ConfigError(
        "HIVE_WITNESS_URL=rekor: cannot be used.",
        why=why,
        fix="HIVE_WITNESS_URL='rekor:https://log.example?key=NAME+HASH+BASE64'",
    )
