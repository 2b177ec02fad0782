"""What a probe is, what it saw, and the grade that follows."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hive_a2a.command.probing.agent import ProbedAgent

SPECIFICATION: Final = "A2A 1.0"


class Severity(StrEnum):
    """How bad it is when a probe gets through."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class ProbeVerdict(StrEnum):
    """How a probe ended."""

    WITHSTANDS = "withstands"
    FAILS = "fails"
    NOT_APPLICABLE = "not applicable"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Sight:
    """What a probe saw, and what that means."""

    verdict: ProbeVerdict
    saw: str


def withstands(saw: str) -> Sight:
    """Say that the attack did not get through."""
    return Sight(ProbeVerdict.WITHSTANDS, saw)


def fails(saw: str) -> Sight:
    """Say that it did."""
    return Sight(ProbeVerdict.FAILS, saw)


def not_applicable(saw: str) -> Sight:
    """Say that the server does not offer what would be attacked."""
    return Sight(ProbeVerdict.NOT_APPLICABLE, saw)


def unclear(saw: str) -> Sight:
    """Say that nothing can be said."""
    return Sight(ProbeVerdict.UNCLEAR, saw)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackProbe:
    """One attack. `clause` is where the specification speaks of it; `fix` is for the server's owner."""

    id: str
    title: str
    severity: Severity
    clause: str
    sends: str
    fix: str
    run: "Callable[[ProbedAgent], Awaitable[Sight]]"
    slow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFinding:
    """A probe that was run, and how it ended."""

    probe: AttackProbe
    verdict: ProbeVerdict
    saw: str

    def told(self) -> dict[str, str]:
        """Return it as JSON has it."""
        return {
            "id": self.probe.id,
            "title": self.probe.title,
            "severity": str(self.probe.severity),
            "clause": self.probe.clause,
            "sent": self.probe.sends,
            "saw": self.saw,
            "verdict": str(self.verdict),
            "fix": self.probe.fix if self.verdict is ProbeVerdict.FAILS else "",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """All that was seen of one server."""

    url: str
    name: str
    endpoint: str
    binding: str
    findings: tuple[ProbeFinding, ...]

    def of(self, verdict: ProbeVerdict) -> tuple[ProbeFinding, ...]:
        """Return the findings that ended so."""
        return tuple(one for one in self.findings if one.verdict is verdict)

    @property
    def failed(self) -> bool:
        """Tell whether any attack got through."""
        return bool(self.of(ProbeVerdict.FAILS))

    @property
    def grade(self) -> str:
        """Return the grade: A where nothing got through, F where something critical did."""
        return grade_of(self.findings)

    def told(self) -> dict[str, object]:
        """Return it as JSON has it."""
        counts = {str(verdict): len(self.of(verdict)) for verdict in ProbeVerdict}
        return {
            "url": self.url,
            "name": self.name,
            "endpoint": self.endpoint,
            "binding": self.binding,
            "grade": self.grade,
            "counts": counts,
            "findings": [one.told() for one in self.findings],
        }


def grade_of(findings: Sequence[ProbeFinding]) -> str:
    """Grade: A nothing got through, B low, C medium, D one high, E more, F critical; ? when little was seen."""
    decided = [
        one for one in findings if one.verdict in (ProbeVerdict.WITHSTANDS, ProbeVerdict.FAILS)
    ]
    through = [one.probe.severity for one in decided if one.verdict is ProbeVerdict.FAILS]
    if Severity.CRITICAL in through:
        return "F"
    high = through.count(Severity.HIGH)
    if high:
        return "D" if high == 1 else "E"
    if through:
        return "C" if Severity.MEDIUM in through else "B"
    unseen = sum(1 for one in findings if one.verdict is ProbeVerdict.UNCLEAR)
    return "A" if decided and len(decided) > unseen else "?"
