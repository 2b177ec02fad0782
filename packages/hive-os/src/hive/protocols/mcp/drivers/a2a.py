"""An A2A agent as a server of tools, for those who speak only MCP: its skills are tools.

The card is verified and requests are sealed as everywhere (`hive_a2a`); every connection goes to an address
that was looked at. The credential at the agent is the node's, so a caller may go on only with tasks and
contexts that this connection began: a made-up id is refused here, before the agent is asked.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Final

import anyio
import httpx
from a2a.client.client import Client
from a2a.client.errors import A2AClientError
from a2a.types import a2a_pb2
from a2a.utils.errors import A2AError as OfficialError
from google.protobuf.json_format import ParseDict

from hive.core.errors import HiveError
from hive.core.ids import plain_text
from hive.core.json import Json
from hive.core.randomness import SystemRandomness
from hive.core.spec import AgentSkill
from hive.core.task import Task
from hive.protocols.mcp.drivers.a2a_heard import HeardTask
from hive.protocols.mcp.drivers.a2a_places import ScreenedTransport, ShownHeaders
from hive.protocols.mcp.drivers.messages import broken, not_sent, too_large
from hive.protocols.mcp.hub.ports import Hearer, WireOpening
from hive.protocols.mcp.ports import NEWEST, McpError, McpObject
from hive.protocols.mcp.serving.answers import (
    answer_parts,
    awaits_answer,
    question_key,
    question_of,
    refusal,
    result_of,
)
from hive.protocols.mcp.serving.skills import SkillTool, tools_for
from hive.protocols.mcp.serving.talk import AgentRequest, read_request
from hive.protocols.mcp.serving.tasks import INVALID_PARAMS, METHOD_NOT_FOUND, answers_in
from hive_a2a import AgentKeys, ClientPolicy, MemoryTrust, SecureA2AClient, Tofu, Unsigned
from hive_a2a.cards.resolve import fetch_card, key_fetcher
from hive_a2a.errors import A2AError
from hive_a2a.sealed.memory import PeersInMemory
from hive_a2a.wire.proto_out import to_json

REMEMBERED_MAX: Final = 10_000
ASK_AGAIN_S: Final = 0.5
ASKED_AGAIN_MAX: Final = 7200
CANCEL_TIMEOUT_S: Final = 2.0
_FAILURES: Final = (A2AClientError, OfficialError, A2AError, ValueError, RuntimeError, OSError)
_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"


class A2aWire:
    """One A2A agent."""

    duplex = False

    def __init__(self, opening: WireOpening) -> None:
        self._opening = opening
        self._client: Client | None = None
        self._card: a2a_pb2.AgentCard | None = None
        self._tools: dict[str, SkillTool] = {}
        self._tasks: OrderedDict[str, Task] = OrderedDict()
        self._contexts: OrderedDict[str, None] = OrderedDict()
        self.ended = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Fetch and verify the card, and hold the connections until the context is left."""
        async with AsyncExitStack() as stack:
            try:
                self._client, card = await self._connected(stack)
            except (HiveError, httpx.HTTPError, *_FAILURES) as error:
                raise not_sent(f"{type(error).__name__}: {plain_text(str(error))[:300]}") from None
            self._card = card
            self._tools = tools_for(plain_text(card.name), card.description, _skills_of(card))
            try:
                yield
            finally:
                self.ended = True

    def settle(self, revision: str) -> None:
        """Take the revision: there is one only."""

    async def ask(
        self,
        method: str,
        params: McpObject,
        *,
        hearer: Hearer,
        result_max_bytes: int,
        named: Mapping[str, str] | None = None,
    ) -> McpObject:
        """Answer as a server of the newest revision would."""
        del named
        match method:
            case "server/discover":
                return self._described()
            case "tools/list":
                listed: list[Json] = [tool.listed() for tool in self._tools.values()]
                return {
                    "resultType": "complete",
                    "tools": listed,
                    "ttlMs": 0,
                    "cacheScope": "private",
                }
            case "tools/call":
                return await self._call(params, hearer, result_max_bytes)
        raise McpError(METHOD_NOT_FOUND, f"An A2A agent has no method {method[:100]}.")

    async def tell(self, method: str, params: McpObject) -> None:
        """Say nothing: no notification of MCP means something to an A2A agent."""

    async def _connected(self, stack: AsyncExitStack) -> tuple[Client, a2a_pb2.AgentCard]:
        url, headers = self._opening.spec.url, self._opening.headers
        screened = ScreenedTransport(only_loopback_plain=bool(headers))
        shown = ShownHeaders(headers, url) if headers else None
        http = httpx.AsyncClient(transport=screened, auth=shown, trust_env=False)
        stack.push_async_callback(http.aclose)
        trust = Unsigned(signed=Tofu(store=MemoryTrust(), fetch=key_fetcher(http)))
        card = (await fetch_card(url, trust, http=http, plain_http=not headers)).card
        client = await stack.enter_async_context(
            SecureA2AClient.connect(
                url,
                policy=ClientPolicy(fallback=True, unsigned=True, plain_http=not headers),
                trust=trust,
                keys=AgentKeys.ephemeral(),
                memory=PeersInMemory(),
                auth=shown,
                card_auth=shown,
                transport=screened,
            )
        )
        return client, card

    def _described(self) -> McpObject:
        card = self._card
        if card is None:
            raise not_sent("It was not connected to.")
        about = plain_text(card.description, keep="\n")
        return {
            "resultType": "complete",
            "supportedVersions": [NEWEST],
            "capabilities": {"tools": {}},
            "instructions": about,
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": {
                "io.modelcontextprotocol/serverInfo": {
                    "name": plain_text(card.name) or "a2a-agent",
                    "version": plain_text(card.version) or "0",
                }
            },
        }

    async def _call(self, params: McpObject, hearer: Hearer, limit: int) -> McpObject:
        name, arguments = params.get("name"), params.get("arguments") or {}
        tool = self._tools.get(name) if isinstance(name, str) else None
        if tool is None or not isinstance(arguments, dict):
            raise McpError(INVALID_PARAMS, "There is no such tool.")
        try:
            request = self._request(tool, arguments, params)
        except (ValueError, HiveError) as error:
            return refusal(str(error))
        if request is None:
            return refusal("The question was not answered.")
        heard = HeardTask(self._opening.clock)
        try:
            await self._send(request, heard, hearer, params, limit)
        except anyio.get_cancelled_exc_class():
            await self._cancel(heard.task_id)
            raise
        return self._answered(heard, params)

    def _request(
        self, tool: SkillTool, arguments: dict[str, Json], params: McpObject
    ) -> AgentRequest | None:
        """Return what to say: the arguments, or the client's answer to a question of before."""
        state = params.get("requestState")
        if state is None:
            request = read_request(arguments, skill=tool.skill)
            known = request.task_id is None or request.task_id in self._tasks
            if not known or (request.context_id and request.context_id not in self._contexts):
                raise ValueError("The task or context is not one that this connection began.")
            return request
        task = self._tasks.get(str(state))
        if task is None or not awaits_answer(task):
            raise ValueError("The question is no longer open.")
        answer = answers_in(params).get(question_key(task), {})
        content = answer.get("content")
        if answer.get("action") != "accept" or not isinstance(content, dict):
            return None
        return AgentRequest(
            parts=answer_parts(task, content), task_id=task.id, context_id=task.context_id
        )

    async def _send(
        self,
        request: AgentRequest,
        heard: HeardTask,
        hearer: Hearer,
        params: McpObject,
        limit: int,
    ) -> None:
        client = self._client
        if client is None or self.ended:
            raise not_sent("The connection has ended.")
        token = _progress_token(params)
        told = 0
        try:
            async for event in client.send_message(_wire_message(request)):
                text = heard.take(to_json(event))
                if heard.size_bytes > limit:
                    raise too_large(limit)
                if token is not None and text:
                    told += 1
                    said: McpObject = {"progressToken": token, "progress": told, "message": text}
                    await hearer.note("notifications/progress", said)
            await self._wait(client, heard)
        except HiveError:
            raise
        except httpx.ConnectError as error:
            raise not_sent(f"{type(error).__name__}.") from None
        except httpx.HTTPError as error:
            raise broken(f"{type(error).__name__}.", error) from error
        except _FAILURES as error:
            raise McpError(-32603, f"The agent answered: {plain_text(str(error))[:500]}") from error

    async def _wait(self, client: Client, heard: HeardTask) -> None:
        """Ask for a task whose stream ended before it was at rest; the hub bounds the time."""
        for _ in range(ASKED_AGAIN_MAX):
            if heard.at_rest or not heard.task_id:
                return
            await anyio.sleep(ASK_AGAIN_S)
            task = await client.get_task(a2a_pb2.GetTaskRequest(id=heard.task_id))
            heard.take({"task": to_json(task)})

    async def _cancel(self, task_id: str) -> None:
        if self._client is None or not task_id:
            return
        with anyio.move_on_after(CANCEL_TIMEOUT_S, shield=True), suppress(Exception):
            await self._client.cancel_task(a2a_pb2.CancelTaskRequest(id=task_id))

    def _answered(self, heard: HeardTask, params: McpObject) -> McpObject:
        task = heard.task()
        self._tasks[task.id] = replace(task, artifacts=(), history=())
        self._contexts[task.context_id] = None
        for kept in (self._tasks, self._contexts):
            while len(kept) > REMEMBERED_MAX:
                kept.popitem(last=False)
        if not awaits_answer(task) or not _shows_forms(params):
            return {"resultType": "complete", **result_of(task)}
        return {
            "resultType": "input_required",
            "inputRequests": {question_key(task): question_of(task)},
            "requestState": task.id,
        }


def _skills_of(card: a2a_pb2.AgentCard) -> list[AgentSkill]:
    return [
        AgentSkill(
            id=skill.id,
            name=skill.name,
            description=skill.description,
            examples=tuple(skill.examples),
        )
        for skill in card.skills
    ]


def _wire_message(request: AgentRequest) -> a2a_pb2.SendMessageRequest:
    parts: list[dict[str, Any]] = [
        {"data": part.data} if part.has_data else {"text": part.text} for part in request.parts
    ]
    message: dict[str, Any] = {
        "messageId": SystemRandomness().token(16).hex(),
        "role": "ROLE_USER",
        "parts": parts,
        "contextId": request.context_id or "",
        "taskId": request.task_id or "",
    }
    if request.metadata:
        message["metadata"] = request.metadata
    return ParseDict({"message": message}, a2a_pb2.SendMessageRequest())


def _progress_token(params: McpObject) -> Json:
    meta = params.get("_meta")
    return meta.get("progressToken") if isinstance(meta, dict) else None


def _shows_forms(params: McpObject) -> bool:
    meta = params.get("_meta")
    declared = meta.get(_CAPABILITIES) if isinstance(meta, dict) else None
    offered = declared.get("elicitation") if isinstance(declared, dict) else None
    return isinstance(offered, dict) and (not offered or "form" in offered)
