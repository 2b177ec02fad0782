"""The wasm tier: an agent as a WebAssembly component, in a host process outside the node.

Nothing reaches a component but the functions of its world (`component/agent.wit`), each a call through the gate; there is no
WASI. The engine keeps it inside its own memory, and around the host process stand the walls of the process tier.
"""

import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup, TaskStatus

from hive.core.clock import Clock, SystemClock
from hive.core.errors import HiveError, SandboxError, SpecError, TierUnavailableError
from hive.core.grant import Grant, Limits, PathRule, Tier
from hive.core.ids import SandboxId, TurnId
from hive.execution.components import Runtime, compile_component, find_runtime
from hive.execution.drivers.process_sandbox import measure
from hive.execution.drivers.wasm_hosts import (
    ComponentHost,
    HostLauncher,
    HostSeat,
    remove_links,
    seated,
)
from hive.execution.enforcement import Guarding
from hive.execution.ports import (
    Description,
    GuestEvent,
    LogLine,
    Opening,
    Prepared,
    Probe,
    SandboxStats,
    Turn,
    Wall,
    WalledCommand,
)

IDLE_S: Final = 60.0
PROBE_TIMEOUT_S: Final = 60.0
COMPONENT_WALL: Final = "component"
PROBE: Final = Path(__file__).parent.parent / "component" / "probe.wat"


class WasmSandbox:
    """One instance of a component."""

    def __init__(self, sandbox_id: SandboxId, seat: HostSeat) -> None:
        self._id = sandbox_id
        self._seat = seat

    @property
    def id(self) -> SandboxId:
        """Return its id."""
        return self._id

    @property
    def tier(self) -> Tier:
        """Return its class of isolation."""
        return Tier.WASM

    @property
    def walls(self) -> Sequence[Wall]:
        """Return the engine's wall, and those around its host process."""
        return (_ENGINE_WALL, *self._seat.host.launched.walls)

    @property
    def pid(self) -> int:
        """Return the host process's pid; an instance has none of its own."""
        return self._seat.host.launched.pid

    @property
    def refused(self) -> str:
        """Say for what the kernel ended its host process; empty where it did not."""
        return self._seat.host.launched.refused

    async def ready(self, timeout_s: float) -> Description:
        """Return what it is: the host has tried the component, so there is nothing to wait for.

        Raises:
            SandboxError: it is gone already.

        """
        if self._seat.dead.is_set():
            raise SandboxError("The sandbox died.", why=self._seat.reason)
        return _DESCRIPTION

    def run_turn(self, turn: Turn) -> AsyncIterator[GuestEvent]:
        """Run one turn; the last event is InputNeeded, TurnDone or TurnFailed.

        Raises:
            GuestError: the host broke the protocol.
            SandboxError: the instance died before the turn ended.

        """
        return self._seat.channel.run_turn(turn)

    async def cancel(self, turn: TurnId) -> None:
        """Stop the turn; it still ends with an event."""
        await self._seat.channel.cancel(turn)

    async def wait_dead(self) -> str:
        """Wait until the instance is gone; return why."""
        await self._seat.dead.wait()
        return self._seat.reason

    async def stats(self) -> SandboxStats:
        """Measure its share of its host: the engine does not tell what one instance uses."""
        host = self._seat.host
        whole = await to_thread.run_sync(measure, host.launched)
        count = max(1, len(host.seats))
        return SandboxStats(
            memory_bytes=whole.memory_bytes // count,
            processes=0,
            cpu_s=whole.cpu_s / count,
        )

    def kill(self, reason: str) -> None:
        """End it at once; may be called from any thread, more than once."""
        self._seat.kill(reason)


_ENGINE_WALL: Final = Wall(
    name=COMPONENT_WALL, stands=True, detail="a memory of its own and no imports but the gate's"
)


_DESCRIPTION: Final = Description(shape="component", streams=True)


@dataclass(slots=True)
class _Kept:
    """A host and when it is to go."""

    host: ComponentHost
    done: anyio.Event
    used: int = 0
    round: int = 0


class WasmDriver:
    """Spawns components in host processes; the next host is started before it is needed."""

    tier: Tier = Tier.WASM

    def __init__(
        self,
        *,
        walls_min: Sequence[str] = (),
        on_log: Callable[[SandboxId, LogLine], None] | None = None,
        clock: Clock | None = None,
        idle_s: float = IDLE_S,
    ) -> None:
        self._clock = clock or SystemClock()
        self._on_log = on_log
        self._idle_s = idle_s
        self._walls = tuple(one for one in walls_min if one != COMPONENT_WALL)
        self._launcher = HostLauncher(walls_min=self._walls, clock=clock)
        self._hosts: dict[str, _Kept] = {}
        self._spare: dict[Path, _Kept] = {}
        self._live: dict[SandboxId, HostSeat] = {}
        self._opening = anyio.Lock()
        self._tasks: TaskGroup | None = None

    @property
    def guarding(self) -> Guarding | None:
        """Return who guards the host processes."""
        return self._launcher.guarding

    @guarding.setter
    def guarding(self, guarding: Guarding | None) -> None:
        self._launcher.guarding = guarding

    async def __aenter__(self) -> "WasmDriver":
        """Start nothing yet: the first component, or the probe, does."""
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop every host."""
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            tasks.cancel_scope.cancel()
            await tasks.__aexit__(None, None, None)
        self._launcher.close()

    def first_process(self, sandbox: SandboxId) -> int:
        """Return the host process of a live sandbox, 0 where there is none."""
        seat = self._live.get(sandbox)
        return 0 if seat is None or seat.dead.is_set() else seat.host.launched.pid

    async def probe(self) -> Probe:
        """Compile a small component, run it, stop one that loops, and tell which walls stood."""
        try:
            runtime = find_runtime()
            with tempfile.TemporaryDirectory() as top, anyio.fail_after(PROBE_TIMEOUT_S):
                return await self._tried(runtime, Path(top))
        except (HiveError, TimeoutError, OSError) as error:
            why = getattr(error, "why", "") or str(error)
            return Probe(tier=Tier.WASM, scheme="wasm", available=False, walls=(), reason=why)

    async def _tried(self, runtime: Runtime, top: Path) -> Probe:
        compiled, work = top / "probe.cwasm", top / "work"
        work.mkdir()
        await compile_component(
            self._launcher, runtime, PROBE, compiled, work=work, on_line=_nothing
        )
        opening = Opening(sandbox_id=SandboxId("probe"), gate_directory=str(top), environment={})
        began = self._clock.monotonic()
        starting = self._launcher.host(
            runtime, top / "host", memory_bytes=64 << 20, on_line=_nothing
        )
        async with starting as host:
            await host.load(compiled)
            start_ms = (self._clock.monotonic() - began) * 1000
            walls = tuple(host.launched.walls)
            seat = seated(host, opening, Limits(), self._clock)
            await seat.channel.ready(PROBE_TIMEOUT_S)
        missing = sorted(set(self._walls) - {w.name for w in walls if w.stands})
        return Probe(
            tier=Tier.WASM,
            scheme="wasm",
            available=not missing,
            walls=(_ENGINE_WALL, *walls),
            reason=f"these walls do not stand: {', '.join(missing)}" if missing else "",
            start_ms=start_ms,
        )

    @asynccontextmanager
    async def spawn(
        self, prepared: Prepared, grant: Grant, opening: Opening
    ) -> AsyncIterator[WasmSandbox]:
        """Start an instance; leaving the context ends it.

        Raises:
            TierUnavailableError: wasmtime is missing, or a demanded wall cannot be built.
            SandboxError: its host did not start, or the component does not load.

        """
        # What may move up imports the functions of WASI; here they lead nowhere.
        wasi = bool(grant.tiers)
        key = f"{prepared.spec.name}\0{prepared.digest}\0{grant.limits.memory_bytes}\0{wasi}"
        kept = self._hosts.get(key)
        if kept is None or kept.host.gone:
            kept = await self._host_of(
                key, prepared, Path(opening.gate_directory).parent, wasi=wasi
            )
        kept.used += 1
        seat = seated(kept.host, opening, grant.limits, self._clock)
        self._live[opening.sandbox_id] = seat
        try:
            yield WasmSandbox(opening.sandbox_id, seat)
        finally:
            self._live.pop(opening.sandbox_id, None)
            seat.reason = seat.reason or "its sandbox was closed"
            seat.channel.close()
            remove_links(kept.host.folder, seat.number)
            kept.used -= 1
            kept.round += 1
            if not kept.used and self._tasks is not None:
                self._tasks.start_soon(self._retire, kept, kept.round)

    async def run(
        self,
        argv: Sequence[str],
        *,
        mounts: Sequence[PathRule],
        opening: Opening,
        limits: Limits,
        timeout_s: float,
        on_line: Callable[[str], None],
    ) -> int:
        """Refuse: this tier runs components, no commands.

        Raises:
            SandboxError: always.

        """
        raise _no_commands()

    def open(
        self,
        argv: Sequence[str],
        *,
        mounts: Sequence[PathRule],
        opening: Opening,
        limits: Limits,
        on_line: Callable[[str], None],
    ) -> AbstractAsyncContextManager[WalledCommand]:
        """Refuse: this tier runs components, no commands.

        Raises:
            SandboxError: always.

        """
        raise _no_commands()

    async def _host_of(self, key: str, prepared: Prepared, folder: Path, *, wasi: bool) -> _Kept:
        """Return the live host of an agent's component, or give a warm one its component."""
        compiled = Path(prepared.argv[0])
        async with self._opening:
            kept = self._hosts.get(key)
            if kept is not None and not kept.host.gone:
                return kept
            kept = self._spare.pop(folder, None)
            if kept is None or kept.host.gone:
                kept = await self._start(folder)
            try:
                await kept.host.load(compiled, wasi=wasi)
            except SandboxError as error:
                kept.done.set()
                raise SpecError(f"{prepared.spec.name} cannot be loaded.", why=error.why) from error
            self._hosts[key] = kept
            if self._tasks is not None:
                self._tasks.start_soon(self._warm, folder)
            return kept

    async def _start(self, folder: Path) -> _Kept:
        if self._tasks is None:
            raise SandboxError("The wasm tier is closed.")
        started: _Kept | HiveError = await self._tasks.start(self._hold, folder)
        if isinstance(started, HiveError):
            raise started
        return started

    async def _warm(self, folder: Path) -> None:
        """Start the next host, so that the next agent does not wait for one."""
        async with self._opening:
            if folder in self._spare:
                return
        try:
            kept = await self._start(folder)
        except HiveError:
            return
        if folder in self._spare:
            kept.done.set()
        else:
            self._spare[folder] = kept

    async def _hold(self, folder: Path, *, task_status: TaskStatus[_Kept | HiveError]) -> None:
        """Keep a host alive until it is done or dead."""
        begun = False
        try:
            runtime = find_runtime()
            starting = self._launcher.host(
                runtime,
                folder / f"w{secrets.token_hex(5)}",
                memory_bytes=HOST_SHARE_BYTES,
                on_line=_nothing,
            )
            async with starting as host:
                kept = _Kept(host, anyio.Event())
                begun = True
                task_status.started(kept)
                async with anyio.create_task_group() as ends:
                    ends.start_soon(_first, host.launched.dead, ends.cancel_scope)
                    ends.start_soon(_first, kept.done, ends.cancel_scope)
        except (SandboxError, TierUnavailableError) as error:
            if not begun:
                task_status.started(error)

    async def _retire(self, kept: _Kept, at: int) -> None:
        """Let a host go that nobody has used for a while."""
        await anyio.sleep(self._idle_s)
        if not kept.used and kept.round == at:
            for key in [key for key, one in self._hosts.items() if one is kept]:
                del self._hosts[key]
            kept.done.set()


HOST_SHARE_BYTES: Final = 2 << 30


async def _first(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _no_commands() -> SandboxError:
    return SandboxError(
        "The wasm tier runs no commands.", why="A component has no processes and no files."
    )


def _nothing(_line: str) -> None:
    """Drop a line."""
