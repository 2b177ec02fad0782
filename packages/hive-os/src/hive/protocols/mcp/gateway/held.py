"""Calls that wait inside for their client: a server with a session asks, its client has none.

The call to the server stays open. The client gets an InputRequiredResult, and its next request with the
answers goes on where the call waits. Calls are bounded in number and in time, and each belongs to one
caller and its arguments.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from hive.core.json import Json
from hive.protocols.mcp.gateway.couriers import QUESTION_WAIT_S, CallBounds
from hive.protocols.mcp.gateway.seals import CallBinding
from hive.protocols.mcp.ports import Courier, McpError, McpObject

log: Final = logging.getLogger(__name__)
HELD_MAX: Final = 256
HELD_PER_OWNER_MAX: Final = 16
INVALID_PARAMS: Final = -32602
INTERNAL: Final = -32603

Run: TypeAlias = Callable[[Courier], Awaitable[McpObject]]
"""The call, given whom its server may ask."""


@dataclass(slots=True)
class _Question:
    method: str
    params: McpObject
    answered: anyio.Event = field(default_factory=anyio.Event)
    answer: McpObject = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class HeldCall:
    """One call that may wait; the courier of its server at the same time."""

    binding: CallBinding
    revision: str
    client: Mapping[str, Json]
    wait_s: float
    room: Callable[[CallBinding], bool]
    listener: Courier | None = None
    bounds: CallBounds = field(default_factory=CallBounds)
    questions: dict[str, _Question] = field(default_factory=dict)
    changed: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    asked: int = 0
    result: McpObject | None = None
    error: McpError | None = None
    over: bool = False

    async def notify(self, method: str, params: McpObject) -> None:
        """Pass a notification to whoever waits for the answer now; between two rounds nobody does."""
        if self.listener is not None and self.bounds.note(params):
            await self.listener.notify(method, params)

    async def ask(self, method: str, params: McpObject) -> McpObject:
        """Wait for the client to come back with an answer; a call that it forgets is ended."""
        self.bounds.question(method, params, self.client)
        if not self.room(self.binding):
            raise McpError(INTERNAL, "Too many calls wait for answers of clients.")
        self.asked += 1
        key = f"question-{self.asked}"
        self.questions[key] = question = _Question(method, params)
        self.changed.set()
        try:
            with anyio.move_on_after(self.wait_s):
                await question.answered.wait()
                return question.answer
        finally:
            self.questions.pop(key, None)
        self.scope.cancel()
        await anyio.lowlevel.checkpoint()
        raise McpError(INTERNAL, "The client did not answer in time.")


class HeldCalls:
    """All calls that may wait. They live while the context of `running` is open."""

    def __init__(
        self,
        *,
        held_max: int = HELD_MAX,
        per_owner_max: int = HELD_PER_OWNER_MAX,
        wait_s: float = QUESTION_WAIT_S,
    ) -> None:
        self._max = held_max
        self._per_owner_max = per_owner_max
        self._wait_s = wait_s
        self._held: dict[str, HeldCall] = {}
        self._group: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold calls while the context is open."""
        async with anyio.create_task_group() as self._group:
            try:
                yield
            finally:
                self._group.cancel_scope.cancel()
                self._group = None

    @property
    def count(self) -> int:
        """Return how many there are."""
        return len(self._held)

    async def begin(
        self,
        key: str,
        binding: CallBinding,
        courier: Courier,
        client: Mapping[str, Json],
        run: Run,
    ) -> McpObject | None:
        """Run a call until it ends or its server asks; None where it waits for answers under `key`.

        Raises:
            McpError: the call ended so.

        """
        if self._group is None:
            raise McpError(INTERNAL, "The gateway is closing.")
        held = HeldCall(binding, courier.revision, client, self._wait_s, self._room)
        self._held[key] = held
        self._group.start_soon(self._run, key, held, run)
        return await self._wait(held, courier)

    async def resume(
        self, key: str, binding: CallBinding, courier: Courier, answers: Mapping[str, Json]
    ) -> McpObject | None:
        """Hand a waiting call its answers and wait on; None where it waits again.

        Raises:
            McpError: the call ended so, or there is none.

        """
        held = self._held.get(key)
        if held is None or held.binding != binding or held.listener is not None:
            raise McpError(INVALID_PARAMS, "The call does not wait any more.")
        for name, question in list(held.questions.items()):
            answer = answers.get(name)
            if isinstance(answer, dict):
                question.answer = answer
                question.answered.set()
                held.questions.pop(name, None)
        return await self._wait(held, courier)

    def questions(self, key: str) -> McpObject:
        """Return what a waiting call asks, by the key of each question."""
        held = self._held.get(key)
        if held is None:
            return {}
        return {
            name: {"method": one.method, "params": one.params}
            for name, one in held.questions.items()
        }

    def _room(self, binding: CallBinding) -> bool:
        waiting = [one.binding for one in self._held.values() if one.questions]
        mine = sum(one.owner == binding.owner for one in waiting)
        return len(waiting) < self._max and mine < self._per_owner_max

    async def _run(self, key: str, held: HeldCall, run: Run) -> None:
        with held.scope:
            try:
                held.result = await run(held)
            except McpError as error:
                held.error = error
            except Exception:  # one call that crashes must not take the others along
                log.exception("mcp.held_call_crashed")
                held.error = McpError(INTERNAL, "The call could not be made.")
            finally:
                self._held.pop(key, None)
                held.over = True
                held.changed.set()
        held.changed.set()

    async def _wait(self, held: HeldCall, courier: Courier) -> McpObject | None:
        held.listener = courier
        try:
            while not held.over and not held.questions:
                held.changed = anyio.Event()
                await held.changed.wait()
        except BaseException:
            # Whoever waited for it has gone: so has the reason to go on.
            held.scope.cancel()
            raise
        finally:
            held.listener = None
        if not held.over:
            return None
        if held.error is not None:
            raise held.error
        if held.result is None:
            raise McpError(INTERNAL, "The call was cut off.")
        return held.result
