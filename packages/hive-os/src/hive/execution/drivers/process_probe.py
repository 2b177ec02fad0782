"""The process tier's probe: a program that tries to get out of its sandbox, and the judge of what it met.

Each wall is tried from inside, not asked for: a wall that was reported as standing but let the program pass
does not stand.
"""

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from hive.core.grant import Tier
from hive.execution.launcher_sandbox import LaunchedSandbox
from hive.execution.ports import Probe, Wall
from hive.execution.walls.plan import NAMESPACES, NO_NETWORK, UNPRIVILEGED

NEEDED: Final = (NAMESPACES, NO_NETWORK, UNPRIVILEGED)

_PROGRAM: Final = """
import json, os, socket, sys

found = {}


def attempt(wall, deed, action):
    try:
        action()
    except OSError:
        return
    found[wall] = deed


def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as outside:
        outside.settimeout(0.2)
        outside.connect(address)


def status(key):
    with open("/proc/self/status") as lines:
        return dict(line.split(":", 1) for line in lines)[key].strip()


attempt("namespaces", "it saw the host's files", lambda: os.stat("/etc/shadow"))
if os.getppid() != 1:
    found["namespaces"] = "it is not alone among its processes"
own = ("127.0.0.1", int(sys.argv[1]))
attempt("no-network", "it reached the host's loopback", lambda: connect(socket.AF_INET, own))
attempt("no-network", "it reached an abstract socket of the host",
        lambda: connect(socket.AF_UNIX, chr(0) + sys.argv[2]))
attempt("unprivileged", "it became root", lambda: os.setuid(0))
if os.path.exists("/proc/self/status"):
    if int(status("CapEff"), 16) or int(status("CapBnd"), 16) or status("NoNewPrivs") != "1":
        found["unprivileged"] = "it holds privileges"
attempt("landlock", "it listed the root", lambda: os.listdir("/"))
attempt("seccomp", "it opened a netlink socket", lambda: socket.socket(16, socket.SOCK_RAW).close())
print(json.dumps(found), flush=True)
"""


def probe_argv(python: str, port: int, abstract: str) -> tuple[str, ...]:
    """Return the command that tries the walls from inside."""
    return (python, "-I", "-S", "-c", _PROGRAM, str(port), abstract)


@contextmanager
def lures() -> Iterator[tuple[int, str]]:
    """Listen where nothing inside may come: on the host's loopback and on an abstract socket."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as loopback,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as abstract,
    ):
        loopback.bind(("127.0.0.1", 0))
        abstract.bind("")
        for listener in (loopback, abstract):
            listener.listen(1)
        yield loopback.getsockname()[1], abstract.getsockname()[1:].decode()


def judge_probe(
    sandbox: LaunchedSandbox, lines: Sequence[str], *, start_ms: float, walls_min: Sequence[str]
) -> Probe:
    """Tell which walls stand: those that were built and that the program could not pass."""
    passed = _passed(lines)
    if passed is None:
        walls: tuple[Wall, ...] = ()
        reason = f"The probe did not end well: {sandbox.reason}{sandbox.printed}"
    else:
        walls = tuple(
            Wall(name=wall.name, stands=False, detail=f"built, but {passed[wall.name]}")
            if wall.stands and wall.name in passed
            else wall
            for wall in sandbox.walls
        )
        standing = {wall.name for wall in walls if wall.stands}
        missing = [name for name in dict.fromkeys((*NEEDED, *walls_min)) if name not in standing]
        reason = _missing_reason(missing, walls)
    return Probe(
        tier=Tier.PROCESS,
        scheme="process",
        available=not reason,
        walls=walls,
        reason=reason,
        start_ms=start_ms,
    )


def _missing_reason(missing: Sequence[str], walls: Sequence[Wall]) -> str:
    details = {wall.name: wall.detail for wall in walls}
    return "; ".join(f"{name}: {details.get(name, 'not known')}" for name in missing)


def _passed(lines: Sequence[str]) -> dict[str, str] | None:
    try:
        found = json.loads(lines[-1])
    except (IndexError, ValueError):
        return None
    return found if isinstance(found, dict) else None
