"""Every value that crosses the operator's wire: one answer is one JSON object, a stream one a line.

What an agent said or printed has been stripped of control characters by the node, and is still only text:
whoever shows it, escapes it.
"""

from datetime import datetime
from typing import Any, Literal

import msgspec


class WallStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One wall: whether it stands, and how that was found out."""

    name: str
    stands: bool
    detail: str = ""


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One engine as it says of itself; `port` is what it serves (database, bus, ...)."""

    port: str
    engine: str
    version: str
    embedded: bool
    state: Literal["ok", "degraded", "failed", "starting"] = "ok"
    detail: str = ""


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One node at a glance. `ready_ms` is the time from its start until every door was open."""

    version: str
    node_id: str
    mode: str
    pid: int
    address: str
    state_dir: str
    started_at: datetime
    ready: bool
    ready_ms: float | None = None
    doors: dict[str, bool] = {}
    engines: list[EngineStatus] = []
    walls: list[WallStatus] = []
    tier: str = ""
    agents: int = 0
    tasks_open: int = 0
    ledger_entries: int = 0
    memory_bytes: int = 0
    token_file: str = ""
    degraded: list[str] = []


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Which doors are open."""

    ready: bool
    doors: dict[str, bool]


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What every stranger may know of a node (`/.well-known/hive-mesh.json`)."""

    version: str
    node_id: str
    public_key: str
    doors: dict[str, str]


class AgentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One hosted agent, with what it asked for and what it was given, as lines for people."""

    name: str
    state: str
    tier: str
    description: str = ""
    shape: str = ""
    source: str = ""
    card: str = ""
    walls: list[WallStatus] = []
    needs: list[str] = []
    grant: list[str] = []
    why_tier: str = ""
    digest: str = ""
    sandboxes: int = 0
    turns_running: int = 0
    turns_waiting: int = 0
    restarts: int = 0
    memory_bytes: int = 0
    reason: str = ""
    started_at: datetime | None = None


class TaskSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One task in a list."""

    id: str
    context_id: str
    agent: str
    state: str
    caller: str
    created_at: datetime
    updated_at: datetime
    asked: str = ""
    answer: str = ""


class TaskSummaries(msgspec.Struct, frozen=True, kw_only=True):
    """One page of tasks, newest change first."""

    tasks: list[TaskSummary]
    total: int
    next_cursor: str = ""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a message or artifact; `raw` is base64 on the wire."""

    text: str | None = None
    raw: bytes | None = None
    url: str | None = None
    data: Any = None  # JSON; msgspec cannot decode into the recursive type
    media_type: str = ""
    filename: str = ""


class TaskMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a task's history."""

    role: str
    pieces: list[Piece]


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """One artifact of a task."""

    id: str
    pieces: list[Piece]
    name: str = ""
    description: str = ""


class TaskReport(msgspec.Struct, frozen=True, kw_only=True):
    """One task, whole."""

    summary: TaskSummary
    history: list[TaskMessage] = []
    artifacts: list[Product] = []


class TaskFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which tasks to list."""

    agent: str = ""
    state: str = ""
    context_id: str = ""
    limit: int = 50
    cursor: str = ""


class DeployOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `hive run` asks for: a source on the node's machine, seen from `folder`.

    `mounts` are `HOST[:INSIDE][:ro|rw]`, `hosts` are `NAME[:PORT]`: what the operator named stands
    beside what the source requests. `tools` are `SERVER.TOOL`, `SERVER` or `*`,
    `allow` capabilities with conditions (`tool fs.write path=under:/work`). `confirmed` is the digest of the plan that a person agreed to.
    `safe` deploys under the grant that needs nobody's yes. With `serves_a2a` the command is a server
    of A2A, not spoken to by standard input and output. `bundle` is the signature, where it does not lie beside the source.
    """

    source: str
    folder: str
    name: str = ""
    bundle: str = ""
    mounts: list[str] = []
    hosts: list[str] = []
    tools: list[str] = []
    allow: list[str] = []
    argv: list[str] = []
    serves_a2a: bool = False
    allow_build: bool = False
    confirmed: str = ""
    safe: bool = False


class DeployPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment would grant; `agreed` when this very digest was confirmed before."""

    name: str
    found: str
    lines: list[str]
    safe_lines: list[str]
    digest: str
    agreed: bool
    warnings: list[str] = []


class DeployStep(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened on the way to a running agent.

    `progress` moves a line on a terminal and is nothing else; the other stages are facts, in order,
    and `ready` is the last.
    """

    stage: Literal["progress", "found", "signed", "env", "tier", "card", "ready"]
    text: str
    note: str = ""
    took_ms: float | None = None
    agent: str = ""


class CallOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message of the operator for an agent; with `task_id` it goes on with that task."""

    pieces: list[Piece]
    task_id: str = ""
    context_id: str = ""


class CallEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to a called task.

    `task` comes first. `text` is the readable text of the message or of the piece of an artifact;
    `append` says that it goes on with the artifact before. `refused` ends it: `check` and `text`.
    """

    kind: Literal["task", "status", "artifact", "refused"]
    task_id: str = ""
    context_id: str = ""
    state: str = ""
    text: str = ""
    product: Product | None = None
    append: bool = False
    last_chunk: bool = True
    check: str = ""
    retry_after_s: float | None = None


class LogRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line that an agent printed."""

    at: datetime
    agent: str
    text: str
    level: str = "info"
    task_id: str = ""


class TracedStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a trace, in tree order. `origin` says who claims it: the ledger or the agent."""

    id: str
    depth: int
    name: str
    started_at: datetime
    duration_ms: float | None
    agent: str = ""
    verb: str = ""
    target: str = ""
    outcome: str = ""
    check: str = ""
    detail: str = ""
    origin: Literal["ledger", "node", "agent"] = "ledger"


class TraceTree(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that happened for one task."""

    trace_id: str
    task_id: str
    agent: str
    state: str
    started_at: datetime
    duration_ms: float | None
    steps: list[TracedStep]
    truncated: bool = False


class ChainVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """One chain of the ledger; `first_bad` is the sequence of the first entry that does not fit."""

    chain: str
    entries: int
    head: str
    ok: bool
    first_bad: int | None = None
    reason: str = ""


class AuditVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the whole ledger verifies."""

    ok: bool
    entries: int
    chains: list[ChainVerdict]
    took_ms: float = 0.0


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the ledger; `body` is the exact text that was hashed."""

    chain: str
    sequence: int
    kind: str
    name: str
    at: datetime
    agent: str
    call: str
    task: str
    body: str
    previous_hash: str
    hash: str
    owner: str = ""
    trace_id: str = ""
    span_id: str = ""
    content_id: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `hive doctor`: what was looked at, how it stands, what to do."""

    section: (
        Literal["engines", "walls", "identity", "ports", "disk"]
        | Literal["policy", "trust", "relations", "watchdog", "witnesses"]
        | Literal["versions", "models", "tools", "memory", "settings"]
    )
    name: str
    state: Literal["ok", "degraded", "failed", "unverified", "info"]
    detail: str
    fix: str = ""


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `hive doctor` found."""

    findings: list[Finding]


class BackupDone(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that was written (or read back): what it holds, and that its chain verified."""

    path: str
    size_bytes: int
    sha256: str
    entries: int
    verified: bool
    took_ms: float = 0.0


class TokenOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to be made: for an owner, for some agents (none: all), for some days.

    With a role it is another operator's: `owner` is then the name under which what it does is written down.
    """

    owner: str
    agents: list[str] = []
    days: int = 30
    role: Literal["", "viewer", "approver", "operator", "admin"] = ""


class TokenSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it is kept: never the token itself."""

    id: str
    owner: str
    agents: list[str]
    created_at: datetime
    expires_at: datetime | None = None
    revoked: bool = False
    role: str = ""


class TokenIssued(msgspec.Struct, frozen=True, kw_only=True):
    """A fresh token; it is shown this one time."""

    token: str
    summary: TokenSummary


class ParkedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task that waits for a person: which effect may have happened, and why nobody repeats it."""

    task_id: str
    agent: str
    owner: str
    call: str
    reason: str
    since: datetime


class ParkedDecision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person says of a parked task: do the effect again, or end the task."""

    repeat: bool
