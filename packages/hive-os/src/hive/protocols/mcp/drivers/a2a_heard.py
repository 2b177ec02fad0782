"""What is heard of a task at an A2A agent, put together from the events of its stream."""

import base64
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from hive.core.clock import Clock
from hive.core.ids import AgentId, CallId, ContextId, MessageId, OwnerId, TaskId, new_id
from hive.core.randomness import SystemRandomness
from hive.core.task import Artifact, Message, Part, Role, Task, TaskState, joined_parts

PARTS_MAX: Final = 4096


@dataclass(slots=True)
class HeardTask:
    """What was heard of one task, put together from its events."""

    clock: Clock
    task_id: str = ""
    context_id: str = ""
    state: TaskState = TaskState.SUBMITTED
    said: Message | None = None
    size_bytes: int = 0
    made: dict[str, tuple[Part, ...]] = field(default_factory=dict)

    @property
    def at_rest(self) -> bool:
        """Tell whether nothing more comes by itself."""
        return self.state.terminal or self.state.interrupted

    def take(self, event: dict[str, Any]) -> str:
        """Take one event; return what it says to somebody who waits."""
        if "message" in event:
            self._name(event["message"], "taskId")
            self.said, self.state = self._message(event["message"]), TaskState.COMPLETED
            return ""
        if "task" in event:
            task = event["task"]
            self._name(task, "id")
            self.made = {}
            for artifact in task.get("artifacts", ()):
                self._artifact(artifact, append=False)
            return self._status(task.get("status", {}))
        if "statusUpdate" in event:
            self._name(event["statusUpdate"], "taskId")
            return self._status(event["statusUpdate"].get("status", {}))
        if "artifactUpdate" in event:
            update = event["artifactUpdate"]
            self._name(update, "taskId")
            return self._artifact(update.get("artifact", {}), append=bool(update.get("append")))
        return ""

    def task(self) -> Task:
        """Return the task as it was heard."""
        now = self.clock.now()
        unnamed = new_id(self.clock, SystemRandomness())
        artifacts = tuple(
            Artifact(id=name, parts=joined_parts(parts)) for name, parts in self.made.items()
        )
        return Task(
            id=TaskId(self.task_id or unnamed),
            context_id=ContextId(self.context_id or unnamed),
            agent=AgentId("remote"),
            owner=OwnerId(""),
            caller="",
            call=CallId(""),
            state=self.state,
            created_at=now,
            updated_at=now,
            status_message=self.said,
            artifacts=artifacts,
        )

    def _name(self, wire: dict[str, Any], key: str) -> None:
        self.task_id = str(wire.get(key) or self.task_id)
        self.context_id = str(wire.get("contextId") or self.context_id)

    def _status(self, status: dict[str, Any]) -> str:
        name = str(status.get("state", "")).removeprefix("TASK_STATE_").lower()
        with suppress(ValueError):
            self.state = TaskState(name)
        self.said = self._message(status["message"]) if "message" in status else None
        return "" if self.said is None or self.state.terminal else self.said.text

    def _artifact(self, artifact: dict[str, Any], *, append: bool) -> str:
        name = str(artifact.get("artifactId") or "artifact")
        parts = self._parts(artifact)
        self.made[name] = (self.made.get(name, ()) if append else ()) + parts
        return "".join(part.text or "" for part in parts)

    def _message(self, wire: dict[str, Any]) -> Message:
        name = MessageId(str(wire.get("messageId") or "message"))
        return Message(id=name, role=Role.AGENT, parts=self._parts(wire))

    def _parts(self, wire: dict[str, Any]) -> tuple[Part, ...]:
        parts = tuple(map(_part_of, wire.get("parts", ())[:PARTS_MAX]))
        self.size_bytes += sum(len(part.text or "") + len(part.raw or b"") for part in parts)
        return parts


def _part_of(wire: dict[str, Any]) -> Part:
    raw = wire.get("raw")
    return Part(
        text=wire.get("text"),
        raw=base64.b64decode(raw) if isinstance(raw, str) else None,
        url=wire.get("url"),
        data=wire.get("data"),
        has_data="data" in wire,
        media_type=str(wire.get("mediaType", "")),
        filename=str(wire.get("filename", "")),
    )
