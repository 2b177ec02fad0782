"""What a policy became, in the words of the one grant: nothing of it is lost without being said."""

from dataclasses import dataclass

from hive.core.kernel_rules import KernelRule
from hive.security.kernel_policy.agents import AgentSelector


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPolicy:
    """One policy: for which agents, and what the kernel refuses them. `notes` say what differs from the original."""

    name: str
    kind: str
    agents: AgentSelector
    kernel: tuple[KernelRule, ...] = ()
    notes: tuple[str, ...] = ()
