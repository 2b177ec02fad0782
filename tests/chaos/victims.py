"""Which processes belong to a node, and how one of them is killed without a warning."""

import contextlib
import random
import signal
from dataclasses import dataclass, field
from pathlib import Path

import psutil

KINDS = ("nats", "postgres", "launcher", "sandbox")


@dataclass
class Household:
    """Every process that was ever seen below a node, so that none of them can outlive it unseen."""

    seen: set[psutil.Process] = field(default_factory=set)

    def look(self, node: int) -> list[psutil.Process]:
        """Return what runs below the node now."""
        try:
            found = psutil.Process(node).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        self.seen.update(found)
        return found

    def alive(self) -> list[str]:
        """Return those that still run."""
        left = []
        for process in self.seen:
            with contextlib.suppress(psutil.Error):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    left.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
        return left


def victim(household: Household, node: int, kind: str, dice: random.Random) -> int:
    """Return the pid of a process of this kind, 0 where none runs."""
    direct = {process.pid for process in _children(node)}
    below = household.look(node)
    found = [p for p in below if _kind(p, direct) == kind]
    return dice.choice(found).pid if found else 0


def kill(pid: int) -> None:
    """Send SIGKILL."""
    with contextlib.suppress(psutil.Error):
        psutil.Process(pid).send_signal(signal.SIGKILL)


def groups_of(launchers: set[int], *, not_those: set[Path]) -> list[str]:
    """Return the control groups of sandboxes that these launchers made and that are still there."""
    return [
        str(place)
        for place in sandbox_groups()
        if place not in not_those and int(place.name.split("-")[2]) in launchers
    ]


def sandbox_groups() -> list[Path]:
    """Return the control groups of all sandboxes of this machine."""
    return list(Path("/sys/fs/cgroup").glob("**/hive-sandbox-*"))


def _children(node: int) -> list[psutil.Process]:
    try:
        return psutil.Process(node).children()
    except psutil.NoSuchProcess:
        return []


def _kind(process: psutil.Process, direct: set[int]) -> str:
    try:
        words = process.cmdline()
    except psutil.Error:
        return ""
    program = Path(words[0]).name if words else ""
    if process.pid not in direct:
        return "sandbox" if program.startswith("python") else ""
    if program in ("postgres", "nats-server"):
        return program.removesuffix("-server")
    return "launcher" if any("hive.execution.launcher" in word for word in words) else ""
