"""One agent behind the walls of the process tier, as the kernel's supervisor handles it."""

import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from hive.core.errors import GuestError, SandboxError
from hive.core.grant import Tier
from hive.core.ids import SandboxId, TurnId
from hive.execution.guest_channel import GuestChannel
from hive.execution.launcher_sandbox import LaunchedSandbox
from hive.execution.ports import Description, GuestEvent, SandboxStats, Turn, Wall

OUTBOX_WATCH_S: Final = 1.0
OUTBOX_FILES_MAX: Final = 10_000
EXPLAIN_TIMEOUT_S: Final = 1.0
MEMBERS_MAX: Final = 4096
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class ProcessSandbox:
    """A sandbox of the process tier."""

    def __init__(
        self,
        sandbox_id: SandboxId,
        launched: LaunchedSandbox,
        channel: GuestChannel,
        tier: Tier = Tier.PROCESS,
    ) -> None:
        self._tier = tier
        self._id = sandbox_id
        self._launched = launched
        self._channel = channel

    @property
    def id(self) -> SandboxId:
        """Return its id."""
        return self._id

    @property
    def tier(self) -> Tier:
        """Return its class of isolation."""
        return self._tier

    @property
    def walls(self) -> Sequence[Wall]:
        """Return the walls around this very sandbox."""
        return self._launched.walls

    @property
    def pid(self) -> int:
        """Return the host pid of its first process."""
        return self._launched.pid

    @property
    def refused(self) -> str:
        """Say for what the kernel ended it; empty where it did not."""
        return self._launched.refused

    async def ready(self, timeout_s: float) -> Description:
        """Wait until the agent is loaded.

        Raises:
            SandboxError: it died; the last lines it printed stand in `why`.
            SpecError: the guest could not find or use the agent.

        """
        try:
            return await self._channel.ready(timeout_s)
        except GuestError:
            raise
        except SandboxError as error:
            raise await self._explained(error) from error

    async def run_turn(self, turn: Turn) -> AsyncIterator[GuestEvent]:
        """Run one turn; the last event is InputNeeded, TurnDone or TurnFailed.

        Raises:
            GuestError: the guest broke the protocol; the sandbox is dead.
            SandboxError: the sandbox died before the turn ended.

        """
        events = self._channel.run_turn(turn)
        try:
            async for event in events:
                yield event
        except GuestError:
            raise
        except SandboxError as error:
            raise await self._explained(error) from error
        finally:
            if isinstance(events, AsyncGenerator):
                await events.aclose()

    async def cancel(self, turn: TurnId) -> None:
        """Ask the agent to stop; the turn still ends with an event."""
        await self._channel.cancel(turn)

    async def wait_dead(self) -> str:
        """Wait until the sandbox is gone; return why."""
        await self._launched.dead.wait()
        return self._launched.reason

    async def stats(self) -> SandboxStats:
        """Measure it."""
        return await to_thread.run_sync(measure, self._launched)

    def kill(self, reason: str) -> None:
        """Kill everything inside at once; may be called from any thread, more than once."""
        self._launched.kill(reason)

    async def _explained(self, error: SandboxError) -> SandboxError:
        """Say why the sandbox died, if that is what broke the channel."""
        with anyio.move_on_after(EXPLAIN_TIMEOUT_S, shield=True):
            await self._launched.dead.wait()
        if not self._launched.dead.is_set():
            return error
        printed = self._launched.printed
        return SandboxError(
            "The sandbox died.",
            why=self._launched.reason + (f" It printed last:{printed}" if printed else ""),
            fix=error.fix,
        )


@asynccontextmanager
async def watch_outbox(
    launched: LaunchedSandbox, folder: str, size_max_bytes: int
) -> AsyncIterator[None]:
    """Kill the sandbox when its outbox, which lies on the node's disk, grows past its limit."""
    if not folder:
        yield
        return
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_watch, launched, Path(folder), size_max_bytes)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised again below, outside the task group
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _watch(launched: LaunchedSandbox, folder: Path, size_max_bytes: int) -> None:
    while not launched.dead.is_set():
        with anyio.move_on_after(OUTBOX_WATCH_S):
            await launched.dead.wait()
        if await to_thread.run_sync(_outbox_is_full, folder, size_max_bytes):
            launched.kill(f"Its outbox holds more than {size_max_bytes} bytes or too many files.")
            return


def _outbox_is_full(folder: Path, size_max_bytes: int) -> bool:
    size = files = 0
    for place, _, names in os.walk(folder, followlinks=False):
        files += len(names) + 1
        for name in names:
            with contextlib.suppress(OSError):
                size += Path(place, name).lstat().st_blocks * 512
            if size > size_max_bytes or files > OUTBOX_FILES_MAX:
                return True
    return files > OUTBOX_FILES_MAX


def measure(launched: LaunchedSandbox) -> SandboxStats:
    """Add up what the processes of a sandbox use; nothing for a dead one."""
    members = [] if launched.dead.is_set() else _members(launched)
    memory, ticks, counted = 0, 0, 0
    for pid in members:
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])
            memory += _own_bytes(pid)
            counted += 1
    return SandboxStats(memory_bytes=memory, processes=counted, cpu_s=ticks / _TICKS_PER_S)


def _own_bytes(pid: int) -> int:
    """Return a process's proportional memory; where that may not be read, what it does not share."""
    with contextlib.suppress(OSError):
        for line in Path("/proc", str(pid), "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    _, resident, shared, *_ = Path("/proc", str(pid), "statm").read_text().split()
    return (int(resident) - int(shared)) * _PAGE_BYTES


def _members(launched: LaunchedSandbox) -> list[int]:
    """Return the host pids of all processes inside, at most `MEMBERS_MAX`."""
    if launched.group_processes:
        with contextlib.suppress(OSError):
            listed = Path(launched.group_processes, "cgroup.procs").read_text().split()
            if listed:
                return [int(pid) for pid in listed[:MEMBERS_MAX]]
    found = [launched.pid] if launched.pid else []
    for pid in found:
        for task in Path("/proc", str(pid), "task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in task.read_text().split()]
        if len(found) > MEMBERS_MAX:
            break
    return found[:MEMBERS_MAX]
