"""The cgroup wall: memory and processes of a whole sandbox, in version 1 or 2, where it may be written.

A group lies below the node's own and is named after the launcher, by process id and start time (the id alone
is soon another's), so the next launcher can clear away what a killed one left.
"""

import contextlib
import os
import signal
from pathlib import Path
from typing import Final, NamedTuple

_ROOT: Final = Path("/sys/fs/cgroup")
_PREFIX: Final = "hive-sandbox-"
_MEMORY: Final = "memory"
_PROCESSES: Final = "pids"
# Field 22 of /proc/PID/stat, counted from the one after the state, which is field 3 (proc(5)).
_START_FIELD: Final = 18


class SandboxGroup(NamedTuple):
    """The groups of one sandbox; an empty path where the machine gives none.

    `marks` is of version 2 and bounds nothing: it is what programs in the kernel know the sandbox by.
    """

    memory: str = ""
    processes: str = ""
    unified: bool = False
    marks: str = ""

    @property
    def complete(self) -> bool:
        """Tell whether memory and processes are both bounded."""
        return bool(self.memory and self.processes)


def parents() -> SandboxGroup:
    """Return the groups below which sandboxes may be made."""
    own = _own_groups()
    if "" in own:
        unified = _unified_mount() / own[""].lstrip("/")
        if _offers_both(unified):
            return SandboxGroup(str(unified), str(unified), unified=True, marks=str(unified))
    found = {}
    for controller in (_MEMORY, _PROCESSES):
        place = _ROOT / controller / own.get(controller, "").lstrip("/")
        usable = controller in own and place.is_dir() and os.access(place, os.W_OK)
        found[controller] = str(place) if usable else ""
    return SandboxGroup(found[_MEMORY], found[_PROCESSES], marks=_marks_above(own))


def make(above: SandboxGroup, serial: int) -> SandboxGroup:
    """Make the groups of a sandbox, without bounds yet; what cannot be made stays empty."""
    own = os.getpid()
    name = f"{_PREFIX}{own}-{_started(own)}-{serial}"
    memory = _make_one(above.memory, name)
    processes = memory if above.unified else _make_one(above.processes, name)
    marks = memory if above.unified else _make_one(above.marks, name)
    return SandboxGroup(memory, processes, unified=above.unified, marks=marks)


def bound(group: SandboxGroup, *, memory_bytes: int, processes_max: int) -> SandboxGroup:
    """Set the bounds of a sandbox's groups; one that takes none is returned as empty."""
    memory, processes = group.memory, group.processes
    if memory:
        limit = "memory.max" if group.unified else "memory.limit_in_bytes"
        swap = "memory.swap.max" if group.unified else "memory.memsw.limit_in_bytes"
        if not _write(Path(memory) / limit, str(memory_bytes)):
            memory = ""
        # Not every kernel counts swap; the bound on memory is the one that is told.
        _write(Path(group.memory) / swap, "0" if group.unified else str(memory_bytes))
    if processes and not _write(Path(processes) / "pids.max", str(processes_max)):
        processes = ""
    return group._replace(memory=memory, processes=processes)


def join(group: SandboxGroup, pid: int) -> SandboxGroup:
    """Move a process into the groups; return those that it went to."""

    def went(place: str) -> str:
        return place if place and _write(Path(place) / "cgroup.procs", str(pid)) else ""

    memory = went(group.memory)
    processes = memory if group.processes == group.memory else went(group.processes)
    marks = memory if group.marks == group.memory else went(group.marks)
    return group._replace(memory=memory, processes=processes, marks=marks)


def killed_for_memory(group: SandboxGroup) -> int:
    """Return how often the kernel killed something in the group for want of memory."""
    if not group.memory:
        return 0
    file = "memory.events" if group.unified else "memory.oom_control"
    with contextlib.suppress(OSError):
        for line in (Path(group.memory) / file).read_text().splitlines():
            key, _, count = line.partition(" ")
            if key == "oom_kill":
                return int(count)
    return 0


def remove(group: SandboxGroup) -> bool:
    """Remove the groups of a sandbox that is dead; False where the kernel still buries its processes."""
    gone = True
    for place in {group.memory, group.processes, group.marks} - {""}:
        try:
            Path(place).rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            gone = False
    return gone


def remove_leftovers(above: SandboxGroup) -> int:
    """Remove groups whose launcher is gone, killing what may still be in them; return how many stay.

    A group stays while the kernel still buries its processes; another call removes it then.
    """
    stay = 0
    for place in {above.memory, above.processes, above.marks} - {""}:
        for found in Path(place).glob(_PREFIX + "*"):
            launcher, _, rest = found.name.removeprefix(_PREFIX).partition("-")
            started = rest.partition("-")[0]
            if not (launcher.isdigit() and started.isdigit()):
                continue
            if _started(int(launcher)) == int(started):
                continue
            try:
                for pid in (found / "cgroup.procs").read_text().split():
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(int(pid), signal.SIGKILL)
                found.rmdir()
            except FileNotFoundError:  # another node cleared it at the same moment
                continue
            except OSError:
                stay += 1
    return stay


def _started(pid: int) -> int:
    """Return when a process began, in clock ticks since the machine did; 0 where it is dead."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if state in "ZX" else int(fields[_START_FIELD])


def _own_groups() -> dict[str, str]:
    own: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            own |= dict.fromkeys(controllers.split(","), path)
    return own


def _marks_above(own: dict[str, str]) -> str:
    """Return where groups of version 2 may be made beside controllers of version 1; empty where nowhere."""
    place = _unified_mount() / own.get("", "/").lstrip("/")
    usable = "" in own and (place / "cgroup.procs").exists() and os.access(place, os.W_OK)
    return str(place) if usable else ""


def _unified_mount() -> Path:
    hybrid = _ROOT / "unified"
    return hybrid if hybrid.is_dir() else _ROOT


def _offers_both(place: Path) -> bool:
    """Tell whether children of a version 2 group get both controllers, switching them on if allowed."""
    if not os.access(place, os.W_OK):
        return False
    control = place / "cgroup.subtree_control"
    _write(control, f"+{_MEMORY} +{_PROCESSES}")
    with contextlib.suppress(OSError):
        return {_MEMORY, _PROCESSES} <= set(control.read_text().split())
    return False


def _make_one(above: str, name: str) -> str:
    if not above:
        return ""
    place = Path(above) / name
    with contextlib.suppress(OSError):
        place.mkdir()
        return str(place)
    return ""


def _write(file: Path, text: str) -> bool:
    try:
        file.write_text(text)
    except OSError:
        return False
    return True
