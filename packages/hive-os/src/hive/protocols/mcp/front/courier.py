"""The client of a session, as a service sees it while it works on one request."""

from collections.abc import Mapping
from typing import Final

import anyio

from hive.core.json import Json
from hive.protocols.mcp.front.eventlog import McpStreamLog
from hive.protocols.mcp.front.exchange import loud_enough
from hive.protocols.mcp.front.limits import FrontLimits
from hive.protocols.mcp.front.sessions import McpSession, OpenQuestion
from hive.protocols.mcp.front.wire import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    McpAnswered,
    McpAsked,
    McpNotified,
    notification_bytes,
    question_bytes,
)
from hive.protocols.mcp.ports import McpError, McpObject

_NEEDED: Final[Mapping[str, str]] = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}


class SessionCourier:
    """Hears and is asked on the stream of the request that this is about."""

    def __init__(
        self,
        session: McpSession,
        asked: McpAsked,
        log: McpStreamLog | None,
        limits: FrontLimits,
    ) -> None:
        self._session = session
        self._log = log
        self._limits = limits
        meta = asked.params.get("_meta")
        self._progress = meta.get("progressToken") if isinstance(meta, dict) else None

    @property
    def revision(self) -> str:
        """Return the revision that the client speaks."""
        return self._session.revision

    @property
    def client(self) -> Mapping[str, Json]:
        """Return the capabilities that the client declared."""
        return self._session.client

    @property
    def level(self) -> str:
        """Return from which level on the client hears log lines."""
        return self._session.level

    async def notify(self, method: str, params: McpObject) -> None:
        """Pass on progress that was asked for, log lines that are loud enough, and whatever else."""
        if self._log is None or not self._wanted(method, params):
            return
        await self._log.put(notification_bytes(method, params))

    async def ask(self, method: str, params: McpObject) -> McpObject:
        """Ask the client and return its answer.

        Raises:
            McpError: it declared no such capability, takes no stream, did not answer, or refused.

        """
        needed = _NEEDED.get(method, "")
        if self._log is None or (needed and needed not in self._session.client):
            raise McpError(INVALID_REQUEST, f"The client cannot be asked: {method[:100]}.")
        if not needed and method != "ping":
            raise McpError(METHOD_NOT_FOUND, f"No client knows {method[:100]}.")
        if len(self._session.questions) >= self._limits.questions_per_session_max:
            raise McpError(INTERNAL_ERROR, "Too many questions wait for this client.")
        key, question = f"question-{self._session.number()}", OpenQuestion()
        self._session.questions[key] = question
        try:
            await self._log.put(question_bytes(key, method, params))
            with anyio.move_on_after(self._limits.question_timeout_s):
                await question.answered.wait()
        finally:
            del self._session.questions[key]
        answer = question.answer
        if answer is None:
            reason: McpObject = {"requestId": key, "reason": "No answer came in time."}
            await self._log.put(notification_bytes("notifications/cancelled", reason))
            raise McpError(INTERNAL_ERROR, "The client did not answer.")
        if answer.error is not None:
            raise answer.error
        return answer.result or {}

    def _wanted(self, method: str, params: McpObject) -> bool:
        if method == "notifications/message":
            return loud_enough(params, self._session.level)
        if method == "notifications/progress":
            return self._progress is not None and params.get("progressToken") == self._progress
        return True


def take_in(session: McpSession, message: McpNotified | McpAnswered) -> None:
    """Take in what needs no answer: a cancellation, or the answer to a question."""
    if isinstance(message, McpAnswered):
        question = session.questions.get(message.id)
        if question is not None and question.answer is None:
            question.answer = message
            question.answered.set()
    elif message.method == "notifications/cancelled":
        key = message.params.get("requestId")
        scope = session.running.get(key) if isinstance(key, int | str) else None
        if scope is not None:
            scope.cancel()
