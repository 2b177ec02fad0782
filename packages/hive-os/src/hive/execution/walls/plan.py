"""What the node asks the launcher for: one sandbox, complete; nothing is looked up later.

It crosses a socket as JSON and is read back by the launcher, which trusts the node and nobody else.
"""

import json
from typing import Final, NamedTuple, TypeAlias

PLAN_MAX_BYTES: Final = 120_000
INSIDE_UID: Final = 1000
HOME: Final = "/home/agent"
GATE_INSIDE: Final = "/run/hive"
OUTBOX_INSIDE: Final = "/outbox"

NAMESPACES: Final = "namespaces"
LANDLOCK: Final = "landlock"
SECCOMP: Final = "seccomp"
NO_NETWORK: Final = "no-network"
UNPRIVILEGED: Final = "unprivileged"
CGROUP: Final = "cgroup"
WALL_NAMES: Final = (NAMESPACES, NO_NETWORK, UNPRIVILEGED, LANDLOCK, SECCOMP, CGROUP)

WallReport: TypeAlias = dict[str, tuple[bool, str]]
"""Name of a wall to whether it stands and what is to say about it."""


class MountPlan(NamedTuple):
    """A host path that appears inside. With `ours` its owner is the node, shown inside as the agent.

    One that is `kept` lies in a writable folder and cannot be written all the same; its owner is shown as the folder's is.
    """

    host: str
    inside: str
    writable: bool = False
    ours: bool = False
    kept: bool = False


class SizePlan(NamedTuple):
    """How much the sandbox may use."""

    memory_bytes: int
    processes_max: int
    files_max: int
    disk_bytes: int
    cpu_s: int


class SandboxPlan(NamedTuple):
    """One sandbox. It does not start without the walls in `demanded`; those in `without` are left out.

    With `runsc` (its path, then the first process inside, which starts the command)
    the command runs on a kernel of its own, and its turns are its standard input. With `streams` its standard input and output are pipes of the node's; without, its input is empty and
    what it prints are lines. One that is `guarded` waits for the node's word before its program runs.
    """

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    mounts: tuple[MountPlan, ...]
    routes: dict[int, str]
    sizes: SizePlan
    directory: str = HOME
    demanded: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    streams: bool = False
    runsc: tuple[str, ...] = ()
    guarded: bool = False

    def encode(self) -> bytes:
        """Return the plan as bytes."""
        return json.dumps(self).encode()


def read_plan(data: bytes) -> SandboxPlan:
    """Return the plan that `SandboxPlan.encode` wrote."""
    name, argv, environment, mounts, routes, sizes, directory, *rest = json.loads(data)
    demanded, without, streams, runsc, guarded = rest
    return SandboxPlan(
        name=name,
        argv=tuple(argv),
        environment=environment,
        mounts=tuple(MountPlan(*mount) for mount in mounts),
        routes={int(port): path for port, path in routes.items()},
        sizes=SizePlan(*sizes),
        directory=directory,
        demanded=tuple(demanded),
        without=tuple(without),
        streams=bool(streams),
        runsc=tuple(runsc),
        guarded=bool(guarded),
    )
