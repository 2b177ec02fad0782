"""One open connection of the hub: a wire, the revision agreed on, and who hears what the server says.

A question of a server reaches the client whose request caused it, and nobody else. Where the transport does
not tell which that was, the connection serves one client alone, one request at a time.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio

from hive.core.call import Principal
from hive.core.clock import Clock
from hive.core.errors import EngineTimeoutError, HiveError, StateError
from hive.core.json import Json
from hive.protocols.mcp.hub.ports import ServerWire
from hive.protocols.mcp.hub.revisions import (
    HANDSHAKE_REVISIONS,
    ServerDescription,
    negotiate,
    stamped,
    unstamped,
)
from hive.protocols.mcp.ports import Courier, ListChange, McpError, McpObject, ServerSpec

METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
LOG_LINE: Final = "notifications/message"
UNSUBSCRIBE: Final = "resources/unsubscribe"
_SUBSCRIBING: Final = frozenset({"resources/subscribe", UNSUBSCRIBE})
SUBSCRIPTIONS_MAX: Final = 1000
LISTEN_AGAIN_S: Final = 5.0
ASKED: Final = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}
PASSED_ON: Final = frozenset({*ASKED.values(), "extensions"})
_CHANGES: Final = {
    "notifications/tools/list_changed": "tools",
    "notifications/prompts/list_changed": "prompts",
    "notifications/resources/list_changed": "resources",
    "notifications/resources/updated": "resource",
}
_KEPT_BACK: Final = frozenset({"notifications/cancelled", "notifications/initialized"})
URI_MAX_CHARS: Final = 2048


def capabilities_of(courier: Courier | None) -> dict[str, Json]:
    """Return what a client can be asked for, as the server is told."""
    if courier is None:
        return {}
    return {key: value for key, value in courier.client.items() if key in PASSED_ON}


def can_be_asked(courier: Courier | None) -> bool:
    """Tell whether a server may ask this client anything."""
    return courier is not None and any(key in courier.client for key in ASKED.values())


@dataclass(slots=True, kw_only=True, eq=False)
class LinkEars:
    """Hears what names no request: changes of lists; the rest only where one client is alone."""

    spec: ServerSpec
    changed: Callable[[ListChange], None]
    courier: Courier | None = None
    reader: Courier | None = None

    async def note(self, method: str, params: McpObject) -> None:
        """Take a notification."""
        kind = _CHANGES.get(method)
        if kind is not None:
            uri = params.get("uri")
            said = uri[:URI_MAX_CHARS] if isinstance(uri, str) else ""
            self.changed(ListChange(server=self.spec.name, kind=kind, uri=said))
        elif self.courier is not None and method not in _KEPT_BACK:
            await self.courier.notify(method, params)
        elif self.reader is not None and method == LOG_LINE:
            await self.reader.notify(method, params)

    async def question(self, method: str, params: McpObject) -> McpObject:
        """Answer a question of the server."""
        if method == "ping":
            return {}
        capability = ASKED.get(method)
        courier = self.courier
        if capability is None or courier is None or capability not in courier.client:
            raise McpError(METHOD_NOT_FOUND, f"Nobody here answers {method[:60]!r}.")
        return await courier.ask(method, params)


@dataclass(slots=True, kw_only=True, eq=False)
class RequestEars:
    """Hears what belongs to one request, and gives progress the name by which its client knows it."""

    link: LinkEars
    courier: Courier
    token: Json = None

    async def note(self, method: str, params: McpObject) -> None:
        """Take a notification."""
        if method in _CHANGES:
            await self.link.note(method, params)
        elif method not in _KEPT_BACK:
            if method == "notifications/progress" and self.token is not None:
                params = {**params, "progressToken": self.token}
            await self.courier.notify(method, params)

    async def question(self, method: str, params: McpObject) -> McpObject:
        """Answer a question of the server."""
        capability = ASKED.get(method)
        if capability is None or capability not in self.courier.client:
            return await self.link.question(method, params)
        return await self.courier.ask(method, params)


@dataclass(slots=True, kw_only=True, eq=False)
class LinkSession:
    """A wire with what was agreed on it. `users` hold it; `idle_since` is when the last one let go."""

    spec: ServerSpec
    wire: ServerWire
    ears: LinkEars
    caller: Principal
    clock: Clock
    capabilities: Mapping[str, Json] = field(default_factory=dict)
    exclusive: bool = False
    description: ServerDescription = field(default_factory=ServerDescription)
    users: int = 0
    idle_since: float = 0.0
    closing: anyio.Event = field(default_factory=anyio.Event)
    tokens: int = 0
    uris: set[str] = field(default_factory=set)
    listening: anyio.CancelScope | None = None
    rewanted: anyio.Event = field(default_factory=anyio.Event)
    callers: set[str] = field(default_factory=set)
    heard: int = 0
    probed: bool = False
    pings: int = 0
    misses: int = 0
    pinging: bool = False

    @property
    def ended(self) -> bool:
        """Tell whether it is of no more use."""
        return self.wire.ended or self.closing.is_set()

    async def agree(self, known: str) -> None:
        """Agree on a revision."""
        self.description = await negotiate(self.wire, self.ears, self.capabilities, known=known)
        self.probed = known not in HANDSHAKE_REVISIONS

    async def listen(self) -> None:
        """Hear changes of lists where the newest revision wants it to be asked for, until cancelled."""
        lost = False
        while self.description.stateless and not self.ended:
            wanted = self._wanted()
            if not wanted:
                self.rewanted = anyio.Event()
                await self.rewanted.wait()
                continue
            if lost:
                # What changed meanwhile nobody told.
                self.ears.changed(ListChange(server=self.spec.name, kind="tools"))
            with anyio.CancelScope() as self.listening:
                lost = await self._listen_once(wanted)
                if not lost:
                    return
                await anyio.sleep(LISTEN_AGAIN_S)

    async def _listen_once(self, wanted: McpObject) -> bool:
        """Listen until the stream ends; tell whether it is worth another."""
        try:
            await self.wire.ask(
                "subscriptions/listen",
                stamped({"notifications": wanted}, {}),
                hearer=self.ears,
                result_max_bytes=self.spec.result_max_bytes,
            )
        except (McpError, StateError):
            return False
        except HiveError:
            return not self.ended
        return True

    def _wanted(self) -> McpObject:
        wanted: McpObject = {
            f"{kind}ListChanged": True
            for kind in ("tools", "prompts", "resources")
            if self.description.tells_changes(kind)
        }
        if self.uris:
            wanted["resourceSubscriptions"] = list[Json](sorted(self.uris))
        return wanted

    def _subscribe(self, method: str, params: McpObject) -> None:
        """Keep which resources somebody watches; a stateless server is told by listening anew."""
        uri = params.get("uri")
        if not isinstance(uri, str) or len(uri) > URI_MAX_CHARS:
            raise McpError(INVALID_PARAMS, "A subscription names a resource.")
        if method == UNSUBSCRIBE:
            self.uris.discard(uri)
        elif len(self.uris) >= SUBSCRIPTIONS_MAX:
            raise McpError(INVALID_PARAMS, f"{SUBSCRIPTIONS_MAX} resources are watched already.")
        else:
            self.uris.add(uri)
        if self.listening is not None:
            self.listening.cancel()
        self.rewanted.set()

    async def request(
        self,
        method: str,
        params: McpObject,
        *,
        timeout_s: float,
        courier: Courier | None,
        named: Mapping[str, str] | None,
        caller: str = "",
    ) -> McpObject:
        """Ask the server; see `ServerLink.request`."""
        stateless = self.description.stateless
        if method in _SUBSCRIBING:
            self._subscribe(method, params)
            if stateless:
                return {}
        if courier is None:
            said = stamped(params, {}) if stateless else unstamped(params)
            return await self._asked(method, said, timeout_s, self.ears, named)
        said = stamped(params, capabilities_of(courier)) if stateless else unstamped(params)
        ears = RequestEars(link=self.ears, courier=courier)
        meta = said.get("_meta")
        if isinstance(meta, dict) and "progressToken" in meta:
            # Clients of different callers may choose the same token; on one wire it must be one.
            ears.token = meta["progressToken"]
            self.tokens += 1
            said = {**said, "_meta": {**meta, "progressToken": self.tokens}}
        if not self.exclusive:
            with self._read_by(courier, caller):
                return await self._asked(method, said, timeout_s, ears, named)
        self.ears.courier = courier
        try:
            return await self._asked(method, said, timeout_s, ears, named)
        finally:
            self.ears.courier = None

    @contextmanager
    def _read_by(self, courier: Courier, caller: str) -> Iterator[None]:
        """Let a client read log lines that name no request, as long as all requests were of one caller."""
        if len(self.callers) <= 1:
            self.callers.add(caller)
        self.heard += 1
        alone = self.heard == 1 and len(self.callers) == 1
        self.ears.reader = courier if alone else None
        try:
            yield
        finally:
            self.heard -= 1
            self.ears.reader = None

    async def _asked(
        self,
        method: str,
        params: McpObject,
        timeout_s: float,
        hearer: LinkEars | RequestEars,
        named: Mapping[str, str] | None,
    ) -> McpObject:
        with anyio.move_on_after(timeout_s):
            return await self.wire.ask(
                method,
                params,
                hearer=hearer,
                result_max_bytes=self.spec.result_max_bytes,
                named=named,
            )
        raise EngineTimeoutError(
            "The tool server did not answer in time.", why=f"{timeout_s:g} s have passed."
        )
