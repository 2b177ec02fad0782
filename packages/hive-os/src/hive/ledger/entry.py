"""One line of the ledger, before (`Draft`) and after (`Entry`) it is written."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from hive.core.call import NO_OWNER, TraceContext
from hive.core.ids import CallId, OwnerId, TaskId
from hive.core.json import Json
from hive.core.task import TaskMove


class EntryKind(StrEnum):
    """What a line says."""

    INTENT = "intent"
    HOLD = "hold"
    DECISION = "decision"
    RESULT = "result"
    EVENT = "event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A line to be written.

    `body` becomes canonical JSON and is hashed; it holds no message text. `content` is sealed for
    `owner` and named in the entry by the hash of its ciphertext. `moves` change the projection of
    tasks in the same transaction; message and artifact contents in them are sealed likewise.
    """

    kind: EntryKind
    name: str
    body: dict[str, Json]
    at: datetime
    owner: OwnerId = NO_OWNER
    call: CallId | None = None
    task: TaskId | None = None
    agent: str = ""
    trace: TraceContext | None = None
    content: bytes | None = None
    moves: tuple[TaskMove, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A written line. `body` is the exact text that was hashed; `hash` covers every field above it."""

    chain: str
    sequence: int
    kind: EntryKind
    name: str
    at: datetime
    call: CallId | None
    task: TaskId | None
    agent: str
    owner: OwnerId
    trace_id: str
    span_id: str
    body: str
    content_id: str
    previous_hash: str
    hash: str
