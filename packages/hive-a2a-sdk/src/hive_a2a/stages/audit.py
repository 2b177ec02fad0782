"""What was tried and how it ended, told to a record that somebody else can check.

An attempt is recorded, and durable, before the handler acts; its outcome after the handler ended, or a
stream's last frame has gone, or it broke. So an attempt without an outcome means that nobody knows.
Refused calls of known callers are recorded up to a rate, those of strangers counted and summed up, since
whoever floods must not fill a disk.

No record holds a message. Content appears as a keyed commitment (HMAC-SHA256): whoever has the key can show
that a message is the one recorded, and nobody can guess a short one from its hash.

    AuditSink     the port
    FileAudit     the record on disk: `hive_a2a.stages.audit_file`
    MemoryAudit   the last records in memory, for tests and for looking at
    verify        checks a record on disk: `hive_a2a.stages.audit_verify`
"""

import hmac
import secrets
from collections import Counter, deque
from enum import StrEnum
from functools import lru_cache
from hmac import HMAC
from typing import Final, Protocol

import msgspec

from hive_a2a.call import RequestHead, WireCall
from hive_a2a.errors import A2AError
from hive_a2a.ports import Stage

TEXT_MAX_CHARS: Final = 256
EXTENSIONS_MAX: Final = 16
CALL_ID_BYTES: Final = 12
RECORDS_KEPT_MAX: Final = 10_000


class AuditError(A2AError):
    """The record on disk cannot be used."""


class AuditUnavailableError(AuditError):
    """The record takes no new attempt now: the disk is full or broken, or it is closed."""


def unavailable() -> AuditUnavailableError:
    """Return the error of a record that cannot be written."""
    return AuditUnavailableError(
        "The record takes no new attempts now.",
        why="Its disk is full or fails, or it is closed.",
        fix="Make room; it goes on by itself.",
    )


class AuditKind(StrEnum):
    """What a record says."""

    OPENED = "opened"
    ATTEMPT = "attempt"
    OUTCOME = "outcome"
    REFUSED = "refused"
    SUMMARY = "summary"
    REPAIRED = "repaired"


class CallEnding(StrEnum):
    """How a call ended."""

    COMPLETED = "completed"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    BROKEN = "broken"


class CallRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is recorded; which fields it has depends on its kind.

    `call` joins an attempt and its outcome. `content` and `answer` are commitments. `stage` is who refused,
    `error` the standard's word for a failure, `events` how many a stream had, `weakened` what the policy
    has switched off.
    """

    kind: AuditKind
    call: str = ""
    method: str = ""
    binding: str = ""
    version: str = ""
    caller: str = ""
    scheme: str = ""
    tenant: str = ""
    skill: str = ""
    sealed: bool = False
    extensions: tuple[str, ...] = ()
    warrant: str = ""
    weakened: tuple[str, ...] = ()
    body_bytes: int = 0
    content: str = ""
    peer: str = ""
    ending: str = ""
    stage: str = ""
    error: str = ""
    answer: str = ""
    events: int = 0
    took_ms: int = 0
    counts: dict[str, int] = {}
    note: str = ""
    facts: dict[str, str] = {}


class AuditSink(Protocol):
    """Where records go. It also hears what was refused before there was a call (`RefusalLog`)."""

    async def attempt(self, record: CallRecord) -> None:
        """Record an attempt; it is durable when this returns.

        Raises:
            AuditUnavailableError: it cannot be recorded, so the call must not happen.

        """
        ...

    def outcome(self, record: CallRecord) -> None:
        """Record how an attempt ended; neither waits nor fails."""
        ...

    def refusal(self, record: CallRecord) -> None:
        """Record a refused call, or count it where there are too many; neither waits nor fails."""
        ...

    def refused(self, head: RequestHead, stage: Stage, reason: str) -> None:
        """Count a request that was refused before there was a call."""
        ...

    def commitment(self, call: str, field: str) -> HMAC:
        """Begin a commitment to content; feed it with `feed`."""
        ...


def new_call_id() -> str:
    """Make the id that joins an attempt and its outcome."""
    return secrets.token_hex(CALL_ID_BYTES)


def begin_commitment(key: bytes, call: str, field: str) -> HMAC:
    """Begin a commitment that belongs to one field of one call, so that equal contents do not look equal."""
    begun = _keyed(key).copy()
    begun.update(_framed(call.encode()) + _framed(field.encode()))
    return begun


@lru_cache(maxsize=16)
def _keyed(key: bytes) -> HMAC:
    """Begin with what is the same for all commitments under a key."""
    begun = hmac.new(key, digestmod="sha256")
    feed(begun, b"hive-a2a/audit-commitment/v1")
    return begun


def feed(commitment: HMAC, content: bytes) -> None:
    """Add one piece of content; pieces do not run into each other."""
    commitment.update(_framed(content))


def _framed(content: bytes) -> bytes:
    return len(content).to_bytes(8, "big") + content


def cut(text: str) -> str:
    """Keep a foreign text to what an entry holds."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= TEXT_MAX_CHARS else text[:TEXT_MAX_CHARS] + "..."


def record_of(wire: WireCall, kind: AuditKind, **fields: object) -> CallRecord:
    """Describe a call."""
    return CallRecord(
        kind=kind,
        method=wire.method,
        binding=str(wire.binding),
        version=cut(wire.version),
        caller=cut(wire.caller.name),
        scheme=wire.caller.scheme,
        tenant=cut(wire.tenant),
        skill=cut(wire.skill),
        sealed=wire.sealed,
        extensions=tuple(map(cut, sorted(wire.extensions)[:EXTENSIONS_MAX])),
        body_bytes=wire.body_bytes,
        **fields,  # type: ignore[arg-type]
    )


class MemoryAudit:
    """Keeps the last records, and forgets them with the process."""

    def __init__(self, *, records_kept_max: int = RECORDS_KEPT_MAX) -> None:
        self.records: deque[CallRecord] = deque(maxlen=records_kept_max)
        self.counts: Counter[str] = Counter()
        self._key = secrets.token_bytes(32)

    async def attempt(self, record: CallRecord) -> None:
        """Keep an attempt."""
        self.records.append(record)

    def outcome(self, record: CallRecord) -> None:
        """Keep an outcome."""
        self.records.append(record)

    def refusal(self, record: CallRecord) -> None:
        """Keep a refused call."""
        self.records.append(record)

    def refused(self, head: RequestHead, stage: Stage, reason: str) -> None:
        """Count a request that was refused before there was a call."""
        self.counts[str(stage)] += 1

    def commitment(self, call: str, field: str) -> HMAC:
        """Begin a commitment to content."""
        return begin_commitment(self._key, call, field)
