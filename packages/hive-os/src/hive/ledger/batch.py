"""A batch of lines on its way into the table: chained, hashed, and as arguments of one statement."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import anyio

from hive.core.errors import BadInputError, HiveError, TooLargeError
from hive.core.json import Json, encode
from hive.engines.ports import SqlValue
from hive.ledger.contents import Contents, SealedContent
from hive.ledger.entry import Draft, Entry, hash_of, time_text
from hive.ledger.moves import MoveSealer, Projection, SealedMove

BATCH_MAX_ENTRIES: Final = 512
BATCH_MAX_BYTES: Final = 16 << 20
BODY_MAX_BYTES: Final = 1 << 20
CONTENT_MAX_BYTES: Final = 64 << 20
APPEND_SQL: Final = (
    "SELECT ledger_append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, "
    "$17, $18, $19, $20, $21, $22, $23, $24) AS outcome"
)


@dataclass(slots=True, kw_only=True)
class PendingLine:
    """A draft with everything sealed, waiting for its place in the chain."""

    draft: Draft
    body: str
    content_id: str
    contents: list[SealedContent]
    moves: list[SealedMove]
    size_bytes: int
    done: anyio.Event = field(default_factory=anyio.Event)
    entry: Entry | None = None
    error: HiveError | None = None
    abandoned: bool = False
    then: Callable[[], None] | None = None

    def succeed(self, entry: Entry) -> None:
        """Do what follows, and tell the waiting caller that the line is durable."""
        self.entry = entry
        if self.then is not None:
            self.then()
        self.done.set()

    def fail(self, error: HiveError) -> None:
        """Tell the waiting caller why the line was not written."""
        if not self.done.is_set():
            self.error = error
            self.done.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainHead:
    """Where the chain of an epoch stands."""

    node: str
    epoch: int
    sequence: int
    hash: str

    @property
    def chain(self) -> str:
        """Return the name of the chain."""
        return f"{self.node}.{self.epoch}"


async def prepare(draft: Draft, contents: Contents) -> PendingLine:
    """Seal and check a draft.

    Raises:
        BadInputError: a field holds what the table cannot.
        TooLargeError: its body or content is over the limit.
        StateError: its moves contradict each other.

    """
    if draft.content is not None and len(draft.content) > CONTENT_MAX_BYTES:
        raise _too_large("content", CONTENT_MAX_BYTES)
    sealer = MoveSealer(contents, draft.owner)
    content_id = "" if draft.content is None else await sealer.content(draft.content)
    moves = [await sealer.seal(move, draft.at) for move in draft.moves]
    if moves:
        Projection().fold(moves)
    body = _body(draft, moves)
    size = len(body) + sum(len(one.sealed) for one in sealer.sealed)
    return PendingLine(
        draft=draft,
        body=body,
        content_id=content_id,
        contents=sealer.sealed,
        moves=moves,
        size_bytes=size,
    )


def _body(draft: Draft, moves: list[SealedMove]) -> str:
    body: dict[str, Json] = draft.body
    if moves:
        body = {**body, "moves": [move.told() for move in moves]}
    ids = (draft.name, draft.agent, draft.owner, draft.call or "", draft.task or "")
    try:
        text = encode(body).decode()
        short = "".join((*ids, *(move.task_id for move in moves))).encode()
    except (UnicodeEncodeError, TypeError, ValueError) as error:
        raise _unwritable("A field is not valid text or JSON.") from error
    if b"\0" in short:
        raise _unwritable("An id or a name holds a zero byte.")
    if len(text) > BODY_MAX_BYTES or len(short) > BODY_MAX_BYTES:
        raise _too_large("body", BODY_MAX_BYTES)
    return text


@dataclass(slots=True)
class Batch:
    """Lines that are written by one statement, in order."""

    lines: list[PendingLine] = field(default_factory=list)
    projection: Projection = field(default_factory=Projection)
    entries: list[Entry] = field(default_factory=list)

    @classmethod
    def take(cls, queue: deque[PendingLine]) -> "Batch":
        """Take as many waiting lines as fit together."""
        batch, size = cls(), 0
        while queue and len(batch.lines) < BATCH_MAX_ENTRIES and size < BATCH_MAX_BYTES:
            line = queue[0]
            if not line.abandoned:
                if batch.lines and not batch.projection.fits(line.moves):
                    break
                batch.projection.fold(line.moves)
                batch.lines.append(line)
                size += line.size_bytes
            queue.popleft()
        return batch

    def split(self) -> "list[Batch]":
        """Return one batch a line."""
        singles = []
        for line in self.lines:
            single = Batch(lines=[line])
            single.projection.fold(line.moves)
            singles.append(single)
        return singles

    def chain_to(self, head: ChainHead) -> None:
        """Give each line its place after `head`, and its hash."""
        self.entries = []
        previous, sequence = head.hash, head.sequence
        for line in self.lines:
            sequence += 1
            entry = _entry(line, head.chain, sequence, previous)
            previous = entry.hash
            self.entries.append(entry)

    def head_after(self, head: ChainHead) -> ChainHead:
        """Return where the chain stands once this batch is durable."""
        last = self.entries[-1]
        return ChainHead(node=head.node, epoch=head.epoch, sequence=last.sequence, hash=last.hash)

    def succeed(self) -> None:
        """Tell every waiting caller that its line is durable."""
        for line, entry in zip(self.lines, self.entries, strict=True):
            line.succeed(entry)

    def fail(self, error: HiveError) -> None:
        """Tell every waiting caller why nothing was written."""
        for line in self.lines:
            line.fail(error)

    def arguments(self, head: ChainHead, lease_s: float) -> list[SqlValue]:
        """Return the arguments of `APPEND_SQL`."""
        entries = self.entries
        sealed = {one.id: one for line in self.lines for one in line.contents}
        columns: list[SqlValue] = [
            [e.kind.value for e in entries],
            [e.name for e in entries],
            [e.at for e in entries],
            [e.call for e in entries],
            [e.task for e in entries],
            [e.agent for e in entries],
            [e.owner for e in entries],
            [e.trace_id for e in entries],
            [e.span_id for e in entries],
            [e.body for e in entries],
            [e.content_id for e in entries],
            [e.hash for e in entries],
            [parent_of(line.draft.body) for line in self.lines],
        ]
        contents: list[SqlValue] = [None, None, None]
        if sealed:
            contents = [
                list(sealed),
                [one.key_id for one in sealed.values()],
                [one.sealed for one in sealed.values()],
            ]
        place: list[SqlValue] = [head.node, head.epoch, lease_s, head.sequence + 1, head.hash]
        return [*place, *columns, *contents, *self.projection.arguments()]


def parent_of(body: dict[str, Json]) -> str | None:
    """Return the call for which a line's call was made, as its body names it."""
    parent = body.get("parent")
    return parent if isinstance(parent, str) and "\0" not in parent else None


def _entry(line: PendingLine, chain: str, sequence: int, previous: str) -> Entry:
    draft, trace = line.draft, line.draft.trace
    fields: dict[str, Json] = {
        "chain": chain,
        "sequence": sequence,
        "kind": draft.kind.value,
        "name": draft.name,
        "at": time_text(draft.at),
        "call": draft.call,
        "task": draft.task,
        "agent": draft.agent,
        "owner": draft.owner,
        "trace_id": "" if trace is None else trace.trace_id,
        "span_id": "" if trace is None else trace.span_id,
        "body": line.body,
        "content_id": line.content_id,
        "previous_hash": previous,
    }
    return Entry(
        chain=chain,
        sequence=sequence,
        kind=draft.kind,
        name=draft.name,
        at=_exact(draft.at),
        call=draft.call,
        task=draft.task,
        agent=draft.agent,
        owner=draft.owner,
        trace_id="" if trace is None else trace.trace_id,
        span_id="" if trace is None else trace.span_id,
        body=line.body,
        content_id=line.content_id,
        previous_hash=previous,
        hash=hash_of(fields),
    )


def _exact(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise _unwritable("Its time names no zone.")
    return at


def _unwritable(why: str) -> BadInputError:
    return BadInputError("A line of the ledger cannot be written.", why=why, fix="Correct it.")


def _too_large(what: str, limit_bytes: int) -> TooLargeError:
    return TooLargeError(
        f"The {what} of a ledger entry is too large.",
        why=f"The limit is {limit_bytes} bytes.",
        fix="Send less, or in several pieces.",
    )
