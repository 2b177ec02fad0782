"""Policy on the operator's wire: `/api/policy`, what stands and what shall stand, and `/api/policy-diff`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from hive.web.chapters import Answer, ApiQuestion, Chapter, Lines, RouteKey


class PolicyView(msgspec.Struct, frozen=True, kw_only=True):
    """What stands. Without a version nothing does, and every call is refused."""

    engine: str
    version: str = ""
    source: str = ""
    signer: str = ""
    since: datetime | None = None
    rules: tuple[str, ...] = ()
    problem: str = ""
    keys: tuple[str, ...] = ()


class PolicyOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bundle that shall stand: a tar archive; without one, the shipped rules."""

    archive: bytes = b""
    older: bool = False


class PolicyDiffOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bundle to be asked what was asked since."""

    archive: bytes
    since_s: float = 86_400.0
    limit: int = 10_000


class PolicyChange(msgspec.Struct, frozen=True, kw_only=True):
    """Calls that the other bundle would answer differently, all in the same way."""

    verb: str
    target: str
    principal: str
    before: str
    after: str
    calls: int
    example: str
    reasons: tuple[str, ...] = ()


class PolicyDiff(msgspec.Struct, frozen=True, kw_only=True):
    """What would change. `untold` calls cannot be judged again: what they asked with was not kept whole."""

    version: str
    against: str
    asked: int
    same: int
    untold: int
    changes: tuple[PolicyChange, ...] = ()
    more: bool = False


class PolicyDesk(Protocol):
    """Who keeps the policy."""

    def view(self) -> PolicyView:
        """Tell what stands."""
        ...

    async def load(self, order: PolicyOrder) -> PolicyView:
        """Let a bundle stand. Raises PolicyError."""
        ...

    async def diff(self, order: PolicyDiffOrder) -> PolicyDiff:
        """Ask a bundle what was asked before. Raises PolicyError, BadInputError."""
        ...

    async def question(self, call: str) -> Mapping[str, object]:
        """Return what was asked of the policy for a recorded call. Raises NotFoundError."""
        ...


class PolicyChapter(Chapter):
    """The paths of policy."""

    def __init__(self, desk: PolicyDesk) -> None:
        self._desk = desk
        self.answers: Mapping[RouteKey, Answer] = {
            ("GET", "policy", 0): self._view,
            ("POST", "policy", 0): self._load,
            ("POST", "policy-diff", 0): self._diff,
            ("GET", "policy-questions", 1): self._question,
        }
        self.streams: Mapping[RouteKey, Lines] = {}

    async def _view(self, _question: ApiQuestion) -> object:
        return self._desk.view()

    async def _load(self, question: ApiQuestion) -> object:
        return await self._desk.load(question.read(PolicyOrder))

    async def _diff(self, question: ApiQuestion) -> object:
        return await self._desk.diff(question.read(PolicyDiffOrder))

    async def _question(self, question: ApiQuestion) -> object:
        return await self._desk.question(question.rest[0])


def lines_of(changes: Sequence[PolicyChange]) -> list[tuple[str, ...]]:
    """Return changes as rows for people."""
    return [
        (str(one.calls), one.verb, one.target, one.principal, one.before, one.after, one.example)
        for one in changes
    ]
