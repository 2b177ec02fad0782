"""One call of a tool by the operator: through the gateway, as every agent's, heard event by event."""

from collections.abc import AsyncIterator, Mapping
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from hive.core.clock import Clock
from hive.core.ids import plain_text
from hive.core.json import Json, encode
from hive.kernel.host_parts import first_error
from hive.protocols.mcp.ports import NEWEST, Courier, McpError, McpObject, McpService, Visitor
from hive.security.roles import acting_operator
from hive.web.tools import ToolCallEvent

EVENTS_AHEAD_MAX: Final = 100
TEXT_MAX_CHARS: Final = 4000
METHOD_UNKNOWN: Final = -32601
_TOKEN: Final = "operator"  # noqa: S105  names the progress of one call


class OperatorCourier(Courier):
    """The operator's side of a call: hears progress and log lines, and cannot be asked."""

    def __init__(self, events: MemoryObjectSendStream[ToolCallEvent]) -> None:
        self._events = events

    @property
    def revision(self) -> str:
        """Return the newest revision."""
        return NEWEST

    @property
    def client(self) -> Mapping[str, Json]:
        """Return no capability at all."""
        return {}

    async def notify(self, method: str, params: McpObject) -> None:
        """Pass on progress and log lines; what comes faster than it is read is dropped."""
        event = _event(method, params)
        if event is None:
            return
        try:
            self._events.send_nowait(event)
        except anyio.WouldBlock:
            return

    async def ask(self, method: str, params: McpObject) -> McpObject:
        """Refuse to be asked."""
        raise McpError(
            METHOD_UNKNOWN, "The operator's command cannot be asked.", {"method": method}
        )


async def called(
    gateway: McpService, name: str, arguments: Mapping[str, Json], clock: Clock
) -> AsyncIterator[ToolCallEvent]:
    """Call a tool; the last event is its result, or an error of the protocol."""
    began = clock.monotonic()
    send, receive = anyio.create_memory_object_stream[ToolCallEvent](EVENTS_AHEAD_MAX)
    last: list[ToolCallEvent] = []

    async def ask() -> None:
        params: McpObject = {
            "name": name,
            "arguments": dict(arguments),
            "_meta": {"progressToken": _TOKEN},
        }
        visitor = Visitor(principal=acting_operator())
        with send:
            try:
                result = await gateway.answer(visitor, "tools/call", params, OperatorCourier(send))
                event = ToolCallEvent(kind="result", result=result, took_ms=_took(clock, began))
            except McpError as error:
                event = ToolCallEvent(
                    kind="error",
                    code=error.code,
                    text=plain_text(error.message)[:TEXT_MAX_CHARS],
                    took_ms=_took(clock, began),
                )
            last.append(event)

    try:
        async with receive, anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            async for event in receive:
                yield event
    except ExceptionGroup as group:
        raise first_error(group) from group
    yield last[0]


def _event(method: str, params: McpObject) -> ToolCallEvent | None:
    if method == "notifications/progress":
        return ToolCallEvent(
            kind="progress",
            text=plain_text(str(params.get("message") or ""))[:TEXT_MAX_CHARS],
            progress=_number(params.get("progress")),
            total=_number(params.get("total")),
        )
    if method == "notifications/message":
        data = params.get("data")
        text = data if isinstance(data, str) else encode(data).decode()
        level = str(params.get("level") or "info")
        return ToolCallEvent(kind="log", text=plain_text(f"{level}: {text}")[:TEXT_MAX_CHARS])
    return None


def _number(value: Json) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if good and isinstance(value, int | float) else None


def _took(clock: Clock, began: float) -> float:
    return round((clock.monotonic() - began) * 1000, 2)
