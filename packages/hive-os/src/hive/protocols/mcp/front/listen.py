"""`subscriptions/listen`: a stream of the changes that a client chose, for as long as it listens.

The first frame says what it will hear; every frame names the request it belongs to. Nothing is kept for a
client that is not there: it listens again and reads the lists anew.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import anyio

from hive.core.json import Json
from hive.protocols.mcp.front.answering import complete
from hive.protocols.mcp.front.envelope import SUBSCRIPTION_KEY
from hive.protocols.mcp.front.exchange import PING, McpVisit, until_gone
from hive.protocols.mcp.front.limits import FrontLimits
from hive.protocols.mcp.front.wire import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    McpAsked,
    WireRefusedError,
    event_bytes,
    notification_bytes,
    result_bytes,
)
from hive.protocols.mcp.ports import Courier, ListChange, McpError, McpObject

LISTEN: Final = "subscriptions/listen"
_KINDS: Final[Mapping[str, str]] = {
    "tools": "toolsListChanged",
    "prompts": "promptsListChanged",
    "resources": "resourcesListChanged",
}
_URIS: Final = "resourceSubscriptions"


def change_notification(change: ListChange) -> tuple[str, McpObject]:
    """Return method and params of the notification that tells of a change."""
    if change.kind == "resource":
        return "notifications/resources/updated", {"uri": change.uri}
    return f"notifications/{change.kind}/list_changed", {}


async def listen(visit: McpVisit, asked: McpAsked, courier: Courier, limits: FrontLimits) -> None:
    """Serve one stream until the client goes away or it has lasted long enough.

    Raises:
        WireRefusedError: the client takes no stream, or does not say what it wants to hear.

    """
    if not visit.events:
        raise WireRefusedError(
            406, INVALID_REQUEST, "Accept text/event-stream to listen.", key=asked.id
        )
    honoured = _honoured(visit, asked, limits)
    meta: McpObject = {SUBSCRIPTION_KEY: asked.id}
    async with anyio.create_task_group() as tasks, visit.service.changes(visit.visitor) as changes:

        async def ping() -> None:
            await visit.exchange.event(PING)

        tasks.start_soon(until_gone, visit, tasks.cancel_scope.cancel, ping, limits.ping_s)
        acknowledged: McpObject = {"notifications": honoured, "_meta": meta}
        await visit.exchange.event(
            event_bytes(
                notification_bytes("notifications/subscriptions/acknowledged", acknowledged)
            )
        )
        await _subscribe(visit, honoured, courier)
        with anyio.move_on_after(limits.stream_max_s):
            async for change in changes:
                if _is_wanted(change, honoured):
                    method, params = change_notification(change)
                    frame = notification_bytes(method, {**params, "_meta": meta})
                    await visit.exchange.event(event_bytes(frame))
        result = complete(LISTEN, {"_meta": meta}, visit.service.info)
        await visit.exchange.end(event_bytes(result_bytes(asked.id, result)))
        tasks.cancel_scope.cancel()


async def _subscribe(visit: McpVisit, honoured: McpObject, courier: Courier) -> None:
    """Let a service that stands before a server of an older revision know what to watch there."""
    uris = honoured.get(_URIS)
    for uri in uris if isinstance(uris, list) else ():
        with suppress(McpError):
            await visit.service.answer(visit.visitor, "resources/subscribe", {"uri": uri}, courier)


def _honoured(visit: McpVisit, asked: McpAsked, limits: FrontLimits) -> McpObject:
    wanted = asked.params.get("notifications")
    if not isinstance(wanted, dict):
        raise WireRefusedError(
            400, INVALID_PARAMS, "`notifications` is missing or no object.", key=asked.id
        )
    offered = visit.service.capabilities(visit.visitor)
    honoured: dict[str, Json] = {
        name: True for kind, name in _KINDS.items() if wanted.get(name) is True and kind in offered
    }
    uris = wanted.get(_URIS)
    if isinstance(uris, list) and "resources" in offered:
        known: list[Json] = [uri for uri in uris if isinstance(uri, str)]
        if len(known) != len(uris) or len(uris) > limits.subscriptions_per_session_max:
            raise WireRefusedError(
                400, INVALID_PARAMS, f"`{_URIS}` is too long or has no texts.", key=asked.id
            )
        if known:
            honoured[_URIS] = known
    return honoured


def _is_wanted(change: ListChange, honoured: McpObject) -> bool:
    if change.kind == "resource":
        uris = honoured.get(_URIS)
        return isinstance(uris, list) and change.uri in uris
    return honoured.get(_KINDS.get(change.kind, "")) is True
