"""Proofs about the ledger, made on request: that an entry stands in a signed tree, that a tree only grew.

Both are small and need nobody's trust but the keys': `verify_export.py` checks the first, any C2SP log client both.
"""

import base64
from typing import Final, cast

import msgspec
from anyio import to_thread

from hive.core.errors import LedgerError, NotFoundError
from hive.core.ids import printable
from hive.core.json import Json, encode
from hive.engines.ports import Database
from hive.ledger.entry import Entry, line_of
from hive.ledger.merkle import (
    consistency_proof,
    inclusion_proof,
    verify_consistency,
    verify_inclusion,
)
from hive.ledger.notes import Checkpoint, NoteKey, parse_checkpoint
from hive.ledger.rows import COLUMNS, entry_of

FORMAT: Final = "hive.ledger.proof.v1"
LEAVES_MAX: Final = 20_000_000


class EntryProof(msgspec.Struct, frozen=True, kw_only=True):
    """One entry, the checkpoint above it, and the path between them (base64, from the leaf up)."""

    entry: dict[str, object]
    size: int
    path: list[str]
    checkpoint: str
    key: str = ""
    witness_key: str = ""

    def lines(self) -> bytes:
        """Return it as the file that `verify_export.py` checks."""
        head: dict[str, Json] = {
            "format": FORMAT,
            "key": self.key or None,
            "witness_key": self.witness_key or None,
        }
        proof = {"entry": self.entry, "size": self.size, "path": self.path}
        parts = (head, {"checkpoint": self.checkpoint}, {"proof": proof})
        return b"".join(encode(part) + b"\n" for part in parts)


class GrowthProof(msgspec.Struct, frozen=True, kw_only=True):
    """Two checkpoints of a chain, and the proof that the later tree holds the earlier one unchanged."""

    chain: str
    old: str
    new: str
    path: list[str]


async def prove_entry(
    database: Database,
    place: str,
    *,
    key: NoteKey | None = None,
    witness_key: NoteKey | None = None,
) -> EntryProof:
    """Prove that an entry (`CHAIN:SEQUENCE`, or its hash) stands in the newest signed tree of its chain.

    Raises:
        NotFoundError: there is no such entry, or nothing was signed since it was written.
        LedgerError: the tree is not the one that was signed.

    """
    entry = await _entry(database, place)
    checkpoint = await _newest(database, entry.chain, key)
    if checkpoint is None or checkpoint.size < entry.sequence:
        raise NotFoundError(
            f"Entry {entry.sequence} of {entry.chain} is not signed yet.",
            why="The next checkpoint comes within a minute, or with `hive audit verify`.",
            fix="Ask again then.",
        )
    leaves = await _leaves(database, entry.chain, checkpoint.size)
    path = await to_thread.run_sync(inclusion_proof, entry.sequence - 1, leaves)
    leaf = bytes.fromhex(entry.hash)
    if not verify_inclusion(entry.sequence - 1, checkpoint.size, leaf, path, checkpoint.root):
        raise _rewritten(entry.chain)
    return EntryProof(
        entry={**line_of(entry), "hash": entry.hash},
        size=checkpoint.size,
        path=[base64.b64encode(step).decode() for step in path],
        checkpoint=await _note(database, entry.chain, checkpoint.size),
        key=key.text if key else "",
        witness_key=witness_key.text if witness_key else "",
    )


async def prove_growth(
    database: Database, chain: str = "", old_size: int = 0, *, key: NoteKey | None = None
) -> GrowthProof:
    """Prove that a chain (default: the newest) only grew between two of its checkpoints.

    `old_size` is that of the earlier one; 0 takes the first that was ever signed. With `key`, both have to be
    signed by it: whoever owns the database could have written both.

    Raises:
        NotFoundError: there are no such checkpoints.
        LedgerError: the tree is not the one that was signed.

    """
    chain = chain or await _newest_chain(database)
    rows = await database.fetch(
        "SELECT note FROM checkpoint WHERE chain = $1 AND size >= $2 ORDER BY size LIMIT 1",
        chain,
        old_size,
    )
    newest = await _newest(database, chain, key)
    if not rows or newest is None:
        raise NotFoundError(f"No such checkpoint of {printable(chain)}.", fix="hive audit verify")
    note = cast("str", rows[0]["note"])
    old = _signed(parse_checkpoint(note), chain, key)
    leaves = await _leaves(database, chain, newest.size)
    path = await to_thread.run_sync(consistency_proof, old.size, leaves)
    if not verify_consistency(old.size, newest.size, old.root, newest.root, path):
        raise _rewritten(chain)
    return GrowthProof(
        chain=chain,
        old=note,
        new=await _note(database, chain, newest.size),
        path=[base64.b64encode(step).decode() for step in path],
    )


async def growth_path(database: Database, chain: str, old_size: int, size: int) -> list[bytes]:
    """Return the consistency proof between two sizes of a chain as the database has it now."""
    leaves = await _leaves(database, chain, size)
    return await to_thread.run_sync(consistency_proof, old_size, leaves)


async def leaves_after(database: Database, chain: str, old_size: int, size: int) -> list[bytes]:
    """Return the hashes of the entries between two sizes of a chain."""
    rows = await database.fetch(
        "SELECT hash FROM entry WHERE chain = $1 AND sequence > $2 AND sequence <= $3 "
        "ORDER BY sequence LIMIT $4",
        chain,
        old_size,
        size,
        LEAVES_MAX,
    )
    return [bytes.fromhex(cast("str", row["hash"])) for row in rows]


async def _entry(database: Database, place: str) -> Entry:
    chain, colon, number = place.rpartition(":")
    if colon and number.isascii() and number.isdigit() and len(number) < 19:
        where, values = "chain = $1 AND sequence = $2", (chain, int(number))
    else:
        where, values = "hash = $1", (place,)  # type: ignore[assignment]
    rows = await database.fetch(f"SELECT {COLUMNS} FROM entry WHERE {where}", *values)  # noqa: S608
    if not rows:
        raise NotFoundError(f"There is no entry {printable(place)}.", fix="hive audit tail --json")
    return entry_of(rows[0])


async def _newest(database: Database, chain: str, key: NoteKey | None) -> Checkpoint | None:
    rows = await database.fetch(
        "SELECT note FROM checkpoint WHERE chain = $1 ORDER BY size DESC LIMIT 1", chain
    )
    return _signed(parse_checkpoint(cast("str", rows[0]["note"])), chain, key) if rows else None


def _signed(checkpoint: Checkpoint, chain: str, key: NoteKey | None) -> Checkpoint:
    if checkpoint.chain != chain or (key is not None and not checkpoint.signed_by(key)):
        raise LedgerError(
            f"Nothing can be proved of {printable(chain)}.",
            why=f"Its checkpoint of {checkpoint.size} entries is not signed by the node's key.",
            fix="Run `hive audit verify`: the table of checkpoints was written by somebody else.",
        )
    return checkpoint


async def _newest_chain(database: Database) -> str:
    rows = await database.fetch("SELECT chain FROM checkpoint ORDER BY at DESC LIMIT 1")
    return cast("str", rows[0]["chain"]) if rows else ""


async def _note(database: Database, chain: str, size: int) -> str:
    rows = await database.fetch(
        "SELECT note FROM checkpoint WHERE chain = $1 AND size = $2", chain, size
    )
    return cast("str", rows[0]["note"])


async def _leaves(database: Database, chain: str, size: int) -> list[bytes]:
    leaves = await leaves_after(database, chain, 0, size)
    if len(leaves) != size:
        raise _rewritten(chain)
    return leaves


def _rewritten(chain: str) -> LedgerError:
    return LedgerError(
        f"Nothing can be proved of {printable(chain)}.",
        why="Its entries are not those whose root was signed.",
        fix="Run `hive audit verify`: it names the first entry that does not fit.",
    )
