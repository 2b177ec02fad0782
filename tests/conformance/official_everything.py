"""The `everything` service as a program on the official package, in both eras: a server to stand behind others.

    python -m tests.conformance.official_everything          # streamable HTTP; writes its URL
    python -m tests.conformance.official_everything older    # the same, as before the newest revision
    python -m tests.conformance.official_everything stdio

What it can do comes from `EverythingService`; the wire is all the official package's.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
import mcp_types as types
import pydantic
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import PromptsListChanged, ToolsListChanged
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.conformance.everything import EverythingService
from tests.conformance.serve_everything import NOBODY

from hive.core.json import Json
from hive.protocols.mcp.front.answering import complete
from hive.protocols.mcp.front.envelope import LEVEL_KEY
from hive.protocols.mcp.ports import NEWEST, Courier, McpError, McpObject
from hive.testing.loopback import serve_app

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext

METHODS: Final = (
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/read",
    "resources/templates/list",
    "resources/subscribe",
    "resources/unsubscribe",
    "completion/complete",
    "logging/setLevel",
)
QUESTION: Final = "question"
CHANGES: Final = {
    "test_trigger_tool_change": ToolsListChanged,
    "test_trigger_prompt_change": PromptsListChanged,
}


class QuestionFirstError(Exception):
    """A question that the client has to answer before the server can."""

    def __init__(self, question: McpObject) -> None:
        super().__init__("the client has to answer first")
        self.question = question


class AnyParams(pydantic.BaseModel):
    """Params as they came."""

    model_config = pydantic.ConfigDict(extra="allow")


class AnyResult(pydantic.RootModel[dict[str, Any]]):
    """A result as it came."""


class OfficialCourier:
    """The client of one request, by way of the official package."""

    def __init__(self, context: "ServerRequestContext[Any, Any]") -> None:
        self._context = context

    @property
    def revision(self) -> str:
        """Return the revision that the client speaks."""
        return self._context.protocol_version

    @property
    def client(self) -> Mapping[str, Json]:
        """Return the capabilities that the client declared."""
        meta = (self._context.params or {}).get("_meta") or {}
        declared = meta.get("io.modelcontextprotocol/clientCapabilities")
        if isinstance(declared, dict):
            return declared
        known = self._context.session.client_params
        if known is None:
            return {}
        dumped: dict[str, Json] = known.capabilities.model_dump(by_alias=True, exclude_none=True)
        return dumped

    async def notify(self, method: str, params: McpObject) -> None:
        """Pass on a notification."""
        meta = (self._context.params or {}).get("_meta") or {}
        if method == "notifications/message" and self.revision >= NEWEST and LEVEL_KEY not in meta:
            return
        known = {
            "notifications/message": types.LoggingMessageNotification,
            "notifications/progress": types.ProgressNotification,
        }[method]
        if method.endswith("progress") and params.get("progressToken") is None:
            return
        notification = known.model_validate({"method": method, "params": params})
        await self._context.session.send_notification(
            notification, related_request_id=self._context.request_id
        )

    async def ask(self, method: str, params: McpObject) -> McpObject:
        """Ask the client: in the middle of the request, or by a result where each request stands alone.

        Raises:
            QuestionFirstError: the answer has to wait for the client's next request.

        """
        given = self._context.params or {}
        if self.revision >= NEWEST:
            answers = given.get("inputResponses") or {}
            if QUESTION in answers:
                known: McpObject = answers[QUESTION]
                return known
            raise QuestionFirstError({"method": method, "params": params})
        kinds: dict[str, Any] = {
            "elicitation/create": (types.ElicitRequest, types.ElicitResult),
            "sampling/createMessage": (types.CreateMessageRequest, types.CreateMessageResult),
        }
        request, result = kinds[method]
        answer = await self._context.session.send_request(
            request.model_validate({"method": method, "params": params}), result
        )
        dumped: McpObject = answer.model_dump(by_alias=True, mode="json", exclude_none=True)
        return dumped


def official_everything() -> Server[Any]:
    """Return the server."""
    service, bus = EverythingService(), InMemorySubscriptionBus()
    server: Server[Any] = Server(
        "everything", version="1.0.0", on_subscriptions_listen=ListenHandler(bus)
    )
    for method in METHODS:
        server.add_request_handler(method, AnyParams, _handler(service, bus, method))
    return server


def _handler(
    service: EverythingService, bus: InMemorySubscriptionBus, method: str
) -> Callable[["ServerRequestContext[Any, Any]", AnyParams], Awaitable[dict[str, Json]]]:
    async def answer(
        context: "ServerRequestContext[Any, Any]", params: AnyParams
    ) -> dict[str, Json]:
        del params
        courier: Courier = OfficialCourier(context)
        given = dict(context.params or {})
        try:
            result = await service.answer(NOBODY, method, given, courier)
        except QuestionFirstError as first:
            return {"resultType": "input_required", "inputRequests": {QUESTION: first.question}}
        except McpError as error:
            raise MCPError(error.code, error.message, error.data) from None
        changed = CHANGES.get(str(given.get("name"))) if method == "tools/call" else None
        if changed is not None and courier.revision >= NEWEST:
            await bus.publish(changed())
        elif changed is ToolsListChanged:
            await context.session.send_tool_list_changed()
        elif changed is not None:
            await context.session.send_prompt_list_changed()
        return complete(method, result, service.info) if courier.revision >= NEWEST else result

    return answer


def before_the_newest(app: ASGIApp) -> ASGIApp:
    """Return a server that has never heard of the newest revision."""

    async def older(scope: Scope, receive: Receive, send: Send) -> None:
        if (b"mcp-protocol-version", NEWEST.encode()) not in scope["headers"]:
            await app(scope, receive, send)
            return
        reply = PlainTextResponse("Bad Request: unsupported protocol version", status_code=400)
        await reply(scope, receive, send)

    return older


async def serve_http(*, newest: bool = True) -> None:
    """Serve streamable HTTP on a free loopback port until it is stopped."""
    security = TransportSecuritySettings(
        allowed_hosts=["127.0.0.1:*", "localhost:*"],
        allowed_origins=["http://127.0.0.1:*", "http://localhost:*"],
    )
    manager = StreamableHTTPSessionManager(official_everything(), security_settings=security)
    app = manager.handle_request if newest else before_the_newest(manager.handle_request)
    async with manager.run(), serve_app(app) as url:
        sys.stdout.write(f"{url}/mcp\n")
        sys.stdout.flush()
        await anyio.sleep_forever()


async def serve_stdio() -> None:
    """Serve standard input and output."""
    server = official_everything()
    async with stdio_server() as (read, write):
        options = server.create_initialization_options(
            NotificationOptions(tools_changed=True, prompts_changed=True, resources_changed=True)
        )
        await server.run(read, write, options)


if __name__ == "__main__":
    kind = sys.argv[1] if len(sys.argv) > 1 else ""
    anyio.run(serve_stdio if kind == "stdio" else partial(serve_http, newest=kind != "older"))
