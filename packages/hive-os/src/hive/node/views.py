"""The kernel's values as the operator's wire shows them: nothing is decided here."""

from collections.abc import Sequence
from typing import Final

from hive.core.ids import plain_text
from hive.core.task import Artifact, ArtifactAdded, Message, Part, StatusChanged, Task, TaskEvent
from hive.execution.confirm import grant_lines
from hive.execution.ports import Wall
from hive.kernel.ports import AgentLog, AgentView
from hive.ledger.entry import Entry
from hive.web.values import (
    AgentStatus,
    AuditRecord,
    CallEvent,
    LogRecord,
    Piece,
    Product,
    TaskMessage,
    TaskReport,
    TaskSummary,
    WallStatus,
)

EXCERPT_MAX_CHARS = 200

QUARANTINED: Final = "quarantined"


def wall_list(walls: Sequence[Wall]) -> list[WallStatus]:
    """Show walls."""
    return [WallStatus(name=w.name, stands=w.stands, detail=w.detail) for w in walls]


def agent_status(
    view: AgentView,
    *,
    base_url: str,
    memory_bytes: int = 0,
    why_tier: str = "",
    shut_in: bool = False,
) -> AgentStatus:
    """Show an agent; one in quarantine says so, whatever it was doing."""
    spec = view.spec
    return AgentStatus(
        name=spec.name,
        state=QUARANTINED if shut_in else view.state.value,
        tier=view.tier.name.lower(),
        description=plain_text(spec.description),
        shape=view.description.shape if view.description else "",
        source=source_text(view),
        card=f"{base_url}/a2a/{spec.name}",
        walls=wall_list(view.walls),
        needs=grant_lines(spec.needs),
        grant=grant_lines(view.grant),
        why_tier=why_tier,
        digest=view.grant.digest,
        sandboxes=view.sandboxes,
        turns_running=view.turns_running,
        turns_waiting=view.turns_waiting,
        restarts=view.restarts,
        memory_bytes=memory_bytes,
        reason=plain_text(view.reason),
        started_at=view.started_at,
    )


def source_text(view: AgentView) -> str:
    """Say in one line where an agent comes from."""
    entry = view.spec.entry
    place = entry.url or entry.source
    path = f"/{entry.path}" if entry.path else ""
    attribute = f":{entry.attribute}" if entry.attribute else ""
    return plain_text(f"{place}{path}{attribute}") or " ".join(entry.argv)


def task_summary(task: Task) -> TaskSummary:
    """Show a task in a list."""
    return TaskSummary(
        id=task.id,
        context_id=task.context_id,
        agent=task.agent,
        state=task.state.value,
        caller=task.caller,
        created_at=task.created_at,
        updated_at=task.updated_at,
        asked=_excerpt(task.history[0].text if task.history else ""),
        answer=_excerpt(answer_text(task)),
    )


def task_report(task: Task) -> TaskReport:
    """Show a task whole."""
    return TaskReport(
        summary=task_summary(task),
        history=[
            TaskMessage(role=message.role.value, pieces=pieces(message.parts))
            for message in task.history
        ],
        artifacts=[product(artifact) for artifact in task.artifacts],
    )


def answer_text(task: Task) -> str:
    """Return the readable text of a task's answer, or what its status says."""
    parts = [part for artifact in task.artifacts for part in artifact.parts]
    text = "".join(part.text for part in parts if part.text is not None)
    if text or task.status_message is None:
        return text
    return task.status_message.text


def product(artifact: Artifact) -> Product:
    """Show an artifact."""
    return Product(
        id=artifact.id,
        pieces=pieces(artifact.parts),
        name=plain_text(artifact.name),
        description=plain_text(artifact.description),
    )


def pieces(parts: Sequence[Part]) -> list[Piece]:
    """Show parts."""
    return [
        Piece(
            text=part.text,
            raw=part.raw,
            url=part.url,
            data=part.data,
            media_type=part.media_type,
            filename=plain_text(part.filename),
        )
        for part in parts
    ]


def parts_of(given: Sequence[Piece]) -> tuple[Part, ...]:
    """Read what an operator sent."""
    return tuple(
        Part(
            text=piece.text,
            raw=piece.raw,
            url=piece.url,
            data=piece.data,
            has_data=piece.text is None and piece.raw is None and piece.url is None,
            media_type=piece.media_type,
            filename=piece.filename,
        )
        for piece in given
    )


def call_event(event: TaskEvent) -> CallEvent:
    """Show what happened to a called task."""
    match event:
        case Task():
            return CallEvent(
                kind="task",
                task_id=event.id,
                context_id=event.context_id,
                state=event.state.value,
                text=answer_text(event),
            )
        case StatusChanged():
            return CallEvent(
                kind="status",
                task_id=event.task_id,
                context_id=event.context_id,
                state=event.state.value,
                text=_text_of(event.message),
            )
        case ArtifactAdded():
            return CallEvent(
                kind="artifact",
                task_id=event.task_id,
                context_id=event.context_id,
                text="".join(p.text for p in event.artifact.parts if p.text is not None),
                product=product(event.artifact),
                append=event.append,
                last_chunk=event.last_chunk,
            )


def log_record(line: AgentLog) -> LogRecord:
    """Show a line that an agent printed."""
    return LogRecord(
        at=line.at, agent=line.agent, text=line.text, level=line.level, task_id=line.task_id or ""
    )


def audit_record(entry: Entry) -> AuditRecord:
    """Show an entry of the ledger."""
    return AuditRecord(
        chain=entry.chain,
        sequence=entry.sequence,
        kind=entry.kind.value,
        name=entry.name,
        at=entry.at,
        agent=entry.agent,
        call=entry.call or "",
        task=entry.task or "",
        body=entry.body,
        previous_hash=entry.previous_hash,
        hash=entry.hash,
        owner=entry.owner,
        trace_id=entry.trace_id,
        span_id=entry.span_id,
        content_id=entry.content_id,
    )


def _text_of(message: Message | None) -> str:
    return "" if message is None else message.text


def _excerpt(text: str) -> str:
    one_line = " ".join(plain_text(text.replace("\n", " ")).split())
    if len(one_line) <= EXCERPT_MAX_CHARS:
        return one_line
    return one_line[: EXCERPT_MAX_CHARS - 1] + "…"
