"""Tasks as their owners see them: get, list, cancel, follow, and the conversation before a message."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from hive.core.call import Principal, PrincipalKind
from hive.core.errors import NotFoundError, StateError
from hive.core.ids import MessageId, TaskId
from hive.core.task import Message, Role, Task, TaskEvent
from hive.kernel.feed import LiveTask, TaskFeed
from hive.kernel.jobs import TurnJob
from hive.kernel.ports import TaskPage, TaskQuery
from hive.ledger.tasks import TaskStore

HISTORY_TASKS_MAX: Final = 20
REPLAYED_TASKS_MAX: Final = 100


class TaskDesk:
    """Reads tasks from memory while they are under way, from the store when they rest."""

    def __init__(self, store: TaskStore, feed: TaskFeed) -> None:
        self._store = store
        self._feed = feed

    async def get(self, principal: Principal, task_id: TaskId) -> Task:
        """Return a task that the caller may see.

        Raises:
            NotFoundError: there is none, or it is another owner's.

        """
        live = self._feed.get(task_id)
        task = live.task if live is not None else await self._store.get(task_id)
        if task is None or not may_see(principal, task):
            raise _missing(task_id)
        return task

    async def page(self, principal: Principal, query: TaskQuery) -> TaskPage:
        """List the tasks that the caller may see, newest change first."""
        inside = principal.kind is PrincipalKind.AGENT
        page = await self._store.page(
            owner=principal.owner,
            caller=str(principal) if inside else None,
            context_id=query.context_id,
            state=query.state,
            agent=query.agent,
            changed_after=query.changed_after,
            limit=query.limit,
            cursor=query.cursor,
        )
        tasks = []
        for task in page.tasks:
            live = self._feed.get(task.id)
            tasks.append(task if live is None else live.task)
        return TaskPage(tasks=tuple(tasks), total=page.total, next_cursor=page.next_cursor)

    @asynccontextmanager
    async def follow(
        self, principal: Principal, task_id: TaskId
    ) -> AsyncIterator[AsyncIterator[TaskEvent]]:
        """Subscribe to a task that is under way.

        Raises:
            NotFoundError: there is none, or it is another owner's.
            StateError: it has ended.

        """
        live = await self.live(principal, task_id)
        if live.task.state.terminal:
            raise StateError(
                f"The task is {live.task.state.value}: there is nothing to follow.",
                fix="Get the task instead.",
            )
        # A task that waits for its client has nothing new to tell until the client speaks.
        yield live.watch()

    async def live(self, principal: Principal, task_id: TaskId) -> LiveTask:
        """Return a task as it can be waited for, also while its agent is still being brought back.

        Raises:
            NotFoundError: there is none, or it is another owner's.

        """
        task = await self.get(principal, task_id)
        known = self._feed.get(task_id)
        if known is not None:
            return known
        if task.state.terminal or task.state.interrupted:
            return LiveTask(task, at_rest=True)
        return self._feed.open(task)

    async def history(self, job: TurnJob) -> tuple[Message, ...]:
        """Return the conversation before a turn's message: earlier tasks of the context, then its own."""
        if job.opens_context:
            return ()
        page = await self._store.page(
            owner=job.owner, context_id=job.context, agent=job.agent, limit=HISTORY_TASKS_MAX
        )
        messages: list[Message] = []
        for task in sorted(page.tasks, key=lambda one: one.created_at):
            if _shared(task, job.call.principal):
                messages += _spoken(task)
        return tuple(one for one in messages if one.id != job.message.id)

    async def history_before(
        self, task: Task, message: Message, caller: Principal
    ) -> tuple[Message, ...]:
        """Return the conversation as it was before a message of a task that may have ended since."""
        page = await self._store.page(
            owner=task.owner, context_id=task.context_id, agent=task.agent, limit=REPLAYED_TASKS_MAX
        )
        earlier = [one for one in page.tasks if one.created_at < task.created_at]
        messages: list[Message] = []
        for one in sorted(earlier, key=lambda one: one.created_at)[-HISTORY_TASKS_MAX:]:
            if _shared(one, caller):
                messages += _spoken(one)
        for own in task.history:
            if own.id == message.id:
                break
            messages.append(own)
        return tuple(messages)


def may_see(principal: Principal, task: Task) -> bool:
    """Tell whether a task is the caller's own: an owner sees his, an agent those that it made."""
    if task.owner != principal.owner:
        return False
    return principal.kind is not PrincipalKind.AGENT or task.caller == str(principal)


def _shared(task: Task, principal: Principal) -> bool:
    """Tell whether a task belongs to a caller's conversation: agents and their owner each have their own."""
    if principal.kind is PrincipalKind.AGENT:
        return task.caller == str(principal)
    return not task.caller.startswith(f"{PrincipalKind.AGENT}:")


def _spoken(task: Task) -> list[Message]:
    said = list(task.history)
    parts = tuple(part for artifact in task.artifacts for part in artifact.parts)
    if parts:
        said.append(
            Message(
                id=MessageId(f"{task.id}-answer"),
                role=Role.AGENT,
                parts=parts,
                context_id=task.context_id,
                task_id=task.id,
            )
        )
    return said


def _missing(task_id: TaskId) -> NotFoundError:
    return NotFoundError(
        f"There is no task {task_id!r}.", why="It does not exist, or is not yours."
    )
