"""What a scanner is asked and what it answers: a signal, never a gate by itself."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from hive.core.clock import Clock


class Direction(StrEnum):
    """Which way a text goes, seen from the agent."""

    INWARD = "inward"
    OUTWARD = "outward"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanFinding:
    """One thing that a scanner noticed: what kind, where in the text, how sure (0 to 1), by which rule.

    A scanner that judges a text as a whole spans all of it.
    """

    kind: str
    start: int
    end: int
    score: float
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanReport:
    """What a scanner noticed. `missing` says why there is no signal: then nothing is known, good or bad."""

    findings: tuple[ScanFinding, ...] = field(default=())
    missing: str = ""

    def score(self, *kinds: str) -> float:
        """Return how sure the surest finding is, of these kinds or of any."""
        scores = (one.score for one in self.findings if not kinds or one.kind in kinds)
        return max(scores, default=0.0)

    @property
    def kinds(self) -> dict[str, float]:
        """Return the best score of each kind that was found."""
        found: dict[str, float] = {}
        for one in self.findings:
            found[one.kind] = max(one.score, found.get(one.kind, 0.0))
        return found


class Scanner(Protocol):
    """Looks at texts. Whatever goes wrong inside is a report without a signal, never an error."""

    async def scan(self, text: str, direction: Direction, source: str) -> ScanReport:
        """Report what stands out in a text that comes from, or goes to, `source`."""
        ...

    async def aclose(self) -> None:
        """Let go of connections and processes."""
        ...


class ScannerDriver(Scanner, Protocol):
    """One kind of scanner, made from the URL that names it."""

    def __init__(self, url: str, *, timeout_s: float, clock: Clock) -> None: ...
