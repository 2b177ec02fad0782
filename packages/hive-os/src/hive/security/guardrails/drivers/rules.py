"""Own rules in this process: `rules:`, or `rules:?file=/path/own.toml` for an operator's rules behind them.

A long text is read in pieces that overlap, and the loop runs between them. A text that takes too long is cut
short, and that is a finding too: ordinary text does not.
"""

from typing import Final
from urllib.parse import unquote

import anyio.lowlevel

from hive.core.clock import Clock
from hive.core.drivers import query_of
from hive.security.guardrails.finding import (
    INJECTION,
    combined,
    find_encoded,
    find_hidden,
    find_injection,
    find_personal,
    find_secrets,
)
from hive.security.guardrails.patterns import rule_table
from hive.security.guardrails.ports import Direction, ScanFinding, ScanReport
from hive.security.guardrails.text import cleaned

PIECE_CHARS: Final = 4096
OVERLAP_CHARS: Final = 512
TEXT_MAX_CHARS: Final = 1 << 18
FINDINGS_MAX: Final = 200
COSTLY: Final = "costly"


class RulesScanner:
    """Scans by the table of rules. Injection is looked for in what comes in, secrets and personal data in what goes out."""

    def __init__(self, url: str, *, timeout_s: float, clock: Clock) -> None:
        self._table = rule_table(unquote(query_of(url).get("file", "")))
        self._timeout_s = timeout_s
        self._clock = clock

    async def scan(self, text: str, direction: Direction, source: str) -> ScanReport:
        """Report what stands out in a text."""
        cut = len(text) > TEXT_MAX_CHARS
        text = text[:TEXT_MAX_CHARS]
        began = self._clock.monotonic()
        found: list[ScanFinding] = []
        for start in range(0, max(1, len(text)), PIECE_CHARS):
            if start:
                await anyio.lowlevel.checkpoint()
            if self._clock.monotonic() - began > self._timeout_s:
                found.append(_whole(text, INJECTION, 0.5, COSTLY))
                cut = True
                break
            piece = text[start : start + PIECE_CHARS + OVERLAP_CHARS]
            found += _moved(self._in(piece, direction), start)
            if len(found) > FINDINGS_MAX:
                cut = True
                break
        together = combined(found)
        if together:
            found.append(_whole(text, INJECTION, together, "together"))
        return ScanReport(
            findings=tuple(dict.fromkeys(found)), missing="the text was cut" if cut else ""
        )

    def _in(self, piece: str, direction: Direction) -> list[ScanFinding]:
        found = [*find_hidden(piece), *find_encoded(piece, self._table)]
        if direction is Direction.OUTWARD:
            return [*found, *find_secrets(piece, self._table), *find_personal(piece, self._table)]
        shown = cleaned(piece)
        found += find_injection(shown.text, self._table)
        if len(shown.spelled) >= 4:
            found += find_injection(shown.spelled, self._table)
        return found

    async def aclose(self) -> None:
        """Do nothing: nothing is held."""


def _whole(text: str, kind: str, score: float, rule: str) -> ScanFinding:
    return ScanFinding(kind=kind, start=0, end=len(text), score=round(score, 3), rule=rule)


def _moved(found: list[ScanFinding], by: int) -> list[ScanFinding]:
    return [
        ScanFinding(
            kind=one.kind, start=one.start + by, end=one.end + by, score=one.score, rule=one.rule
        )
        for one in found
    ]
