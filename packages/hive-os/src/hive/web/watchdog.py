"""The watchdog on the operator's wire: `/api/quarantine`, `/api/alarms` and `/api/watch-rules`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from hive.web.chapters import Answer, ApiQuestion, Chapter, Lines, RouteKey


class QuarantineOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which agent to shut in, and why."""

    agent: str
    reason: str = ""


class QuarantinedAgent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent in quarantine."""

    agent: str
    at: datetime
    by: str
    reason: str


class AlarmLine(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm that was raised since the node began."""

    at: datetime
    rule: str
    title: str
    level: str
    reaction: str
    agent: str
    group: str
    count: int
    task: str


class WatchRuleLine(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that stands."""

    id: str
    title: str
    level: str
    reaction: str
    match: str
    at_least: int
    within_s: float
    by: str
    distinct: str


class WatchDesk(Protocol):
    """Who watches."""

    async def quarantined(self) -> Sequence[QuarantinedAgent]:
        """Tell who is shut in."""
        ...

    async def shut(self, order: QuarantineOrder) -> QuarantinedAgent:
        """Shut an agent in. Raises NotFoundError, EngineError."""
        ...

    async def release(self, agent: str) -> QuarantinedAgent:
        """Let an agent out. Raises NotFoundError."""
        ...

    async def alarms(self) -> Sequence[AlarmLine]:
        """Tell which alarms were raised, newest first."""
        ...

    async def rules(self, *, again: bool) -> Sequence[WatchRuleLine]:
        """Tell which rules stand; `again` reads them anew. Raises BadInputError."""
        ...


class WatchChapter(Chapter):
    """The paths of the watchdog."""

    def __init__(self, desk: WatchDesk) -> None:
        self._desk = desk
        self.answers: Mapping[RouteKey, Answer] = {
            ("GET", "quarantine", 0): self._quarantined,
            ("POST", "quarantine", 0): self._shut,
            ("DELETE", "quarantine", 1): self._release,
            ("GET", "alarms", 0): self._alarms,
            ("GET", "watch-rules", 0): self._rules,
            ("POST", "watch-rules", 0): self._again,
        }
        self.streams: Mapping[RouteKey, Lines] = {}

    async def _quarantined(self, _question: ApiQuestion) -> object:
        return list(await self._desk.quarantined())

    async def _shut(self, question: ApiQuestion) -> object:
        return await self._desk.shut(question.read(QuarantineOrder))

    async def _release(self, question: ApiQuestion) -> object:
        return await self._desk.release(question.rest[0])

    async def _alarms(self, _question: ApiQuestion) -> object:
        return list(await self._desk.alarms())

    async def _rules(self, _question: ApiQuestion) -> object:
        return list(await self._desk.rules(again=False))

    async def _again(self, _question: ApiQuestion) -> object:
        return list(await self._desk.rules(again=True))
