"""A turn as it begins in a sandbox, in an agent's queue or aside."""

from datetime import timedelta

from hive.core.grant import Grant
from hive.core.ids import SandboxId, TurnId, new_id
from hive.kernel.host_parts import HostParts
from hive.kernel.jobs import TurnJob
from hive.kernel.playback import Playback
from hive.kernel.turns import RunningTurn


def begun(
    parts: HostParts,
    job: TurnJob,
    sandbox: SandboxId,
    grant: Grant,
    *,
    playback: Playback | None = None,
) -> RunningTurn:
    """Return the turn that a job becomes in a sandbox; its deadline counts from now."""
    limit = parts.clock.now() + timedelta(seconds=grant.limits.turn_timeout_s)
    return RunningTurn(
        id=TurnId(new_id(parts.clock, parts.randomness)),
        sandbox=sandbox,
        agent=job.agent,
        owner=job.owner,
        task=job.task,
        call=job.call.id,
        trace=job.call.trace,
        deadline=limit,
        grant=grant,
        ancestors=job.ancestors,
        ancestor_tasks=job.ancestor_tasks,
        rerun=job.rerun,
        playback=playback or job.playback,
        warrant=job.warrant,
    )
