"""Revision 2026-07-28: every request stands alone, and closing its connection cancels it.

An answer is one document with the status that belongs to its error, unless the service says something
before or is silent for long: then it is a stream whose last event is the answer.
"""

from collections.abc import Mapping
from typing import Final

from anyio.abc import TaskGroup

from hive.core.json import Json
from hive.protocols.mcp.front.answering import answer_bytes, complete
from hive.protocols.mcp.front.envelope import (
    VERSION_HEADER,
    McpEnvelope,
    check_params,
    compare_parameters,
    open_envelope,
    unsupported,
)
from hive.protocols.mcp.front.exchange import McpVisit, loud_enough
from hive.protocols.mcp.front.limits import FrontLimits
from hive.protocols.mcp.front.listen import LISTEN, listen
from hive.protocols.mcp.front.watched import watched
from hive.protocols.mcp.front.wire import (
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    McpAsked,
    McpMessage,
    McpNotified,
    WireRefusedError,
    event_bytes,
    notification_bytes,
    result_bytes,
)
from hive.protocols.mcp.ports import NEWEST, McpError, McpObject

DISCOVER: Final = "server/discover"
GONE: Final = frozenset(
    {"initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"}
)
"""Methods of older revisions that this one does not have."""


class StatelessCourier:
    """The client of one request: it hears what it asked for and cannot be asked."""

    def __init__(self, visit: McpVisit, envelope: McpEnvelope) -> None:
        self._visit = visit
        self._envelope = envelope

    @property
    def revision(self) -> str:
        """Return the revision that the client speaks."""
        return NEWEST

    @property
    def client(self) -> Mapping[str, Json]:
        """Return the capabilities that the client declared."""
        return self._envelope.capabilities

    @property
    def level(self) -> str:
        """Return from which level on the client hears log lines, empty for none."""
        return self._envelope.level

    async def notify(self, method: str, params: McpObject) -> None:
        """Pass on progress and log lines that this request asked for, and whatever else belongs to it."""
        if not self._visit.events or not self._wanted(method, params):
            return
        await self._visit.exchange.event(event_bytes(notification_bytes(method, params)))

    async def ask(self, method: str, params: McpObject) -> McpObject:
        """Refuse: a stateless client cannot be asked in the middle.

        Raises:
            McpError: always.

        """
        del params
        message = f"The client cannot be asked ({method}); answer with an InputRequiredResult."
        raise McpError(INVALID_REQUEST, message)

    def _wanted(self, method: str, params: McpObject) -> bool:
        if method == "notifications/message":
            return loud_enough(params, self._envelope.level)
        if method == "notifications/progress":
            token = self._envelope.progress
            return token is not None and params.get("progressToken") == token
        return True


async def serve_stateless(
    visit: McpVisit, message: McpMessage, limits: FrontLimits, tasks: TaskGroup
) -> None:
    """Answer one message of the stateless revision; `tasks` holds those that watch for clients that leave.

    Raises:
        WireRefusedError: it is not one that can be answered.

    """
    if isinstance(message, McpNotified):
        version = visit.head.headers.get(VERSION_HEADER, "")
        if version != NEWEST:
            raise unsupported(version)
        # A client cancels by closing the connection; a notification would let it name the request of another.
        await visit.exchange.document(202, b"")
        return
    if not isinstance(message, McpAsked):
        raise WireRefusedError(400, INVALID_REQUEST, "Nobody was asked for an answer here.")
    envelope = open_envelope(message, visit.head)
    if message.method in GONE:
        raise WireRefusedError(404, METHOD_NOT_FOUND, "Method not found", key=message.id)
    check_params(message)
    if message.method == DISCOVER:
        await visit.exchange.document(200, _discovered(visit, message))
    elif message.method == LISTEN:
        await listen(visit, message, StatelessCourier(visit, envelope), limits)
    else:
        compare_parameters(message, visit.head, visit.service, visit.visitor)
        await _answer(visit, message, StatelessCourier(visit, envelope), limits, tasks)


async def _answer(
    visit: McpVisit,
    asked: McpAsked,
    courier: StatelessCourier,
    limits: FrontLimits,
    tasks: TaskGroup,
) -> None:
    exchange = visit.exchange
    with watched(visit, tasks, limits.ping_s):
        answer = await answer_bytes(
            visit.service,
            visit.visitor,
            asked,
            courier,
            stateless=True,
            timeout_s=limits.answer_timeout_s,
        )
        if exchange.begun:
            await exchange.end(event_bytes(answer.body))
        else:
            await exchange.document(answer.status, answer.body)


def _discovered(visit: McpVisit, asked: McpAsked) -> bytes:
    service = visit.service
    result: McpObject = {
        "supportedVersions": [NEWEST],
        "capabilities": dict(service.capabilities(visit.visitor)),
    }
    if service.instructions:
        result["instructions"] = service.instructions
    return result_bytes(asked.id, complete(DISCOVER, result, service.info))
