"""Several messages in one body, which one older revision allows: answered one after the other, as a list."""

import anyio

from hive.core.json import Json
from hive.protocols.mcp.front.answering import answer_bytes
from hive.protocols.mcp.front.courier import SessionCourier, take_in
from hive.protocols.mcp.front.envelope import check_params
from hive.protocols.mcp.front.exchange import McpVisit, until_gone
from hive.protocols.mcp.front.handshake import BATCHES
from hive.protocols.mcp.front.limits import FrontLimits
from hive.protocols.mcp.front.sessions import McpSession
from hive.protocols.mcp.front.wire import (
    INVALID_REQUEST,
    McpAsked,
    WireRefusedError,
    read_message,
    result_bytes,
)


async def serve_batch(
    visit: McpVisit, session: McpSession, parts: list[Json], limits: FrontLimits
) -> None:
    """Answer a batch; nobody hears or is asked anything meanwhile.

    Raises:
        WireRefusedError: the revision has none, it is too long, or its ids are not its own.

    """
    if session.revision != BATCHES:
        raise WireRefusedError(400, INVALID_REQUEST, "A body holds one message in this revision.")
    if not 0 < len(parts) <= limits.batch_max:
        raise WireRefusedError(
            400, INVALID_REQUEST, f"A batch holds 1 to {limits.batch_max} messages."
        )
    messages = [read_message(part, limits) for part in parts]
    asked = [message for message in messages if isinstance(message, McpAsked)]
    ids = {message.id for message in asked}
    if len(ids) < len(asked) or not ids.isdisjoint(session.running):
        raise WireRefusedError(400, INVALID_REQUEST, "An id in this batch is taken.")
    if any(message.method == "initialize" for message in asked):
        raise WireRefusedError(400, INVALID_REQUEST, "`initialize` stands alone.")
    for message in messages:
        if isinstance(message, McpAsked):
            check_params(message)
        else:
            take_in(session, message)
    if not asked:
        await visit.exchange.document(202, b"")
        return
    await _answer_all(visit, session, asked, limits)


async def _answer_all(
    visit: McpVisit, session: McpSession, asked: list[McpAsked], limits: FrontLimits
) -> None:
    async def silent() -> None:
        """Say nothing: the answer is one document."""

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(until_gone, visit, tasks.cancel_scope.cancel, silent, limits.ping_s)
        for message in asked:
            session.running[message.id] = tasks.cancel_scope
        try:
            answers = [await _one(visit, session, message, limits) for message in asked]
            await visit.exchange.document(200, b"[%b]" % b",".join(answers))
        finally:
            for message in asked:
                session.running.pop(message.id, None)
        tasks.cancel_scope.cancel()


async def _one(visit: McpVisit, session: McpSession, asked: McpAsked, limits: FrontLimits) -> bytes:
    if asked.method == "ping":
        return result_bytes(asked.id, {})
    answer = await answer_bytes(
        visit.service,
        visit.visitor,
        asked,
        SessionCourier(session, asked, None, limits),
        stateless=False,
        timeout_s=limits.answer_timeout_s,
    )
    return answer.body
