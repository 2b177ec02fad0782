"""A call of an agent: a message through the gate, what happens meanwhile, and the answer.

Whoever understands handles gets one for what takes longer than a moment. Everybody else waits; where the
agent asks something, the client is asked in the way its revision has, or told how to answer.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Final, cast

import anyio

from hive.core.call import EffectClass, PrincipalKind, Refused, Verb
from hive.core.clock import Clock
from hive.core.errors import HiveError, NotFoundError
from hive.core.ids import AgentId, ContextId, MessageId, TaskId, foreign_id, new_id
from hive.core.json import Json, encode
from hive.core.randomness import Randomness
from hive.core.task import Message, Part, Role, Task, TaskEvent
from hive.kernel.ports import Attempt, Delivery, Gate
from hive.protocols.mcp.ports import NEWEST, Courier, McpError, McpObject, Visitor
from hive.protocols.mcp.serving.answers import (
    answer_parts,
    awaits_answer,
    progress_text,
    question_key,
    question_of,
    refusal,
    result_of,
    work_of,
)
from hive.protocols.mcp.serving.tasks import (
    INVALID_PARAMS,
    LongTask,
    answers_in,
    declared,
    handle,
)

WAIT_MAX_S: Final = 300.0
HANDLE_AFTER_S: Final = 1.0
CALL_TIMEOUT_S: Final = 3600.0
CANCEL_TIMEOUT_S: Final = 5.0
ROUNDS_MAX: Final = 20
ELICIT: Final = "elicitation/create"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRequest:
    """What a client wants to say to an agent."""

    parts: tuple[Part, ...]
    context_id: ContextId | None = None
    task_id: TaskId | None = None
    metadata: dict[str, Json] = field(default_factory=dict)


def read_request(arguments: Mapping[str, Json], *, skill: str = "") -> AgentRequest:
    """Read the arguments of a tool of an agent.

    Raises:
        ValueError: they do not fit; the text says how.
        InvalidIdError: an id cannot be one.

    """
    unknown = sorted(set(arguments) - {"message", "data", "context_id", "task_id"})
    if unknown:
        raise ValueError(f"There is no argument {unknown[0]!r}.")
    message, data = arguments.get("message"), arguments.get("data")
    if not isinstance(message, str) or (not message and data is None):
        raise ValueError("The argument `message` is a text, and it is missing.")
    if data is not None and not isinstance(data, dict):
        raise ValueError("The argument `data` is an object.")
    parts = [Part(text=message)] if message else []
    if data is not None:
        parts.append(Part(data=data, has_data=True, media_type="application/json"))
    context, task = _id(arguments, "context_id"), _id(arguments, "task_id")
    return AgentRequest(
        parts=tuple(parts),
        context_id=ContextId(context) if context else None,
        task_id=TaskId(task) if task else None,
        metadata={"skillId": skill} if skill else {},
    )


class AgentTalk:
    """Calls agents for clients of MCP. Times in seconds."""

    def __init__(
        self,
        *,
        gate: Gate,
        clock: Clock,
        randomness: Randomness,
        wait_s: float = WAIT_MAX_S,
        handle_after_s: float = HANDLE_AFTER_S,
    ) -> None:
        self.gate = gate
        self._clock = clock
        self._randomness = randomness
        self._wait_s = wait_s
        self._handle_after_s = handle_after_s

    async def call(
        self,
        visitor: Visitor,
        agent: AgentId,
        request: AgentRequest,
        params: McpObject,
        courier: Courier,
    ) -> McpObject:
        """Send a message and return what `tools/call` answers.

        Raises:
            McpError: the client answered a question that nobody asked.

        """
        try:
            if params.get("requestState") is not None:
                return await self._answered(visitor, agent, params, courier)
            sent = await self.send(visitor, agent, request, params)
            if isinstance(sent, Refused):
                return refusal(refused_text(sent))
            return await self._outcome(visitor, sent, params, courier)
        except HiveError as error:
            return refusal(" ".join(filter(None, (error.what, error.why, error.fix))))

    async def send(
        self, visitor: Visitor, agent: AgentId, request: AgentRequest, params: McpObject
    ) -> Refused | Delivery:
        """Send a message through the gate. Raises what the gate raises."""
        if request.task_id and visitor.principal.kind is PrincipalKind.ANONYMOUS:
            return Refused(check="identity", reason="a task can be continued with a token only")
        message = Message(
            id=MessageId(new_id(self._clock, self._randomness)),
            role=Role.USER,
            parts=request.parts,
            context_id=request.context_id,
            task_id=request.task_id,
            metadata=request.metadata,
        )
        arguments = _identity(request)
        attempt = Attempt(
            principal=visitor.principal,
            verb=Verb.SEND,
            target=agent,
            effect=EffectClass.IDEMPOTENT,
            arguments=arguments,
            size_bytes=len(arguments),
            timeout_s=CALL_TIMEOUT_S,
            traceparent=_traceparent(params) or visitor.traceparent,
            facts={
                "parts": len(request.parts),
                "text_chars": sum(len(part.text or "") for part in request.parts),
            },
            warrant=visitor.warrant,
        )
        return await self.gate.send(attempt, agent, message)

    async def answer_question(
        self, visitor: Visitor, task: Task, answer: McpObject
    ) -> Refused | Delivery | None:
        """Bring a client's answer to the agent that asked; None where there was none to bring.

        A client that declines ends the task; one that dismisses the question leaves it open.

        Raises:
            McpError: it is no answer to an elicitation.

        """
        action, content = answer.get("action"), answer.get("content")
        if action == "accept" and isinstance(content, dict):
            request = AgentRequest(parts=answer_parts(task, content), task_id=task.id)
            return await self.send(visitor, task.agent, request, {})
        if action == "decline":
            with suppress(HiveError):
                await self.gate.cancel(visitor.principal, task.id)
            return None
        if action == "cancel":
            return None
        raise McpError(INVALID_PARAMS, "An answer has an action, and content where it accepts.")

    async def _answered(
        self, visitor: Visitor, agent: AgentId, params: McpObject, courier: Courier
    ) -> McpObject:
        """Go on with a task whose question a stateless client answers now."""
        task_id, _, key = str(params["requestState"]).partition("/")
        task = await self.gate.task(visitor.principal, TaskId(foreign_id(task_id, what="task id")))
        if task.agent != agent:
            raise NotFoundError("There is no such task with this agent.")
        answer = answers_in(params).get(key)
        if not awaits_answer(task) or question_key(task) != key:
            return result_of(task)  # somebody answered before
        if answer is None:
            return _input_required(task)
        sent = await self.answer_question(visitor, task, answer)
        if isinstance(sent, Refused):
            return refusal(refused_text(sent))
        if sent is None:
            return result_of(await self.gate.task(visitor.principal, task.id))
        return await self._outcome(visitor, sent, params, courier)

    async def _outcome(
        self, visitor: Visitor, delivery: Delivery, params: McpObject, courier: Courier
    ) -> McpObject:
        try:
            return await self._rounds(visitor, delivery, params, courier)
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(CANCEL_TIMEOUT_S, shield=True), suppress(HiveError):
                await self.gate.cancel(visitor.principal, delivery.task.id)
            raise

    async def _rounds(
        self, visitor: Visitor, delivery: Delivery, params: McpObject, courier: Courier
    ) -> McpObject:
        task, told = delivery.task, _Progress(params, courier)
        for _ in range(ROUNDS_MAX):
            task = await self._wait(visitor, delivery, told, courier)
            if declared(courier) and (awaits_answer(task) or not _at_rest(task)):
                return handle(work_of(task))
            if not awaits_answer(task) or not _shows_forms(courier):
                break
            if courier.revision >= NEWEST:
                return _input_required(task)
            sent = await self._ask(visitor, task, courier)
            if isinstance(sent, Refused):
                return refusal(refused_text(sent))
            if sent is None:
                task = await self.gate.task(visitor.principal, task.id)
                break
            delivery = sent
        return result_of(task)

    async def _wait(
        self, visitor: Visitor, delivery: Delivery, told: "_Progress", courier: Courier
    ) -> Task:
        """Wait until the task is at rest, or for as long as this client waits; tell it meanwhile."""
        with anyio.move_on_after(self._handle_after_s if declared(courier) else self._wait_s):
            events = cast("AsyncGenerator[TaskEvent]", delivery.events())
            async with aclosing(events):
                async for event in events:
                    await told.tell(event)
            return await delivery.settled()
        return await self.gate.task(visitor.principal, delivery.task.id)

    async def _ask(
        self, visitor: Visitor, task: Task, courier: Courier
    ) -> Refused | Delivery | None:
        """Ask a client of an older revision, in the middle of its call."""
        question = cast("McpObject", question_of(task)["params"])
        try:
            answer = await courier.ask(ELICIT, question)
            return await self.answer_question(visitor, task, answer)
        except McpError:
            return None  # nobody answers; the result says how the task goes on


class AgentTasks:
    """Tasks of agents as long work: durable, and their owner's alone. `agent` None: of all agents."""

    def __init__(self, talk: AgentTalk, agent: AgentId | None = None) -> None:
        self._talk = talk
        self._agent = agent

    async def find(self, visitor: Visitor, task_id: str) -> LongTask | None:
        """Return a task that the visitor may see."""
        task = await self.task(visitor, task_id)
        return None if task is None else work_of(task)

    async def provide(
        self, visitor: Visitor, task_id: str, answers: Mapping[str, McpObject]
    ) -> None:
        """Bring an answer to the agent that asked."""
        task = await self.task(visitor, task_id)
        if task is None or not awaits_answer(task):
            return
        answer = answers.get(question_key(task))
        if answer is None:
            return
        try:
            sent = await self._talk.answer_question(visitor, task, answer)
        except HiveError as error:
            raise McpError(INVALID_PARAMS, error.what) from error
        if isinstance(sent, Refused):
            raise McpError(INVALID_PARAMS, refused_text(sent))

    async def cancel(self, visitor: Visitor, task_id: str) -> None:
        """Cancel a task, unless it has ended."""
        if await self.task(visitor, task_id) is not None:
            with suppress(HiveError):
                await self._talk.gate.cancel(visitor.principal, TaskId(task_id))

    async def task(self, visitor: Visitor, task_id: str) -> Task | None:
        """Return a task of these agents that the visitor may see; strangers share a name, so they see none."""
        if visitor.principal.kind is PrincipalKind.ANONYMOUS:
            return None
        try:
            known = TaskId(foreign_id(task_id, what="task id"))
            task = await self._talk.gate.task(visitor.principal, known)
        except HiveError:
            return None
        if self._agent is not None and task.agent != self._agent:
            return None
        return task if visitor.agents is None or task.agent in visitor.agents else None


class _Progress:
    """Tells a client that gave a token what happens; the number grows, as the standard wants."""

    def __init__(self, params: McpObject, courier: Courier) -> None:
        meta = params.get("_meta")
        self._token = meta.get("progressToken") if isinstance(meta, dict) else None
        self._courier = courier
        self._count = 0

    async def tell(self, event: TaskEvent) -> None:
        """Tell what an event says, if it says something."""
        text = progress_text(event)
        if self._token is None or not text:
            return
        self._count += 1
        said: McpObject = {"progressToken": self._token, "progress": self._count, "message": text}
        await self._courier.notify("notifications/progress", said)


def refused_text(refused: Refused) -> str:
    """Say why a call was refused, and what may help."""
    text = f"Refused ({refused.check}): {refused.reason}."
    if refused.approval:
        text += f" It waits for a person's yes ({refused.approval}); then call again as before."
    elif refused.retry_after_s is not None:
        text += f" Try again in {refused.retry_after_s:g} s."
    return text


def _at_rest(task: Task) -> bool:
    return task.state.terminal or task.state.interrupted


def _shows_forms(courier: Courier) -> bool:
    offered = courier.client.get("elicitation")
    return isinstance(offered, dict) and (not offered or "form" in offered)


def _input_required(task: Task) -> McpObject:
    key = question_key(task)
    return {
        "resultType": "input_required",
        "inputRequests": {key: question_of(task)},
        # Names the task and no more: whose it is, the gate knows.
        "requestState": f"{task.id}/{key}",
    }


def _identity(request: AgentRequest) -> bytes:
    parts: list[Json] = [
        {"data": part.data} if part.has_data else {"text": part.text} for part in request.parts
    ]
    return encode(
        {
            "context": request.context_id,
            "task": request.task_id,
            "parts": parts,
            "metadata": request.metadata,
        }
    )


def _traceparent(params: McpObject) -> str:
    meta = params.get("_meta")
    found = meta.get("traceparent") if isinstance(meta, dict) else None
    return found if isinstance(found, str) and len(found) <= 64 else ""


def _id(arguments: Mapping[str, Json], name: str) -> str:
    text = arguments.get(name)
    if text is None or text == "":
        return ""
    if not isinstance(text, str):
        raise ValueError(f"The argument `{name}` is a text.")  # noqa: TRY004  told to a client as it is
    return foreign_id(text, what=name.replace("_", " "))
