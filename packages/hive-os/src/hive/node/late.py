"""A gate that is named before it is built: the egress door and the kernel need each other."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from hive.core.budget import Amounts
from hive.core.call import Principal, Refused
from hive.core.ids import AgentId, SandboxId, TaskId
from hive.core.task import Message, Task, TaskEvent
from hive.kernel.ports import Act, Attempt, Delivery, Gate, Passage, TaskPage, TaskQuery


class LateGate(Gate):
    """Hands every question on to the gate that stands by then."""

    def __init__(self, gate: Callable[[], Gate]) -> None:
        self._gate = gate

    def resolve_handle(self, sandbox: SandboxId, handle: str) -> Principal | Refused:
        """Return who is calling from this sandbox now."""
        return self._gate().resolve_handle(sandbox, handle)

    def room(self, principal: Principal) -> Amounts:
        """Return what the tightest ceilings leave this caller now."""
        return self._gate().room(principal)

    def deliver(self, attempt: Attempt, act: Act) -> AbstractAsyncContextManager[Refused | Passage]:
        """Admit, record the intent, act, record the result."""
        return self._gate().deliver(attempt, act)

    async def send(self, attempt: Attempt, agent: AgentId, message: Message) -> Refused | Delivery:
        """Admit a message for an agent, make it durable, wake the agent."""
        return await self._gate().send(attempt, agent, message)

    async def task(self, principal: Principal, task: TaskId) -> Task:
        """Return a task that the caller may see."""
        return await self._gate().task(principal, task)

    async def tasks(self, principal: Principal, query: TaskQuery) -> TaskPage:
        """List the tasks that the caller may see."""
        return await self._gate().tasks(principal, query)

    async def cancel(self, principal: Principal, task: TaskId) -> Task:
        """Cancel a task."""
        return await self._gate().cancel(principal, task)

    def follow(
        self, principal: Principal, task: TaskId
    ) -> AbstractAsyncContextManager[AsyncIterator[TaskEvent]]:
        """Subscribe to a task."""
        return self._gate().follow(principal, task)

    def on_change(self, observer: Callable[[TaskEvent], Awaitable[None]]) -> Callable[[], None]:
        """Call `observer` after every change of any task."""
        return self._gate().on_change(observer)
