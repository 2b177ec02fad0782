"""What the rules find in a text: secrets, personal data, hidden signs, encoded blocks, words meant for an assistant.

All functions are pure. Each looks at one piece of bounded size; whoever has more calls again (`drivers/rules.py`).
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from hive.security.guardrails.checksums import (
    NUMBER_CHECKS,
    crc32_base62,
    digits_of,
    entropy,
    jwt,
    looks_random,
    luhn,
    mod97,
)
from hive.security.guardrails.patterns import RuleTable, Shape
from hive.security.guardrails.ports import ScanFinding
from hive.security.guardrails.text import cleaned, folded, opened_blocks, readings

INJECTION: Final = "injection"
HIDDEN: Final = "hidden"
ENCODED: Final = "encoded"
SECRET: Final = "secret"  # noqa: S105, the name of a kind
PERSONAL: Final = ("email", "phone", "iban", "card", "national-id")
KINDS: Final = (SECRET, *PERSONAL)
"""What can be redacted."""
HITS_MAX: Final = 8
_EMAIL: Final = re.compile(
    r"(?<![\w.+%-])[\w.+%-]{1,64}+@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61})\.){1,5}[A-Za-z]{2,24}\b"
)
_PHONE: Final = re.compile(
    r"(?<![\w.,+])(?<!\d )(?:\+|00)[1-9]\d{0,2}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ .-]?\d){6,12}(?![\w-])"
    r"|(?<![\w.,+-])(?<!\d )\(?0\d{2,4}\)?[ /-]\d(?:[ -]?\d){4,8}(?![\w-])"
    r"|(?<![\w.,+-])(?<!\d )\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\w-])"
)
_IBAN: Final = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[0-9A-Z]){11,30}(?!\w)")
_CARD: Final = re.compile(r"(?<![\w.-])[2-6]\d{3}(?:[ -]?\d){8,15}(?![\w-])")
_CARD_BRANDS: Final = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3[0689]\d{12}|35\d{14}|6\d{15,18}"
)
_DIGITS: Final = re.compile(r"\d(?:[^\d]{0,2}\d){6}")
_VALUE: Final = re.compile(r"[=:>]\s{0,3}[\"']?([^\s\"',;<>{}()]{8,200})$")


def find_secrets(text: str, table: RuleTable) -> Iterator[ScanFinding]:
    """Yield secrets by shape; what carries a check digit or a random part has to pass its test."""
    for shape in table.secret:
        if not any(need in text for need in shape.needs):
            continue
        for found in shape.pattern.finditer(text):
            score = _sure(shape, found[0], table)
            if score <= 0:
                continue
            start, end = found.span()
            if shape.check == "named" and (value := _VALUE.search(found[0])):
                start = found.start() + value.start(1)
            yield ScanFinding(kind=SECRET, start=start, end=end, score=score, rule=shape.id)


def _sure(shape: Shape, text: str, table: RuleTable) -> float:
    lower = text.lower()
    if shape.check == "jwt":
        return shape.score if jwt(text) else 0.0
    if shape.check == "crc32-base62":
        return 1.0 if crc32_base62(text) else shape.score - 0.3
    if shape.check == "entropy":
        return shape.score if entropy(text) >= 3.2 and any(map(str.isdigit, text)) else 0.0
    if shape.check in ("named", "not-a-placeholder"):
        value = _VALUE.search(text)
        said = value[1] if value and shape.check == "named" else lower
        if any(word in said.lower() for word in table.placeholders):
            return 0.0
        return shape.score if shape.check != "named" or looks_random(said) else 0.0
    return shape.score


def find_personal(text: str, table: RuleTable) -> Iterator[ScanFinding]:
    """Yield personal data: addresses, telephones, accounts, cards and national numbers whose check digits are right."""
    if "@" in text:
        yield from _found("email", _EMAIL, text, 0.95)
    if _DIGITS.search(text) is None:
        return
    taken: list[tuple[int, int]] = []
    checked: tuple[tuple[str, re.Pattern[str], Callable[[str], bool], float], ...] = (
        ("iban", _IBAN, lambda one: _is_iban(one, table), 0.98),
        ("card", _CARD, _is_card, 0.9),
        *(
            ("national-id", one.pattern, NUMBER_CHECKS[one.check], one.score)
            for one in table.personal
        ),
        ("phone", _PHONE, lambda one: 7 <= len(digits_of(one)) <= 15, 0.7),
    )
    for kind, pattern, right, score in checked:
        for found in pattern.finditer(text):
            start, end = found.span()
            if any(a < end and start < b for a, b in taken) or not right(found[0]):
                continue
            taken.append((start, end))
            yield ScanFinding(kind=kind, start=start, end=end, score=score)


def _found(kind: str, pattern: re.Pattern[str], text: str, score: float) -> Iterator[ScanFinding]:
    for found in pattern.finditer(text):
        yield ScanFinding(kind=kind, start=found.start(), end=found.end(), score=score)


def _is_iban(text: str, table: RuleTable) -> bool:
    plain = text.replace(" ", "")
    return table.iban.get(plain[:2]) == len(plain) and mod97(plain)


def _is_card(text: str) -> bool:
    digits = "".join(map(str, digits_of(text)))
    return _CARD_BRANDS.fullmatch(digits) is not None and luhn(text)


def find_hidden(text: str) -> Iterator[ScanFinding]:
    """Yield signs that nobody sees, and what they spell."""
    found = cleaned(text)
    if not found.removed:
        return
    score = 0.95 if len(found.spelled) >= 4 else min(0.9, 0.3 + 0.1 * found.removed)
    rule = "tags" if found.spelled else "invisible"
    yield ScanFinding(kind=HIDDEN, start=0, end=len(text), score=score, rule=rule)


def find_injection(text: str, table: RuleTable) -> Iterator[ScanFinding]:
    """Yield words meant for an assistant, each by itself; `combined` says what they say together."""
    shown = folded(text)
    yield from _spoken(shown, len(text), table)
    for other in readings(shown):
        yield from _spoken(other, len(text), table)


def _spoken(shown: str, length: int, table: RuleTable) -> Iterator[ScanFinding]:
    for shape in table.injection:
        if shape.needs and not any(need in shown for need in shape.needs):
            continue
        for number, found in enumerate(shape.pattern.finditer(shown)):
            if number >= HITS_MAX:
                break
            yield ScanFinding(
                kind=INJECTION,
                start=min(found.start(), length),
                end=min(found.end(), length),
                score=shape.score,
                rule=shape.id,
            )


def find_encoded(text: str, table: RuleTable) -> Iterator[ScanFinding]:
    """Yield what stands in encoded blocks; a block whose text is innocent is only named."""
    for start, end, said in opened_blocks(text):
        inner = [*find_secrets(said, table), *find_injection(said[:4096], table)]
        yield ScanFinding(kind=ENCODED, start=start, end=end, score=0.3 if not inner else 0.8)
        for one in inner:
            score = min(1.0, one.score + 0.1)
            yield ScanFinding(kind=one.kind, start=start, end=end, score=score, rule=one.rule)


def combined(findings: list[ScanFinding]) -> float:
    """Return what several rules of injection say together: independent hints, each rule once."""
    doubt = 1.0
    for score in {one.rule: one.score for one in findings if one.kind == INJECTION}.values():
        doubt *= 1.0 - score
    return 1.0 - doubt
