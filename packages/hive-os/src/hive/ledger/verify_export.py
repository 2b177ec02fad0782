"""Check an exported ledger, or a proof about one entry, with Python and the package `cryptography` alone.

Copy this file and run `python verify_export.py record.jsonl [KEY ...]`. Every hash, link, epoch, root and signature is
checked. Each KEY has to have signed the last checkpoint of each node, and each tree in which an entry is proved; newer
entries are counted apart. Without a KEY from elsewhere, those in the file are used: it is consistent, whoever wrote it.
"""

import base64
import hashlib
import json
import sys
from functools import reduce
from itertools import product
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Chain:
    """A chain as far as it was read; `signed` holds, by size, the root and the keys that signed it."""

    def __init__(self, name: str) -> None:
        self.name, self.head, self.edges = name, "0" * 64, list[bytes]()
        self.before, self.size, self.last = 0, 0, 0  # entries in older epochs, here, signed here
        self.signed: dict[int, tuple[bytes, set[str]]] = {}


class RecordCheck:
    """Takes a record line by line; raises ValueError at the first thing that does not fit."""

    def __init__(self, keys: list[str]) -> None:
        self.given, self.keys, self.proofs = set(keys), keys, 0
        self.chains: dict[str, Chain] = {}
        self.newest, self.signed = dict[str, Chain](), dict[str, Chain]()  # by node

    def take(self, line: dict[str, Any]) -> None:
        """Check one line; it says one thing, since nobody has signed what stands beside that."""
        if line.keys() == {"format", "key", "witness_key"}:
            self.keys = [*(self.given or filter(None, (line["key"], line["witness_key"])))]
            return
        checks = dict[str, Any](entry=self._entry, checkpoint=self._note, proof=self._proof)
        (kind, said), *beside = line.items()
        _need(kind in checks and not beside, f"what is no line of a record: {[*line]}")
        checks[kind](said)

    def end(self) -> str:
        """Check what only the end can tell; say what fits."""
        total, vouched = sum(chain.size for chain in self.chains.values()), 0
        for name, chain in self.chains.items():
            whole = chain.size >= chain.last or (self.proofs and not total)
            _need(whole, f"chain {name} ends at {chain.size}, but {chain.last} were signed")
        for end in self.signed.values():
            by_all = self.given <= end.signed[end.last][1]
            _need(by_all, f"a given key did not sign chain {end.name} at {end.last}")
            vouched += end.before + end.last
        _need(vouched or self.proofs or (total and not self.given), "nothing in it is signed")
        signed = sum(len(chain.signed) for chain in self.chains.values())
        newer = f", {total - vouched} newer entries that nobody has signed yet" * (total > vouched)
        return f"ok: {vouched} entries, {signed} signed checkpoints, {self.proofs} proofs{newer}"

    def _note(self, note: str) -> None:
        text = note[: note.index("\n\n") + 1]
        name, size, root = text.removeprefix("hive/ledger/").split("\n")[:3]
        found: dict[str, int] = {}  # 1: a log's own signature; 4: a witness's, over a time as well
        for line, key, kind in product(note[len(text) + 1 :].splitlines(), self.keys, (1, 4)):
            (_, signer, signature), (key_name, _, spki) = line.split(" "), key.split("+", 2)
            raw, public = base64.b64decode(signature), base64.b64decode(spki)[1:]
            named = _hash(key_name.encode(), b"\n", bytes([kind]), public)
            if key_name == signer and named[:4] == raw[:4]:
                time = f"cosignature/v1\ntime {int.from_bytes(raw[4:12], 'big')}\n" * (kind == 4)
                Ed25519PublicKey.from_public_bytes(public).verify(raw[-64:], (time + text).encode())
                found[key] = kind
        place, chain = f"checkpoint {size} of {name}", self.chains.setdefault(name, Chain(name))
        _need(1 in found.values(), f"{place} is signed by no known key")
        _need(not chain.size, f"{place} stands after entries, which were not compared with it")
        chain.last = max(chain.last, int(size))
        first, keys = chain.signed.setdefault(int(size), (base64.b64decode(root), set()))
        _need(first == base64.b64decode(root), f"{place} is not the only one: it was forked")
        keys.update(found)

    def _entry(self, entry: dict[str, Any]) -> None:
        place, name = _checked_hash(entry), entry["chain"]
        node, chain = name.rpartition(".")[0], self.chains.setdefault(name, Chain(name))
        _need(entry["sequence"] == chain.size + 1, f"{place}: entry {chain.size + 1} is missing")
        _need(entry["previous_hash"] == chain.head, f"{place}: it does not follow the one before")
        if not chain.size:
            said, last = json.loads(entry["body"]), self.newest.get(node)
            before = (last.name, last.size, last.head) if last else (None, None, None)
            named = tuple(said[f"previous_{what}"] for what in ("chain", "sequence", "hash"))
            _need(named == before, f"{place}: the epoch before it is not as it says")
            self.newest[node], chain.before = chain, last.before + last.size if last else 0
            self.signed |= {node: chain} if chain.last else {}
        _need(self.newest[node] is chain, f"{place}: a later epoch says that this chain had ended")
        chain.size, chain.head = chain.size + 1, entry["hash"]
        chain.edges.append(_hash(b"\x00", bytes.fromhex(chain.head)))
        for _ in range((chain.size & -chain.size).bit_length() - 1):  # join trees of one size
            chain.edges[-2:] = [_hash(b"\x01", *chain.edges[-2:])]
        root = reduce(lambda right, left: _hash(b"\x01", left, right), reversed(chain.edges))
        _need(root in chain.signed.get(chain.size, (root,)), f"{place}: another history was signed")

    def _proof(self, proof: dict[str, Any]) -> None:
        entry, size = proof["entry"], proof["size"]
        place, found = _checked_hash(entry), _hash(b"\x00", bytes.fromhex(entry["hash"]))
        position, last = entry["sequence"] - 1, size - 1
        for step in map(base64.b64decode, proof["path"]):  # RFC 9162, 2.1.3.2
            while position == last and last and not last & 1:  # alone on its level
                position, last = position >> 1, last >> 1
            found = _hash(b"\x01", *((step, found) if position & 1 else (found, step)))
            position, last = position >> 1, last >> 1
        root, keys = self.chains.get(entry["chain"], Chain("")).signed.get(size, (b"", set()))
        _need(root == found and position == last == 0, f"{place} does not stand in the tree signed")
        _need(self.given <= keys, f"{place}: a given key did not sign this tree")
        self.proofs += 1


def _need(fits: object, otherwise: str) -> None:
    if not fits:
        raise ValueError(otherwise)


def _hash(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _need(len(dict(pairs)) == len(pairs), "a key stands twice: two readers would see two records")
    return dict(pairs)


def _checked_hash(entry: dict[str, Any]) -> str:
    place = f"entry {entry['sequence']} of chain {entry['chain']}"
    fields = {key: value for key, value in entry.items() if key != "hash"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    found = _hash(b"hive.ledger.entry.v1\n", text.encode()).hex()
    _need(found == entry["hash"], f"{place}: its hash is another one")
    return place


if __name__ == "__main__":
    record, *keys = sys.argv[1:] or sys.exit(__doc__)
    try:
        check = RecordCheck(keys)
        with Path(record).open(encoding="utf-8") as lines:
            for line in lines:
                check.take(json.loads(line, object_pairs_hook=_each_once))
        sys.stdout.write(check.end() + "\n")
    except (AttributeError, InvalidSignature, OSError, LookupError, TypeError, ValueError) as error:
        sys.exit(f"FAILED: {str(error) or 'a signature is false'}")
