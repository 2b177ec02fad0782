"""One turn in a sandbox of its own, beside the agent's queue: nothing of it is written or told.

Its calls are served from a record (`kernel.playback`); what it may write on disk is nothing.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import anyio

from hive.core.call import Verb
from hive.core.errors import StateError
from hive.core.grant import Access, Grant, Tier
from hive.core.ids import SandboxId
from hive.execution.ports import LogLine, Sandbox
from hive.kernel.host_parts import HostParts
from hive.kernel.jobs import TurnEnd, TurnJob
from hive.kernel.places import Placed
from hive.kernel.playback import Playback
from hive.kernel.slots import open_slot
from hive.kernel.turn_begin import begun
from hive.kernel.turn_run import TurnRun
from hive.kernel.turns import RunningTurn

READY_TIMEOUT_S: Final = 60.0
ASIDE_MAX: Final = 2


class SideRuns:
    """Runs turns aside, a few at once."""

    def __init__(self) -> None:
        self._live: dict[SandboxId, Sandbox] = {}
        self._running = 0

    async def run(
        self, job: TurnJob, playback: Playback, grant: Grant, placed: Placed, parts: HostParts
    ) -> TurnEnd:
        """Run a turn to its end, or to the first call that is not in the record.

        Raises:
            StateError: too many run aside already.
            SpecError: the agent cannot be loaded.
            SandboxError: the sandbox did not start.

        """
        if self._running >= ASIDE_MAX:
            raise StateError(
                "Too many replays run at once.",
                why=f"At most {ASIDE_MAX} do.",
                fix="Wait until one has ended.",
            )
        self._running += 1
        try:
            return await self._run(job, playback, _reading(grant), placed, parts)
        finally:
            self._running -= 1

    def kill_all(self, reason: str) -> None:
        """Kill every sandbox at once; may be called from any thread."""
        for sandbox in tuple(self._live.values()):
            sandbox.kill(reason)

    async def _run(
        self, job: TurnJob, playback: Playback, grant: Grant, placed: Placed, parts: HostParts
    ) -> TurnEnd:
        place = placed.at_least(_moved_to(playback))
        async with open_slot(parts, grant, place) as slot:
            self._live[slot.id] = slot.sandbox
            try:
                await slot.sandbox.ready(READY_TIMEOUT_S)
                turn = begun(parts, job, slot.id, grant, playback=playback)
                run = TurnRun(
                    job=job,
                    turn=turn,
                    sandbox=slot.sandbox,
                    clock=parts.clock,
                    tell=lambda _event: None,
                    log=_logging(parts, job),
                )
                return await _until_it_leaves(run, turn, playback, slot.sandbox, parts)
            finally:
                slot.sandbox.kill("the replay is over")
                self._live.pop(slot.id, None)


async def _until_it_leaves(
    run: TurnRun, turn: RunningTurn, playback: Playback, sandbox: Sandbox, parts: HostParts
) -> TurnEnd:
    """Run the turn; where it leaves the record, nothing more can be learned from it."""

    async def watch() -> None:
        await playback.diverged.wait()
        sandbox.kill("the run left its record")

    parts.turns.begin(turn)
    try:
        ends: list[TurnEnd] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            ends.append(await run.run(playback.history, tasks))
            tasks.cancel_scope.cancel()
        return ends[0]
    finally:
        parts.turns.end(turn)


def _moved_to(playback: Playback) -> Tier | None:
    """Return the tier that the recorded run moved up to: its replay begins there."""
    named = [step.target.upper() for step in playback.steps if step.verb == Verb.SPAWN]
    return max((Tier[one] for one in named if one in Tier.__members__), default=None)


def _reading(grant: Grant) -> Grant:
    """Return a grant under which nothing outside the sandbox can be changed."""
    return replace(
        grant, paths=tuple(replace(rule, access=Access.READ) for rule in grant.paths), hosts=()
    )


def _logging(parts: HostParts, job: TurnJob) -> Callable[[LogLine], None]:
    def log(line: LogLine) -> None:
        parts.logs.add(job.agent, f"[replay] {line.text}", level=line.level)

    return log
