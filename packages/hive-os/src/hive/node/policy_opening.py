"""The policy of a node as it opens: put up before anybody may call, and followed from then on."""

from contextlib import AsyncExitStack

from anyio.abc import TaskGroup

from hive.core.clock import Clock
from hive.core.json import Json
from hive.core.settings import Settings
from hive.kernel.record import event
from hive.ledger.writer import LedgerWriter
from hive.security.policy import StandingPolicy


async def open_policy(
    stack: AsyncExitStack,
    tasks: TaskGroup,
    settings: Settings,
    clock: Clock,
    writer: LedgerWriter,
) -> StandingPolicy:
    """Return the policy of a node; what it has to tell goes into the ledger.

    Where none can be put up the node starts all the same, and refuses every call until an operator mends it.
    """

    async def emit(name: str, body: dict[str, Json]) -> None:
        await writer.append(event(name, body, clock=clock))

    policy = StandingPolicy(settings=settings, clock=clock, emit=emit)
    stack.push_async_callback(policy.aclose)
    await policy.open()
    tasks.start_soon(policy.watch)
    return policy
