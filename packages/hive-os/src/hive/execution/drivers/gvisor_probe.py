"""The gvisor tier's probe: a program that tells whose kernel it runs on and tries to get out, and its judge."""

import json
import os
from collections.abc import Sequence
from typing import Final

from hive.core.grant import Tier
from hive.execution.launcher_sandbox import LaunchedSandbox
from hive.execution.ports import Probe, Wall
from hive.execution.walls.plan import NAMESPACES, NO_NETWORK, SECCOMP, UNPRIVILEGED

NEEDED: Final = (NAMESPACES, NO_NETWORK, UNPRIVILEGED, SECCOMP)
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


attempt("namespaces", "it saw the host's files", lambda: os.stat("/etc/shadow"))
attempt("namespaces", "it saw the host's processes", lambda: os.kill(int(sys.argv[3]), 0))
own = ("127.0.0.1", int(sys.argv[1]))
attempt("no-network", "it reached the host's loopback", lambda: connect(socket.AF_INET, own))
attempt("no-network", "it reached an abstract socket of the host",
        lambda: connect(socket.AF_UNIX, chr(0) + sys.argv[2]))
attempt("unprivileged", "it became root", lambda: os.setuid(0))
with open("/proc/self/status") as lines:
    said = dict(line.split(":", 1) for line in lines if ":" in line)
if int(said.get("CapEff", "0"), 16):
    found["unprivileged"] = "it holds privileges"
with open("/proc/version") as file:
    found["kernel"] = file.read().strip()
print(json.dumps(found), flush=True)
"""


def own_kernel_argv(python: str, port: int, abstract: str) -> tuple[str, ...]:
    """Return the command that tries the walls from inside."""
    return (python, "-I", "-S", "-c", _PROGRAM, str(port), abstract, str(os.getpid()))


def judge_own_kernel(sandbox: LaunchedSandbox, lines: Sequence[str], *, start_ms: float) -> Probe:
    """Tell which walls stand; the kernel inside has to be another than the host's."""
    try:
        found = json.loads(lines[-1])
        kernel = str(found.pop("kernel"))
    except (IndexError, ValueError, KeyError, AttributeError):
        reason = f"The probe did not end well: {sandbox.reason}{sandbox.printed}"
        return Probe(tier=Tier.GVISOR, scheme="gvisor", available=False, walls=(), reason=reason)
    host = os.uname()
    if host.release in kernel:
        found[SECCOMP] = "it runs on the host's kernel"
    walls = tuple(
        Wall(name=wall.name, stands=False, detail=f"built, but {found[wall.name]}")
        if wall.stands and wall.name in found
        else wall
        for wall in sandbox.walls
    )
    missing = [wall for wall in walls if wall.name in NEEDED and not wall.stands]
    return Probe(
        tier=Tier.GVISOR,
        scheme="gvisor",
        available=not missing,
        walls=walls,
        reason="; ".join(f"{wall.name}: {wall.detail}" for wall in missing),
        start_ms=start_ms,
    )
