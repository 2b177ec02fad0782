"""A sandbox with its doors, from its folder to its end: for an agent's queue, or for one turn aside."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from hive.core.grant import Grant
from hive.core.ids import SandboxId, new_id
from hive.execution.ports import Opening
from hive.kernel.host_parts import HostParts, Slot, opened_with
from hive.kernel.places import Placed


@asynccontextmanager
async def open_slot(parts: HostParts, grant: Grant, placed: Placed) -> AsyncIterator[Slot]:
    """Spawn a sandbox whose handle is bound to its own sockets; leaving the context ends both.

    Raises:
        SandboxError: it did not start.

    """
    sandbox_id = SandboxId(new_id(parts.clock, parts.randomness))
    directory = parts.run_directory / sandbox_id[-12:]
    directory.mkdir(mode=0o711, parents=True, exist_ok=False)
    handle = parts.turns.bind(sandbox_id, placed.prepared.spec.name, grant)
    try:
        async with AsyncExitStack() as stack:
            listening = parts.gates.listen(sandbox_id, str(directory))
            doors = await stack.enter_async_context(listening)
            opening = Opening(
                sandbox_id=sandbox_id,
                gate_directory=str(directory),
                environment=opened_with(handle, doors),
            )
            spawned = placed.driver.spawn(placed.prepared, grant, opening)
            sandbox = await stack.enter_async_context(spawned)
            yield Slot(sandbox=sandbox, id=sandbox_id)
    finally:
        parts.turns.unbind(sandbox_id)
        parts.flows.forget(sandbox_id)
        for left in directory.glob("*.sock"):
            left.unlink(missing_ok=True)
        directory.rmdir()
