"""The gvisor tier's wall: a kernel of its own for the agent (runsc), inside the sandbox's namespaces, root and cgroup.

No system call of the agent reaches the host's kernel; runsc serves it, itself behind seccomp, an empty root and a
user namespace. It runs as root of the host until it has built that, so what it could misuse is taken from it first.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from hive.execution.walls import kernel
from hive.execution.walls.plan import INSIDE_UID, SandboxPlan

STORE: Final = "/.gvisor"
"""Where runsc keeps its state, inside the sandbox's root; the agent sees an empty folder there."""
STORE_BYTES: Final = 16 << 20
PROCESSES_OVER: Final = 256
"""Threads of runsc and stand-ins for the agent's processes, which the bound on processes counts as well."""
_BUNDLE: Final = f"{STORE}/bundle"
_PR_CAPBSET_DROP: Final = 24
_NEVER_NEEDED: Final = (
    9, 10, 11, 12, 13, 14, 15, 16, 17, 20, 22, 23, 25, 26, 29, 30, 32, 33, 34, 35, 36, 37, 38, 39, 40,
)  # fmt: skip
"""Capabilities (capability.h): modules, raw input and output, boot, time, network administration, BPF and their like."""


def drop_unneeded_capabilities() -> None:
    """Take away for good what runsc does not need to build its sandbox. Raises OSError."""
    for number in _NEVER_NEEDED:
        kernel.prctl(_PR_CAPBSET_DROP, number)


def write_bundle(plan: SandboxPlan) -> None:
    """Write the OCI bundle (runtime-spec 1.0.2) of the command, whose root is the one that was built."""
    place = Path(_BUNDLE)
    place.mkdir()
    (place / "config.json").write_text(json.dumps(_configuration(plan)))


def command(plan: SandboxPlan) -> tuple[str, ...]:
    """Return what runs in the place of the agent's program."""
    return (
        plan.runsc[0],
        f"--root={STORE}/state",
        "--platform=ptrace",
        "--network=none",
        "--ignore-cgroups",
        "--host-uds=open",
        "run",
        f"--bundle={_BUNDLE}",
        "agent",
    )


def environment() -> Mapping[str, str]:
    """Return the variables of runsc itself."""
    return {"PATH": "/usr/bin:/bin", "HOME": STORE}


def _configuration(plan: SandboxPlan) -> dict[str, object]:
    sizes = plan.sizes
    bounds = {
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": sizes.files_max,
        "RLIMIT_NPROC": sizes.processes_max,
        "RLIMIT_FSIZE": sizes.disk_bytes,
        "RLIMIT_CPU": sizes.cpu_s,
    }
    nothing: Sequence[str] = []
    return {
        "ociVersion": "1.0.2",
        "hostname": "sandbox",
        "process": {
            "terminal": False,
            "user": {"uid": INSIDE_UID, "gid": INSIDE_UID, "umask": 0o022},
            "args": [*plan.runsc[1:], *plan.argv],
            "env": [f"{name}={value}" for name, value in plan.environment.items()],
            "cwd": plan.directory,
            "noNewPrivileges": True,
            "capabilities": dict.fromkeys(
                ("bounding", "effective", "inheritable", "permitted", "ambient"), nothing
            ),
            "rlimits": [
                {"type": name, "soft": value, "hard": value} for name, value in bounds.items()
            ],
        },
        "root": {"path": "/", "readonly": False},
        "mounts": [
            {"destination": "/proc", "type": "proc", "options": ["ro"]},
            {
                "destination": "/dev/shm",  # noqa: S108 - the sandbox's own
                "type": "tmpfs",
                "options": ["mode=1777", f"size={sizes.disk_bytes}"],
            },
            {"destination": STORE, "type": "tmpfs", "options": ["ro", "size=0"]},
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")]
        },
    }
