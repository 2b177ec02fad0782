"""A connection as its user holds it: where it broke before a request left, it is opened again, once."""

from collections.abc import Callable
from typing import Final

from hive.core.call import Principal
from hive.core.errors import EngineUnavailableError
from hive.protocols.mcp.hub.definitions import headers_of
from hive.protocols.mcp.hub.entries import HubEntry
from hive.protocols.mcp.hub.pool import LinkPool
from hive.protocols.mcp.hub.session import LinkSession
from hive.protocols.mcp.ports import Courier, McpObject, ServerView, TransportKind

ATTEMPTS: Final = 2


class HeldLink:
    """One caller's hold on a connection: `take`, then requests, then `give`."""

    def __init__(
        self,
        *,
        pool: LinkPool,
        entry: HubEntry,
        caller: Principal,
        courier: Courier | None,
        view: Callable[[HubEntry], ServerView],
    ) -> None:
        self._pool = pool
        self._entry = entry
        self._caller = caller
        self._courier = courier
        self._view = view
        self._session: LinkSession | None = None

    @property
    def view(self) -> ServerView:
        """Return the server as this connection knows it."""
        return self._view(self._entry)

    async def take(self) -> LinkSession:
        """Return an open connection, opened if need be."""
        session = self._session
        if session is None or session.ended:
            self.give()
            session = await self._pool.take(self._entry.spec, self._caller, self._courier)
            self._session = session
        return session

    def give(self) -> None:
        """Let go of it."""
        session, self._session = self._session, None
        if session is not None:
            self._pool.give(session)

    async def request(
        self,
        method: str,
        params: McpObject,
        *,
        timeout_s: float,
        courier: Courier | None = None,
    ) -> McpObject:
        """Ask the server; see `ServerLink.request`."""
        for attempt in range(1, ATTEMPTS + 1):
            session = await self.take()
            try:
                return await session.request(
                    method,
                    params,
                    timeout_s=timeout_s,
                    courier=courier,
                    named=self._named(method, params, session),
                    caller=f"{self._caller} {self._caller.owner} {self._caller.sandbox or ''}",
                )
            except EngineUnavailableError as error:
                left = error.__cause__ is not None
                if left or not session.ended or attempt == ATTEMPTS:
                    raise
        raise EngineUnavailableError("The tool server cannot be reached.")

    def _named(self, method: str, params: McpObject, session: LinkSession) -> dict[str, str] | None:
        """Return the headers that repeat arguments, where the tool asks for it."""
        entry = self._entry
        if method != "tools/call" or not entry.with_headers:
            return None
        name = params.get("name")
        by_http = entry.spec.transport is TransportKind.HTTP and session.description.stateless
        if not by_http or not isinstance(name, str) or name not in entry.with_headers:
            return None
        return headers_of(entry.tools[name].definition, params.get("arguments"))
