"""Who holds a port: read from /proc, so that the message can name the process to stop."""

from pathlib import Path
from typing import Final

from hive.core.errors import PortInUseError

_LISTENING: Final = "0A"
_PROCESSES_MAX: Final = 20_000


def port_in_use(port: int) -> PortInUseError:
    """Return the error for a port that another process holds, naming it where that can be seen."""
    found = _holder(port)
    other = f"hive up --port {port + 1}"
    if found is None:
        return PortInUseError(
            f"Port {port} is in use.", why="Its holder cannot be seen from here.", fix=other
        )
    pid, name = found
    return PortInUseError(
        f"Port {port} is in use by {name} (pid {pid}).",
        fix=f"{other}     or stop it:  kill {pid}",
    )


def _holder(port: int) -> tuple[int, str] | None:
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in sorted(Path("/proc").glob("[0-9]*"))[:_PROCESSES_MAX]:
        try:
            if any(_link(one) in wanted for one in (process / "fd").iterdir()):
                return int(process.name), (process / "comm").read_text().strip()
        except OSError:  # it ended meanwhile, or belongs to somebody else
            continue
    return None


def _link(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:  # closed meanwhile
        return ""


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(fields[9])
    return inodes
