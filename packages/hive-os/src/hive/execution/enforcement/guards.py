"""The guards of a node's sandboxes: whose rules stand for which, and what is done when one is met."""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from hive.core.errors import SandboxError, TierUnavailableError
from hive.core.grant import Grant
from hive.core.ids import SandboxId
from hive.core.kernel_rules import KernelAnswer, KernelRule, connection_rule, joined
from hive.execution.enforcement.ports import Enforcer, Guarded, KernelEvent

REFUSED: Final = "The kernel refused what it did"


class KernelGuards:
    """Gives each sandbox the rules of its grant and of the policies for its agent.

    `agent_in` names the agent in a sandbox, `rules_of` returns what policies say of an agent, `met` hears of
    everything that a rule was about: from the enforcer's thread, after the sandbox was refused.
    """

    def __init__(
        self,
        enforcer: Enforcer | None,
        *,
        missing: str = "",
        agent_in: Callable[[SandboxId], str] = lambda _sandbox: "",
        rules_of: Callable[[str], Iterable[KernelRule]] = lambda _agent: (),
        met: Callable[[KernelEvent], None] = lambda _event: None,
    ) -> None:
        self.enforcer = enforcer
        self.agent_in = agent_in
        self.rules_of = rules_of
        self.met = met
        self._missing = missing
        self._live: dict[SandboxId, _LiveGuard] = {}
        self._lock = threading.Lock()
        if enforcer is not None:
            enforcer.told = self._told

    def __len__(self) -> int:
        """Return how many sandboxes are guarded now."""
        return len(self._live)

    def guard_for(self, sandbox: SandboxId, grant: Grant) -> "_LiveGuard | None":
        """Return the guard of a sandbox; None where nothing guards on this machine.

        Raises:
            TierUnavailableError: there are rules for it, and nothing that holds them.

        """
        rules = self.rules_for(self.agent_in(sandbox), grant)
        if self.enforcer is not None:
            return _LiveGuard(self, self.enforcer, sandbox, grant, rules)
        if rules:
            names = ", ".join(dict.fromkeys(rule.name for rule in rules))
            raise TierUnavailableError(
                "The kernel's rules for this agent cannot stand here.",
                why=f"Nothing enforces {names}: {self._missing}.",
                fix="Run `hive enforce status`, and mend what it names.",
            )
        return None

    def rules_for(self, agent: str, grant: Grant) -> tuple[KernelRule, ...]:
        """Return the rules that stand for an agent under a grant."""
        return joined(grant.kernel, self.rules_of(agent))

    def connecting(self, sandbox: SandboxId, grant: Grant, address: str, port: int) -> str:
        """Judge a connection that a sandbox asks the node for, as the kernel would one of its own; return the rule's name."""
        rule = connection_rule(self.rules_for(self.agent_in(sandbox), grant), address, port)
        if rule is None:
            return ""
        self._told(
            KernelEvent(
                sandbox=sandbox,
                rule=rule.name,
                act=rule.act,
                answer=rule.answer,
                program="",
                pid=0,
                what=f"tcp {address}:{port}",
                taken_us=0.0,
            )
        )
        return rule.name

    def changed(self) -> None:
        """Put the rules as they are now in the place of those of every live sandbox.

        One whose new rules cannot stand is ended: less than what was ordered must not stand.
        """
        with self._lock:
            live = list(self._live.values())
        for guard in live:
            try:
                guard.change(self.rules_for(self.agent_in(guard.sandbox), guard.grant))
            except SandboxError as error:
                guard.refuse(f"new rules of the kernel cannot stand for it: {error.why}")

    def enter(self, guard: "_LiveGuard") -> None:
        """Count a guard whose sandbox starts."""
        with self._lock:
            self._live[guard.sandbox] = guard

    def leave(self, guard: "_LiveGuard") -> None:
        """Count it out."""
        with self._lock:
            self._live.pop(guard.sandbox, None)

    def _told(self, event: KernelEvent) -> None:
        guard = self._live.get(event.sandbox)
        if guard is not None and event.answer is KernelAnswer.KILL:
            did = f"{event.program or 'it'} did {event.act} {event.what}"
            guard.refuse(f"{REFUSED}: rule {event.rule!r} ({did}).")
        self.met(event)


class _LiveGuard:
    """One sandbox's guard."""

    def __init__(
        self,
        guards: KernelGuards,
        enforcer: Enforcer,
        sandbox: SandboxId,
        grant: Grant,
        rules: Sequence[KernelRule],
    ) -> None:
        self.sandbox: Final = sandbox
        self.grant: Final = grant
        self.rules: Sequence[KernelRule] = rules
        self.refuse: Callable[[str], None] = lambda _reason: None
        self._guards = guards
        self._enforcer = enforcer
        self._held: Guarded | None = None

    def begin(self, group: str, pid: int, refuse: Callable[[str], None]) -> None:
        """Let the rules stand.

        Raises:
            SandboxError: they cannot, so the sandbox must not start.

        """
        if not group:
            raise SandboxError("The sandbox cannot be guarded.", why="It has no cgroup of its own.")
        self.refuse = refuse
        self._guards.enter(self)
        self._held = self._enforcer.guard(self.sandbox, group, pid, self.rules)

    def change(self, rules: Sequence[KernelRule]) -> None:
        """Put other rules in their place. Raises SandboxError."""
        if self._held is not None:
            self._held.change(rules)
        self.rules = rules

    def settle(self) -> None:
        """Hear everything that the kernel has told by now."""
        self._enforcer.settle()

    def end(self) -> None:
        """Let go; twice is no error."""
        self._guards.leave(self)
        if self._held is not None:
            self._held.lift()
