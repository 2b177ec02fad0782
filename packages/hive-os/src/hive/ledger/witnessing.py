"""Being a witness for others: the C2SP `tlog-witness` protocol, without a wire.

    old 1200                       what the witness is believed to have signed last
    base64 ...                     the consistency proof from there
    (empty line)
    hive/ledger/...                the signed checkpoint

What comes back is one signature line, or a number: 404 unknown log, 403 not signed by its key, 409 with the size
that was really signed last, 422 a history that does not follow. A witness signs no two histories of one log.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hive.core.errors import LedgerError
from hive.ledger.merkle import EMPTY_ROOT
from hive.ledger.notes import NOTE_MAX_BYTES, ORIGIN_PREFIX, Checkpoint, NoteKey, parse_checkpoint
from hive.ledger.ports import RememberingWitness

PROOF_MAX_LINES: Final = 63
REQUEST_MAX_BYTES: Final = NOTE_MAX_BYTES + 64 * PROOF_MAX_LINES
SIZE_TYPE: Final = "text/x.tlog.size"
_MAX_DIGITS: Final = 18
_NAME_MIN_CHARS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessAnswer:
    """What a witness says, as HTTP carries it."""

    status: int
    text: str = ""
    kind: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessRequest:
    """A checkpoint to be signed, and the proof that it follows the one of `old_size`."""

    old_size: int
    path: tuple[bytes, ...]
    note: str

    def text(self) -> str:
        """Return it as the protocol writes it."""
        steps = "".join(base64.b64encode(step).decode() + "\n" for step in self.path)
        return f"old {self.old_size}\n{steps}\n{self.note}"


def read_request(body: bytes) -> WitnessRequest:
    """Read a request.

    Raises:
        LedgerError: it is none.

    """
    try:
        head, _, note = body.decode("utf-8").partition("\n\n")
        first, *steps = head.split("\n")
        word, _, number = first.partition(" ")
        path = tuple(base64.b64decode(step, validate=True) for step in steps)
    except (ValueError, binascii.Error) as error:
        raise _bad("It is no UTF-8 with base64 in it.") from error
    digits = number.isascii() and number.isdigit() and len(number) <= _MAX_DIGITS
    if word != "old" or not digits or len(path) > PROOF_MAX_LINES or not note:
        raise _bad("It does not begin with `old SIZE`, a proof and an empty line.")
    return WitnessRequest(old_size=int(number), path=path, note=note)


class LogWitness:
    """Signs checkpoints of the logs whose keys an operator named, and remembers them."""

    def __init__(self, memory: RememberingWitness, keys: Sequence[NoteKey]) -> None:
        """Sign for these keys. Raises LedgerError where one could speak for another's log."""
        for key in keys:
            if any(key != one and _node_of(one).endswith(_node_of(key)) for one in keys):
                raise LedgerError(
                    f"Two keys that are witnessed could speak for the same log: {key.name}.",
                    why="A key's name ends as the id of its node does, and these end alike.",
                    fix="Name in HIVE_WITNESS_FOR only what `hive audit keys` says on each node.",
                )
        self._memory = memory
        self._keys = tuple(keys)

    @property
    def key(self) -> NoteKey:
        """Return the key that signs."""
        return self._memory.key

    async def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        """Answer one request."""
        try:
            asked = read_request(body)
            checkpoint = parse_checkpoint(asked.note)
        except (LedgerError, ValueError) as error:
            return WitnessAnswer(status=400, text=f"{error}\n")
        keys = [key for key in self._keys if _owns(key, checkpoint.origin)]
        if not keys:
            return WitnessAnswer(status=404, text="This log is not known here.\n")
        if not any(checkpoint.signed_by(key) for key in keys):
            return WitnessAnswer(status=403, text="The log's key did not sign this.\n")
        if asked.old_size > checkpoint.size:
            return WitnessAnswer(status=400, text="The old size is above the new one.\n")
        return await self._sign(checkpoint, asked)

    async def _sign(self, checkpoint: Checkpoint, asked: WitnessRequest) -> WitnessAnswer:
        known = await self._memory.remembered(checkpoint.origin)
        size, root = (known.size, known.root) if known else (0, EMPTY_ROOT)
        forked = checkpoint.size == size and checkpoint.root != root
        if asked.old_size != size or forked:
            return WitnessAnswer(status=409, text=f"{size}\n", kind=SIZE_TYPE)

        async def prove(_old: int) -> list[bytes]:
            return list(asked.path)

        try:
            line = await self._memory.countersign(checkpoint, prove)
        except LedgerError as error:
            return WitnessAnswer(status=422, text=f"{error.why or error}\n")
        return WitnessAnswer(status=200, text=line)

    async def notes_of(self, node: str) -> list[str]:
        """Return the last checkpoint of every chain of a node, each with this witness's signature."""
        return [
            one.note for one in await self._memory.latest() if one.chain.rpartition(".")[0] == node
        ]


def _owns(key: NoteKey, origin: str) -> bool:
    """Tell whether a node's key may speak for a log: its name ends as the node's id does."""
    node, own = origin.removeprefix(ORIGIN_PREFIX).rpartition(".")[0], _node_of(key)
    same = own == node or (len(own) >= _NAME_MIN_CHARS and node.endswith(own))
    return origin.startswith(ORIGIN_PREFIX) and bool(own) and same


def _node_of(key: NoteKey) -> str:
    return key.name.removeprefix("hive-")


def _bad(why: str) -> LedgerError:
    return LedgerError("This is no request for a witness.", why=why, fix="See C2SP tlog-witness.")
