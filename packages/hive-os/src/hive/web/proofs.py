"""The paths of proofs about the ledger, and of the record that others can check."""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

import msgspec

from hive.core.errors import BadInputError
from hive.web.chapters import Answer, ApiQuestion, Chapter, Lines, RouteKey

_SIZE_MAX_DIGITS = 18


class EntryProofLine(msgspec.Struct, frozen=True, kw_only=True):
    """One entry, the checkpoint above it, and the path between them; `lines` is the file to hand on."""

    chain: str
    sequence: int
    hash: str
    size: int
    path: list[str]
    checkpoint: str
    lines: list[dict[str, object]]


class GrowthProofLine(msgspec.Struct, frozen=True, kw_only=True):
    """Two checkpoints of a chain, and the proof that the later tree holds the earlier one unchanged."""

    chain: str
    old_size: int
    new_size: int
    old: str
    new: str
    path: list[str]


class LedgerKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The public keys that vouch for a ledger, as other machines take them."""

    node: str
    witness: str


class RecordLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the exported record, as the verifier reads it."""

    line: dict[str, object]


class ProofDesk(Protocol):
    """Who proves."""

    async def entry(self, place: str) -> EntryProofLine:
        """Prove one entry (`CHAIN:SEQUENCE`, or its hash). Raises NotFoundError, LedgerError."""
        ...

    async def growth(self, chain: str, old_size: int) -> GrowthProofLine:
        """Prove that a chain only grew. Raises NotFoundError, LedgerError."""
        ...

    def keys(self) -> LedgerKeys:
        """Tell the keys that vouch."""
        ...

    def record(self) -> AsyncIterator[RecordLine]:
        """Yield the whole record with its checkpoints, from one snapshot."""
        ...


class ProofsChapter(Chapter):
    """The paths."""

    def __init__(self, desk: ProofDesk) -> None:
        self._desk = desk
        self.answers: Mapping[RouteKey, Answer] = {
            ("GET", "audit-proof", 0): self._entry,
            ("GET", "audit-growth", 0): self._growth,
            ("GET", "audit-keys", 0): self._keys,
        }
        self.streams: Mapping[RouteKey, Lines] = {("GET", "audit-record", 0): self._record}

    async def _entry(self, question: ApiQuestion) -> object:
        return await self._desk.entry(question.query.get("entry", ""))

    async def _growth(self, question: ApiQuestion) -> object:
        size = question.query.get("old", "") or "0"
        if not (size.isascii() and size.isdigit() and len(size) <= _SIZE_MAX_DIGITS):
            raise BadInputError("The field old is no size.", fix="Write the number of entries.")
        return await self._desk.growth(question.query.get("chain", ""), int(size))

    async def _keys(self, _question: ApiQuestion) -> object:
        return self._desk.keys()

    def _record(self, _question: ApiQuestion) -> AsyncIterator[object]:
        return self._desk.record()
