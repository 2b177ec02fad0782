"""Questions to a person, and the answers: asked once, waited for, used once.

What was asked and said are lines of the ledger, written before anything follows from them. A yes is used by
the intent that names it among its claims, so it is used up exactly when that intent is durable.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

import anyio
import msgspec

from hive.core.call import Call, Claim, Refused
from hive.core.clock import Clock
from hive.core.errors import EngineError, NotFoundError, StateError
from hive.core.ids import NAME_MAX_CHARS, new_id, plain_text
from hive.core.json import Json, encode
from hive.core.randomness import Randomness
from hive.engines.ports import Database
from hive.kernel.approvals import (
    Approval,
    ApprovalId,
    ApprovalRule,
    ApprovalRules,
    ApprovalState,
    key_of_question,
)
from hive.ledger.asked import AskedKeeper, unpack
from hive.ledger.contents import Contents
from hive.ledger.entry import Draft, EntryKind
from hive.ledger.writer import LedgerWriter

log: Final = logging.getLogger(__name__)
CHECK: Final = "approval"
CLAIM: Final = "approval"
WAITING_MAX: Final = 1000
WAITING_PER_OWNER_MAX: Final = 100
REASON_MAX_CHARS: Final = 500
RETRY_S: Final = 5.0
OLDEST_CALL_S: Final = 86_400.0
_OPEN: Final = (ApprovalState.WAITING, ApprovalState.ALLOWED, ApprovalState.DENIED)


@dataclass(slots=True)
class _Question:
    approval: Approval
    answered: anyio.Event = field(default_factory=anyio.Event)


class ApprovalBook:
    """All questions of this node. Methods that do not await are atomic."""

    def __init__(
        self,
        *,
        database: Database,
        writer: LedgerWriter,
        contents: Contents,
        keeper: AskedKeeper,
        clock: Clock,
        randomness: Randomness,
        hold_s: float,
    ) -> None:
        self._database = database
        self._writer = writer
        self._contents = contents
        self._keeper = keeper
        self._clock = clock
        self._randomness = randomness
        self._hold_s = hold_s
        self._rules = ApprovalRules()
        self._questions: dict[str, _Question] = {}
        self._observers: list[Callable[[Approval], None]] = []

    async def load(self) -> None:
        """Read the rules, and the questions that are open; a yes that an intent names is used up."""
        for row in await self._database.fetch("SELECT rule FROM approval_rule ORDER BY position"):
            self._rules.put(msgspec.json.decode(str(row["rule"]), type=ApprovalRule))
        rows = await self._database.fetch(
            "SELECT held FROM approval WHERE state = ANY($1::text[]) AND expires_at > $2"
            " ORDER BY id",
            [state.value for state in _OPEN],
            self._clock.now(),
        )
        for row in rows:
            approval = msgspec.json.decode(str(row["held"]), type=Approval)
            if approval.state is ApprovalState.ALLOWED and await self._was_used(approval):
                continue
            self._questions[approval.key] = _Question(approval)

    def needed(self, call: Call, arguments: bytes) -> ApprovalRule | None:
        """Return the rule that demands a yes for a call, None for most."""
        return self._rules.needed(call, arguments)

    async def obtain(self, call: Call, rule: ApprovalRule, arguments: bytes) -> Claim | Refused:
        """Return the claim of a yes, which is used up by it, or why there is none now.

        Waits some seconds for a person. The claim must be given back where the intent is not written.
        """
        hold_s = self._hold_s if rule.hold_s < 0 else rule.hold_s
        key = key_of_question(call, rule)
        ends_at = self._clock.monotonic() + hold_s
        while True:
            question = self._open(key)
            if question is None:
                asked = await self._ask(call, rule, key, arguments)
                if isinstance(asked, Refused):
                    return asked
                continue
            answer = self._answer(question)
            if answer is not None:
                return answer
            left_s = ends_at - self._clock.monotonic()
            if left_s <= 0:
                return _waits(question.approval)
            with anyio.move_on_after(left_s):
                await question.answered.wait()

    def give_back(self, claims: Sequence[Claim]) -> None:
        """Make a yes usable again whose intent was not written."""
        for claim in claims:
            if claim.kind != CLAIM:
                continue
            for question in self._questions.values():
                approval = question.approval
                if scope_of(approval.id) == claim.scope and approval.state is ApprovalState.USED:
                    question.approval = replace(approval, state=ApprovalState.ALLOWED)

    async def settle(self, claims: Sequence[Claim]) -> None:
        """Note that the intent is durable which used a yes."""
        for claim in claims:
            if claim.kind == CLAIM:
                used = ApprovalId(claim.scope.partition(":")[2])
                try:
                    await self._database.execute(
                        "UPDATE approval SET state = 'used' WHERE id = $1", used
                    )
                except EngineError:
                    # The intent names it, so a start finds that it was used.
                    log.warning("approval.use_not_noted", extra={"approval": used})
                for key, question in list(self._questions.items()):
                    if question.approval.id == used:
                        self._tell(question.approval)
                        del self._questions[key]

    def open(self) -> Sequence[Approval]:
        """Return the questions that wait and the answers that stand, oldest first."""
        now = self._clock.now()
        for key in [k for k, one in self._questions.items() if one.approval.expires_at <= now]:
            del self._questions[key]
        return sorted(
            (one.approval for one in self._questions.values()), key=lambda one: one.asked_at
        )

    def get(self, approval: str) -> Approval:
        """Return a question by its id or the beginning of it. Raises NotFoundError, StateError."""
        found = [one for one in self.open() if one.id.startswith(approval) and approval]
        exact = [one for one in found if one.id == approval] or found
        if not exact:
            raise NotFoundError(
                f"Nothing waits as {plain_text(approval)[:NAME_MAX_CHARS]!r}.",
                why="It was decided and used, has expired, or never was.",
                fix="hive approve     lists what waits",
            )
        if len(exact) > 1:
            raise StateError("More than one question begins so.", fix="Write more of its id.")
        return exact[0]

    async def arguments(self, approval: Approval) -> bytes | None:
        """Return what the call asks with, as it may be shown; None where it is not kept."""
        if not approval.content:
            return None
        content = await self._contents.open(approval.content)
        return None if content is None else unpack(content).arguments

    async def decide(self, approval: str, *, allow: bool, by: str, reason: str = "") -> Approval:
        """Say yes or no; the first word counts.

        Raises:
            NotFoundError: nothing waits under this id.
            StateError: somebody decided before.

        """
        held = self.get(approval)
        if held.state is not ApprovalState.WAITING:
            raise StateError(f"{held.id} is {held.state.value} already, by {held.decided_by}.")
        said = replace(
            held,
            state=ApprovalState.ALLOWED if allow else ApprovalState.DENIED,
            decided_by=by,
            reason=plain_text(reason)[:REASON_MAX_CHARS],
            decided_at=self._clock.now(),
        )
        name = "approval.allowed" if allow else "approval.denied"
        body: dict[str, Json] = {"approval": said.id, "by": by, "reason": said.reason}
        await self._write(EntryKind.DECISION, name, said, body)
        question = self._questions.get(held.key)
        if question is None or question.approval != held:
            raise StateError(f"{held.id} was decided in the same moment by somebody else.")
        question.approval = said
        await self._keep(said)
        question.answered.set()
        self._tell(said)
        return said

    @property
    def rules(self) -> ApprovalRules:
        """Return the rules as they are asked."""
        return self._rules

    async def put_rule(self, rule: ApprovalRule, *, by: str) -> None:
        """Add or replace a rule. Raises BadInputError."""
        self._rules.put(rule)
        text = encode(rule).decode()
        await self._note("approval.rule_set", {"rule": text, "by": by})
        await self._database.execute(
            "INSERT INTO approval_rule (id, rule) VALUES ($1, $2)"
            " ON CONFLICT (id) DO UPDATE SET rule = excluded.rule",
            rule.id,
            text,
        )

    async def remove_rule(self, rule: str, *, by: str) -> None:
        """Remove a rule. Raises NotFoundError."""
        if rule not in {one.id for one in self._rules.all()}:
            raise NotFoundError(
                f"There is no rule {plain_text(rule)[:80]!r}.", fix="hive approve rules"
            )
        await self._note("approval.rule_removed", {"rule": rule, "by": by})
        self._rules.remove(rule)
        await self._database.execute("DELETE FROM approval_rule WHERE id = $1", rule)

    def on_change(self, observer: Callable[[Approval], None]) -> Callable[[], None]:
        """Call `observer` with every question that is asked, decided or used; return what ends that."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    def _open(self, key: str) -> _Question | None:
        question = self._questions.get(key)
        if question is None or question.approval.state is ApprovalState.USED:
            return None
        if question.approval.expires_at <= self._clock.now():
            del self._questions[key]
            return None
        return question

    def _answer(self, question: _Question) -> Claim | Refused | None:
        approval = question.approval
        if approval.state is ApprovalState.ALLOWED:
            question.approval = replace(approval, state=ApprovalState.USED)
            return Claim(kind=CLAIM, scope=scope_of(approval.id))
        if approval.state is ApprovalState.DENIED:
            words = f": {approval.reason}" if approval.reason else ""
            return Refused(check=CHECK, reason=f"a person said no{words}", detail=approval.id)
        return None

    async def _ask(
        self, call: Call, rule: ApprovalRule, key: str, arguments: bytes
    ) -> Refused | None:
        now, owner = self._clock.now(), call.principal.owner
        waiting = [one for one in self.open() if one.state is ApprovalState.WAITING]
        own = sum(1 for one in waiting if one.owner == owner)
        if len(waiting) >= WAITING_MAX or own >= WAITING_PER_OWNER_MAX:
            reason = "too many calls wait for a person's yes"
            return Refused(check=CHECK, reason=reason, retry_after_s=60.0)
        approval = Approval(
            id=ApprovalId(new_id(self._clock, self._randomness)),
            key=key,
            state=ApprovalState.WAITING,
            rule=rule.id,
            note=rule.note,
            verb=call.verb.value,
            target=call.target,
            principal=str(call.principal),
            owner=owner,
            agent=call.principal.agent,
            task=call.task,
            argument_hash=call.argument_hash,
            definition=str(call.facts.get("definition", "")),
            asked_at=now,
            expires_at=now + timedelta(seconds=rule.expires_s),
        )
        # In the book before anything is awaited, so that the same call asked twice asks one question.
        self._questions[key] = question = _Question(approval)
        try:
            body = _asked_body(approval, call)
            packed = self._keeper.pack(arguments)
            entry = await self._write(
                EntryKind.HOLD, "approval.asked", approval, body, content=packed
            )
        except BaseException:
            if self._questions.get(key) is question:
                del self._questions[key]
            question.answered.set()
            raise
        question.approval = replace(question.approval, content=entry)
        await self._keep(question.approval)
        self._tell(question.approval)
        return None

    async def _was_used(self, approval: Approval) -> bool:
        # A call that was held on its connection is older than the answer, and than the question.
        since = approval.asked_at - timedelta(seconds=OLDEST_CALL_S)
        rows = await self._database.fetch(
            "SELECT 1 FROM entry WHERE kind = 'intent' AND at >= $1 AND position($2 in body) > 0"
            " LIMIT 1",
            since,
            f'"{scope_of(approval.id)}"',
        )
        return bool(rows)

    async def _keep(self, approval: Approval) -> None:
        await self._database.execute(
            "INSERT INTO approval (id, state, expires_at, held) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (id) DO UPDATE SET state = excluded.state, held = excluded.held",
            approval.id,
            approval.state.value,
            approval.expires_at,
            encode(approval).decode(),
        )

    async def _write(
        self,
        kind: EntryKind,
        name: str,
        approval: Approval,
        body: Mapping[str, Json],
        *,
        content: bytes | None = None,
    ) -> str:
        entry = await self._writer.append(
            Draft(
                kind=kind,
                name=name,
                body=dict(body),
                at=self._clock.now(),
                owner=approval.owner,
                task=approval.task,
                agent=approval.agent or "",
                content=content,
            )
        )
        return entry.content_id

    async def _note(self, name: str, body: dict[str, Json]) -> None:
        draft = Draft(kind=EntryKind.EVENT, name=name, body=body, at=self._clock.now())
        await self._writer.append(draft)

    def _tell(self, approval: Approval) -> None:
        for observer in tuple(self._observers):
            observer(approval)


def scope_of(approval: ApprovalId) -> str:
    """Return how an intent's claim names a yes."""
    return f"approval:{approval}"


def _waits(approval: Approval) -> Refused:
    return Refused(
        check=CHECK,
        reason="a person has to say yes to this call first; it waits as "
        f"{approval.id}: ask again with the same arguments",
        retry_after_s=RETRY_S,
        approval=approval.id,
    )


def _asked_body(approval: Approval, call: Call) -> dict[str, Json]:
    return {
        "approval": approval.id,
        "rule": approval.rule,
        "verb": approval.verb,
        "target": approval.target,
        "principal": approval.principal,
        "argument_hash": approval.argument_hash,
        "definition": approval.definition,
        "call": call.id,
        "expires_at": approval.expires_at.isoformat(),
    }
