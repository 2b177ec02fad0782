"""What another bundle would have said to what was asked before, before it goes live."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass

from hive.core.errors import HiveError
from hive.core.ids import plain_text
from hive.core.json import Json
from hive.security.policy.ports import CompiledPolicy, PolicyDecision, PolicyQuestion
from hive.security.policy.question import RECORDED, encoded
from hive.security.policy.standing import decision_of


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedBefore:
    """A recorded question. `complete` is false where a policy could look at arguments that were not kept whole."""

    question: PolicyQuestion
    allowed: bool
    owed: tuple[str, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedAnswer:
    """A question to which another bundle says something else."""

    before: str
    after: str
    reasons: tuple[str, ...] = ()


def before(body: Mapping[str, Json], question: PolicyQuestion, *, complete: bool) -> AskedBefore:
    """Return what was said to a question, from the body of its entry."""
    kept = body.get(RECORDED)
    said = kept if isinstance(kept, dict) else {}
    owed = said.get("owed")
    return AskedBefore(
        question=question,
        allowed=said.get("allow") is True,
        owed=tuple(map(str, owed)) if isinstance(owed, list) else (),
        complete=complete,
    )


async def answer_again(policy: CompiledPolicy, asked: AskedBefore) -> PolicyDecision | None:
    """Return what a policy says to a recorded question; None where that cannot be told."""
    if not asked.complete and policy.reads_arguments(asked.question.verb):
        return None
    try:
        answer = policy.ask(asked.question.verb, encoded(asked.question), asked.question.target)
        found = await answer if isinstance(answer, Awaitable) else answer
        return decision_of(found, policy.version)
    except (HiveError, ValueError) as error:
        why = error.why if isinstance(error, HiveError) else str(error)
        return PolicyDecision(
            allow=False,
            version=policy.version,
            reasons=("the policy could not answer",),
            fault=plain_text(why),
        )


def changed(asked: AskedBefore, now: PolicyDecision) -> ChangedAnswer | None:
    """Compare an answer with the recorded one; None where they are the same."""
    owed = tuple(sorted({one.kind.value for one in now.obligations}))
    before, after = _told(asked.allowed, tuple(sorted(set(asked.owed)))), _told(now.allow, owed)
    if before == after:
        return None
    return ChangedAnswer(before=before, after=after, reasons=now.reasons)


def _told(allowed: bool, owed: tuple[str, ...]) -> str:  # noqa: FBT001  two words of one line
    if not allowed:
        return "refused"
    return f"allowed, owing {', '.join(owed)}" if owed else "allowed"
