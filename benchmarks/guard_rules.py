"""How many texts meant for an assistant our own rules notice, at one false alarm in a hundred, and what a text costs.

A small measure, and a flattering one: the texts and the rules come from the same house, a threshold is chosen on the
honest texts that it is scored on, and no attacker adapts. Each attack is tried bare and in the middle of an honest page.
It says why the score is a signal and no gate.
"""

import math
import statistics
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import anyio

from hive.core.clock import SystemClock
from hive.security.guardrails import Direction
from hive.security.guardrails.drivers import SCANNERS

NAME: Final = "guard_rules"
SUMMARY: Final = "Attacks noticed by the shipped guard rules, of a hundred, at one false alarm in a hundred (details: intervals, families, CPU a text)"
UNIT: Final = "%"
HERE: Final = Path(__file__).parent
PAGES: Final = ("docs/**/*.md", "packages/*/*.md", "examples/**/*.md")
FALSE_ALARMS_MAX: Final = 0.01
PARAGRAPH_MIN_CHARS: Final = 80
KINDS: Final = ("injection", "hidden")
Z: Final = 1.96


def run() -> dict[str, Any]:
    """Score everything; the figure is that of attacks within a page."""
    table = tomllib.loads((HERE / "guard_texts.toml").read_text("utf-8"))
    pages = paragraphs()
    families = {one["name"]: one["attacks"] for one in table["family"]}
    attacks = [text for texts in families.values() for text in texts]
    benign = [*pages, *table["hard"]["benign"]]
    scores, _ = scored(benign)
    threshold = threshold_of(scores)
    hard = scores[len(pages) :]
    planted = [within(text, pages, number) for number, text in enumerate(attacks)]
    bare_scores, _ = scored(attacks)
    planted_scores, cpu_us = scored(planted)
    found = noticed(planted_scores, threshold)
    details: dict[str, Any] = {
        "threshold": threshold,
        "benign": len(benign),
        "false_alarms": interval(noticed(scores, threshold), len(scores)),
        "false_alarms_of_hard_ones": interval(noticed(hard, threshold), len(hard)),
        "bare": interval(noticed(bare_scores, threshold), len(attacks)),
        "within_a_page": interval(found, len(attacks)),
        "cpu_us_of_a_page": percentiles(cpu_us),
        "page_chars": statistics.median(map(len, planted)),
    }
    start = 0
    for name, texts in families.items():
        part = bare_scores[start : start + len(texts)]
        details[f"bare: {name}"] = f"{noticed(part, threshold)} of {len(texts)}"
        start += len(texts)
    return {
        "value": 100 * found / len(attacks),
        "percentiles": percentiles(cpu_us),
        "details": details,
    }


def paragraphs() -> list[str]:
    """Return the paragraphs of this repository's pages: honest, technical, full of orders to the reader."""
    root = HERE.parent
    texts = [path.read_text("utf-8") for glob in PAGES for path in sorted(root.glob(glob))]
    found = [part.strip() for text in texts for part in text.split("\n\n")]
    return [part for part in dict.fromkeys(found) if len(part) >= PARAGRAPH_MIN_CHARS]


def within(text: str, pages: Sequence[str], number: int) -> str:
    """Return a text in the middle of an honest page."""
    before, after = pages[(7 * number) % len(pages)], pages[(7 * number + 3) % len(pages)]
    return f"{before}\n\n{text}\n\n{after}"


def scored(texts: Sequence[str]) -> tuple[list[float], list[float]]:
    """Return the score of each text, and the processor time that it took in microseconds."""
    scanner = SCANNERS.load("rules:")("rules:", timeout_s=60.0, clock=SystemClock())

    async def score() -> tuple[list[float], list[float]]:
        await scanner.scan("warm", Direction.INWARD, "benchmark")
        scores, times = [], []
        for text in texts:
            began = time.process_time()
            report = await scanner.scan(text, Direction.INWARD, "benchmark")
            times.append((time.process_time() - began) * 1e6)
            scores.append(report.score(*KINDS))
        return scores, times

    return anyio.run(score)


def threshold_of(scores: Sequence[float]) -> float:
    """Return the lowest threshold at which at most one honest text in a hundred is over it."""
    allowed = int(len(scores) * FALSE_ALARMS_MAX)
    over = sorted(scores, reverse=True)
    return math.nextafter(over[allowed], 2.0) if allowed < len(over) else 0.0


def noticed(scores: Sequence[float], threshold: float) -> int:
    """Return how many are at or over a threshold."""
    return sum(one >= threshold for one in scores)


def interval(hits: int, tries: int) -> str:
    """Return a share with its Wilson interval of 95 percent."""
    if not tries:
        return "0 of 0"
    share = hits / tries
    scale = 1 + Z * Z / tries
    middle = (share + Z * Z / (2 * tries)) / scale
    half = Z * math.sqrt(share * (1 - share) / tries + Z * Z / (4 * tries * tries)) / scale
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return f"{100 * share:.1f} % ({100 * low:.1f} to {100 * high:.1f}), {hits} of {tries}"


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the ninetieth percentile."""
    cuts = statistics.quantiles(values, n=10)
    return {"p50": cuts[4], "p90": cuts[8]}
