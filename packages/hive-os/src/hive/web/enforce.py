"""The kernel's guard on the operator's wire: `/api/enforce`, its policies, its rules for an agent, and its trial."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from hive.web.chapters import Answer, ApiQuestion, Chapter, Lines, RouteKey


class EnforceStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the ladder, strongest first."""

    name: str
    stands: bool
    detail: str


class KernelPolicyLine(msgspec.Struct, frozen=True, kw_only=True):
    """A policy that stands; `notes` say what differs from the original."""

    file: str
    name: str
    kind: str
    agents: str
    rules: int
    notes: tuple[str, ...] = ()


class EnforceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What guards sandboxes here. `lost` events did not fit into the kernel's buffer."""

    enforcer: str
    steps: tuple[EnforceStep, ...]
    sandboxes: int
    met: int
    lost: int
    house_rules: int
    policies: tuple[KernelPolicyLine, ...]


class KernelRuleLine(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that stands for an agent."""

    rule: str
    act: str
    answer: str
    what: str
    programs: str = ""


class KernelPolicyOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A policy file that shall stand under a name."""

    name: str
    data: bytes


class EnforceTrial(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a sandbox that opened a bait: `signal_after_us` from the hook to the signal."""

    enforcer: str
    killed: bool
    printed: str
    told: bool
    signal_after_us: float
    what: str


class EnforceDesk(Protocol):
    """Who keeps the kernel's guard."""

    async def status(self) -> EnforceStatus:
        """Tell what guards."""
        ...

    async def explain(self, agent: str) -> Sequence[KernelRuleLine]:
        """Tell which rules stand for an agent. Raises NotFoundError."""
        ...

    async def put(self, order: KernelPolicyOrder) -> Sequence[KernelPolicyLine]:
        """Let a policy file stand, for live sandboxes too. Raises PolicyError, BadInputError."""
        ...

    async def drop(self, name: str) -> None:
        """Let a policy file stand no longer. Raises NotFoundError."""
        ...

    async def trial(self) -> EnforceTrial:
        """Let a sandbox open a bait. Raises SandboxError."""
        ...


class EnforceChapter(Chapter):
    """The paths of the kernel's guard."""

    def __init__(self, desk: EnforceDesk) -> None:
        self._desk = desk
        self.answers: Mapping[RouteKey, Answer] = {
            ("GET", "enforce", 0): self._status,
            ("GET", "enforce-rules", 1): self._explain,
            ("POST", "enforce-policies", 0): self._put,
            ("DELETE", "enforce-policies", 1): self._drop,
            ("POST", "enforce-trial", 0): self._trial,
        }
        self.streams: Mapping[RouteKey, Lines] = {}

    async def _status(self, _question: ApiQuestion) -> object:
        return await self._desk.status()

    async def _explain(self, question: ApiQuestion) -> object:
        return list(await self._desk.explain(question.rest[0]))

    async def _put(self, question: ApiQuestion) -> object:
        return list(await self._desk.put(question.read(KernelPolicyOrder)))

    async def _drop(self, question: ApiQuestion) -> object:
        await self._desk.drop(question.rest[0])
        return {}

    async def _trial(self, _question: ApiQuestion) -> object:
        return await self._desk.trial()
