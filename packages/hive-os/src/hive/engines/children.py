"""Servers as children of the node: spawned, watched, started again when they die, ended with it.

A child dies with the node even when the node is killed: the kernel sends it a signal (on Linux). That
signal follows the *thread* that spawned it, so children are only ever spawned from the thread of the event
loop. Where the signal is missing, or came too late, the next start finds the leftover by its record.
"""

import logging
import os
import signal
import subprocess
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio

from hive.core.clock import Clock
from hive.core.errors import EngineError, EngineUnavailableError
from hive.engines.embedded.demotion import Demotion, before_exec
from hive.engines.embedded.leftovers import end_leftover, forget, record
from hive.engines.embedded.logs import EngineLog

ENVIRONMENT: Final[Mapping[str, str]] = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
STOP_WITHIN_S: Final = 3.0
SETTLED_AFTER_S: Final = 1.0
DEATHS_IN_A_ROW_MAX: Final = 20
BACK_OFF_MIN_S: Final = 0.02
BACK_OFF_MAX_S: Final = 5.0
LOOK_AT_LOG_EVERY_S: Final = 30.0
_POLL_S: Final = 0.01

_log: Final = logging.getLogger("hive.engines")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to execute, where, and the folder that must be shown to it (see `demotion`).

    `passed` are descriptors for the child; a supervised child's are closed here once it has them.
    """

    argv: tuple[str, ...]
    directory: Path
    shown: str = ""
    passed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upbringing:
    """How a child is raised: its record, its log, as whom it runs, and which signals end it."""

    name: str
    record: Path
    log: EngineLog
    demotion: Demotion
    death_signal: signal.Signals
    stop_signals: tuple[signal.Signals, ...]
    prepare: Callable[[], Awaitable[Command]]


def spawn(
    command: Command,
    demotion: Demotion,
    log: EngineLog,
    *,
    death_signal: signal.Signals = signal.SIGKILL,
    stdin: int = subprocess.DEVNULL,
) -> "subprocess.Popen[bytes]":
    """Start a process in a session of its own; blocks for the few milliseconds until it executes.

    Raises:
        EngineError: it cannot be executed.

    """
    lower = before_exec(
        demotion, shown=command.shown, death_signal=death_signal, parent=os.getpid()
    )
    descriptor = log.open()
    try:
        with _forking_on_purpose():
            return subprocess.Popen(  # noqa: S603 - our own argument lists, no shell
                command.argv,
                cwd=command.directory,
                env=dict(ENVIRONMENT),
                stdin=stdin,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
                pass_fds=command.passed,
                preexec_fn=lower,
            )
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineError(
            f"{Path(command.argv[0]).name} cannot be executed.",
            why=str(error),
            fix="Run `hive doctor`; it tests each binary.",
        ) from error
    finally:
        os.close(descriptor)


def _forking_on_purpose() -> AbstractContextManager[object]:
    # Python warns of every fork in a process with threads. The child calls a few system calls and executes.
    return warnings.catch_warnings(action="ignore", category=DeprecationWarning)


async def exited(process: "subprocess.Popen[bytes]") -> int:
    """Wait for the end of a process; return its status."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        while process.poll() is None:  # noqa: ASYNC110
            await anyio.sleep(_POLL_S)  # no event: this system cannot wait for a process
        return process.returncode
    try:
        while process.poll() is None:
            await anyio.wait_readable(descriptor)
    finally:
        os.close(descriptor)
    return process.returncode


async def run_to_end(
    command: Command, demotion: Demotion, log: EngineLog, *, stdin: bytes = b"", timeout_s: float
) -> int:
    """Run a short program to its end; return its status. It is killed when the time is over.

    Raises:
        EngineError: it cannot be executed or ran too long.

    """
    reading, writing = os.pipe()
    try:
        os.write(writing, stdin)
        os.close(writing)
        process = spawn(command, demotion, log, stdin=reading)
    finally:
        os.close(reading)
    try:
        with anyio.fail_after(timeout_s):
            return await exited(process)
    except TimeoutError as error:
        raise EngineError(
            f"{Path(command.argv[0]).name} did not end within {timeout_s:.0f} s.",
            why=log.tail(),
            fix="Look for a full or very slow disk.",
        ) from error
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@dataclass(slots=True)
class SupervisedChild:
    """One server that is kept alive. `starts` counts how often it was started."""

    upbringing: Upbringing
    clock: Clock
    starts: int = 0
    _process: "subprocess.Popen[bytes] | None" = None
    _stopping: bool = False
    _started_at: float = 0.0
    _gone: anyio.Event = field(default_factory=anyio.Event)

    @property
    def pid(self) -> int:
        """Return the pid of the running process, 0 while there is none."""
        process = self._process
        return 0 if process is None or process.returncode is not None else process.pid

    def check_alive(self) -> None:
        """Return if the process runs.

        Raises:
            EngineUnavailableError: it has died and is not started again yet.

        """
        if self._process is None or self._process.poll() is not None:
            raise EngineUnavailableError(
                f"The embedded {self.upbringing.name} is not running.",
                why=self.upbringing.log.tail(),
                fix="It is being started again; `hive doctor` shows its log.",
            )

    async def start(self) -> None:
        """End what an earlier node left, prepare, spawn."""
        up = self.upbringing
        await end_leftover(up.record, up.stop_signals)
        command = await up.prepare()
        try:
            self._process = spawn(command, up.demotion, up.log, death_signal=up.death_signal)
        finally:
            for descriptor in command.passed:
                os.close(descriptor)
        self._started_at = self.clock.monotonic()
        self.starts += 1
        record(up.record, pid=self._process.pid, program=command.argv[0])

    async def keep(self) -> None:
        """Start the child again whenever it dies, until it is stopped.

        Raises:
            EngineError: it died too often in a row.

        """
        deaths = 0
        while True:
            status = await self._exit()
            if self._stopping:
                return
            lasted = self.clock.monotonic() - self._started_at
            deaths = 1 if lasted >= SETTLED_AFTER_S else deaths + 1
            name = self.upbringing.name
            _log.warning("engine.died", extra={"engine": name, "status": status, "deaths": deaths})
            if deaths > DEATHS_IN_A_ROW_MAX:
                raise EngineError(
                    f"The embedded {name} dies again and again.",
                    why=self.upbringing.log.tail(),
                    fix=f"Read {self.upbringing.log.path}; `hive doctor` starts it once for a test.",
                )
            await anyio.sleep(min(BACK_OFF_MIN_S * 2 ** (deaths - 1), BACK_OFF_MAX_S))
            await self.start()

    async def _exit(self) -> int:
        assert self._process is not None  # noqa: S101 - `keep` runs after `start`
        while True:
            with anyio.move_on_after(LOOK_AT_LOG_EVERY_S):
                return await exited(self._process)
            self.upbringing.log.bound()

    async def stop(self) -> None:
        """End the child: each signal in turn has its time, then it is killed."""
        self._stopping = True
        process = self._process
        if process is None:
            return
        for number in (*self.upbringing.stop_signals, signal.SIGKILL):
            if process.poll() is not None:
                break
            with suppress(ProcessLookupError):
                process.send_signal(number)
            with anyio.move_on_after(STOP_WITHIN_S):
                await exited(process)
        forget(self.upbringing.record)


@asynccontextmanager
async def supervised(upbringing: Upbringing, clock: Clock) -> AsyncIterator[SupervisedChild]:
    """Start a child, keep it alive inside the context, end it at the end.

    Raises:
        EngineError: it cannot be started, or dies again and again.

    """
    child = SupervisedChild(upbringing, clock)
    try:
        await child.start()
        with unwrapped():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(child.keep)
                yield child
                tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await child.stop()


@contextmanager
def unwrapped() -> Iterator[None]:
    """Let the only exception of a task group come out as itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        lone: BaseException = group
        while isinstance(lone, BaseExceptionGroup) and len(lone.exceptions) == 1:
            lone = lone.exceptions[0]
        if isinstance(lone, BaseExceptionGroup):
            raise
        raise lone from lone.__cause__
