"""One turn, from the frame that wakes the agent to the event that ends it."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Final, cast

import anyio
from anyio.abc import TaskGroup

from hive.core.clock import Clock
from hive.core.errors import SandboxError
from hive.core.ids import ContextId, TaskId, plain_text
from hive.core.task import Artifact, ArtifactAdded, Message, Part, TaskEvent, joined_parts
from hive.execution.ports import (
    ArtifactMade,
    GuestEvent,
    InputNeeded,
    LogLine,
    Sandbox,
    TextChunk,
    Turn,
    TurnDone,
    TurnFailed,
)
from hive.kernel.jobs import Ending, TurnEnd, TurnJob
from hive.kernel.turns import RunningTurn

log = logging.getLogger(__name__)

ARTIFACTS_MAX: Final = 256
PIECES_MAX: Final = 1024
CANCEL_GRACE_S: Final = 2.0
LAST_WORDS_S: Final = 0.02
ANSWER: Final = "answer"


class TurnRun:
    """Runs one turn in one sandbox and collects what it makes."""

    def __init__(
        self,
        *,
        job: TurnJob,
        turn: RunningTurn,
        sandbox: Sandbox,
        clock: Clock,
        tell: Callable[[TaskEvent], None],
        log: Callable[[LogLine], None],
    ) -> None:
        self._job = job
        self._turn = turn
        self._sandbox = sandbox
        self._clock = clock
        self._tell = tell
        self._log = log
        self._artifacts: dict[str, Artifact] = {}
        self._pieces: dict[str, list[Part]] = {}
        self._answer_id = f"{job.call.id}-{ANSWER}"
        self._streamed = False
        self._over = False
        self._stopping: anyio.CancelScope | None = None
        self.killed = False

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Return what the turn has made so far."""
        return tuple(self._artifacts.values())

    async def run(self, history: tuple[Message, ...], tasks: TaskGroup) -> TurnEnd:
        """Run it to its end; a deadline, a cancellation or a crash is an ending like any other.

        What asks the agent to stop runs in `tasks`, and is over when the turn is.
        """
        timeout_s = (self._turn.deadline - self._clock.now()).total_seconds()
        wake = Turn(
            id=self._turn.id,
            task_id=self._job.task,
            context_id=self._job.context,
            message=self._job.message,
            timeout_s=max(0.0, timeout_s),
            history=history,
            traceparent=self._turn.trace.traceparent,
        )
        end: TurnEnd | None = None
        try:
            with (
                self._job.canceled.heard_by(partial(tasks.start_soon, self._stop)),
                anyio.move_on_after(max(0.0, timeout_s) + CANCEL_GRACE_S),
            ):
                end = await self._consume(wake)
        finally:
            self._over = True
            if self._stopping is not None:
                self._stopping.cancel()
        if end is None:
            self._kill("the turn ran past its deadline")
            return self._end(Ending.FAILED, reason="the turn ran past its deadline")
        return self._judge(end)

    def _judge(self, end: TurnEnd) -> TurnEnd:
        if self._turn.parked:
            return replace(
                end,
                ending=Ending.PARKED,
                reason=self._turn.parked,
                parked_call=self._turn.parked_call,
            )
        if self._turn.rises is not None and not self._job.canceled.is_set():
            return replace(end, ending=Ending.RISES, tier=self._turn.rises)
        if self._job.canceled.is_set() and end.ending is not Ending.DONE:
            return replace(end, ending=Ending.CANCELED, reason="canceled")
        if self._sandbox.refused and end.ending in (Ending.DIED, Ending.DONE):
            # It would do the same again; and what it says after it was refused counts for nothing.
            return replace(end, ending=Ending.FAILED, reason=self._sandbox.refused)
        return end

    async def _stop(self) -> None:
        """Ask the agent to stop; kill it where the turn is not over soon after."""
        if self._over:
            return
        with anyio.move_on_after(CANCEL_GRACE_S) as self._stopping:
            try:
                await self._sandbox.cancel(self._turn.id)
            except SandboxError:
                pass  # it is dead, or will be killed
            except Exception:
                log.exception("turn.not_asked_to_stop", extra={"task": self._job.task})
            await anyio.sleep_forever()
        if not self._over:
            self._kill("the agent did not stop when it was asked to")

    def _kill(self, reason: str) -> None:
        self.killed = True
        self._sandbox.kill(reason)

    async def _consume(self, wake: Turn) -> TurnEnd:
        try:
            events = cast("AsyncGenerator[GuestEvent, None]", self._sandbox.run_turn(wake))
            async with aclosing(events):
                return await self._events(events)
        except SandboxError as error:
            return self._end(Ending.DIED, reason=str(error))

    async def _events(self, events: AsyncIterator[GuestEvent]) -> TurnEnd:
        async for event in events:
            match event:
                case TextChunk(text=text):
                    self._chunk(text)
                case ArtifactMade():
                    self._artifact(event.artifact, append=event.append, last=event.last_chunk)
                case LogLine():
                    self._log(event)
                case InputNeeded(message=message):
                    return self._end(Ending.INPUT, message=message)
                case TurnFailed(error=error, canceled=canceled):
                    ending = Ending.CANCELED if canceled else await self._failed_or_died()
                    return self._end(ending, reason=plain_text(error, keep="\n\t"))
                case TurnDone(message=message):
                    self._answer(message)
                    return self._end(Ending.DONE)
        return self._end(Ending.DIED, reason="the turn ended without a word")

    async def _failed_or_died(self) -> Ending:
        """Tell a failure of the agent from the last words of a sandbox whose first process was killed."""
        with anyio.move_on_after(LAST_WORDS_S):
            await self._sandbox.wait_dead()
            return Ending.DIED
        return Ending.FAILED

    def _chunk(self, text: str) -> None:
        self._artifact(
            Artifact(id=self._answer_id, name=ANSWER, parts=(Part(text=text),)),
            append=self._streamed,
            last=False,
        )
        self._streamed = True

    def _answer(self, message: Message | None) -> None:
        if message is None or not message.parts:
            return
        self._join()
        held = self._artifacts.get(self._answer_id)
        if held is not None and joined_parts(held.parts) == joined_parts(message.parts):
            return
        self._artifact(
            Artifact(id=self._answer_id, name=ANSWER, parts=message.parts), append=False, last=True
        )

    def _artifact(self, artifact: Artifact, *, append: bool, last: bool) -> None:
        held = self._artifacts.get(artifact.id)
        if held is None and len(self._artifacts) >= ARTIFACTS_MAX:
            return
        if held is not None and append:
            pieces = self._pieces.setdefault(artifact.id, [])
            pieces.extend(artifact.parts)
            if len(pieces) >= PIECES_MAX:
                self._join()
        else:
            self._pieces.pop(artifact.id, None)
            self._artifacts[artifact.id] = artifact
        self._tell(
            ArtifactAdded(
                task_id=TaskId(self._job.task),
                context_id=ContextId(self._job.context),
                artifact=artifact,
                append=append and held is not None,
                last_chunk=last,
            )
        )

    def _join(self) -> None:
        """Join what was streamed; done rarely, so that a long stream is not copied for each piece."""
        for artifact_id, pieces in self._pieces.items():
            held = self._artifacts[artifact_id]
            parts = joined_parts((*held.parts, *pieces))
            self._artifacts[artifact_id] = replace(held, parts=parts)
        self._pieces.clear()

    def _end(self, ending: Ending, *, message: Message | None = None, reason: str = "") -> TurnEnd:
        self._join()
        return TurnEnd(
            ending=ending,
            artifacts=tuple(self._artifacts.values()),
            message=message,
            reason=reason,
        )
