"""Made-up questions: what a bundle is asked while it is tried, so that what breaks breaks there.

They hold every verb and kind of caller, the words that stand in the rules themselves, and arguments as a hostile
caller would write them: of the wrong kind, deep, long, or missing.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from hive.core.call import EffectClass, Integrity, PrincipalKind, Verb
from hive.core.json import Json
from hive.security.policy.ports import (
    PolicyQuestion,
    QuestionCounters,
    QuestionLabel,
    QuestionPrincipal,
)

WORDS_MAX: Final = 200
LONG_CHARS: Final = 200_000
MANY: Final = 1000
HEAVY_MAX: Final = 20
_DOUBTFUL: Final = 0.25
_AT: Final = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
_HOSTILE: Final[tuple[Json, ...]] = (
    None, True, 0, -1, 1.5, 10**18, "", "x", [], {}, [1, "a", None], {"a": {"b": [{"c": 1}]}},
    "../../etc/passwd", "\u0430dmin", "a\x00b",
)  # fmt: skip


def questions(words: Iterable[str] = (), keys: Iterable[str] = ()) -> Iterator[PolicyQuestion]:
    """Yield questions that hold `words` as targets and values, and `keys` as names of arguments."""
    said = sorted(set(words))[:WORDS_MAX] or ["mail.send"]
    named = [*sorted(set(keys))[:WORDS_MAX], "path", "to", "amount"]
    kinds, verbs, effects = tuple(PrincipalKind), tuple(Verb), tuple(EffectClass)
    for number, word in enumerate(said):
        for turn, verb in enumerate(verbs):
            value: Json = said[(number + turn) % len(said)]
            yield _question(
                kinds[(number + turn) % len(kinds)],
                verb,
                word,
                effects[turn % len(effects)],
                {
                    named[(number + turn) % len(named)]: value,
                    named[number % len(named)]: number * 50,
                },
            )
    yield from _hostile(said, named)


def _hostile(said: list[str], named: list[str]) -> Iterator[PolicyQuestion]:
    for number, value in enumerate(_HOSTILE):
        for verb in Verb:
            word = said[number % len(said)]
            yield _question(
                PrincipalKind.AGENT, verb, word, EffectClass.ONCE, dict.fromkeys(named, value)
            )
    heavies: tuple[Json, ...] = (
        "x" * LONG_CHARS,
        list(range(MANY)),
        [{"a": one} for one in range(MANY)],
    )
    for name in named[:HEAVY_MAX]:
        for heavy in heavies:
            for verb in (Verb.INVOKE, Verb.REACH):
                yield _question(PrincipalKind.AGENT, verb, said[0], EffectClass.ONCE, {name: heavy})


def _question(
    kind: PrincipalKind, verb: Verb, target: str, effect: EffectClass, arguments: Json
) -> PolicyQuestion:
    agent = "some-agent" if kind is PrincipalKind.AGENT else ""
    return PolicyQuestion(
        principal=QuestionPrincipal(
            kind=kind,
            name=agent or "somebody",
            owner="alice",
            agent=agent,
            spiffe_id="spiffe://hive/agent/some-agent" if agent else "",
        ),
        verb=verb,
        target=target,
        effect=effect,
        time=_AT,
        labels=(QuestionLabel(integrity=Integrity.EXTERNAL, sources=("tool:web.get",)),),
        arguments=arguments,
        grant="0" * 64,
        tier="process",
        reputation=_DOUBTFUL,
        counters=QuestionCounters(alarms_last_hour=1, refusals_last_hour=20),
        facts={"server": target.partition(".")[0], "destructive": effect is EffectClass.ONCE},
    )
