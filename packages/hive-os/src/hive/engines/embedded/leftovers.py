"""Is a process that a file names still ours? Leftovers of a killed node are found and ended.

A pid alone proves nothing: it may belong to a stranger by now. Only a process whose start time equals the
recorded one is ours, and only such a process is ever signalled.
"""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
import msgspec

from hive.core.errors import ConfigError, EngineError
from hive.engines.embedded.private_files import private_folder, write_private

END_WITHIN_S: Final = 5.0


class ChildRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is written down of a running child, so that a later node can recognise it."""

    pid: int
    started: str
    program: str


def start_time(pid: int) -> str:
    """Return when a process started, as the kernel counts it; empty when there is no such process."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = line.rpartition(")")[2].split()
    return "" if fields[0] in ("Z", "X") else fields[19]


def record(file: Path, *, pid: int, program: str) -> None:
    """Write down a child that was just started; whole or not at all."""
    entry = ChildRecord(pid=pid, started=start_time(pid), program=program)
    write_private(file, msgspec.json.encode(entry))


def forget(file: Path) -> None:
    """Remove a record."""
    file.unlink(missing_ok=True)


def recorded(file: Path) -> ChildRecord | None:
    """Return the child that `file` names if that very process still runs."""
    try:
        entry = msgspec.json.decode(file.read_bytes(), type=ChildRecord)
    except (OSError, msgspec.MsgspecError):
        return None
    alive = bool(entry.started) and start_time(entry.pid) == entry.started
    return entry if alive else None


async def end_leftover(file: Path, how: tuple[signal.Signals, ...]) -> bool:
    """End the child that an earlier node left, by each signal in turn; tell whether there was one.

    Raises:
        EngineError: it does not end.

    """
    entry = recorded(file)
    if entry is None:
        forget(file)
        return False
    for number in (*how, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(entry.pid, number)
        with anyio.move_on_after(END_WITHIN_S):
            # It is no child of this process, so there is no event to wait for.
            while recorded(file) is not None:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            forget(file)
            return True
    raise EngineError(
        f"A {Path(entry.program).name} of an earlier node does not end.",
        why=f"Process {entry.pid} survives SIGKILL.",
        fix="Restart the machine, or name another state folder with HIVE_STATE_DIR.",
    )


@contextmanager
def only_one(directory: Path, engine: str) -> Iterator[None]:
    """Hold the folder of an engine for this process; the kernel lets go when the process dies.

    Raises:
        ConfigError: another live process holds it.

    """
    private_folder(directory)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            raise ConfigError(
                f"The embedded {engine} cannot start: another node uses this state folder.",
                why=f"Process {holder or '?'} holds {directory / 'lock'}.",
                fix="Stop that node (`hive stop`), or name another folder with HIVE_STATE_DIR.",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)
