"""Approvals as their operator uses them, and the webhook that is told of each."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, cast

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from hive.core.errors import BadInputError, StateError
from hive.core.ids import TaskId, plain_text
from hive.core.json import encode
from hive.kernel.approval_book import ApprovalBook
from hive.kernel.approvals import Approval, ApprovalRule, ApprovalState, Condition, Operator
from hive.kernel.flows import Flows
from hive.security.roles import acting_operator
from hive.web.approvals import (
    ApprovalDecision,
    ApprovalLine,
    ApprovalRuleLine,
    ConditionLine,
    QuestionDesk,
)

if TYPE_CHECKING:
    from hive.node.build import Node
    from hive.protocols.a2a.routes import A2ADoor

log: Final = logging.getLogger(__name__)
SHOWN_MAX_CHARS: Final = 256 << 10
ID_MAX_CHARS: Final = 64
EXPIRES_MAX_S: Final = 30 * 86400.0
HOLD_MAX_S: Final = 120.0
WATCHED_MAX: Final = 100
HOOK_QUEUE_MAX: Final = 100
HOOK_TRIES_MAX: Final = 3
HOOK_PAUSE_S: Final = 2.0


def approvals_of(node: "Node") -> "NodeApprovals":
    """Return the approvals of a node."""
    kernel = node.kernel
    return NodeApprovals(
        kernel.approvals,
        kernel.guards.flows,
        is_open=lambda task: kernel.feed.get(task) is not None,
    )


class NodeApprovals(QuestionDesk):
    """The approvals of one node."""

    def __init__(
        self, book: ApprovalBook, flows: Flows, *, is_open: Callable[[TaskId], bool]
    ) -> None:
        self._book = book
        self._flows = flows
        self._is_open = is_open

    async def lines(self) -> Sequence[ApprovalLine]:
        """Tell what waits and what was said and not used yet, oldest first."""
        return [await self._line(one) for one in self._book.open()]

    async def decide(self, approval: str, decision: ApprovalDecision) -> ApprovalLine:
        """Say yes or no. Raises NotFoundError, StateError."""
        task = self._book.get(approval).task if decision.allow else None
        if task is not None and not self._is_open(task):
            raise StateError(
                "The task that asked is over.",
                why="A yes counts for that task alone, so nothing could use it.",
                fix=f"hive task show {task}",
            )
        said = await self._book.decide(
            approval, allow=decision.allow, by=str(acting_operator()), reason=decision.reason
        )
        return await self._line(said)

    def rules(self) -> Sequence[ApprovalRuleLine]:
        """Tell the rules in the order in which they are asked."""
        return [_rule_line(one) for one in self._book.rules.all()]

    async def put_rule(self, rule: ApprovalRuleLine) -> None:
        """Add or replace a rule. Raises BadInputError."""
        await self._book.put_rule(_rule(rule), by=str(acting_operator()))

    async def remove_rule(self, rule: str) -> None:
        """Remove a rule. Raises NotFoundError."""
        await self._book.remove_rule(rule, by=str(acting_operator()))

    async def watch(self) -> AsyncIterator[ApprovalLine]:
        """Yield what waits now, then every question as it is asked, decided or used."""
        send, receive = anyio.create_memory_object_stream[Approval](WATCHED_MAX)
        forget = self._book.on_change(lambda approval: _offer(send, approval))
        try:
            for one in self._book.open():
                yield await self._line(one)
            async for approval in receive:
                yield await self._line(approval)
        finally:
            forget()
            send.close()
            receive.close()

    async def _line(self, approval: Approval) -> ApprovalLine:
        asked = await self._book.arguments(approval)
        text = "(not kept)" if asked is None else plain_text(asked.decode("utf-8", "replace"))
        left_out = len(text) - SHOWN_MAX_CHARS
        if left_out > 0:
            text = f"{text[:SHOWN_MAX_CHARS]} ({left_out} more characters are NOT shown)"
        return ApprovalLine(
            id=approval.id,
            state=approval.state.value,
            verb=approval.verb,
            target=approval.target,
            by=approval.principal,
            owner=approval.owner,
            rule=approval.rule,
            note=approval.note,
            task=approval.task or "",
            arguments=text,
            about=self._flows.about(approval.task, approval.target, asked),
            definition=approval.definition,
            asked_at=approval.asked_at,
            expires_at=approval.expires_at,
            decided_by=approval.decided_by,
            reason=approval.reason,
        )


class ApprovalHook:
    """Tells a URL of each call that waits: one JSON object a POST, signed like other push messages."""

    def __init__(
        self,
        *,
        book: ApprovalBook,
        url: str,
        sign: Callable[[str, bytes], Awaitable[str]],
        address: str,
    ) -> None:
        self._book = book
        self._url = url
        self._sign = sign
        self._address = address

    async def run(self) -> None:
        """Tell until cancelled; what cannot be told is logged and left."""
        send, receive = anyio.create_memory_object_stream[Approval](HOOK_QUEUE_MAX)
        forget = self._book.on_change(lambda approval: _offer(send, approval))
        try:
            await self._tell_all(receive)
        finally:
            forget()
            send.close()

    async def _tell_all(self, receive: MemoryObjectReceiveStream[Approval]) -> None:
        async with receive:
            async for approval in receive:
                if approval.state is ApprovalState.WAITING:
                    await self._tell(approval)

    async def _tell(self, approval: Approval) -> None:
        from hive_a2a.push.deliver import deliver
        from hive_a2a.push.screen import DestinationScreen, Unfit
        from hive_a2a.push.sign import SIGNATURE_HEADER

        body = _told(approval, self._address)
        headers = {
            "Content-Type": "application/json",
            SIGNATURE_HEADER: await self._sign(self._url, body),
        }
        # The operator chose this URL, so it may lie in his own network.
        screen = DestinationScreen(allow_private=True)
        outcome = None
        for _ in range(HOOK_TRIES_MAX):
            place = await screen.look(self._url)
            if isinstance(place, Unfit):
                log.warning("approval.hook_unfit", extra={"reason": place.reason})
                return
            outcome = await deliver(place, body, headers)
            if outcome.done or not outcome.worth_another_try:
                break
            await anyio.sleep(HOOK_PAUSE_S)
        if outcome is not None and not outcome.done:
            log.warning(
                "approval.hook_failed",
                extra={"approval": approval.id, "reason": outcome.reason or str(outcome.status)},
            )


async def tell_of_approvals(node: "Node", address: str) -> None:
    """Tell the operator's URL of each call that waits, until cancelled; nothing where there is none."""
    if not node.settings.approval_webhook:
        return

    async def sign(url: str, body: bytes) -> str:
        service = await cast("A2ADoor", node.inside.a2a).service()
        return service.signer(address).sign(url, body)

    url = node.settings.approval_webhook
    hook = ApprovalHook(book=node.kernel.approvals, url=url, sign=sign, address=address)
    await hook.run()


def _told(approval: Approval, address: str) -> bytes:
    return encode(
        {
            "approval": approval.id,
            "verb": approval.verb,
            "target": approval.target,
            "by": approval.principal,
            "owner": approval.owner,
            "task": approval.task or "",
            "note": approval.note,
            "expires_at": approval.expires_at.isoformat(),
            "decide": f"hive approve yes {approval.id}",
            "node": address,
        }
    )


def _offer(send: MemoryObjectSendStream[Approval], approval: Approval) -> None:
    try:
        send.send_nowait(approval)
    except (anyio.WouldBlock, anyio.ClosedResourceError, anyio.BrokenResourceError):
        log.warning("approval.watcher_behind", extra={"approval": approval.id})


def _rule(line: ApprovalRuleLine) -> ApprovalRule:
    known = line.id.isascii() and line.id.replace("-", "").replace("_", "").isalnum()
    if not known or len(line.id) > ID_MAX_CHARS:
        raise BadInputError("A rule has a short name of letters, digits and dashes.")
    if not 0 < line.expires_s <= EXPIRES_MAX_S or not line.hold_s <= HOLD_MAX_S:
        raise BadInputError(
            "A question stands for at most 30 days, and holds its call for at most two minutes."
        )
    return ApprovalRule(
        id=line.id,
        verb=line.verb,
        target=line.target,
        agent=line.agent,
        owner=line.owner,
        label=line.label,
        conditions=tuple(
            Condition(pointer=one.pointer, operator=Operator(one.operator), value=one.value)
            for one in line.conditions
        ),
        note=plain_text(line.note),
        hold_s=line.hold_s,
        expires_s=line.expires_s,
    )


def _rule_line(rule: ApprovalRule) -> ApprovalRuleLine:
    return ApprovalRuleLine(
        id=rule.id,
        verb=rule.verb,  # type: ignore[arg-type]
        target=rule.target,
        agent=rule.agent,
        owner=rule.owner,
        label=rule.label,
        conditions=tuple(
            ConditionLine(pointer=one.pointer, operator=one.operator.value, value=one.value)
            for one in rule.conditions
        ),
        note=rule.note,
        hold_s=rule.hold_s,
        expires_s=rule.expires_s,
    )
