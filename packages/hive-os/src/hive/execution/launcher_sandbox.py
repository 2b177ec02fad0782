"""A sandbox that the launcher forked, as the node sees it: its reports, its lines, its end.

The node trusts the reports until the agent's program runs; after that only the kernel's word counts (the
process handle, the exit status, the cgroup).
"""

import contextlib
import io
import json
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVarTuple

import anyio

from hive.core.clock import Clock
from hive.core.errors import SandboxError, TierUnavailableError
from hive.execution.enforcement import SandboxGuard
from hive.execution.launcher_link import LauncherLink
from hive.execution.launcher_logs import READ_BYTES, PrintedLines
from hive.execution.launcher_tree import GUARDED
from hive.execution.ports import Wall
from hive.execution.walls.plan import WALL_NAMES, SandboxPlan

Given = TypeVarTuple("Given")

START_TIMEOUT_S: Final = 20.0
DEATH_TIMEOUT_S: Final = 5.0
REPORT_MAX_BYTES: Final = 64 << 10
OVERRUN_PAUSE_S: Final = 0.01
_STAGES_THAT_MEAN_UNAVAILABLE: Final = (
    "namespaces",
    "user",
    "mounts",
    "landlock",
    "seccomp",
    "walls",
)


class StreamEnds(NamedTuple):
    """The node's ends of a command's standard input and output; they never block."""

    given: io.FileIO
    told: io.FileIO


@dataclass(kw_only=True)
class LaunchedSandbox:
    """The node's hold on one sandbox."""

    turn_socket: socket.socket
    lines: PrintedLines
    memory_bytes: int
    pid: int = 0
    uid: int = 0
    streams: StreamEnds | None = None
    walls: tuple[Wall, ...] = ()
    group_memory: str = ""
    group_processes: str = ""
    group_marks: str = ""
    guard: SandboxGuard | None = None
    refused: str = ""
    exit_code: int | None = None
    oom_kills: int = 0
    dead: anyio.Event = field(default_factory=anyio.Event)
    _started: anyio.Event = field(default_factory=anyio.Event)
    _handle: int = -1
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _killed_for: str = ""
    _failure: tuple[str, str] | None = None

    def kill(self, reason: str) -> None:
        """Kill everything inside; any thread may call it, and more than once."""
        with self._lock:
            if not self._killed_for and not self.dead.is_set():
                self._killed_for = reason or "killed"
            if self._handle >= 0:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def refuse(self, reason: str) -> None:
        """Kill everything inside for what it did; any thread may call it, and more than once."""
        self.refused = self.refused or reason
        self.kill(reason)

    @property
    def failed(self) -> bool:
        """Tell whether it ended before its program ran."""
        return self._failure is not None

    @property
    def reason(self) -> str:
        """Say why it is dead, for people."""
        if self._killed_for:
            return self._killed_for
        if self._failure is not None:
            return f"It could not be built ({self._failure[0]}): {self._failure[1]}"
        if self.oom_kills and self.exit_code != 0:
            return f"The kernel killed it for memory: the limit is {self.memory_bytes} bytes."
        return _ending(self.exit_code)

    @property
    def printed(self) -> str:
        """Return the last lines that it printed."""
        return "".join(f"\n  {line}" for line in self.lines.tail)

    async def started(self) -> None:
        """Wait until the agent's program runs.

        Raises:
            TierUnavailableError: a wall cannot be built here.
            SandboxError: something else went wrong.

        """
        with anyio.move_on_after(START_TIMEOUT_S):
            await self._started.wait()
        if self.walls and self._failure is None:
            return
        if self._failure is not None and self._failure[0] in _STAGES_THAT_MEAN_UNAVAILABLE:
            raise TierUnavailableError(
                "This machine cannot build the sandbox.",
                why=f"{self._failure[0]}: {self._failure[1]}",
                fix="Run `hive doctor` to see each wall.",
            )
        raise SandboxError(
            "The sandbox did not start.",
            why=self.reason if self._failure or self.dead.is_set() else "It took too long.",
            fix="`hive doctor` runs every wall once.",
        )

    async def follow(self, status: socket.socket) -> None:
        """Read the reports until the sandbox is dead."""
        while True:
            await anyio.wait_readable(status)
            try:
                data, handles, _, _ = socket.recv_fds(status, REPORT_MAX_BYTES, 1)
            except BlockingIOError:
                continue
            except ConnectionError:
                data, handles = b"", []
            if handles:
                with self._lock:
                    self._handle = handles[0]
            report = json.loads(data) if data else {}
            if report.get("kind") == "guard":
                status.send(self._guarded())
            elif not data or self._take(report):
                break
        await self._gone()
        if self.guard is not None:
            # Why it died is in the kernel's buffer before it dies.
            self.guard.settle()
        self.dead.set()
        self._started.set()

    def _take(self, report: dict[str, object]) -> bool:
        kind = report.get("kind")
        if kind == "pid":
            self.pid, self.uid = int(str(report["pid"])), int(str(report["uid"]))
            self.group_memory = str(report["memory"])
            self.group_processes = str(report["processes"])
            self.group_marks = str(report["marks"])
            if self._killed_for:
                self.kill(self._killed_for)
        elif kind == "ready":
            self.walls = _walls(report["walls"])
            self._started.set()
        elif kind == "error":
            self._failure = (str(report["stage"]), str(report["why"]))
        elif kind == "ended":
            self.exit_code = int(str(report["exit"]))
        elif kind == "dead":
            if self.exit_code is None:
                self.exit_code = int(str(report["exit"]))
            self.oom_kills = int(str(report["oom"]))
            return True
        return False

    def _guarded(self) -> bytes:
        """Let the kernel's rules for it stand; return the word that lets its program run, or another one."""
        try:
            if self.guard is not None:
                self.guard.begin(self.group_marks, self.pid, self.refuse)
        except SandboxError as error:
            self._failure = ("guard", f"{error} {error.why}")
            return b"n"
        return GUARDED

    async def _gone(self) -> None:
        """Wait for the kernel's own word: the reports may end before the processes do."""
        with anyio.move_on_after(DEATH_TIMEOUT_S):
            if self._handle >= 0:
                await anyio.wait_readable(self._handle)

    def close(self) -> None:
        """Give back the descriptors, and what the kernel keeps for it."""
        if self.guard is not None:
            self.guard.end()
        with self._lock:
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1
        self.turn_socket.close()


@asynccontextmanager
async def launch(
    link: LauncherLink,
    plan: SandboxPlan,
    *,
    clock: Clock,
    on_line: Callable[[str], None],
    guard: SandboxGuard | None = None,
) -> AsyncIterator[LaunchedSandbox]:
    """Start a sandbox; leaving kills it, waits for its end and closes what it had.

    Raises:
        TierUnavailableError: a wall cannot be built here.
        SandboxError: it did not start.

    """
    failure: Exception | None = None
    with contextlib.ExitStack() as stack:
        plan = plan._replace(guarded=guard is not None)
        sandbox, status, printed = await _hand_over(stack, link, plan, clock, on_line, guard)
        async with anyio.create_task_group() as tasks:
            # Whoever cancels the spawn must still see its end: these go on until the sandbox is dead.
            shelters = [anyio.CancelScope(shield=True) for _ in range(1 + len(printed))]
            ends = [anyio.Event() for _ in printed]
            tasks.start_soon(_within, shelters[0], sandbox.follow, status)
            for pipe, end, shelter in zip(printed, ends, shelters[1:], strict=True):
                tasks.start_soon(_within, shelter, _read_lines, pipe, sandbox.lines, end)
            try:
                await sandbox.started()
                yield sandbox
            except Exception as error:  # noqa: BLE001 - raised again below, outside the task group
                failure = error
            finally:
                await _end(sandbox, ends)
                for shelter in shelters:
                    shelter.cancel()
    if failure is not None:
        raise failure


async def _hand_over(
    stack: contextlib.ExitStack,
    link: LauncherLink,
    plan: SandboxPlan,
    clock: Clock,
    on_line: Callable[[str], None],
    guard: SandboxGuard | None,
) -> tuple[LaunchedSandbox, socket.socket, list[io.FileIO]]:
    with contextlib.ExitStack() as given_away:
        turn, turn_inside = socket.socketpair()
        stack.enter_context(turn)
        given_away.enter_context(turn_inside)
        status, status_inside = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stack.enter_context(status)
        given_away.enter_context(status_inside)
        printed, inside = [], []
        for _ in ("out", "err"):
            reader, writer = open_pipe(stack, given_away)
            os.set_blocking(reader.fileno(), False)
            printed.append(reader)
            inside.append(writer)
        ends: list[io.FileIO | socket.socket] = [*inside, turn_inside, status_inside]
        streams = None
        if plan.streams:
            theirs, ours = open_pipe(given_away, stack)
            os.set_blocking(ours.fileno(), False)
            streams = StreamEnds(given=ours, told=printed.pop(0))
            ends.append(theirs)
        status.settimeout(0)
        turn.settimeout(0)
        sandbox = LaunchedSandbox(
            turn_socket=turn,
            lines=PrintedLines(clock=clock, on_line=on_line),
            memory_bytes=plan.sizes.memory_bytes,
            streams=streams,
            guard=guard,
        )
        stack.callback(sandbox.close)
        await link.send(plan, [end.fileno() for end in ends])
    return sandbox, status, printed


def open_pipe(
    reading: contextlib.ExitStack, writing: contextlib.ExitStack
) -> tuple[io.FileIO, io.FileIO]:
    """Open a pipe whose two ends are closed by two stacks."""
    reader, writer = os.pipe()
    return (
        reading.enter_context(io.FileIO(reader)),
        writing.enter_context(io.FileIO(writer, "w")),
    )


async def _within(
    scope: anyio.CancelScope,
    action: Callable[[*Given], Awaitable[None]],
    *given: *Given,
) -> None:
    with scope:
        await action(*given)


async def _read_lines(pipe: io.FileIO, lines: PrintedLines, ended: anyio.Event) -> None:
    while True:
        await anyio.wait_readable(pipe)
        data = pipe.read(READ_BYTES)
        if data is None:
            continue
        if not data:
            break
        lines.feed(data)
        if lines.overrun:  # a full pipe makes the agent wait, so that it cannot keep the node busy
            await anyio.sleep(OVERRUN_PAUSE_S)
    lines.finish()
    ended.set()


async def _end(sandbox: LaunchedSandbox, readers: Sequence[anyio.Event]) -> None:
    sandbox.kill("The node closed the sandbox.")
    with anyio.move_on_after(DEATH_TIMEOUT_S, shield=True):
        await sandbox.dead.wait()
        for ended in readers:
            await ended.wait()


def _walls(report: object) -> tuple[Wall, ...]:
    if not isinstance(report, dict):
        return ()
    return tuple(
        Wall(name=name, stands=bool(report[name][0]), detail=str(report[name][1]))
        for name in WALL_NAMES
        if name in report
    )


def _ending(exit_code: int | None) -> str:
    if exit_code is None:
        return "Its keeper was killed."
    if exit_code >= 0:
        return f"Its program ended with status {exit_code}."
    name = signal.Signals(-exit_code).name
    more = ": its processor time is used up" if -exit_code == signal.SIGXCPU else ""
    return f"Its program was killed by {name}{more}."
