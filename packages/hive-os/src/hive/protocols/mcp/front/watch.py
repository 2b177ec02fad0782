"""The stream that a session's client opens with GET: what it hears unasked are changes of lists and resources."""

import anyio

from hive.protocols.mcp.front.exchange import PING, Headers, McpVisit, until_gone
from hive.protocols.mcp.front.limits import FrontLimits
from hive.protocols.mcp.front.listen import change_notification
from hive.protocols.mcp.front.sessions import McpSession
from hive.protocols.mcp.front.wire import event_bytes, notification_bytes


async def watch_changes(
    visit: McpVisit, session: McpSession, limits: FrontLimits, headers: Headers
) -> None:
    """Serve it until the client goes away; a later one takes the place of an earlier."""
    if session.watching is not None:
        session.watching.cancel()
    with anyio.CancelScope() as scope:
        session.watching = scope
        try:
            with anyio.move_on_after(limits.stream_max_s):
                await _serve(visit, session, limits, headers)
        finally:
            if session.watching is scope:
                session.watching = None
    await visit.exchange.end()


async def _serve(
    visit: McpVisit, session: McpSession, limits: FrontLimits, headers: Headers
) -> None:
    async def ping() -> None:
        await visit.exchange.event(PING, headers)

    async with anyio.create_task_group() as tasks, visit.service.changes(visit.visitor) as changes:
        tasks.start_soon(until_gone, visit, tasks.cancel_scope.cancel, ping, limits.ping_s)
        await ping()
        async for change in changes:
            if change.kind != "resource" or change.uri in session.uris:
                frame = notification_bytes(*change_notification(change))
                await visit.exchange.event(event_bytes(frame), headers)
        tasks.cancel_scope.cancel()
