"""Calls, cards and a clock for the tests of the stages of the SDK."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentExtension,
    AgentInterface,
    AgentSkill,
    Artifact,
    Message,
    Part,
    Role,
    SendMessageRequest,
    StreamResponse,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
)

from hive_a2a.call import NOBODY, Binding, CallerIdentity, RequestHead, WireCall
from hive_a2a.policy import Policy, RateLimits
from hive_a2a.stages.chain import ChainParts, StagedChain

URL = "https://agent.example/"
ALICE = CallerIdentity(name="bearer:issuer#alice", scheme="bearer")
BOB = CallerIdentity(name="bearer:issuer#bob", scheme="bearer")
FREE_RATE = RateLimits(per_s=1e6, burst=1_000_000, stranger_per_s=1e6, stranger_burst=1_000_000)


class SetClock:
    """A clock that stands until it is moved."""

    def __init__(self, at: datetime | None = None) -> None:
        self.at = at or datetime(2030, 1, 1, tzinfo=UTC)
        self.passed_s = 100.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.passed_s

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.passed_s += seconds


def a_card(*skills: str, required: tuple[str, ...] = ()) -> AgentCard:
    return AgentCard(
        name="echo",
        supported_interfaces=[AgentInterface(url=URL, protocol_binding="JSONRPC")],
        skills=[AgentSkill(id=skill) for skill in skills],
        capabilities=AgentCapabilities(
            extensions=[
                AgentExtension(uri="urn:optional"),
                *(AgentExtension(uri=uri, required=True) for uri in required),
            ]
        ),
    )


def a_part(value: Any) -> Part:
    """Make a part: of text, or of data."""
    if isinstance(value, Part):
        return value
    if isinstance(value, str):
        return Part(text=value)
    part = Part()
    set_value(part.data, value)
    return part


def set_value(target: Any, value: Any) -> None:
    if isinstance(value, dict):
        target.struct_value.SetInParent()
        for key, one in value.items():
            set_value(target.struct_value.fields[key], one)
    elif isinstance(value, list):
        target.list_value.SetInParent()
        for one in value:
            set_value(target.list_value.values.add(), one)
    elif value is None:
        target.null_value = 0
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, str):
        target.string_value = value
    else:
        target.number_value = value


def a_request(*parts: Any, task: str = "", context: str = "") -> SendMessageRequest:
    message = Message(
        message_id="m-1",
        role=Role.ROLE_USER,
        task_id=task,
        context_id=context,
        parts=[a_part(part) for part in parts or ("hello",)],
    )
    return SendMessageRequest(message=message)


def a_call(
    *parts: Any,
    method: str = "SendMessage",
    caller: CallerIdentity = ALICE,
    skill: str = "",
    params: Any = None,
    headers: dict[str, str] | None = None,
    address: str = "192.0.2.1",
    extensions: frozenset[str] = frozenset(),
    sealed: bool = False,
    tenant: str = "",
) -> WireCall:
    head = RequestHead(
        binding=Binding.JSONRPC,
        http_method="POST",
        url=URL,
        headers=headers or {},
        peer_address=address,
        noise_hash=b"h" * 32 if sealed else b"",
    )
    return WireCall(
        binding=Binding.JSONRPC,
        method=method,
        version="1.0",
        head=head,
        caller=caller,
        params=a_request(*parts) if params is None else params,
        extensions=extensions,
        skill=skill,
        tenant=tenant,
    )


def a_stranger(address: str = "192.0.2.1", **more: Any) -> WireCall:
    return a_call(caller=NOBODY, address=address, **more)


def an_answer(*parts: Any) -> Message:
    return Message(
        message_id="m-2", role=Role.ROLE_AGENT, parts=[a_part(part) for part in parts or ("hi",)]
    )


def a_task(*parts: Any, task: str = "t-1", history: tuple[Message, ...] = ()) -> Task:
    return Task(
        id=task,
        context_id="c-1",
        status=TaskStatus(state=TaskState.TASK_STATE_COMPLETED),
        artifacts=[Artifact(artifact_id="a", parts=[a_part(part) for part in parts])],
        history=history,
    )


def an_event(*parts: Any, task: str = "t-1") -> StreamResponse:
    artifact = Artifact(artifact_id="a", parts=[a_part(part) for part in parts])
    return StreamResponse(artifact_update=TaskArtifactUpdateEvent(task_id=task, artifact=artifact))


def answering(answer: Any) -> Callable[[], Awaitable[Any]]:
    async def run() -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return run


def streaming(*events: Any) -> Callable[[], AsyncGenerator[Any]]:
    async def run() -> AsyncGenerator[Any]:
        for event in events:
            if isinstance(event, BaseException):
                raise event
            yield event

    return run


def a_chain(
    parts: ChainParts | None = None, *, policy: Policy | None = None, card: AgentCard | None = None
) -> StagedChain:
    return StagedChain(policy or Policy(rate=FREE_RATE), card or a_card("s"), parts)
