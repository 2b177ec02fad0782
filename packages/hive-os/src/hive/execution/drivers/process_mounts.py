"""What a sandbox of the process tier sees of the host: its own folders, those of its grant, and what is kept in them."""

import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from hive.core.errors import SandboxError
from hive.core.grant import Access, PathRule
from hive.core.kernel_rules import KernelAct, KernelAnswer, KernelRule
from hive.execution.ports import Opening
from hive.execution.walls.mounts import gate_mount
from hive.execution.walls.plan import GATE_INSIDE, HOME, OUTBOX_INSIDE, MountPlan

_NEVER_EXACTLY: Final = ("/", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/home", HOME, "/run",
                         "/tmp")  # fmt: skip  # noqa: S108
_NEVER_BELOW: Final = ("/proc", "/dev", "/etc", "/sys", GATE_INSIDE, OUTBOX_INSIDE)


def own_mounts(opening: Opening) -> list[MountPlan]:
    """Return the node's own folders for a sandbox."""
    mounts = [gate_mount(opening.gate_directory)]
    if opening.outbox_directory:
        mounts.append(MountPlan(opening.outbox_directory, OUTBOX_INSIDE, writable=True, ours=True))
    return mounts


def granted_mounts(rules: Sequence[PathRule]) -> list[MountPlan]:
    """Turn granted paths into mounts.

    Raises:
        SandboxError: one would hide a part of the sandbox itself.

    """
    mounts = []
    for rule in rules:
        inside = posixpath.normpath(rule.inside)
        hides = inside in _NEVER_EXACTLY or any(
            inside == place or inside.startswith(place + "/") for place in _NEVER_BELOW
        )
        if hides or not inside.startswith("/") or inside.startswith("//"):
            raise SandboxError(
                "The sandbox cannot be started.",
                why=f"The granted path {rule.host} would appear at {rule.inside!r}, "
                "which belongs to the sandbox itself.",
                fix="Grant it at another place, such as /data.",
            )
        mounts.append(MountPlan(rule.host, inside, writable=rule.access is Access.WRITE))
    return mounts


def kept_mounts(paths: Sequence[PathRule], rules: Sequence[KernelRule]) -> list[MountPlan]:
    """Return what makes files of writable folders unwritable that a rule keeps from the sandbox.

    The kernel's guard ends a process when its open has succeeded, and an open can empty a file. What is mounted
    read-only cannot be emptied.
    """
    found = {}
    for rule in rules:
        if rule.answer is KernelAnswer.REPORT or rule.act not in (KernelAct.OPEN, KernelAct.WRITE):
            continue
        for path in paths:
            if path.access is Access.WRITE and not rule.programs:
                for inside in _insides(path, rule.path):
                    host = posixpath.normpath(path.host + inside.removeprefix(path.inside))
                    if inside != path.inside and Path(host).exists():
                        found[inside] = MountPlan(host, inside, kept=True)
    return list(found.values())


def _insides(path: PathRule, named: str) -> Iterator[str]:
    """Yield where a path that a rule names lies in a granted folder: as the sandbox names it, and as the host does."""
    for above in (path.inside, path.host):
        base = posixpath.normpath(above)
        if named.startswith(base.rstrip("/") + "/"):
            yield posixpath.normpath(path.inside + named.removeprefix(base))
