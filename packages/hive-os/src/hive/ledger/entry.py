"""One line of the ledger, before (`Draft`) and after (`Entry`) it is written, and what its hash covers.

The hash is SHA-256 over a domain prefix and the canonical JSON of every other field, so no two lines
share their bytes and a verifier needs nothing but SHA-256 and JSON.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from hive.core.call import NO_OWNER, TraceContext
from hive.core.ids import CallId, OwnerId, TaskId
from hive.core.json import Json, encode
from hive.core.task import TaskMove

HASH_DOMAIN: Final = b"hive.ledger.entry.v1\n"
GENESIS_HASH: Final = "0" * 64
EPOCH_OPENED: Final = "epoch.opened"


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
    tasks in the same transaction; message and artifact contents in them are sealed likewise, and what
    they did is added to the body under `moves`, so that the hash covers it.
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


def line_of(entry: Entry) -> dict[str, Json]:
    """Return what the hash of an entry covers, as one JSON object."""
    return {
        "chain": entry.chain,
        "sequence": entry.sequence,
        "kind": entry.kind.value,
        "name": entry.name,
        "at": time_text(entry.at),
        "call": entry.call,
        "task": entry.task,
        "agent": entry.agent,
        "owner": entry.owner,
        "trace_id": entry.trace_id,
        "span_id": entry.span_id,
        "body": entry.body,
        "content_id": entry.content_id,
        "previous_hash": entry.previous_hash,
    }


def hash_of(line: dict[str, Json]) -> str:
    """Return the hash of an entry's line, in hexadecimal."""
    return hashlib.sha256(HASH_DOMAIN + encode(line)).hexdigest()


def time_text(at: datetime) -> str:
    """Write a time the one way in which it is hashed: UTC, microseconds, no offset left open."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
