"""A turn that waits or runs, how it may end, and the line in which turns wait."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

import anyio

from hive.core.call import Call
from hive.core.grant import Tier
from hive.core.ids import AgentId, CallId, ContextId, OwnerId, TaskId
from hive.core.task import Artifact, Message
from hive.kernel.playback import Playback
from hive.kernel.replay import Rerun
from hive.security.capability.warrant import Warrant

SAME_OWNER_STREAK_MAX: Final = 16
LOOK_AHEAD_MAX: Final = 32


class CancelSign:
    """Says, once, that a turn is to stop; who runs it is called, so that no task has to wait for it."""

    def __init__(self) -> None:
        self._given = False
        self._hear: Callable[[], object] | None = None

    def is_set(self) -> bool:
        """Tell whether it was given."""
        return self._given

    def set(self) -> None:
        """Give it."""
        if not self._given:
            self._given = True
            if self._hear is not None:
                self._hear()

    @contextmanager
    def heard_by(self, hear: Callable[[], object]) -> Iterator[None]:
        """Call `hear` when it is given, at once if it was already."""
        self._hear = hear
        try:
            if self._given:
                hear()
            yield
        finally:
            self._hear = None


@dataclass(slots=True, kw_only=True)
class TurnJob:
    """One turn to be run for a call that the ledger already holds.

    `opens_context` says that no conversation came before its message. `playback` serves its calls, or
    the first of them, from the record of a run.
    """

    call: Call
    agent: AgentId
    owner: OwnerId
    task: TaskId
    context: ContextId
    message: Message
    opens_context: bool = False
    ancestors: tuple[AgentId, ...] = ()
    ancestor_tasks: tuple[TaskId, ...] = ()
    rerun: Rerun | None = None
    playback: Playback | None = None
    warrant: Warrant | None = None
    attempt: int = 1
    canceled: CancelSign = field(default_factory=CancelSign)


class Ending(StrEnum):
    """How a turn ended."""

    DONE = "done"
    INPUT = "input"
    FAILED = "failed"
    CANCELED = "canceled"
    PARKED = "parked"
    DIED = "died"
    RISES = "rises"


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnd:
    """What a turn left: artifacts, and a word about why where it did not end well; `tier` is where it goes on."""

    ending: Ending
    artifacts: tuple[Artifact, ...] = ()
    message: Message | None = None
    reason: str = ""
    parked_call: CallId | None = None
    tier: Tier | None = None


def left_record(job: TurnJob, end: TurnEnd) -> TurnEnd:
    """Return the end of a turn; one that left the record it was to follow has failed, whatever it says."""
    divergence = None if job.playback is None else job.playback.divergence
    if divergence is None or end.ending in (
        Ending.DIED,
        Ending.PARKED,
        Ending.CANCELED,
        Ending.RISES,
    ):
        return end
    reason = f"the fork left the record at step {divergence.step}: {divergence.reason}"
    return replace(end, ending=Ending.FAILED, message=None, reason=reason)


class TurnQueue:
    """Turns of one agent in the order in which they came, kept together by owner within bounds.

    A sandbox serves one owner, so another owner costs a fresh one: up to sixteen turns in a row are
    taken for the owner who is served, then the oldest has its turn.
    """

    def __init__(self) -> None:
        self._jobs: deque[TurnJob] = deque()
        self._arrived = anyio.Event()
        self._streak = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: TurnJob, *, first: bool = False) -> None:
        """Let a turn wait, at the end or (when it comes back) at the front."""
        if first:
            self._jobs.appendleft(job)
        else:
            self._jobs.append(job)
        self._arrived.set()

    async def take(self, owner: OwnerId | None) -> TurnJob:
        """Wait for the next turn, of `owner` if one is near."""
        while not self._jobs:
            if self._arrived.is_set():  # one event for all who wait: a pool has many
                self._arrived = anyio.Event()
            await self._arrived.wait()
        index = 0
        if owner is not None and self._streak < SAME_OWNER_STREAK_MAX:
            for place, job in enumerate(self._jobs):
                if job.owner == owner or place >= LOOK_AHEAD_MAX:
                    index = place if job.owner == owner else 0
                    break
        job = self._jobs[index]
        del self._jobs[index]
        self._streak = self._streak + 1 if job.owner == owner else 0
        return job

    def holds(self, task: TaskId) -> bool:
        """Tell whether a task's turn waits here."""
        return any(job.task == task for job in self._jobs)

    def withdraw(self, task: TaskId) -> TurnJob | None:
        """Take a waiting turn out of the line."""
        for job in self._jobs:
            if job.task == task:
                self._jobs.remove(job)
                return job
        return None
