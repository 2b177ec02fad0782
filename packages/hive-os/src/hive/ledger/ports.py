"""What the ledger needs of others: somebody else who remembers how far the chains had come."""

from collections.abc import Sequence
from typing import Protocol

from hive.ledger.notes import Checkpoint, NoteKey


class Witness(Protocol):
    """Signs checkpoints with its own key and never signs a history that contradicts an earlier one."""

    @property
    def key(self) -> NoteKey:
        """Return the key that signs."""
        ...

    @property
    def independent(self) -> bool:
        """Tell whether it lives outside this machine; else checkpoints are self-witnessed."""
        ...

    async def countersign(self, checkpoint: Checkpoint) -> str:
        """Remember a checkpoint durably and return the signature line for its note.

        Raises:
            LedgerError: it contradicts one that was signed before.

        """
        ...

    async def latest(self) -> Sequence[Checkpoint]:
        """Return the largest checkpoint of every chain that was ever signed."""
        ...
