"""One attempt to touch something, and what may be answered to it.

A `Call` is frozen: whoever holds one can trust that nobody changes it between the check and the deed.
Doors make calls, the kernel judges them, the ledger keeps them.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias

from hive.core.budget import Amounts
from hive.core.ids import AgentId, CallId, OwnerId, SandboxId, SpanId, TaskId, TraceId, TurnId
from hive.core.json import Json

NO_OWNER: Final = OwnerId("")
WORKLOAD: Final = "spiffe://"
OWN: Final = "own/"
"""Begins the target of a call that touches what an agent keeps for itself."""


class Verb(StrEnum):
    """What is attempted."""

    SEND = "send"
    INVOKE = "invoke"
    ASK = "ask"
    RECALL = "recall"
    REMEMBER = "remember"
    REACH = "reach"
    SPAWN = "spawn"


class EffectClass(StrEnum):
    """What may happen again after a crash: anything, the same id again, or nothing by itself."""

    PURE = "pure"
    IDEMPOTENT = "idempotent"
    ONCE = "once"


class PrincipalKind(StrEnum):
    """Which sort of party makes a call."""

    OPERATOR = "operator"
    CLIENT = "client"
    AGENT = "agent"
    NODE = "node"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Whoever makes a call, once known.

    `owner` is the party whose data the call touches: an agent that works for alice calls as the
    agent, with alice as owner. `sandbox` and `turn` are set for a call from inside.
    """

    kind: PrincipalKind
    name: str
    owner: OwnerId
    agent: AgentId | None = None
    sandbox: SandboxId | None = None
    turn: TurnId | None = None

    @property
    def is_workload(self) -> bool:
        """Tell whether a program speaks: an agent of this node, or whoever showed the certificate of a workload."""
        return self.kind is PrincipalKind.AGENT or self.name.startswith(WORKLOAD)

    @property
    def is_person(self) -> bool:
        """Tell whether people stand behind it, so that its words are a user's."""
        people = self.kind in (PrincipalKind.OPERATOR, PrincipalKind.CLIENT)
        return people and not self.is_workload

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


class Integrity(StrEnum):
    """How far a value can be trusted, from most to least: what is made of several has the least of them."""

    SYSTEM = "system"
    USER = "user"
    EXTERNAL = "external"
    INFERRED = "inferred"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Where a value comes from and who may read it; computed by the node alone."""

    integrity: Integrity = Integrity.USER
    sources: frozenset[str] = frozenset()
    readers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """The W3C trace context that a call belongs to (Trace Context, level 2)."""

    trace_id: TraceId
    span_id: SpanId
    flags: int = 1

    @property
    def traceparent(self) -> str:
        """Return the header's value."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A nonce, rate token or budget reservation, taken together with the intent or not at all.

    `kind` is `nonce`, `rate` or `budget`; `scope` says whose (`task:T models.calls`), `amount` how
    much, `limit` the ceiling that the sum may reach.
    """

    kind: str
    scope: str
    amount: int = 1
    limit: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Every attempt of an agent, a stranger or an operator to touch something.

    `target` is the agent, host, model or tool. `argument_hash` is a keyed commitment to the
    canonical arguments: what an approval binds to, and what a re-run is matched by. `facts` holds the parts of
    the content that checks need (sizes, a method, a path), never the content. `reserve` bounds what the
    call may spend.
    """

    id: CallId
    principal: Principal
    verb: Verb
    target: str
    effect: EffectClass
    argument_hash: str
    at: datetime
    deadline: datetime
    trace: TraceContext
    size_bytes: int = 0
    parent: CallId | None = None
    task: TaskId | None = None
    labels: tuple[Label, ...] = ()
    warrant: str | None = None
    facts: dict[str, Json] = field(default_factory=dict)
    reserve: Amounts = field(default_factory=dict)


class ObligationKind(StrEnum):
    """What an admitted call must still do."""

    APPROVAL = "approval"
    REDACT = "redact"
    LIMIT = "limit"
    RAISE_TIER = "raise_tier"
    RECORD_FULL = "record_full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation:
    """A condition under which a call is admitted."""

    kind: ObligationKind
    check: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The answer no: which check, a reason that is safe to tell, a detail for the ledger only.

    `approval` is the id of what waits for a person's yes: the same call asked again later may pass.
    """

    check: str
    reason: str
    detail: str = ""
    retry_after_s: float | None = None
    approval: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The answer yes, with what it took and what it still owes."""

    claims: tuple[Claim, ...] = ()
    obligations: tuple[Obligation, ...] = ()


Decision: TypeAlias = Admitted | Refused


class Outcome(StrEnum):
    """How an admitted call ended."""

    OK = "ok"
    FAILED = "failed"
    CANCELED = "canceled"
    PARKED = "parked"


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
