"""The command's way into `hive.node`: run one here, or open its records while none runs.

The one place that imports the node, and only when a verb needs it: that import is the dear one.
"""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.lowlevel

from hive.core.settings import Settings
from hive.ledger.cost import CostReport
from hive.web.ports import Console
from hive.web.secrets import Rekeyed
from hive.web.spend import CostQuestion
from hive.web.values import BackupDone, Examination

if TYPE_CHECKING:
    from hive.execution.component_build import BuildOrder, BuiltComponent
    from hive.node.proofs import NodeProofs
    from hive.web.proofs import RecordLine

Result = TypeVar("Result")


def serve(settings: Settings, work: Callable[[], bool]) -> bool:
    """Run a node in this process; when it is ready, do `work` on a thread beside it.

    `work` speaks to the node over its control socket like any other command. The node stays until a
    signal when `work` returns true, else it ends. Returns whether a signal ended it.

    Raises:
        HiveError: the node did not start, or `work` raised it.

    """
    return anyio.run(
        _serve, settings, work, backend="asyncio", backend_options={"use_uvloop": True}
    )


async def _serve(settings: Settings, work: Callable[[], bool]) -> bool:
    from hive.node import run_node

    interrupted = False
    failure: list[Exception] = []

    async with anyio.create_task_group() as tasks:

        async def watch_signals() -> None:
            nonlocal interrupted
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    interrupted = True
                    tasks.cancel_scope.cancel()
                    return

        async def on_ready(_console: Console) -> None:
            if not await _beside(work, failure):
                tasks.cancel_scope.cancel()

        tasks.start_soon(watch_signals)
        await anyio.lowlevel.checkpoint()
        await run_node(settings, on_ready=on_ready)
        tasks.cancel_scope.cancel()
    if failure and not interrupted:
        raise failure[0]
    return interrupted


async def _beside(work: Callable[[], bool], failure: list[Exception]) -> bool:
    """Run `work` on a thread that never holds the process back; return whether the node stays.

    A pool's thread would be waited for at the end, and this one may wait for a person's answer.
    """
    loop = asyncio.get_running_loop()
    done = anyio.Event()
    answer: list[bool] = []

    def run() -> None:
        try:
            answer.append(work())
        except Exception as error:  # noqa: BLE001  it is raised again when the node has ended
            failure.append(error)
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="hive-command", daemon=True).start()
    await done.wait()
    return bool(answer and answer[0])


def offline(settings: Settings, ask: Callable[[Console], Awaitable[Result]]) -> Result:
    """Open the records of a node that does not run, ask once, and close them."""

    async def run() -> Result:
        from hive.node import open_offline

        async with open_offline(settings) as console:
            return await ask(console)

    return anyio.run(run, backend="asyncio", backend_options={"use_uvloop": True})


def proved(settings: Settings, ask: "Callable[[NodeProofs], Awaitable[Result]]") -> Result:
    """Prove something about the records of a node that does not run."""

    async def run() -> Result:
        from hive.node.alone import open_proofs

        async with open_proofs(settings) as proofs:
            return await ask(proofs)

    return anyio.run(run, backend="asyncio", backend_options={"use_uvloop": True})


def recorded(settings: Settings) -> "list[RecordLine]":
    """Return the whole record of a node that does not run."""

    async def read(proofs: "NodeProofs") -> "list[RecordLine]":
        return [line async for line in proofs.record()]

    return proved(settings, read)


def summed_cost(settings: Settings, question: CostQuestion) -> CostReport:
    """Sum the records of a node that does not run."""

    async def run() -> CostReport:
        from hive.node.spend import offline_cost

        return await offline_cost(settings, question)

    return anyio.run(run, backend="asyncio", backend_options={"use_uvloop": True})


def change_master_key(settings: Settings, file: Path) -> Rekeyed:
    """Wrap all keys with another master key while no node runs."""

    async def run() -> Rekeyed:
        from hive.node.rekey import change_master_key as change

        return await change(settings, file)

    return anyio.run(run, backend="asyncio", backend_options={"use_uvloop": True})


def examine(settings: Settings) -> Examination:
    """Examine engines, walls and models while no node runs."""

    async def run() -> Examination:
        from hive.node import examine as look

        return await look(settings)

    return anyio.run(run, backend="asyncio", backend_options={"use_uvloop": True})


def build(
    settings: Settings, order: "BuildOrder", on_line: Callable[[str], None]
) -> "BuiltComponent":
    """Build a component; no node is needed."""

    async def run() -> "BuiltComponent":
        from hive.node.building import build_alone

        return await build_alone(settings, order, on_line)

    return anyio.run(run, backend="asyncio", backend_options={"use_uvloop": True})


def restore(settings: Settings, path: str) -> BackupDone:
    """Read a backup into the state folder."""

    async def run() -> BackupDone:
        from hive.node import restore_backup

        return await restore_backup(settings, path)

    return anyio.run(run, backend="asyncio", backend_options={"use_uvloop": True})
