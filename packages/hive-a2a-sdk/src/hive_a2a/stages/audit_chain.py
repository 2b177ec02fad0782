"""The form of the record on disk: lines that each hash to their successor, and heads that are signed.

A folder holds files of lines, named by the number of their first entry (`0000000000000001.audit`), and
the file `heads`. A line is a JSON object, a tab, and the hash of the chain up to here in hex. JSON has no
raw tab or line end, so a line is one line. What is hashed is the bytes as they stand, so nothing has to
be made canonical:

    start   SHA-256("hive-a2a/audit/v1" 0 "chain" 0  chain id (16)  public key (32))
    entry   SHA-256("hive-a2a/audit/v1" 0  hash before (32)  length of the JSON (8)  JSON)

A head is a JSON object (chain, number of entries, hash, time), a tab, and an Ed25519 signature in hex, made
with the record's own key in the context `hive-a2a/audit-head/v1`. Every file begins with an entry of
kind `opened`, which says which chain it is of.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from hive_a2a.crypto import sign, verify
from hive_a2a.stages.audit import AuditError, AuditKind, CallRecord

DOMAIN: Final = b"hive-a2a/audit/v1"
HEAD_CONTEXT: Final = b"hive-a2a/audit-head/v1"
HEADS_NAME: Final = "heads"
SUFFIX: Final = ".audit"
HASH_BYTES: Final = 32
CHAIN_ID_BYTES: Final = 16
LINE_MAX_BYTES: Final = 64 * 1024
_HEX_CHARS: Final = HASH_BYTES * 2
_SIGNATURE_CHARS: Final = 128


class AuditFormatError(AuditError):
    """A line is not one of a record, or does not belong where it stands."""


class AuditLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry: its number in the chain, from 1, when it was made, and what it says."""

    n: int
    at: datetime
    record: CallRecord


class SignedHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the record's key has signed: a chain has at least `n` entries, and this hash after the last of them."""

    chain: str
    n: int
    head: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ReadLine:
    """A line as it was read: the entry, the bytes that are hashed, and the hash that it claims."""

    entry: AuditLine
    packed: bytes
    claimed: bytes


encoder: Final = msgspec.json.Encoder()
_line_decoder: Final = msgspec.json.Decoder(AuditLine)
_head_decoder: Final = msgspec.json.Decoder(SignedHead)


def start_of(chain: bytes, public: bytes) -> bytes:
    """Return the hash that a chain starts from."""
    return sha256(DOMAIN + b"\x00chain\x00" + chain + public).digest()


def next_hash(before: bytes, packed: bytes) -> bytes:
    """Return the hash of the chain after an entry."""
    length = len(packed).to_bytes(8, "big")
    return sha256(b"".join((DOMAIN, b"\x00", before, length, packed))).digest()


def line_of(packed: bytes, after: bytes) -> bytes:
    """Write an entry and the hash after it as a line."""
    return b"".join((packed, b"\t", after.hex().encode(), b"\n"))


def read_line(line: bytes) -> ReadLine:
    """Parse a line, without its line end.

    Raises:
        AuditFormatError: it is none.

    """
    packed, tab, claimed = line.rpartition(b"\t")
    if not tab or len(claimed) != _HEX_CHARS or len(line) > LINE_MAX_BYTES:
        raise AuditFormatError("A line of the record is not one.")
    try:
        return ReadLine(_line_decoder.decode(packed), packed, _from_hex(claimed))
    except (ValueError, RecursionError):
        raise AuditFormatError("A line of the record is not one.") from None


def head_line(private: bytes, head: SignedHead) -> bytes:
    """Sign a head and write it as a line."""
    packed = encoder.encode(head)
    signature = sign(private, packed, context=HEAD_CONTEXT)
    return b"".join((packed, b"\t", signature.hex().encode(), b"\n"))


def read_head(line: bytes, public: bytes) -> SignedHead:
    """Parse a head, without its line end, and verify it.

    Raises:
        AuditFormatError: it is none, or another key signed it.

    """
    packed, tab, signature = line.rpartition(b"\t")
    if not tab or len(signature) != _SIGNATURE_CHARS or len(line) > LINE_MAX_BYTES:
        raise AuditFormatError("A line of the heads is not one.")
    try:
        signed = _from_hex(signature)
        head = _head_decoder.decode(packed)
        bytes.fromhex(head.head)
    except (ValueError, RecursionError):
        raise AuditFormatError("A line of the heads is not one.") from None
    if not verify(public, signed, packed, context=HEAD_CONTEXT):
        raise AuditFormatError("A head is not signed by the record's key.")
    return head


def _from_hex(text: bytes) -> bytes:
    """Read hex in the one way that it is written: a capital letter would be a change nobody finds.

    Raises:
        ValueError: it is written in another way.

    """
    found = bytes.fromhex(text.decode("ascii"))
    if found.hex().encode() != text:
        raise ValueError("hex in capitals or with spaces")
    return found


def files_of(folder: Path) -> list[Path]:
    """Return the files of a record in their order."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if path.stem.isdigit())


def file_name(first: int) -> str:
    """Return the name of the file whose first entry has this number."""
    return f"{first:016d}{SUFFIX}"


def lines_of(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Yield where each line begins, the line without its end, and whether it has one."""
    offset = 0
    with path.open("rb") as file:
        while line := file.readline(LINE_MAX_BYTES + 1):
            yield offset, line.removesuffix(b"\n"), line.endswith(b"\n")
            offset += len(line)


def opening(chain: bytes, public: bytes, before: bytes) -> CallRecord:
    """Make the entry that a file begins with."""
    return CallRecord(
        kind=AuditKind.OPENED,
        facts={"chain": chain.hex(), "key": public.hex(), "before": before.hex()},
    )


def opened_of(record: CallRecord) -> tuple[bytes, bytes, bytes]:
    """Return chain id, public key and hash before of the entry that a file begins with.

    Raises:
        AuditFormatError: it is another entry.

    """
    try:
        if record.kind is not AuditKind.OPENED:
            raise ValueError  # noqa: TRY301 - one answer
        facts = record.facts
        chain, key, before = (bytes.fromhex(facts[name]) for name in ("chain", "key", "before"))
    except (ValueError, KeyError):
        raise AuditFormatError("A file does not begin with the entry that opens it.") from None
    return chain, key, before
