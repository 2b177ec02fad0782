"""A hosted agent as a server of MCP: its skills are tools, its tasks are long work, its card is a resource.

What is called goes through the gate as a message, like any other; nothing is decided here but what belongs
to MCP. An agent that a visitor's token does not open looks like one that is not here.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import anyio

from hive.core.call import PrincipalKind
from hive.core.clock import Clock
from hive.core.errors import HiveError
from hive.core.ids import AgentId, agent_id
from hive.core.json import Json, encode
from hive.core.randomness import Randomness
from hive.kernel.ports import Agents, AgentView, Gate
from hive.protocols.mcp.ports import (
    NEWEST,
    Courier,
    ListChange,
    McpError,
    McpObject,
    Visitor,
)
from hive.protocols.mcp.serving.answers import refusal, result_of
from hive.protocols.mcp.serving.skills import (
    ASK,
    LOOK,
    SkillTool,
    input_schema,
    look_tool,
    prompts_of,
    tools_of,
)
from hive.protocols.mcp.serving.talk import AgentTalk, AgentTasks, read_request
from hive.protocols.mcp.serving.tasks import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    METHODS,
    WorkDesk,
    capability,
)

CARD_SCHEME: Final = "hive://agents/"
SCOPE: Final = "agents"
_OLD_NOT_FOUND: Final = -32002
URI_MAX_CHARS: Final = 2048

CardOf = Callable[[AgentView], Mapping[str, Json]]
"""Writes the card of an agent."""


class AgentService:
    """One agent."""

    def __init__(
        self, name: AgentId, *, agents: Agents, talk: AgentTalk, card: CardOf, version: str
    ) -> None:
        self._name = name
        self._agents = agents
        self._talk = talk
        self._card = card
        self._version = version
        self._tasks = AgentTasks(talk, name)
        self._desk = WorkDesk(self._tasks)

    @property
    def info(self) -> Mapping[str, Json]:
        """Return what the server says of itself."""
        view = self._agents.get(self._name)
        version = view.spec.version if view is not None else self._version
        return {"name": self._name, "title": f"{self._name} (a Hive agent)", "version": version}

    @property
    def instructions(self) -> str:
        """Return what a client should know."""
        return (
            f"This server is the agent {self._name}. Call `{ASK}` with a message, or one of its skills. "
            "To go on with a conversation, give the context_id of an earlier answer; to answer a "
            "question of the agent, give the task_id."
        )

    def capabilities(self, visitor: Visitor) -> Mapping[str, Json]:
        """Return what can be asked here."""
        del visitor
        return {"tools": {}, "resources": {}, "prompts": {}, "extensions": capability()}

    async def answer(
        self, visitor: Visitor, method: str, params: McpObject, courier: Courier
    ) -> McpObject:
        """Answer one request."""
        view = self._view(visitor)
        if method in LISTS:
            return cacheable(LISTS[method](view))
        if method in METHODS:
            return await self._desk.answer(visitor, method, params, courier)
        match method:
            case "tools/call":
                return await self._call(visitor, view, params, courier)
            case "resources/read":
                return self._read(view, params, courier)
            case "prompts/get":
                return _prompt(view, params)
        raise McpError(METHOD_NOT_FOUND, f"There is no method {method[:100]}.")

    def input_schema(self, visitor: Visitor, tool: str) -> Mapping[str, Json] | None:
        """Return what a tool takes."""
        view = self._agents.get(self._name)
        if view is None or not self.open_to(visitor) or tool not in tools_of(view):
            return None
        return input_schema()

    @asynccontextmanager
    async def changes(self, visitor: Visitor) -> AsyncIterator[AsyncIterator[ListChange]]:
        """Watch nothing: an agent's lists stay the same until it is deployed anew."""
        del visitor
        yield nothing()

    async def _call(
        self, visitor: Visitor, view: AgentView, params: McpObject, courier: Courier
    ) -> McpObject:
        name, arguments = called(params)
        if name == LOOK:
            task = await self._tasks.task(visitor, str(arguments.get("task_id", "")))
            return refusal("There is no such task.") if task is None else result_of(task)
        tool = tools_of(view).get(name)
        if tool is None:
            raise McpError(INVALID_PARAMS, f"There is no tool {name[:100]!r}.")
        try:
            request = read_request(arguments, skill=tool.skill)
        except HiveError as error:
            return refusal(f"{error.what} {error.why}".strip())
        except ValueError as error:
            return refusal(str(error))
        return await self._talk.call(visitor, self._name, request, params, courier)

    def _read(self, view: AgentView, params: McpObject, courier: Courier) -> McpObject:
        uri = params.get("uri")
        if uri != _card_uri(view):
            raise no_resource(courier, uri)
        card = encode(dict(self._card(view))).decode()
        content: Json = {"uri": uri, "mimeType": "application/json", "text": card}
        return cacheable({"contents": [content]})

    def _view(self, visitor: Visitor) -> AgentView:
        view = self._agents.get(self._name)
        if view is None or not self.open_to(visitor):
            raise McpError(INVALID_PARAMS, f"There is no agent {self._name!r} for you.")
        return view

    def open_to(self, visitor: Visitor) -> bool:
        """Tell whether a visitor may know of this agent; strangers only of public ones."""
        if visitor.agents is not None and self._name not in visitor.agents:
            return False
        if visitor.scopes is not None and SCOPE not in visitor.scopes:
            return False
        principal = visitor.principal
        if principal.kind is PrincipalKind.ANONYMOUS:
            view = self._agents.get(self._name)
            return view is not None and view.spec.public
        if principal.kind is not PrincipalKind.AGENT or principal.agent is None:
            return True
        caller = self._agents.get(principal.agent)
        return caller is not None and caller.grant.allows_agent(self._name)


class AgentServices:
    """The services of all agents; `of` costs nothing but a look."""

    def __init__(
        self,
        *,
        gate: Gate,
        agents: Agents,
        card: CardOf,
        clock: Clock,
        randomness: Randomness,
        version: str,
    ) -> None:
        self.talk = AgentTalk(gate=gate, clock=clock, randomness=randomness)
        self._agents = agents
        self._card = card
        self._version = version

    def of(self, name: str) -> AgentService | None:
        """Return the service of an agent that is hosted here."""
        try:
            known = agent_id(name)
        except HiveError:
            return None
        if self._agents.get(known) is None:
            return None
        return AgentService(
            known, agents=self._agents, talk=self.talk, card=self._card, version=self._version
        )


def cacheable(result: McpObject, ttl_ms: int = 0) -> McpObject:
    """Say how long an answer may be kept, by its client alone."""
    return {**result, "ttlMs": ttl_ms, "cacheScope": "private"}


def called(params: McpObject) -> tuple[str, dict[str, Json]]:
    """Return name and arguments of a call.

    Raises:
        McpError: they are not what the standard wants.

    """
    name, arguments = params.get("name"), params.get("arguments")
    if arguments is None:
        arguments = {}
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise McpError(INVALID_PARAMS, "A call has a name, and its arguments are an object.")
    return name, arguments


def no_resource(courier: Courier, uri: Json) -> McpError:
    """Return the error for a resource that is not here, in the client's revision."""
    code = INVALID_PARAMS if courier.revision >= NEWEST else _OLD_NOT_FOUND
    shown = uri[:URI_MAX_CHARS] if isinstance(uri, str) else None
    return McpError(code, "There is no such resource.", {"uri": shown})


async def nothing() -> AsyncIterator[ListChange]:
    """Wait for changes that never come."""
    await anyio.sleep_forever()
    yield ListChange(server="", kind="")


def _card_uri(view: AgentView) -> str:
    return f"{CARD_SCHEME}{view.spec.name}/card"


def _card_resource(view: AgentView) -> Json:
    return {
        "uri": _card_uri(view),
        "name": f"{view.spec.name}-card",
        "title": f"Card of {view.spec.name}",
        "description": "What the agent says of itself: skills, and where it is reached by A2A.",
        "mimeType": "application/json",
    }


def _tools(view: AgentView) -> McpObject:
    return {"tools": [*(tool.listed() for tool in tools_of(view).values()), look_tool()]}


def _resources(view: AgentView) -> McpObject:
    return {"resources": [_card_resource(view)]}


def _templates(view: AgentView) -> McpObject:
    del view
    return {"resourceTemplates": []}


def _prompts(view: AgentView) -> McpObject:
    found = prompts_of(tools_of(view))
    return {
        "prompts": [
            {
                "name": name,
                "title": f"{tool.title}: {example}"[:200],
                "description": tool.description,
            }
            for name, (tool, example) in found.items()
        ]
    }


LISTS: Final[Mapping[str, Callable[[AgentView], McpObject]]] = {
    "tools/list": _tools,
    "resources/list": _resources,
    "resources/templates/list": _templates,
    "prompts/list": _prompts,
}


def _prompt(view: AgentView, params: McpObject) -> McpObject:
    name = params.get("name")
    found = prompts_of(tools_of(view)).get(name) if isinstance(name, str) else None
    if found is None:
        raise McpError(INVALID_PARAMS, "There is no such prompt.")
    return {"description": found[0].description, "messages": [_said(view, *found)]}


def _said(view: AgentView, tool: SkillTool, example: str) -> Json:
    text = f"Call the tool `{tool.name}` of the agent {view.spec.name} with this message: {example}"
    return {"role": "user", "content": {"type": "text", "text": text}}
