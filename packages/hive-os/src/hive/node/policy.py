"""Policy as its operator uses it: what stands, what shall stand, and what another bundle would have said."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, cast

import msgspec

from hive.core.errors import BadInputError, NotFoundError, PolicyError
from hive.core.ids import CallId, foreign_id
from hive.core.json import Json, decode
from hive.engines.ports import Database
from hive.ledger.asked import unpack
from hive.ledger.contents import Contents
from hive.ledger.entry import Entry, EntryKind
from hive.ledger.rows import COLUMNS, entries_of_call, entry_of
from hive.node.build import Node
from hive.security.policy import StandingPolicy, question_again
from hive.security.policy.again import (
    AskedBefore,
    ChangedAnswer,
    answer_again,
    before,
    changed,
)
from hive.security.policy.bundle import bundle_of, unpacked
from hive.security.policy.ports import CompiledPolicy
from hive.security.roles import acting_operator
from hive.web.policy import (
    PolicyChange,
    PolicyDesk,
    PolicyDiff,
    PolicyDiffOrder,
    PolicyOrder,
    PolicyView,
)

PAGE: Final = 500
SINCE_MAX_S: Final = 90 * 86_400.0
DIFF_MAX: Final = 100_000
CHANGES_MAX: Final = 200


class NodePolicy(PolicyDesk):
    """The policy of one node."""

    def __init__(self, node: Node) -> None:
        self._policy = cast("StandingPolicy", node.ground.policy)
        self._record = AskedRecord(node.engines.database, node.ledger.contents)
        self._settings = node.settings
        self._clock = node.clock

    def view(self) -> PolicyView:
        """Tell what stands."""
        stands = self._policy.standing
        try:
            keys = tuple(sorted(name for name, _ in self._policy.keys().keys.values()))
        except PolicyError:
            keys = ()
        if stands is None:
            return PolicyView(
                engine=self._settings.policy_url, problem=self._policy.problem, keys=keys
            )
        return PolicyView(
            engine=self._settings.policy_url,
            version=stands.compiled.version,
            source=stands.source,
            signer=stands.signer,
            since=stands.since,
            rules=() if stands.bundle is None else tuple(sorted(stands.bundle.files)),
            problem=self._policy.problem,
            keys=keys,
        )

    async def load(self, order: PolicyOrder) -> PolicyView:
        """Let a bundle stand. Raises PolicyError."""
        if order.archive:
            await self._policy.load(order.archive, by=str(acting_operator()), older=order.older)
        else:
            await self._policy.load_default(by=str(acting_operator()))
        return self.view()

    async def diff(self, order: PolicyDiffOrder) -> PolicyDiff:
        """Ask a bundle what was asked before. Raises PolicyError, BadInputError."""
        if not 0 < order.since_s <= SINCE_MAX_S or not 0 < order.limit <= DIFF_MAX:
            raise BadInputError("The span or the limit is out of range.")
        bundle = bundle_of(unpacked(order.archive))
        other = await self._policy.answers(bundle)
        tally = _Tally()
        since = self._clock.now() - timedelta(seconds=order.since_s)
        async for call, asked in self._record.since(since, order.limit):
            await tally.count(other, call, asked)
        return PolicyDiff(
            version=bundle.version,
            against=self._policy.version,
            asked=tally.asked,
            same=tally.same,
            untold=tally.untold,
            changes=tuple(tally.changes.values()),
            more=tally.more,
        )

    async def question(self, call: str) -> Mapping[str, object]:
        """Return what was asked of the policy for a recorded call. Raises NotFoundError."""
        found = await self._record.of(CallId(foreign_id(call, what="call id")))
        if found is None:
            raise NotFoundError(
                "No policy was asked for that call.", fix="hive journal RUN     lists calls"
            )
        told: Mapping[str, object] = msgspec.to_builtins(found.question)
        return told


class AskedRecord:
    """What was asked of the policy, as the ledger tells it."""

    def __init__(self, database: Database, contents: Contents) -> None:
        self._database = database
        self._contents = contents

    async def since(self, at: datetime, limit: int) -> AsyncIterator[tuple[str, AskedBefore]]:
        """Yield calls and their questions, newest first."""
        left = limit
        below: tuple[object, object, object] | None = None
        while left > 0:
            rows = await self._page(at, below, min(PAGE, left))
            entries = [entry_of(row) for row in rows]
            async for found in self._asked(entries):
                yield found
            if len(entries) < PAGE:
                return
            left -= len(entries)
            last = entries[-1]
            below = (last.at, last.chain, last.sequence)

    async def of(self, call: CallId) -> AskedBefore | None:
        """Return the question of one call, None where there was none."""
        entries = [
            one
            for one in await entries_of_call(self._database, call)
            if one.kind is EntryKind.INTENT
        ]
        async for _, asked in self._asked(entries[:1]):
            return asked
        return None

    async def _page(
        self, after: object, below: tuple[object, object, object] | None, size: int
    ) -> list[Mapping[str, object]]:
        seek = "" if below is None else " AND (at, chain, sequence) < ($3, $4, $5)"
        return list(
            await self._database.fetch(
                f"SELECT {COLUMNS} FROM entry WHERE kind = 'intent' AND at >= $1{seek}"  # noqa: S608
                " ORDER BY at DESC, chain DESC, sequence DESC LIMIT $2",
                after,
                size,
                *(below or ()),
            )
        )

    async def _asked(self, entries: list[Entry]) -> AsyncIterator[tuple[str, AskedBefore]]:
        named = [one.content_id for one in entries if one.content_id]
        contents = await self._contents.open_many(named) if named else {}
        for entry in entries:
            body = decode(entry.body)
            if not isinstance(body, dict):
                continue
            arguments, whole = _arguments(contents.get(entry.content_id))
            question = question_again(body, agent=_agent_of(body), arguments=arguments)
            if question is None:
                continue
            yield entry.call or "", before(body, question, complete=whole)


@dataclass(slots=True)
class _Tally:
    asked: int = 0
    same: int = 0
    untold: int = 0
    more: bool = False
    changes: dict[tuple[str, ...], PolicyChange] = field(default_factory=dict)

    async def count(self, policy: CompiledPolicy, call: str, asked: AskedBefore) -> None:
        """Ask again, and count what came of it."""
        self.asked += 1
        now = await answer_again(policy, asked)
        if now is None:
            self.untold += 1
            return
        change = changed(asked, now)
        if change is None:
            self.same += 1
            return
        self._note(call, asked, change)

    def _note(self, call: str, asked: AskedBefore, change: ChangedAnswer) -> None:
        question = asked.question
        principal = f"{question.principal.kind}:{question.principal.name}"
        key = (question.verb, question.target, principal, change.before, change.after)
        held = self.changes.get(key)
        if held is None and len(self.changes) >= CHANGES_MAX:
            self.more = True
            return
        self.changes[key] = PolicyChange(
            verb=question.verb,
            target=question.target,
            principal=principal,
            before=change.before,
            after=change.after,
            calls=1 if held is None else held.calls + 1,
            example=call if held is None else held.example,
            reasons=change.reasons,
        )


def _arguments(content: bytes | None) -> tuple[Json, bool]:
    """Return kept arguments as JSON, and whether they are all that was asked with."""
    if content is None:
        return None, False
    asked = unpack(content)
    try:
        return decode(asked.arguments), not asked.redacted
    except ValueError:
        return None, not asked.redacted


def _agent_of(body: Mapping[str, Json]) -> str:
    kind, _, name = str(body.get("principal", "")).partition(":")
    return name if kind == "agent" else ""
