"""What the ledger needs of others: somebody else who remembers how far the chains had come."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

from hive.ledger.notes import Checkpoint, NoteKey

GrowthProver: TypeAlias = Callable[[int], Awaitable[list[bytes]]]
"""From an earlier size to the consistency proof (RFC 6962, 2.1.2) of a checkpoint."""


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

    async def countersign(self, checkpoint: Checkpoint, prove: GrowthProver) -> str:
        """Remember a checkpoint durably and return the signature lines for its note; "" where it gives none.

        `prove` gives the proof that the tree of this checkpoint holds that of an earlier size, whichever
        the witness has signed last: it takes nobody's word for that.

        Raises:
            LedgerError: it contradicts one that was signed before.
            WitnessAwayError: the witness cannot be asked now.

        """
        ...

    async def latest(self) -> Sequence[Checkpoint]:
        """Return the largest checkpoint of every chain that was ever signed."""
        ...


class RememberingWitness(Witness, Protocol):
    """A witness whose memory is here, so that it can answer others."""

    async def remembered(self, origin: str) -> Checkpoint | None:
        """Return the last checkpoint of a log that was signed."""
        ...
