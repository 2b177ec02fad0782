"""Two runs side by side: the first step at which they differ, and every other."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from hive.core.json import Json, encode
from hive.kernel.masks import MISSING, Difference, first_difference, shown
from hive.kernel.record import frames_of
from hive.kernel.run_record import RunRecord, RunStep

TOKENS: Final = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDifference:
    """What differs at one step (0: how the runs ended), at which place, both sides."""

    number: int
    what: str
    difference: Difference


def run_differences(one: RunRecord, other: RunRecord) -> list[StepDifference]:
    """Return what differs between two runs; how long something took is no difference."""
    found: list[StepDifference] = []
    for index, (left, right) in enumerate(zip_longest(one.steps, other.steps), 1):
        found += _step(index, left, right)
    then, now = _end(one), _end(other)
    if (difference := first_difference(encode(then), encode(now))) is not None:
        found.append(StepDifference(number=0, what="end", difference=difference))
    return found


def answer_of(step: RunStep) -> tuple[bytes, ...]:
    """Return the recorded frames of a step's answer; none where nothing was kept."""
    return frames_of(step.step.content) if step.step.content is not None else ()


def tokens_of(step: RunStep) -> dict[str, int]:
    """Return the tokens that a step is known to have used."""
    cost = {} if step.result is None else step.result.cost
    return {name: value for name in TOKENS if isinstance(value := cost.get(name), int)}


def _step(number: int, left: RunStep | None, right: RunStep | None) -> Iterator[StepDifference]:
    if left is None or right is None:
        yield StepDifference(
            number=number,
            what="step",
            difference=Difference(path="", expected=_name(left), actual=_name(right)),
        )
        return
    if _name(left) != _name(right):
        difference = Difference(path="", expected=_name(left), actual=_name(right))
        yield StepDifference(number=number, what="call", difference=difference)
        return
    asked = _asked(left, right)
    if asked is not None:
        yield StepDifference(number=number, what="asked", difference=asked)
    if left.outcome != right.outcome:
        difference = Difference(path="", expected=left.outcome, actual=right.outcome)
        yield StepDifference(number=number, what="outcome", difference=difference)
    answer = _frames(answer_of(left), answer_of(right))
    if answer is not None:
        yield StepDifference(number=number, what="answer", difference=answer)
    tokens = first_difference(encode(tokens_of(left)), encode(tokens_of(right)))
    if tokens is not None:
        yield StepDifference(number=number, what="tokens", difference=tokens)


def _asked(left: RunStep, right: RunStep) -> Difference | None:
    if left.intent.argument_hash == right.intent.argument_hash:
        return None
    one, other = left.step.asked, right.step.asked
    if one is None or other is None:
        return Difference(path="", expected="(not kept)", actual="(not kept)")
    return first_difference(one.arguments, other.arguments)


def _frames(left: tuple[bytes, ...], right: tuple[bytes, ...]) -> Difference | None:
    """Compare answers as wholes: where a stream was cut into pieces says nothing."""
    if left == right:
        return None
    heads = first_difference(left[0] if left else b"", right[0] if right else b"")
    return heads or first_difference(b"".join(left[1:]), b"".join(right[1:]))


def _end(run: RunRecord) -> dict[str, Json]:
    status = run.task.status_message
    return {
        "state": run.task.state.value,
        "said": "" if status is None else status.text,
        "answer": [
            [part.text if part.text is not None else encode(part).decode() for part in one.parts]
            for one in run.task.artifacts
        ],
    }


def _name(step: RunStep | None) -> str:
    return MISSING if step is None else shown(f"{step.intent.verb} {step.intent.target}")
