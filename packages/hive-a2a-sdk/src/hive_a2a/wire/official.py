"""The official routes: bare, behind the limits alone, and as the way of protocol 0.3 into a guarded handler.

Importing the routes costs half a second, so that waits for the first request that needs them.
"""

from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from hive_a2a.asgi import AsgiApp, Disconnected, Event, Receive, Scope, Send, replay, respond
from hive_a2a.errors import WireLimitError
from hive_a2a.faults import WireFault, has_official_word
from hive_a2a.policy import WireLimits
from hive_a2a.wire.limits import admit_method, read_body

if TYPE_CHECKING:
    from a2a.server.request_handlers.request_handler import RequestHandler
    from a2a.server.routes.common import ServerCallContextBuilder

    from hive_a2a.wire.request import WireRequest


def official_routes(
    handler: "RequestHandler", *, context_builder: "ServerCallContextBuilder | None" = None
) -> AsgiApp:
    """Mount the official JSON-RPC route at `/` and the official REST routes, 1.0 and 0.3.

    Nothing guards them: use `secure_routes`, or call them with a body that was read by `read_body`.
    """
    # First: the official client and server import each other, and the client that comes second
    # quietly does without gRPC of 0.3.
    import a2a.client  # noqa: F401
    from a2a.server.routes.jsonrpc_routes import create_jsonrpc_routes
    from a2a.server.routes.rest_routes import create_rest_routes
    from starlette.routing import Router

    calls = create_jsonrpc_routes(
        request_handler=handler,
        rpc_url="/",
        context_builder=context_builder,
        enable_v0_3_compat=True,
    )
    resources = create_rest_routes(
        request_handler=handler, context_builder=context_builder, enable_v0_3_compat=True
    )
    return Router(routes=[*calls, *resources], redirect_slashes=False)


def secure_routes(
    handler: "RequestHandler",
    *,
    limits: WireLimits | None = None,
    context_builder: "ServerCallContextBuilder | None" = None,
) -> AsgiApp:
    """Mount the official routes behind the limits of the wire, and nothing else: `WireEndpoint` has the rest."""
    bounds = limits or WireLimits()
    routes = official_routes(handler, context_builder=context_builder)

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await routes(scope, receive, send)
            return
        try:
            admit_method(scope["method"])
            if scope["method"] == "POST":
                receive = replay(await read_body(scope, receive, bounds), receive)
        except WireLimitError as error:
            await respond(
                send,
                str(error).encode(),
                status=error.status,
                content_type=b"text/plain; charset=utf-8",
                headers=[(b"connection", b"close")],
            )
            return
        except Disconnected:
            return
        await routes(scope, receive, send)

    return guarded


class OldProtocol:
    """The official adapters of 0.3 in front of a guarded handler."""

    def __init__(self, handler: "RequestHandler") -> None:
        self._handler = handler
        self._routes: AsgiApp | None = None
        self._importing = anyio.Lock()

    async def routes(self) -> AsgiApp:
        """Return the routes; `scope` must carry the `WireRequest` under `REQUEST_KEY`."""
        if self._routes is None:
            async with self._importing:
                if self._routes is None:
                    # Half a second of imports, so not on the event loop.
                    self._routes = await to_thread.run_sync(self._mount)
        return self._routes

    def _mount(self) -> AsgiApp:
        from hive_a2a.wire.official_context import RequestContextBuilder

        return official_routes(self._handler, context_builder=RequestContextBuilder())


class OwnWords:
    """A `send` that holds an answer back whose fault the official routes have no word for.

    The head goes out with the first bytes of the body: the official streams send it before they know
    whether there is anything to stream, and what fails then can still be told.
    """

    def __init__(self, send: Send, request: "WireRequest") -> None:
        self._send = send
        self._request = request
        self._begun = False
        self._head: Event | None = None

    @property
    def unsaid(self) -> WireFault | None:
        """Return the fault that is to be said in place of the official answer."""
        fault = self._request.fault
        # Clients of 0.3 know the official words, details included; ours are for what has none.
        return None if self._begun or fault is None or has_official_word(fault) else fault

    async def __call__(self, event: Event) -> None:
        """Pass an event on, unless a fault is to be said in place of the whole answer."""
        if self.unsaid is not None:
            return
        if event["type"] == "http.response.start":
            self._head = event
            return
        self._begun = True
        if self._head is not None:
            head, self._head = self._head, None
            await self._send(head)
        await self._send(event)
