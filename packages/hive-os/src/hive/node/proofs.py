"""Proofs about a node's ledger, for its operator: made from the database, checked against what was signed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import cast

from hive.core.json import decode
from hive.engines.ports import Database
from hive.ledger.checkpoints import Checkpointer
from hive.ledger.export import record_lines
from hive.ledger.notes import NoteKey, parse_checkpoint
from hive.ledger.ports import Witness
from hive.ledger.proving import prove_entry, prove_growth
from hive.web.proofs import EntryProofLine, GrowthProofLine, LedgerKeys, RecordLine


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProofs:
    """Proves; a running node signs first what is not signed yet."""

    database: Database
    key: NoteKey
    witness: Witness
    checkpointer: Checkpointer | None = None

    async def entry(self, place: str) -> EntryProofLine:
        """Prove one entry. Raises NotFoundError, LedgerError."""
        await self._sign()
        proof = await prove_entry(self.database, place, key=self.key, witness_key=self.witness.key)
        lines = [cast("dict[str, object]", decode(line)) for line in proof.lines().splitlines()]
        return EntryProofLine(
            chain=str(proof.entry["chain"]),
            sequence=int(str(proof.entry["sequence"])),
            hash=str(proof.entry["hash"]),
            size=proof.size,
            path=proof.path,
            checkpoint=proof.checkpoint,
            lines=lines,
        )

    async def growth(self, chain: str, old_size: int) -> GrowthProofLine:
        """Prove that a chain only grew. Raises NotFoundError, LedgerError."""
        await self._sign()
        proof = await prove_growth(self.database, chain, old_size, key=self.key)
        return GrowthProofLine(
            chain=proof.chain,
            old_size=parse_checkpoint(proof.old).size,
            new_size=parse_checkpoint(proof.new).size,
            old=proof.old,
            new=proof.new,
            path=proof.path,
        )

    def keys(self) -> LedgerKeys:
        """Tell the keys that vouch."""
        return LedgerKeys(node=self.key.text, witness=self.witness.key.cosigner_text)

    async def record(self) -> AsyncIterator[RecordLine]:
        """Yield the whole record with its checkpoints, from one snapshot."""
        await self._sign()
        async for line in record_lines(self.database, key=self.key, witness_key=self.witness.key):
            yield RecordLine(line=line)

    async def _sign(self) -> None:
        if self.checkpointer is not None:
            await self.checkpointer.write()
