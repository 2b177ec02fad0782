"""What the hub knows of one server at this moment."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import is_
from typing import Final

import anyio

from hive.core.call import Principal
from hive.core.errors import HiveError, StateError
from hive.core.ids import OwnerId
from hive.protocols.mcp.hub.definitions import asks_for_headers
from hive.protocols.mcp.hub.listing import ToolListing
from hive.protocols.mcp.hub.revisions import ServerDescription
from hive.protocols.mcp.ports import PinnedTool, ServerSpec, ServerState, ServerView

LISTING_HOLDS_S: Final = 3600.0
LISTING_MIN_S: Final = 5.0
REASON_MAX_CHARS: Final = 500


@dataclass(slots=True, kw_only=True, eq=False)
class HubEntry:
    """One server: its spec, what it said of itself, its tools, and where it stands."""

    spec: ServerSpec
    description: ServerDescription = field(default_factory=ServerDescription)
    listed_at: datetime | None = None
    tools: dict[str, PinnedTool] = field(default_factory=dict)
    state: ServerState = ServerState.IDLE
    reason: str = ""
    changed_at: datetime | None = None
    holds_until: float | None = None
    refreshing: bool = False
    probe_again: bool = False
    private_to: str = ""
    last_caller: Principal | None = None
    keeping: anyio.Lock = field(default_factory=anyio.Lock)
    with_headers: frozenset[str] = frozenset()
    shown: ServerView | None = None
    shown_of: tuple[object, ...] = ()

    def take_tools(self, judged: Sequence[PinnedTool]) -> None:
        """Take what the pins say of the tools."""
        self.tools = {tool.definition.name: tool for tool in judged}
        self.with_headers = frozenset(
            name
            for name, tool in self.tools.items()
            if asks_for_headers(tool.definition.raw.get("inputSchema"))
        )

    def take_listing(self, judged: Sequence[PinnedTool], listing: ToolListing, now: float) -> None:
        """Take a new listing."""
        self.take_tools(judged)
        told = self.description.tells_changes("tools")
        holds_s = listing.ttl_s if listing.ttl_s is not None else LISTING_HOLDS_S
        endless = told and listing.ttl_s is None
        self.holds_until = None if endless else now + max(holds_s, LISTING_MIN_S)
        left_out = listing.left_out
        self.reason = f"left out: {'; '.join(left_out)}"[:REASON_MAX_CHARS] if left_out else ""

    def asker(self, hub: Principal) -> Principal:
        """Return in whose name the list is asked for again: a private one always in its owner's."""
        caller = self.last_caller or hub
        if self.private_to in ("", caller.owner):
            return caller
        return replace(hub, owner=OwnerId(self.private_to))

    def digests(self) -> dict[str, str]:
        """Return the digests of the tools, by name."""
        return {name: tool.definition.digest for name, tool in self.tools.items()}

    def is_stale(self, now: float) -> bool:
        """Tell whether the list should be asked for again."""
        return (
            self.listed_at is not None and self.holds_until is not None and now > self.holds_until
        )

    def failed_listing(self, why: str, now: float) -> None:
        """Note that the list did not come; nobody asks again at once."""
        self.reason = why[:REASON_MAX_CHARS]
        self.holds_until = now + LISTING_HOLDS_S

    def starting(self, now: datetime) -> None:
        """Note that a connection is being made."""
        if self.state is not ServerState.READY:
            self._become(ServerState.STARTING, "", now)

    @property
    def known_revision(self) -> str:
        """Return what need not be asked of the server again; empty after an operator connected anew."""
        return "" if self.probe_again else self.description.revision

    def ready(self, description: ServerDescription, now: datetime, *, probed: bool) -> None:
        """Note that a connection stands; `probed` where the server was asked for the newest revision."""
        self.probe_again = self.probe_again and not probed
        self.description = description
        reason = self.reason if self.state is ServerState.READY else ""
        self._become(ServerState.READY, reason, now)

    def failed(self, error: HiveError, now: datetime) -> None:
        """Note that a connection could not be made."""
        login = isinstance(error, StateError)
        self._become(ServerState.NEEDS_LOGIN if login else ServerState.FAILED, str(error), now)

    def rest(self, now: datetime) -> None:
        """Note that no connection is open."""
        self._become(ServerState.IDLE, self.reason, now)

    def view(self, links: int) -> ServerView:
        """Return it as people see it; the same object for as long as nothing changed."""
        now = (
            self.spec,
            self.state,
            self.description,
            self.tools,
            self.reason,
            self.changed_at,
            self.private_to,
            links,
        )
        if self.shown is None or not all(map(is_, now, self.shown_of)):
            self.shown, self.shown_of = self._made(links), now
        return self.shown

    def _made(self, links: int) -> ServerView:
        usable = sum(tool.usable for tool in self.tools.values())
        return ServerView(
            spec=self.spec,
            state=self.state if self.spec.enabled else ServerState.DISABLED,
            revision=self.description.revision,
            info=self.description.info,
            capabilities=self.description.capabilities,
            instructions=self.description.instructions,
            tools=usable,
            blocked=len(self.tools) - usable,
            links=links,
            reason=self.reason,
            changed_at=self.changed_at,
            private_to=self.private_to,
        )

    def _become(self, state: ServerState, reason: str, now: datetime) -> None:
        if state is not self.state:
            self.changed_at = now
        self.state = state
        # Drivers know no names of servers; who reads a list wants a command that can be run.
        self.reason = reason.replace(" NAME", f" {self.spec.name}")[:REASON_MAX_CHARS]
