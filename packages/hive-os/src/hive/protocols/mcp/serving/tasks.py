"""Long work as a handle that is asked for later: the extension `io.modelcontextprotocol/tasks` (2026-07-28).

A service that begins long work answers `tools/call` with `handle(work)` where `declared(courier)` says that
the client understands it. What the client asks of the handle later goes to a `WorkDesk`, which reads and
writes the wire and leaves the rest to a `LongTasks`: tasks of agents, work in memory, calls that wait
for a person's yes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Protocol

from hive.core.json import Json
from hive.protocols.mcp.ports import NEWEST, Courier, McpError, McpObject, Visitor

EXTENSION: Final = "io.modelcontextprotocol/tasks"
MISSING_CAPABILITY: Final = -32021
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
METHODS: Final = ("tasks/get", "tasks/update", "tasks/cancel")
POLL_MS: Final = 500
ANSWERS_MAX: Final = 64
TASK_ID_MAX_CHARS: Final = 128


class WorkState(StrEnum):
    """Where long work stands, in the words of the extension."""

    WORKING = "working"
    INPUT_REQUIRED = "input_required"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Tell whether it has ended for good."""
        return self in (WorkState.COMPLETED, WorkState.FAILED, WorkState.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class LongTask:
    """One piece of long work as its client may see it.

    `questions` are requests to the client by a key that is never used again; `result` is what the call
    would have answered, `error` an error of JSON-RPC in its place. `ttl_ms` None: it is kept.
    """

    id: str
    state: WorkState
    created_at: datetime
    changed_at: datetime
    said: str = ""
    ttl_ms: int | None = None
    poll_ms: int = POLL_MS
    result: McpObject | None = None
    error: McpObject | None = None
    questions: Mapping[str, McpObject] = field(default_factory=dict)


class LongTasks(Protocol):
    """Who keeps long work. What is another owner's does not exist for a visitor."""

    async def find(self, visitor: Visitor, task_id: str) -> LongTask | None:
        """Return the work of an id as it stands now, None where this visitor has none."""
        ...

    async def provide(
        self, visitor: Visitor, task_id: str, answers: Mapping[str, McpObject]
    ) -> None:
        """Take a client's answers to questions; those to questions that are not open are dropped.

        Raises:
            McpError: an answer cannot be taken.

        """
        ...

    async def cancel(self, visitor: Visitor, task_id: str) -> None:
        """End it; work that has ended stays as it is."""
        ...


class WorkDesk:
    """Answers what clients ask of handles."""

    def __init__(self, tasks: LongTasks) -> None:
        self._tasks = tasks

    async def answer(
        self, visitor: Visitor, method: str, params: McpObject, courier: Courier
    ) -> McpObject:
        """Answer one of `METHODS`.

        Raises:
            McpError: the method is another, the client did not declare the extension, or there is no
                such work.

        """
        if method not in METHODS or courier.revision < NEWEST:
            raise McpError(METHOD_NOT_FOUND, f"There is no method {method[:100]}.")
        require(courier)
        task_id = params.get("taskId")
        if not isinstance(task_id, str) or not 0 < len(task_id) <= TASK_ID_MAX_CHARS:
            raise McpError(INVALID_PARAMS, "taskId is missing.")
        work = await self._tasks.find(visitor, task_id)
        if work is None:
            raise McpError(INVALID_PARAMS, "There is no such task.")
        if method == "tasks/get":
            return detailed(work)
        if method == "tasks/cancel":
            await self._tasks.cancel(visitor, task_id)
        else:
            answers = answers_in(params)
            await self._tasks.provide(
                visitor,
                task_id,
                {key: one for key, one in answers.items() if key in work.questions},
            )
        return {"resultType": "complete"}


def capability() -> McpObject:
    """Return what a service says among the `extensions` of its capabilities."""
    return {EXTENSION: {}}


def declared(courier: Courier) -> bool:
    """Tell whether a client understands handles."""
    extensions = courier.client.get("extensions")
    known = isinstance(extensions, dict) and EXTENSION in extensions
    return known and courier.revision >= NEWEST


def require(courier: Courier) -> None:
    """Let a client pass that understands handles.

    Raises:
        McpError: it did not say so (-32021).

    """
    if declared(courier):
        return
    wanted: Json = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
    raise McpError(MISSING_CAPABILITY, f"The client has to declare {EXTENSION}.", wanted)


def handle(work: LongTask) -> McpObject:
    """Write the answer of a call that goes on."""
    return {"resultType": "task", **_task(work)}


def detailed(work: LongTask) -> McpObject:
    """Write work whole: with its result, its error or its questions."""
    wire: McpObject = {"resultType": "complete", **_task(work)}
    if work.state is WorkState.COMPLETED:
        wire["result"] = dict(work.result or {"content": []})
    elif work.state is WorkState.FAILED:
        wire["error"] = dict(work.error or {"code": -32603, "message": "It failed."})
    elif work.state is WorkState.INPUT_REQUIRED:
        wire["inputRequests"] = dict(work.questions)
    return wire


def answers_in(params: McpObject) -> dict[str, McpObject]:
    """Return the answers of a client, by the key of their question.

    Raises:
        McpError: they are not what the standard wants.

    """
    answers = params.get("inputResponses")
    if not isinstance(answers, dict) or len(answers) > ANSWERS_MAX:
        raise McpError(INVALID_PARAMS, "inputResponses is an object with answers by key.")
    found: dict[str, McpObject] = {}
    for key, one in answers.items():
        if not isinstance(one, dict):
            raise McpError(INVALID_PARAMS, "An answer in inputResponses is an object.")
        found[key] = one
    return found


def moment(at: datetime) -> str:
    """Write a moment as the extension has it: ISO 8601, in UTC, with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _task(work: LongTask) -> McpObject:
    wire: McpObject = {
        "taskId": work.id,
        "status": work.state.value,
        "createdAt": moment(work.created_at),
        "lastUpdatedAt": moment(work.changed_at),
        "ttlMs": work.ttl_ms,
        "pollIntervalMs": work.poll_ms,
    }
    if work.said:
        wire["statusMessage"] = work.said
    return wire
