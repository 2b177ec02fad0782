"""Approvals on the operator's wire: `/api/approvals`, what waits, and `/api/approval-rules`, what has to wait."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

import msgspec

from hive.web.chapters import Answer, ApiQuestion, Chapter, Lines, RouteKey

Scalar: TypeAlias = bool | int | float | str | None


class ApprovalLine(msgspec.Struct, frozen=True, kw_only=True):
    """A call that waits for a person, or an answer that stands. `arguments` is text for people.

    `about` names, for an argument that is an id, the record by whose name the user meant it.
    """

    id: str
    state: str
    verb: str
    target: str
    by: str
    owner: str
    rule: str
    asked_at: datetime
    expires_at: datetime
    note: str = ""
    task: str = ""
    arguments: str = ""
    about: dict[str, str] = {}
    definition: str = ""
    decided_by: str = ""
    reason: str = ""


class ApprovalDecision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word."""

    allow: bool
    reason: str = ""


class ConditionLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One condition on arguments; `pointer` is a JSON pointer into them (RFC 6901)."""

    pointer: str
    operator: Literal["=", "!=", "<", ">", "~", "exists", "under"]
    value: Scalar = None


class ApprovalRuleLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule. `hold_s` is how long a call waits on its connection; negative: as the node's setting says."""

    id: str
    verb: Literal["invoke", "send", "reach", "ask"] = "invoke"
    target: str = "*"
    agent: str = ""
    owner: str = ""
    label: str = ""
    conditions: tuple[ConditionLine, ...] = ()
    note: str = ""
    hold_s: float = -1.0
    expires_s: float = 3600.0


class QuestionDesk(Protocol):
    """Who keeps the questions."""

    async def lines(self) -> Sequence[ApprovalLine]:
        """Tell what waits and what was said and not used yet, oldest first."""
        ...

    async def decide(self, approval: str, decision: ApprovalDecision) -> ApprovalLine:
        """Say yes or no. Raises NotFoundError, StateError."""
        ...

    def rules(self) -> Sequence[ApprovalRuleLine]:
        """Tell the rules in the order in which they are asked."""
        ...

    async def put_rule(self, rule: ApprovalRuleLine) -> None:
        """Add or replace a rule. Raises BadInputError."""
        ...

    async def remove_rule(self, rule: str) -> None:
        """Remove a rule. Raises NotFoundError."""
        ...

    def watch(self) -> AsyncIterator[ApprovalLine]:
        """Yield what waits now, then every question as it is asked, decided or used."""
        ...


class ApprovalsChapter(Chapter):
    """The paths of approvals."""

    def __init__(self, desk: QuestionDesk) -> None:
        self._desk = desk
        self.answers: Mapping[RouteKey, Answer] = {
            ("GET", "approvals", 0): self._list,
            ("POST", "approvals", 1): self._decide,
            ("GET", "approval-rules", 0): self._rules,
            ("POST", "approval-rules", 0): self._put,
            ("DELETE", "approval-rules", 1): self._remove,
        }
        self.streams: Mapping[RouteKey, Lines] = {("GET", "approvals", 1): self._watch}

    async def _list(self, _question: ApiQuestion) -> object:
        return list(await self._desk.lines())

    async def _decide(self, question: ApiQuestion) -> object:
        return await self._desk.decide(question.rest[0], question.read(ApprovalDecision))

    async def _rules(self, _question: ApiQuestion) -> object:
        return list(self._desk.rules())

    async def _put(self, question: ApiQuestion) -> object:
        await self._desk.put_rule(question.read(ApprovalRuleLine))
        return list(self._desk.rules())

    async def _remove(self, question: ApiQuestion) -> object:
        await self._desk.remove_rule(question.rest[0])
        return list(self._desk.rules())

    def _watch(self, _question: ApiQuestion) -> AsyncIterator[object]:
        return self._desk.watch()
