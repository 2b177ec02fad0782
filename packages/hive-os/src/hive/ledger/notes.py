"""Checkpoints as signed notes, in the C2SP formats `signed-note`, `tlog-checkpoint`, `tlog-cosignature`.

hive/ledger/node-1.7        the origin: which chain
4812                        how many entries
n1Bm...=                    the root over their hashes
(empty line)
— node-1 Kj3s...            signature of the node, then of each witness
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final

from hive.core.errors import LedgerError
from hive_a2a.crypto import sign_note, signing_pair, verify_note

ORIGIN_PREFIX: Final = "hive/ledger/"
NOTE_MAX_BYTES: Final = 64 << 10
_ED25519: Final = 0x01
_COSIGNATURE: Final = 0x04
_KEY_HASH_BYTES: Final = 4
_TIME_BYTES: Final = 8
_SIZE_MAX_DIGITS: Final = 18


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key with the name under which it signs."""

    name: str
    public: bytes

    def hash(self, kind: int) -> bytes:
        """Return the four bytes that name this key in a signature line."""
        named = self.name.encode() + b"\n" + bytes([kind]) + self.public
        return hashlib.sha256(named).digest()[:_KEY_HASH_BYTES]

    @property
    def text(self) -> str:
        """Return the key as people and other verifiers exchange it."""
        encoded = base64.b64encode(bytes([_ED25519]) + self.public).decode()
        return f"{self.name}+{self.hash(_ED25519).hex()}+{encoded}"

    @property
    def cosigner_text(self) -> str:
        """Return the key of a witness, as C2SP `tlog-cosignature` exchanges it."""
        encoded = base64.b64encode(bytes([_COSIGNATURE]) + self.public).decode()
        return f"{self.name}+{self.hash(_COSIGNATURE).hex()}+{encoded}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a chain had come, and the root of all its entries then. `text` is what was signed."""

    origin: str
    size: int
    root: bytes
    text: str
    signatures: tuple[tuple[str, bytes], ...] = ()

    @property
    def chain(self) -> str:
        """Return the chain that this speaks of."""
        return self.origin.removeprefix(ORIGIN_PREFIX)

    @property
    def note(self) -> str:
        """Return it with its signatures, as it is stored and sent."""
        lines = "".join(signature_line(name, raw) for name, raw in self.signatures)
        return f"{self.text}\n{lines}"

    def signed_by(self, key: NoteKey) -> bool:
        """Tell whether a node's key signed this."""
        signatures = self._of(key, _ED25519)
        return any(verify_note(key.public, one, self.text.encode()) for one in signatures)

    def witnessed_by(self, key: NoteKey) -> bool:
        """Tell whether a witness's key signed this."""
        return self.witnessed_at(key) is not None

    def witnessed_at(self, key: NoteKey) -> int | None:
        """Return the moment (Unix time) that a witness's valid signature names; None without one."""
        times = [
            int.from_bytes(one[:_TIME_BYTES], "big")
            for one in self._of(key, _COSIGNATURE)
            if verify_note(
                key.public,
                one[_TIME_BYTES:],
                _cosigned(int.from_bytes(one[:_TIME_BYTES], "big"), self.text),
            )
        ]
        return max(times, default=None)

    def _of(self, key: NoteKey, kind: int) -> list[bytes]:
        hashed = key.hash(kind)
        return [
            raw[_KEY_HASH_BYTES:]
            for name, raw in self.signatures
            if name == key.name and raw[:_KEY_HASH_BYTES] == hashed
        ]


class NoteSigner:
    """Signs checkpoints with a key that signs nothing else."""

    def __init__(self, name: str, private: bytes) -> None:
        self._private = private
        self.key = NoteKey(name, signing_pair(private).public)

    def checkpoint(self, chain: str, size: int, root: bytes) -> str:
        """Return a signed checkpoint of a chain."""
        text = f"{ORIGIN_PREFIX}{chain}\n{size}\n{base64.b64encode(root).decode()}\n"
        raw = self.key.hash(_ED25519) + sign_note(self._private, text.encode())
        return f"{text}\n{signature_line(self.key.name, raw)}"

    def cosign(self, checkpoint: Checkpoint, unix_s: int) -> str:
        """Return a witness's signature line for a checkpoint."""
        signature = sign_note(self._private, _cosigned(unix_s, checkpoint.text))
        raw = self.key.hash(_COSIGNATURE) + unix_s.to_bytes(_TIME_BYTES, "big") + signature
        return signature_line(self.key.name, raw)


def parse_key(text: str) -> NoteKey:
    """Read a key as people exchange it: `NAME+HASH+BASE64`, of a log or of a witness.

    Raises:
        LedgerError: it is none.

    """
    name, _, rest = text.strip().partition("+")
    hashed, _, encoded = rest.partition("+")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error) as error:
        raise _unreadable_key("Its base64 is not valid.") from error
    key = NoteKey(name, raw[1:])
    if len(raw) != 33 or raw[0] not in (_ED25519, _COSIGNATURE) or key.hash(raw[0]).hex() != hashed:
        raise _unreadable_key("It is no Ed25519 key, or its hash is another one.")
    return key


def parse_checkpoint(note: str) -> Checkpoint:
    """Read a checkpoint; its signatures are not checked yet.

    Raises:
        LedgerError: it is none.

    """
    if len(note) > NOTE_MAX_BYTES:
        raise _unreadable("It is too long.")
    text, separator, lines = note.partition("\n\n")
    parts = text.split("\n")
    size = parts[1] if len(parts) >= 3 else ""
    if not separator or not size.isascii() or not size.isdigit() or len(size) > _SIZE_MAX_DIGITS:
        raise _unreadable("It has not the three lines origin, size, root.")
    try:
        root = base64.b64decode(parts[2], validate=True)
        signatures = tuple(_signature(line) for line in lines.splitlines())
    except (ValueError, binascii.Error) as error:
        raise _unreadable("Its base64 is not valid.") from error
    return Checkpoint(parts[0], int(size), root, text + "\n", signatures)


def _signature(line: str) -> tuple[str, bytes]:
    dash, name, encoded = line.split(" ")
    if dash != "—":
        raise ValueError(line)
    return name, base64.b64decode(encoded, validate=True)


def signature_line(name: str, raw: bytes) -> str:
    """Return a signature as a line of a note."""
    return f"— {name} {base64.b64encode(raw).decode()}\n"


def _cosigned(unix_s: int, text: str) -> bytes:
    return f"cosignature/v1\ntime {unix_s}\n{text}".encode()


def _unreadable_key(why: str) -> LedgerError:
    return LedgerError(
        "A key of a log cannot be read.", why=why, fix="Copy it whole: NAME+HASH+BASE64"
    )


def _unreadable(why: str) -> LedgerError:
    return LedgerError("A checkpoint cannot be read.", why=why, fix="Run `hive audit verify`.")
