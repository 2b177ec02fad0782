"""What an entry does to tasks: contents sealed, effects named in the entry's body, rows for the projection.

A `Projection` gathers the moves of a whole batch, so that each task is written once per transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from hive.core.errors import StateError
from hive.core.ids import OwnerId, TaskId, printable
from hive.core.json import Json, encode
from hive.core.task import ArtifactAdded, Message, MessageAdded, StatusChanged, Task, TaskMove
from hive.ledger.contents import Contents, SealedContent
from hive.ledger.entry import time_text
from hive.ledger.stored import artifact_bytes, message_bytes, metadata_bytes

MESSAGE: Final = "message"
ARTIFACT: Final = "artifact"


@dataclass(slots=True, kw_only=True)
class SealedMove:
    """One move without plaintext. `task` is set where the move creates it; `links` are in order."""

    task_id: TaskId
    at: datetime
    task: Task | None = None
    state: str | None = None
    status: str | None = None
    data: str = ""
    links: list[tuple[str, str]] = field(default_factory=list)

    def told(self) -> dict[str, Json]:
        """Return what the entry's body says of this move, so that the hash covers it."""
        told: dict[str, Json] = {"task": self.task_id}
        if self.task is not None:
            told |= {"context": self.task.context_id, "agent": self.task.agent}
            told |= {"owner": self.task.owner, "caller": self.task.caller, "data": self.data}
        if self.state is not None:
            told["state"] = self.state
        if self.status is not None:
            told["status"] = self.status
        if self.links:
            told["contents"] = [[kind, content] for kind, content in self.links]
        return told


class MoveSealer:
    """Seals the contents of one draft's moves for the draft's owner."""

    def __init__(self, contents: Contents, owner: OwnerId) -> None:
        self._contents = contents
        self._owner = owner
        self.sealed: list[SealedContent] = []

    async def seal(self, move: TaskMove, at: datetime) -> SealedMove:
        """Seal one move; the ciphertexts gather in `sealed`."""
        match move:
            case Task():
                return await self._task(move)
            case StatusChanged():
                return SealedMove(
                    task_id=move.task_id,
                    at=move.at,
                    state=move.state.value,
                    status=await self._message(move.message),
                )
            case MessageAdded():
                link = (MESSAGE, await self._message(move.message))
                return SealedMove(task_id=move.task_id, at=at, links=[link])
            case ArtifactAdded():
                link = (ARTIFACT, await self.content(artifact_bytes(move)))
                return SealedMove(task_id=move.task_id, at=at, links=[link])

    async def content(self, plaintext: bytes) -> str:
        """Seal one content; return its id."""
        one = await self._contents.seal(self._owner, plaintext)
        self.sealed.append(one)
        return one.id

    async def _message(self, message: Message | None) -> str:
        return "" if message is None else await self.content(message_bytes(message))

    async def _task(self, task: Task) -> SealedMove:
        sealed = SealedMove(
            task_id=task.id,
            at=task.updated_at,
            task=task,
            state=task.state.value,
            status=await self._message(task.status_message),
        )
        if task.metadata:
            sealed.data = await self.content(metadata_bytes(task.metadata))
        for message in task.history:
            sealed.links.append((MESSAGE, await self._message(message)))
        for artifact in task.artifacts:
            added = ArtifactAdded(task_id=task.id, context_id=task.context_id, artifact=artifact)
            sealed.links.append((ARTIFACT, await self.content(artifact_bytes(added))))
        return sealed


@dataclass(slots=True)
class Projection:
    """The moves of a batch, folded: rows to insert, rows to change, contents to link."""

    created: dict[str, dict[str, Json]] = field(default_factory=dict)
    changed: dict[str, dict[str, Json]] = field(default_factory=dict)
    links: list[Json] = field(default_factory=list)

    def fits(self, moves: Sequence[SealedMove]) -> bool:
        """Tell whether moves can be folded in; else they go into a later batch and are judged there."""
        for move in moves:
            row = self.created.get(move.task_id) or self.changed.get(move.task_id)
            if row is not None and (move.task is not None or not _may_follow(row, move)):
                return False
        return True

    def fold(self, moves: Sequence[SealedMove]) -> None:
        """Fold the moves of one entry in.

        Raises:
            StateError: they contradict each other: a task made twice, or moved after its end.

        """
        for move in moves:
            if not self.fits([move]):
                raise StateError(
                    f"Task {printable(move.task_id)} cannot move so.",
                    why="One entry would make it twice, or move it after its end.",
                    fix="Write the moves in entries of their own.",
                )
            self._fold(move)

    def _fold(self, move: SealedMove) -> None:
        if move.task is not None:
            self.created[move.task_id] = _row(move.task, move)
        elif move.task_id in self.created:
            _change(self.created[move.task_id], move, "updated_at", "status_content")
        else:
            row = self.changed.setdefault(
                move.task_id, {"id": move.task_id, "state": None, "status": None}
            )
            _change(row, move, "at", "status")
        self.links += [[move.task_id, kind, content] for kind, content in move.links]

    def arguments(self) -> tuple[str | None, str | None, str | None]:
        """Return the three JSON arguments of `ledger_append`."""

        def text(rows: list[Json]) -> str | None:
            return encode(rows).decode() if rows else None

        return (
            text(list(self.created.values())),
            text(list(self.changed.values())),
            text(self.links),
        )


_ENDED: Final = frozenset({"completed", "failed", "canceled", "rejected"})


def _may_follow(row: dict[str, Json], move: SealedMove) -> bool:
    return move.state is None or row["state"] not in _ENDED or row["state"] == move.state


def _change(row: dict[str, Json], move: SealedMove, time_column: str, status_column: str) -> None:
    row[time_column] = time_text(move.at)
    if move.state is not None:
        row["state"] = move.state
    if move.status is not None:
        row[status_column] = move.status


def _row(task: Task, move: SealedMove) -> dict[str, Json]:
    return {
        "id": task.id,
        "context_id": task.context_id,
        "agent": task.agent,
        "owner": task.owner,
        "caller": task.caller,
        "call": task.call,
        "state": move.state,
        "created_at": time_text(task.created_at),
        "updated_at": time_text(task.updated_at),
        "status_content": move.status,
        "data_content": move.data,
    }
