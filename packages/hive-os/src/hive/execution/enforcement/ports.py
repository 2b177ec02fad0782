"""What an enforcer offers: steps that it could take here, and a guard for one sandbox."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hive.core.grant import Grant
from hive.core.ids import SandboxId
from hive.core.kernel_rules import KernelAct, KernelAnswer, KernelRule


@dataclass(frozen=True, slots=True, kw_only=True)
class EnforcerStep:
    """One step of the ladder, strongest first: whether it stands here, and how that was found out."""

    name: str
    stands: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelEvent:
    """Something that a rule is about, done by a process of a sandbox. `taken_us` is from the hook to the signal."""

    sandbox: SandboxId
    rule: str
    act: KernelAct
    answer: KernelAnswer
    program: str
    pid: int
    what: str
    taken_us: float


class Guarded(Protocol):
    """The rules of one sandbox while they stand."""

    def change(self, rules: Sequence[KernelRule]) -> None:
        """Put other rules in their place; at no moment is there less than what both have.

        Raises:
            SandboxError: the kernel does not take one.

        """
        ...

    def lift(self) -> None:
        """Let go; twice is no error."""
        ...


class Enforcer(Protocol):
    """Guards sandboxes. `told` is called with each event, from a thread of its own."""

    told: Callable[[KernelEvent], None]

    @property
    def lost(self) -> int:
        """Return how many events did not fit."""
        ...

    def __enter__(self) -> "Enforcer":
        """Begin. Raises TierUnavailableError: this machine does not let it."""
        ...

    def __exit__(self, *_exception: object) -> None:
        """Take everything out of the kernel."""
        ...

    def settle(self) -> None:
        """Hand on every event that the kernel has written by now."""
        ...

    def protect(self, rules: Sequence[KernelRule]) -> None:
        """Let rules stand for every sandbox; their paths are the host's.

        Raises:
            SandboxError: the kernel does not take one.

        """
        ...

    def guard(
        self, sandbox: SandboxId, group: str, pid: int, rules: Sequence[KernelRule]
    ) -> Guarded:
        """Let rules stand for the processes of a cgroup; `pid` is its first process, in the sandbox's root.

        Raises:
            SandboxError: the kernel does not take one, so the sandbox must not start.

        """
        ...


class SandboxGuard(Protocol):
    """The guard of one sandbox that is about to start."""

    @property
    def rules(self) -> Sequence[KernelRule]:
        """Return its own rules, without those of every sandbox."""
        ...

    def begin(self, group: str, pid: int, refuse: Callable[[str], None]) -> None:
        """Let the rules stand; `refuse` ends the sandbox with a reason, from any thread.

        Raises:
            SandboxError: they cannot, so the sandbox must not start.

        """
        ...

    def settle(self) -> None:
        """Hear everything that the kernel has told by now: of a process that is dead, all of it."""
        ...

    def end(self) -> None:
        """Let go; twice is no error."""
        ...


class Guarding(Protocol):
    """Gives sandboxes their guards."""

    def guard_for(self, sandbox: SandboxId, grant: Grant) -> SandboxGuard | None:
        """Return the guard of a sandbox; None where nothing guards on this machine.

        Raises:
            TierUnavailableError: there are rules for it, and nothing that holds them.

        """
        ...
