"""Tasks in memory: the official store's answers, several times as fast, and bounded.

Nothing survives a restart. Where `tasks_max` are kept, the one that was longest not written goes first,
those that have ended before those that live.
"""

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Final

from a2a.server.context import ServerCallContext
from a2a.server.owner_resolver import resolve_user_scope
from a2a.server.tasks import TaskStore
from a2a.types.a2a_pb2 import ListTasksRequest, ListTasksResponse, Task
from a2a.utils.constants import DEFAULT_LIST_TASKS_PAGE_SIZE
from a2a.utils.errors import InvalidParamsError
from a2a.utils.task import (
    ListTasksCursor,
    decode_list_tasks_cursor,
    decode_page_token,
    encode_list_tasks_cursor,
)

from hive_a2a.handler.record import TERMINAL, copy_of

TASKS_MAX: Final = 100_000
LOOK_FOR_ENDED_MAX: Final = 64


class MemoryTaskStore(TaskStore):
    """Keeps copies of tasks per owner; what was given or returned can be changed without harm."""

    def __init__(
        self,
        owner_resolver: Callable[[ServerCallContext], str] = resolve_user_scope,
        *,
        tasks_max: int = TASKS_MAX,
    ) -> None:
        self._owner_of = owner_resolver
        self._tasks_max = tasks_max
        self._owners: dict[str, dict[str, Task]] = {}
        self._written: OrderedDict[tuple[str, str], None] = OrderedDict()

    def __len__(self) -> int:
        """Return how many tasks are kept."""
        return len(self._written)

    async def save(self, task: Task, context: ServerCallContext) -> None:
        """Keep a copy of a task for its owner."""
        owner = self._owner_of(context)
        tasks = self._owners.setdefault(owner, {})
        kept = tasks.get(task.id)
        if kept is None:
            tasks[task.id] = copy_of(task)
        else:
            kept.CopyFrom(task)
        self._written[owner, task.id] = None
        self._written.move_to_end((owner, task.id))
        if len(self._written) > self._tasks_max:
            self._forget(*self._oldest())

    async def get(self, task_id: str, context: ServerCallContext) -> Task | None:
        """Return a copy of an owner's task."""
        tasks = self._owners.get(self._owner_of(context))
        task = tasks.get(task_id) if tasks is not None else None
        return copy_of(task) if task is not None else None

    async def delete(self, task_id: str, context: ServerCallContext) -> None:
        """Forget an owner's task."""
        owner = self._owner_of(context)
        if (owner, task_id) in self._written:
            self._forget(owner, task_id)

    async def list(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        """Return a page of an owner's tasks, those that changed last first.

        Raises:
            InvalidParamsError: the page token names nothing.

        """
        tasks = [
            task
            for task in self._owners.get(self._owner_of(context), {}).values()
            if _wanted(task, params)
        ]
        tasks.sort(key=_sort_key, reverse=True)
        first = _first_of_page(tasks, params.page_token)
        size = params.page_size or DEFAULT_LIST_TASKS_PAGE_SIZE
        last = first + size
        token = encode_list_tasks_cursor(_cursor(tasks[last - 1])) if last < len(tasks) else None
        # The response copies what it is given.
        return ListTasksResponse(
            next_page_token=token,
            tasks=tasks[first:last],
            total_size=len(tasks),
            page_size=size,
        )

    def _oldest(self) -> tuple[str, str]:
        for owner, task_id in islice(self._written, LOOK_FOR_ENDED_MAX):
            if self._owners[owner][task_id].status.state in TERMINAL:
                return owner, task_id
        return next(iter(self._written))

    def _forget(self, owner: str, task_id: str) -> None:
        del self._written[owner, task_id]
        tasks = self._owners[owner]
        del tasks[task_id]
        if not tasks:
            del self._owners[owner]


def _wanted(task: Task, params: ListTasksRequest) -> bool:
    if params.context_id and task.context_id != params.context_id:
        return False
    if params.status and task.status.state != params.status:
        return False
    if not params.HasField("status_timestamp_after"):
        return True
    after_ns = params.status_timestamp_after.ToNanoseconds()
    return _timed(task) and task.status.timestamp.ToNanoseconds() >= after_ns


def _timed(task: Task) -> bool:
    return task.HasField("status") and task.status.HasField("timestamp")


def _sort_key(task: Task) -> tuple[bool, int, str]:
    timed = _timed(task)
    return timed, task.status.timestamp.ToNanoseconds() if timed else 0, task.id


def _cursor(task: Task) -> ListTasksCursor:
    timed, timestamp_ns, task_id = _sort_key(task)
    return ListTasksCursor(timestamp_ns=timestamp_ns if timed else None, task_id=task_id)


def _first_of_page(tasks: "list[Task]", token: str) -> int:
    if not token:
        return 0
    cursor = decode_list_tasks_cursor(token)
    if cursor is not None:
        after = cursor.sort_key()
        return next((i for i, task in enumerate(tasks) if _sort_key(task) < after), len(tasks))
    named = decode_page_token(token)
    for index, task in enumerate(tasks):
        if task.id == named:
            return index
    raise InvalidParamsError(f"Invalid page token: {token}")
