"""An `everything` service: all tools, resources and prompts that the official conformance suites ask for.

What each does is given by the suites; nothing here is a measure of anything but the wire in front of it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectSendStream
from tests.conformance.everything_asks import ASKING, asking_prompt, asking_tool
from tests.conformance.everything_content import (
    PNG,
    SCHEMAS,
    TEXT_TOOLS,
    prompt_of,
    prompts_listed,
    text,
)
from tests.conformance.everything_tasks import TASK_TOOLS, task_tool

from hive.core.json import Json
from hive.protocols.mcp.ports import (
    NEWEST,
    Courier,
    ListChange,
    McpError,
    McpObject,
    Visitor,
)
from hive.protocols.mcp.serving.running import RunningTasks
from hive.protocols.mcp.serving.tasks import METHODS, WorkDesk, capability

INVALID_PARAMS: Final = -32602
METHOD_NOT_FOUND: Final = -32601
MISSING_CAPABILITY: Final = -32021

Tool = Callable[[Visitor, McpObject, McpObject, Courier], Awaitable[McpObject]]


class EverythingService:
    """The service; `tasks` runs what the tools for long work begin."""

    def __init__(self, tasks: RunningTasks | None = None) -> None:
        self._tasks = tasks
        self._desk = WorkDesk(tasks) if tasks is not None else None
        self._watchers: set[MemoryObjectSendStream[ListChange]] = set()
        self._tools: Mapping[str, Tool] = {
            "test_tool_with_logging": self._logging,
            "test_logging_tool": self._logging,
            "test_tool_with_progress": self._progress,
            "test_sampling": self._sampling,
            "test_elicitation": self._elicitation,
            "test_elicitation_sep1034_defaults": self._elicitation,
            "test_elicitation_sep1330_enums": self._elicitation,
            "test_streaming_elicitation": self._streaming,
            "test_reconnection": self._logging,
            "test_missing_capability": self._missing,
            "test_trigger_tool_change": self._changed,
            "test_trigger_prompt_change": self._changed,
            "test_custom_headers": self._echo,
            "json_schema_2020_12_tool": self._echo,
        }

    @property
    def info(self) -> Mapping[str, Json]:
        """Return what the server says of itself."""
        return {"name": "everything", "title": "Everything", "version": "1.0.0"}

    @property
    def instructions(self) -> str:
        """Return what a client should know."""
        return "A server for conformance suites."

    def capabilities(self, visitor: Visitor) -> Mapping[str, Json]:
        """Return all that there is."""
        del visitor
        offered: dict[str, Json] = {
            "tools": {"listChanged": True},
            "resources": {"listChanged": True, "subscribe": True},
            "prompts": {"listChanged": True},
            "completions": {},
            "logging": {},
        }
        return offered | ({"extensions": capability()} if self._tasks is not None else {})

    async def answer(
        self, visitor: Visitor, method: str, params: McpObject, courier: Courier
    ) -> McpObject:
        """Answer one request."""
        if method == "tools/call":
            return await self._call(visitor, params, courier)
        if self._desk is not None and method in METHODS:
            return await self._desk.answer(visitor, method, params, courier)
        return self._say(method, params, courier)

    def _say(self, method: str, params: McpObject, courier: Courier) -> McpObject:
        match method:
            case "tools/list":
                return {"tools": self._listed(), "ttlMs": 0, "cacheScope": "public"}
            case "prompts/list":
                return {"prompts": prompts_listed()}
            case "prompts/get":
                return asking_prompt(params, courier) or prompt_of(params)
            case "completion/complete":
                values: list[Json] = ["paris", "park", "party"]
                return {"completion": {"values": values, "total": 3, "hasMore": False}}
            case "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe":
                return {}
        return _resources(method, params, courier)

    def input_schema(self, visitor: Visitor, tool: str) -> Mapping[str, Json] | None:
        """Return what a tool takes."""
        del visitor
        return SCHEMAS.get(tool)

    @asynccontextmanager
    async def changes(self, visitor: Visitor) -> AsyncIterator[AsyncIterator[ListChange]]:
        """Watch the lists."""
        del visitor
        send, receive = anyio.create_memory_object_stream[ListChange](64)
        self._watchers.add(send)
        try:
            with send, receive:
                yield receive
        finally:
            self._watchers.discard(send)

    @property
    def watching(self) -> int:
        """Return how many watch."""
        return len(self._watchers)

    def tell(self, change: ListChange) -> None:
        """Tell all watchers of a change."""
        for watcher in self._watchers:
            watcher.send_nowait(change)

    def _listed(self) -> list[Json]:
        names = [*TEXT_TOOLS, *self._tools, *ASKING]
        names += TASK_TOOLS if self._tasks is not None else ()
        return [
            {"name": name, "description": f"Tool {name}.", "inputSchema": dict(SCHEMAS[name])}
            for name in names
        ]

    async def _call(self, visitor: Visitor, params: McpObject, courier: Courier) -> McpObject:
        name = str(params.get("name"))
        arguments = params.get("arguments")
        given = arguments if isinstance(arguments, dict) else {}
        if name in TEXT_TOOLS:
            return dict(TEXT_TOOLS[name])
        if name in ASKING:
            return asking_tool(name, params, courier)
        if self._tasks is not None and name in TASK_TOOLS:
            return await task_tool(self._tasks, visitor, name, params, courier)
        tool = self._tools.get(name)
        if tool is None:
            raise McpError(INVALID_PARAMS, f"Unknown tool: {name}")
        return await tool(visitor, given, params, courier)

    async def _logging(
        self, visitor: Visitor, given: McpObject, params: McpObject, courier: Courier
    ) -> McpObject:
        del visitor, given, params
        for line in ("started", "processing data", "completed"):
            said: McpObject = {"level": "info", "logger": "tool", "data": f"Tool execution {line}"}
            await courier.notify("notifications/message", said)
            await anyio.sleep(0.02)
        return text("Logged three lines.")

    async def _progress(
        self, visitor: Visitor, given: McpObject, params: McpObject, courier: Courier
    ) -> McpObject:
        del visitor, given
        meta = params.get("_meta")
        token = meta.get("progressToken") if isinstance(meta, dict) else None
        for done in (0, 50, 100):
            step: McpObject = {"progressToken": token, "progress": done, "total": 100}
            await courier.notify("notifications/progress", step)
            await anyio.sleep(0.02)
        return text("Done.")

    async def _sampling(
        self, visitor: Visitor, given: McpObject, params: McpObject, courier: Courier
    ) -> McpObject:
        del visitor, params
        question: Json = {"type": "text", "text": given.get("prompt", "")}
        asked: McpObject = {
            "messages": [{"role": "user", "content": question}],
            "maxTokens": 100,
        }
        answer = await courier.ask("sampling/createMessage", asked)
        content = answer.get("content")
        said = content.get("text") if isinstance(content, dict) else ""
        return text(f"LLM response: {said}")

    async def _elicitation(
        self, visitor: Visitor, given: McpObject, params: McpObject, courier: Courier
    ) -> McpObject:
        del visitor
        schema = SCHEMAS[f"{params['name']} asks"]
        asked: McpObject = {
            "message": given.get("message", "Please answer."),
            "requestedSchema": dict(schema),
        }
        answer = await courier.ask("elicitation/create", asked)
        action, content = answer.get("action"), answer.get("content")
        return text(f"Elicitation completed: action={action}, content={content}")

    async def _streaming(
        self, visitor: Visitor, given: McpObject, params: McpObject, courier: Courier
    ) -> McpObject:
        del visitor, given
        if courier.revision < NEWEST:
            raise McpError(INVALID_PARAMS, "Only for clients of the stateless revision.")
        return asking_tool("test_input_required_result_elicitation", params, courier)

    async def _missing(
        self, visitor: Visitor, given: McpObject, params: McpObject, courier: Courier
    ) -> McpObject:
        del visitor, given, params
        if "sampling" not in courier.client:
            raise McpError(
                MISSING_CAPABILITY,
                "Missing required client capability",
                {"requiredCapabilities": {"sampling": {}}},
            )
        return text("The client can sample.")

    async def _changed(
        self, visitor: Visitor, given: McpObject, params: McpObject, courier: Courier
    ) -> McpObject:
        del visitor, given, courier
        kind = "tools" if params["name"] == "test_trigger_tool_change" else "prompts"
        self.tell(ListChange(server="everything", kind=kind))
        return text(f"The list of {kind} changed.")

    async def _echo(
        self, visitor: Visitor, given: McpObject, params: McpObject, courier: Courier
    ) -> McpObject:
        del visitor, params, courier
        return text(str(given))


def _resources(method: str, params: McpObject, courier: Courier) -> McpObject:
    if method == "resources/list":
        listed: list[Json] = [
            {
                "uri": f"test://{name}",
                "name": name,
                "description": f"Resource {name}.",
                "mimeType": kind,
            }
            for name, kind in (
                ("static-text", "text/plain"),
                ("static-binary", "image/png"),
                ("watched-resource", "text/plain"),
            )
        ]
        return {"resources": listed}
    if method == "resources/templates/list":
        template: Json = {
            "uriTemplate": "test://template/{id}/data",
            "name": "template",
            "description": "Data by id.",
            "mimeType": "application/json",
        }
        return {"resourceTemplates": [template]}
    if method == "resources/read":
        return _read(str(params.get("uri")), courier)
    raise McpError(METHOD_NOT_FOUND, "Method not found")


def _read(uri: str, courier: Courier) -> McpObject:
    content: dict[str, Json] = {"uri": uri, "mimeType": "text/plain"}
    if uri == "test://static-text":
        content["text"] = "This is the content of the static text resource."
    elif uri == "test://watched-resource":
        content["text"] = "Watched."
    elif uri == "test://static-binary":
        content |= {"mimeType": "image/png", "blob": PNG}
    elif uri.startswith("test://template/") and uri.endswith("/data"):
        key = uri.removeprefix("test://template/").removesuffix("/data")
        content["mimeType"] = "application/json"
        content["text"] = f'{{"id":"{key}","templateTest":true,"data":"Data for ID: {key}"}}'
    else:
        code = INVALID_PARAMS if courier.revision >= NEWEST else -32002
        raise McpError(code, "Resource not found", {"uri": uri})
    return {"contents": [content]}
