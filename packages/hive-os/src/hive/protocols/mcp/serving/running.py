"""Long work of this process alone, behind the port `LongTasks`: for servers whose work may end with them.

Work is one coroutine; it may say where it is and ask its client. Nothing is durable, every number is bounded.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

import anyio
from anyio.abc import TaskGroup

from hive.core.clock import Clock
from hive.core.ids import new_id
from hive.core.randomness import Randomness
from hive.protocols.mcp.ports import McpError, McpObject, Visitor
from hive.protocols.mcp.serving.tasks import LongTask, WorkState

log: Final = logging.getLogger(__name__)
WORK_MAX: Final = 1000
WORK_PER_OWNER_MAX: Final = 100
TTL_MS: Final = 3_600_000
INTERNAL: Final = -32603


class WorkHand:
    """What work has in its hand: a word for who looks, and questions to its client."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.said = ""
        self.questions: dict[str, McpObject] = {}
        self._answers: dict[str, McpObject] = {}
        self._asked = 0
        self._all_there = anyio.Event()
        self._changed = changed

    def say(self, text: str) -> None:
        """Say where the work is."""
        self.said = text
        self._changed()

    async def ask(self, *requests: McpObject) -> list[McpObject]:
        """Ask the client and wait for all answers; each request is `{"method", "params"}`."""
        keys = [f"input-{self._asked + number}" for number in range(len(requests))]
        self._asked += len(requests)
        self.questions = dict(zip(keys, requests, strict=True))
        self._answers, self._all_there = {}, anyio.Event()
        self._changed()
        await self._all_there.wait()
        return [self._answers[key] for key in keys]

    def take(self, answers: Mapping[str, McpObject]) -> None:
        """Take answers; the work goes on once none is missing."""
        for key, one in answers.items():
            if self.questions.pop(key, None) is not None:
                self._answers[key] = one
        self._changed()
        if not self.questions:
            self._all_there.set()


Work: TypeAlias = Callable[[WorkHand], Awaitable[McpObject]]
"""The work behind a handle: what it returns is the result of the call."""


@dataclass(slots=True, kw_only=True)
class _Held:
    """One piece of work, its owner, and what it came to."""

    id: str
    whose: tuple[str, str]
    created_at: datetime
    changed_at: datetime
    hand: WorkHand = field(init=False)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    state: WorkState = WorkState.WORKING
    result: McpObject | None = None
    error: McpObject | None = None


class RunningTasks:
    """Work that runs while the context of `running` is open."""

    def __init__(self, clock: Clock, randomness: Randomness, *, work_max: int = WORK_MAX) -> None:
        self._clock = clock
        self._randomness = randomness
        self._work_max = work_max
        self._held: dict[str, _Held] = {}
        self._group: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run work while the context is open."""
        async with anyio.create_task_group() as self._group:
            try:
                yield
            finally:
                self._group.cancel_scope.cancel()

    def start(self, visitor: Visitor, work: Work) -> LongTask:
        """Begin work and return it as it stands.

        Raises:
            McpError: there is too much of it.

        """
        self._forget_old()
        if self._group is None or len(self._held) >= self._work_max:
            raise McpError(INTERNAL, "There is too much work; try again later.")
        whose = _owner(visitor)
        own = sum(1 for one in self._held.values() if one.whose == whose)
        if own >= WORK_PER_OWNER_MAX:
            raise McpError(INTERNAL, "Too much of your work is under way; wait for some of it.")
        now = self._clock.now()
        held = _Held(
            id=new_id(self._clock, self._randomness),
            whose=whose,
            created_at=now,
            changed_at=now,
        )
        held.hand = WorkHand(lambda: self._touch(held))
        self._held[held.id] = held
        self._group.start_soon(self._run, held, work)
        return _shown(held)

    async def find(self, visitor: Visitor, task_id: str) -> LongTask | None:
        """Return the work of an id."""
        held = self._of(visitor, task_id)
        return None if held is None else _shown(held)

    async def provide(
        self, visitor: Visitor, task_id: str, answers: Mapping[str, McpObject]
    ) -> None:
        """Take a client's answers."""
        held = self._of(visitor, task_id)
        if held is not None:
            held.hand.take(answers)

    async def cancel(self, visitor: Visitor, task_id: str) -> None:
        """End work."""
        held = self._of(visitor, task_id)
        if held is not None and not held.state.ended:
            held.scope.cancel()
            self._end(held, WorkState.CANCELLED)

    async def _run(self, held: _Held, work: Work) -> None:
        with held.scope:
            try:
                held.result = await work(held.hand)
                self._end(held, WorkState.COMPLETED)
            except McpError as error:
                held.error = {"code": error.code, "message": error.message}
                if error.data is not None:
                    held.error["data"] = error.data
                self._end(held, WorkState.FAILED)
            except Exception:  # one piece of work that crashes must not take the others along
                log.exception("mcp.work_crashed")
                held.error = {"code": INTERNAL, "message": "The work crashed."}
                self._end(held, WorkState.FAILED)

    def _end(self, held: _Held, state: WorkState) -> None:
        held.state = state
        held.hand.questions = {}
        self._touch(held)

    def _touch(self, held: _Held) -> None:
        held.changed_at = self._clock.now()

    def _of(self, visitor: Visitor, task_id: str) -> _Held | None:
        held = self._held.get(task_id)
        return held if held is not None and held.whose == _owner(visitor) else None

    def _forget_old(self) -> None:
        now = self._clock.now()
        for held in [one for one in self._held.values() if one.state.ended]:
            if (now - held.changed_at).total_seconds() * 1000 > TTL_MS:
                del self._held[held.id]


def _owner(visitor: Visitor) -> tuple[str, str]:
    return str(visitor.principal), str(visitor.principal.owner)


def _shown(held: _Held) -> LongTask:
    state = held.state
    if state is WorkState.WORKING and held.hand.questions:
        state = WorkState.INPUT_REQUIRED
    return LongTask(
        id=held.id,
        state=state,
        created_at=held.created_at,
        changed_at=held.changed_at,
        said=held.hand.said,
        ttl_ms=TTL_MS,
        result=held.result,
        error=held.error,
        questions=dict(held.hand.questions),
    )
