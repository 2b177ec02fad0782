"""A call that waits for a person's yes, in the words that its client understands.

The yes is the operator's and is given at the node. What a client answers here only makes it ask again, or
give up.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from hive.core.call import PrincipalKind, Refused
from hive.core.clock import Clock
from hive.core.json import Json
from hive.core.randomness import Randomness
from hive.protocols.mcp.gateway.results import (
    APPROVAL_KEY,
    CHECK_KEY,
    INPUT_REQUIRED,
    refused,
    waiting_text,
)
from hive.protocols.mcp.ports import NEWEST, Courier, McpError, McpObject, Visitor
from hive.protocols.mcp.serving.running import RunningTasks, WorkHand
from hive.protocols.mcp.serving.tasks import declared, handle

URL_ELICITATION_REQUIRED: Final = -32042
QUESTION: Final = "approval"
ASKED_AGAIN_MAX: Final = 16

Decided: TypeAlias = Callable[[str], Awaitable[None]]
"""Wait until an approval was decided, or has expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalDesk:
    """What the node knows of approvals: the page where one is decided, and when it was.

    `page` gives an address that people outside can open, empty for none.
    """

    decided: Decided | None = None
    page: Callable[[str], str] = lambda _approval: ""


class ApprovalAnswers:
    """Answers for calls that were refused, among them those that wait."""

    def __init__(self, desk: ApprovalDesk, clock: Clock, randomness: Randomness) -> None:
        self._desk = desk
        self.tasks = RunningTasks(clock, randomness)

    @property
    def offers_tasks(self) -> bool:
        """Tell whether a call can wait as long work."""
        return self._desk.decided is not None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let calls wait while the context is open."""
        async with self.tasks.running():
            yield

    async def answer(
        self,
        no: Refused,
        visitor: Visitor,
        courier: Courier,
        *,
        state: Callable[[], str],
        again: Callable[[], Awaitable[McpObject]],
    ) -> McpObject:
        """Answer a refusal; `again` makes the same call once more.

        Raises:
            McpError: the client's revision has an error for it (-32042).

        """
        if not no.approval:
            return refused(no)
        if self._desk.decided is not None and declared(courier):
            return handle(self.tasks.start(visitor, self._until_decided(no, again)))
        # An agent has nobody at its screen; its program is told in words.
        inside = visitor.principal.kind is PrincipalKind.AGENT
        page = "" if inside else self._desk.page(no.approval)
        asked = courier.client.get("elicitation")
        if not isinstance(asked, dict):
            return refused(no)
        if courier.revision >= NEWEST:
            return _input_required(no, page if "url" in asked else "", state())
        if page and "url" in asked:
            raise McpError(
                URL_ELICITATION_REQUIRED,
                waiting_text(no),
                {"elicitations": [_at_page(no, page)]},
            )
        return refused(no)

    def _until_decided(
        self, no: Refused, again: Callable[[], Awaitable[McpObject]]
    ) -> Callable[[WorkHand], Awaitable[McpObject]]:
        decided = self._desk.decided

        async def work(hand: WorkHand) -> McpObject:
            waits = no.approval
            for _ in range(ASKED_AGAIN_MAX):
                hand.say(f"Waits for the approval {waits}.")
                if decided is not None:
                    await decided(waits)
                result = await again()
                waits = _still_waits(result)
                if not waits:
                    return result
            return refused(no)

        return work


def dismissed(answers: Mapping[str, Json]) -> bool:
    """Tell whether a client was told to give up."""
    answer = answers.get(QUESTION)
    return isinstance(answer, dict) and answer.get("action") in ("decline", "cancel")


def _still_waits(result: McpObject) -> str:
    meta = result.get("_meta")
    waits = meta.get(APPROVAL_KEY) if isinstance(meta, dict) else None
    return waits if isinstance(waits, str) else ""


def _input_required(no: Refused, page: str, state: str) -> McpObject:
    params = _at_page(no, page) if page else _in_words(no)
    return {
        "resultType": INPUT_REQUIRED,
        "inputRequests": {QUESTION: {"method": "elicitation/create", "params": params}},
        "requestState": state,
        "_meta": {CHECK_KEY: no.check, APPROVAL_KEY: no.approval},
    }


def _at_page(no: Refused, page: str) -> McpObject:
    return {
        "mode": "url",
        "elicitationId": no.approval,
        "url": page,
        "message": waiting_text(no),
    }


def _in_words(no: Refused) -> McpObject:
    nothing: Json = {"type": "object", "properties": {}}
    return {"mode": "form", "message": waiting_text(no), "requestedSchema": nothing}
