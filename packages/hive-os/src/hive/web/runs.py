"""Runs on the operator's wire: `/api/runs/RUN/journal`, `/replay`, `/fork`, `/diff`."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from hive.core.errors import BadInputError
from hive.web.chapters import Answer, ApiQuestion, Lines, RouteKey


class JournalStep(msgspec.Struct, frozen=True, kw_only=True):
    """One effect of a run. `origin` is the run that it was served from, empty where it happened here."""

    number: int
    verb: str
    target: str
    effect: str
    outcome: str
    at: datetime
    duration_ms: float | None = None
    tokens: dict[str, int] = {}
    origin: str = ""
    note: str = ""
    asked_kept: bool = False
    redacted: bool = False


class RunJournal(msgspec.Struct, frozen=True, kw_only=True):
    """A run: what was asked, what it did in order, how it ended."""

    run: str
    agent: str
    state: str
    turns: int
    asked: str
    answer: str
    steps: list[JournalStep]
    forked_from: str = ""
    forked_at: int = 0


class StepShown(msgspec.Struct, frozen=True, kw_only=True):
    """What one step asked and was answered; None where it was not kept."""

    step: JournalStep
    asked: str | None = None
    answer: str | None = None


class ReplayOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to replay: the source as it is in its folder now, or as it was staged for the run."""

    recorded_source: bool = False


class WhereItDiffers(msgspec.Struct, frozen=True, kw_only=True):
    """A step (0: the end) at which something is not as it was, and what. `path` leads into a document."""

    step: int
    what: str
    expected: str = ""
    actual: str = ""
    path: str = ""


class ReplayLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a replay: `note`, `step` while it is served, and `end` with how it came out."""

    kind: str
    text: str = ""
    step: int = 0
    steps: int = 0
    how: str = ""
    identical: bool = False
    state: str = ""
    masks: dict[str, int] = {}
    divergence: WhereItDiffers | None = None


class ForkOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From which step a fork is live; with `message` it is asked something else."""

    at: int
    message: str | None = None


class Forked(msgspec.Struct, frozen=True, kw_only=True):
    """The task that a fork opened."""

    run: str
    agent: str
    forked_from: str
    at: int


class RunsCompared(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs compared: every difference in order, and how long each step took."""

    one: str
    other: str
    equal: bool
    differences: list[WhereItDiffers]
    durations_ms: list[tuple[float | None, float | None]]


class CassetteLine(msgspec.Struct, frozen=True, kw_only=True):
    """One model call of a run for a cassette; `skipped` says why it cannot be in one."""

    step: int
    exchange: msgspec.Raw = msgspec.Raw(b"null")
    skipped: str = ""


class RunSource(Protocol):
    """What answers about runs."""

    async def journal(self, run: str) -> RunJournal:
        """Return a run's effects. Raises NotFoundError."""
        ...

    async def show(self, run: str, number: int) -> StepShown:
        """Return what one step asked and was answered. Raises NotFoundError."""
        ...

    def replay(self, run: str, order: ReplayOrder) -> AsyncIterator[ReplayLine]:
        """Run it again from its record, line by line. Raises NotFoundError, StateError."""
        ...

    def cassette(self, run: str) -> AsyncIterator[CassetteLine]:
        """Tell a run's model calls with their answers. Raises NotFoundError."""
        ...

    async def fork(self, run: str, order: ForkOrder) -> Forked:
        """Open a task that goes live from a step of a run. Raises NotFoundError, BadInputError."""
        ...

    async def diff(self, one: str, other: str) -> RunsCompared:
        """Compare two runs. Raises NotFoundError."""
        ...


class RunsChapter:
    """The paths of runs."""

    def __init__(self, source: RunSource) -> None:
        self._source = source
        self.answers: Mapping[RouteKey, Answer] = {
            ("GET", "runs", 1): self._journal,
            ("GET", "runs", 2): self._show,
            ("GET", "runs", 3): self._diff,
            ("POST", "runs", 2): self._fork,
        }
        self.streams: Mapping[RouteKey, Lines] = {
            ("POST", "replays", 1): self._replay,
            ("GET", "cassettes", 1): self._cassette,
        }

    async def _journal(self, question: ApiQuestion) -> object:
        return await self._source.journal(question.rest[0])

    async def _show(self, question: ApiQuestion) -> object:
        run, number = question.rest
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise BadInputError(f"{number!r} is no step.", fix="See `hive journal RUN`.")
        return await self._source.show(run, int(number))

    async def _diff(self, question: ApiQuestion) -> object:
        one, verb, other = question.rest
        _only(verb, "diff")
        return await self._source.diff(one, other)

    async def _fork(self, question: ApiQuestion) -> object:
        run, verb = question.rest
        _only(verb, "fork")
        return await self._source.fork(run, question.read(ForkOrder))

    async def _replay(self, question: ApiQuestion) -> AsyncIterator[object]:
        async for line in self._source.replay(question.rest[0], question.read(ReplayOrder)):
            yield line

    async def _cassette(self, question: ApiQuestion) -> AsyncIterator[object]:
        async for line in self._source.cassette(question.rest[0]):
            yield line


def _only(given: str, wanted: str) -> None:
    if given != wanted:
        raise BadInputError(f"There is no {given!r} of a run.", fix=f"It is called {wanted!r}.")
