"""Check an exported ledger with nothing but Python's standard library.

    python verify_export.py record.jsonl [KEY ...]

Copy this one file to a machine that has never seen Hive. Every line is hashed again, every link, epoch and
Merkle root compared, every checkpoint's Ed25519 signatures verified. Without a KEY from elsewhere the keys in
the file itself are used, which shows that it is consistent, not who wrote it.
"""

import base64
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

HASH_DOMAIN = b"hive.ledger.entry.v1\n"
ORIGIN_PREFIX = "hive/ledger/"
GENESIS_HASH = "0" * 64
_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT_OF_MINUS_ONE = pow(2, (_P - 1) // 4, _P)
Point = tuple[int, int, int, int]


class ExportError(Exception):
    """What does not fit, and where."""


class Chain:
    """A chain as far as it was read, and the Merkle root at every size."""

    def __init__(self) -> None:
        self.size = 0
        self.head = GENESIS_HASH
        self.edges: list[bytes] = []
        self.roots: dict[int, bytes] = {}

    def push(self, entry_hash: str) -> None:
        """Add one entry's hash."""
        node = hashlib.sha256(b"\x00" + bytes.fromhex(entry_hash)).digest()
        size = self.size
        while size & 1:
            node = hashlib.sha256(b"\x01" + self.edges.pop() + node).digest()
            size >>= 1
        self.edges.append(node)
        self.size += 1
        self.head = entry_hash
        root = self.edges[-1]
        for edge in reversed(self.edges[:-1]):
            root = hashlib.sha256(b"\x01" + edge + root).digest()
        self.roots[self.size] = root


def check(path: Path, keys: list[str]) -> str:
    """Return a sentence about a record that fits.

    Raises:
        ExportError: the first thing that does not fit.

    """
    chains: dict[str, Chain] = {}
    last_of_node: dict[str, str] = {}
    trusted, checkpoints = list(keys), 0
    for number, line in enumerate(_lines(path), 1):
        if number == 1:
            trusted = trusted or [key for key in (line.get("key"), line.get("witness_key")) if key]
        elif "entry" in line:
            _check_entry(line["entry"], chains, last_of_node)
        elif "checkpoint" in line:
            _check_note(line["checkpoint"], chains, trusted)
            checkpoints += 1
        else:
            raise ExportError(f"line {number} is neither an entry nor a checkpoint")
    entries = sum(chain.size for chain in chains.values())
    return f"ok: {entries} entries in {len(chains)} chains, {checkpoints} signed checkpoints"


def _lines(path: Path) -> "Iterator[dict]":  # type: ignore[type-arg]
    with path.open(encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            try:
                line = json.loads(text)
            except ValueError as error:
                raise ExportError(f"line {number} is not JSON") from error
            if not isinstance(line, dict):
                raise ExportError(f"line {number} is not an object")
            yield line


def _check_entry(
    entry: "dict",  # type: ignore[type-arg]
    chains: dict[str, Chain],
    last_of_node: dict[str, str],
) -> None:
    name, sequence = entry["chain"], entry["sequence"]
    place = f"entry {sequence} of chain {name}"
    chain = chains.setdefault(name, Chain())
    if sequence != chain.size + 1:
        raise ExportError(f"{place}: entry {chain.size + 1} is missing")
    fields = {key: value for key, value in entry.items() if key != "hash"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if hashlib.sha256(HASH_DOMAIN + text.encode()).hexdigest() != entry["hash"]:
        raise ExportError(f"{place}: its hash is another one")
    if entry["previous_hash"] != chain.head:
        raise ExportError(f"{place}: it does not follow the entry before")
    if sequence == 1:
        node = name.rpartition(".")[0]
        before = last_of_node.get(node)
        said = json.loads(entry["body"])
        found = (before, chains[before].size, chains[before].head) if before else (None,) * 3
        if (said["previous_chain"], said["previous_sequence"], said["previous_hash"]) != found:
            raise ExportError(f"{place}: the epoch before it is not as it says")
        last_of_node[node] = name
    chain.push(entry["hash"])


def _check_note(note: str, chains: dict[str, Chain], keys: list[str]) -> None:
    text, _, signatures = note.partition("\n\n")
    origin, size, root = text.split("\n")[:3]
    chain = chains.get(origin.removeprefix(ORIGIN_PREFIX), Chain())
    if chain.roots.get(int(size)) != base64.b64decode(root):
        raise ExportError(f"the checkpoint of {origin} at {size} is of another history")
    signed = False
    for line in signatures.splitlines():
        _, name, encoded = line.split(" ")
        for key in keys:
            signed |= _signed(base64.b64decode(encoded), name, text + "\n", key)
    if keys and not signed:
        raise ExportError(f"the checkpoint of {origin} at {size} is signed by no known key")


def _signed(raw: bytes, name: str, text: str, key: str) -> bool:
    key_name, _, encoded = key.split("+", 2)
    public = base64.b64decode(encoded)[1:]
    for kind in (1, 4):
        named = key_name.encode() + b"\n" + bytes([kind]) + public
        if key_name != name or hashlib.sha256(named).digest()[:4] != raw[:4]:
            continue
        if kind == 1:
            return ed25519_verify(public, raw[4:], text.encode())
        message = f"cosignature/v1\ntime {int.from_bytes(raw[4:12], 'big')}\n{text}"
        return ed25519_verify(public, raw[12:], message.encode())
    return False


def ed25519_verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Verify as RFC 8032, 5.1.7, says; slow, and for public data only."""
    a, r = _decompress(public), _decompress(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or len(signature) != 64 or s >= _ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    k = int.from_bytes(digest, "little") % _ORDER
    left, right = _times(s, _BASE), _add(r, _times(k, a))
    return (left[0] * right[2] - right[0] * left[2]) % _P == 0 and (
        left[1] * right[2] - right[1] * left[2]
    ) % _P == 0


def _add(one: Point, two: Point) -> Point:
    a = (one[1] - one[0]) * (two[1] - two[0]) % _P
    b = (one[1] + one[0]) * (two[1] + two[0]) % _P
    c, d = 2 * one[3] * two[3] * _D % _P, 2 * one[2] * two[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _times(factor: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            total = _add(total, point)
        point, factor = _add(point, point), factor >> 1
    return total


def _recover_x(y: int, sign: int) -> int | None:
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT_OF_MINUS_ONE % _P
    if y >= _P or (x * x - square) % _P or (not x and sign):
        return None
    return x if x & 1 == sign else _P - x


def _decompress(data: bytes) -> Point | None:
    number = int.from_bytes(data, "little")
    y, sign = number & ((1 << 255) - 1), number >> 255
    x = _recover_x(y, sign) if len(data) == 32 else None
    return None if x is None else (x, y, 1, x * y % _P)


_BASE_Y = 4 * pow(5, _P - 2, _P) % _P
_BASE_X = _recover_x(_BASE_Y, 0) or 0
_BASE: Point = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % _P)


def main(arguments: list[str]) -> int:
    """Check the named file; 0 where it fits, 1 where it does not, 2 for wrong use."""
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stderr.write(__doc__ or "")
        return 2
    try:
        sentence = check(Path(arguments[0]), arguments[1:])
    except (ExportError, OSError, KeyError, ValueError) as error:
        sys.stderr.write(f"FAILED: {error}\n")
        return 1
    sys.stdout.write(sentence + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
