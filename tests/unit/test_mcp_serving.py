"""An agent as a server of MCP: its skills as tools, its tasks as long work, its questions as the client's era has them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio
import pytest

from hive.core.call import Principal, PrincipalKind, Refused
from hive.core.clock import SystemClock
from hive.core.ids import AgentId, MessageId, OwnerId, TaskId
from hive.core.json import Json
from hive.core.randomness import SystemRandomness
from hive.core.spec import AgentSkill
from hive.core.task import Artifact, Message, Part, Role, TaskState
from hive.execution.ports import (
    ArtifactMade,
    GuestEvent,
    InputNeeded,
    TextChunk,
    Turn,
    TurnDone,
    TurnFailed,
)
from hive.kernel.ports import TaskQuery
from hive.protocols.mcp.ports import NEWEST, McpError, McpObject, Visitor
from hive.protocols.mcp.serving.agent import AgentService
from hive.protocols.mcp.serving.skills import tool_name
from hive.protocols.mcp.serving.talk import AgentTalk
from hive.protocols.mcp.serving.tasks import EXTENSION
from hive.testing.fake_gate import FakeAgents, FakeGate, fake_spec

pytestmark = pytest.mark.anyio
OLD = "2025-11-25"
ALICE = Visitor(
    principal=Principal(kind=PrincipalKind.CLIENT, name="alice", owner=OwnerId("alice"))
)
BOB = Visitor(principal=Principal(kind=PrincipalKind.CLIENT, name="bob", owner=OwnerId("bob")))
FORMS: McpObject = {"elicitation": {"form": {}}}
HANDLES: McpObject = {"extensions": {EXTENSION: {}}}


@dataclass
class Client:
    """The client's side: what it can, what it was told, and how it answers questions."""

    revision: str = NEWEST
    client: Mapping[str, Json] = field(default_factory=dict)
    told: list[McpObject] = field(default_factory=list)
    asked: list[McpObject] = field(default_factory=list)
    answer: McpObject = field(default_factory=lambda: {"action": "cancel"})

    async def notify(self, method: str, params: McpObject) -> None:
        """Keep what was told."""
        assert method == "notifications/progress"
        self.told.append(params)

    async def ask(self, method: str, params: McpObject) -> McpObject:
        """Answer a question as a client of an older revision does."""
        assert method == "elicitation/create"
        self.asked.append(params)
        return self.answer


def says(text: str) -> Message:
    return Message(id=MessageId(f"m-{text}"), role=Role.AGENT, parts=(Part(text=text),))


async def echo(turn: Turn) -> AsyncIterator[GuestEvent]:
    """Answer in two pieces, then whole."""
    yield TextChunk(text="one moment")
    data = next((part.data for part in turn.message.parts if part.has_data), None)
    made = Artifact(id="a", parts=(Part(text=f"echo: {turn.message.text}"),))
    yield ArtifactMade(artifact=made)
    if data is not None:
        extra = Part(data=data, has_data=True)
        yield ArtifactMade(artifact=Artifact(id="d", parts=(extra,)))
    yield TurnDone(message=None)


async def asking(turn: Turn) -> AsyncIterator[GuestEvent]:
    """Ask which city, then answer with it."""
    if len(turn.history) < 2:
        yield InputNeeded(message=says("Which city?"))
    else:
        yield TurnDone(message=says(f"It rains in {turn.message.text}."))


async def failing(turn: Turn) -> AsyncIterator[GuestEvent]:
    """Fail."""
    del turn
    yield TurnFailed(error="no luck")


async def endless(turn: Turn) -> AsyncIterator[GuestEvent]:
    """Never come to an end."""
    del turn
    yield TextChunk(text="still here")
    await anyio.sleep_forever()


SKILLS = (
    AgentSkill(
        id="weather.report/v1",
        name="Weather report",
        description="Tells the weather.",
        examples=("Weather in Rome?",),
    ),
    AgentSkill(id="plain", name="Plain", description="Says it plainly."),
)


@asynccontextmanager
async def serving(
    function: object = echo,
    *,
    handle_after_s: float = 5.0,
    refuse: Refused | None = None,
) -> AsyncIterator[tuple[AgentService, FakeGate]]:
    """Serve one agent that is a function."""
    gate = FakeGate({"helper": function}, judge=lambda _attempt: refuse)  # type: ignore[dict-item]
    spec = replace(fake_spec("helper", description="Helps."), skills=SKILLS)
    talk = AgentTalk(
        gate=gate,
        clock=SystemClock(),
        randomness=SystemRandomness(),
        handle_after_s=handle_after_s,
    )
    service = AgentService(
        AgentId("helper"),
        agents=FakeAgents(spec),  # type: ignore[arg-type]
        talk=talk,
        card=lambda view: {"name": view.spec.name},
        version="1.2.3",
    )
    async with gate.running():
        yield service, gate


async def call(
    service: AgentService,
    message: str = "hello",
    *,
    tool: str = "ask",
    client: Client | None = None,
    visitor: Visitor = ALICE,
    params: McpObject | None = None,
    **arguments: Json,
) -> McpObject:
    """Call a tool."""
    wire: McpObject = {
        "name": tool,
        "arguments": {"message": message, **arguments},
        **(params or {}),
    }
    with anyio.fail_after(5):
        return await service.answer(visitor, "tools/call", wire, client or Client())


def text_of(result: McpObject) -> str:
    blocks = result["content"]
    assert isinstance(blocks, list)
    return "\n".join(str(one.get("text")) for one in blocks if isinstance(one, dict))


async def tasks(
    service: AgentService, method: str, task_id: object, visitor: Visitor = ALICE, **more: Json
) -> McpObject:
    params: McpObject = {"taskId": str(task_id), **more}
    with anyio.fail_after(5):
        return await service.answer(visitor, f"tasks/{method}", params, Client(client=HANDLES))


async def test_an_agents_skills_are_tools_beside_ask() -> None:
    async with serving() as (service, _):
        listed = await service.answer(ALICE, "tools/list", {}, Client())
    tools = listed["tools"]
    assert isinstance(tools, list)
    names = [str(one["name"]) for one in tools if isinstance(one, dict)]
    assert names == ["ask", tool_name("weather.report/v1"), "plain", "get_task"]
    weather = tools[1]
    assert isinstance(weather, dict)
    assert "Weather in Rome?" in str(weather["description"])
    assert listed["cacheScope"] == "private"


@pytest.mark.parametrize("skill", ["weather.report/v1", "ask", "x" * 200, "öl", "", "get_task"])
def test_every_skill_has_a_name_that_clients_accept(skill: str) -> None:
    name = tool_name(skill)
    assert 0 < len(name) <= 64
    assert name.isascii()
    assert name.replace("_", "").replace("-", "").isalnum()
    assert name not in ("ask", "get_task")
    assert name == tool_name(skill)


async def test_a_call_is_a_message_through_the_gate() -> None:
    async with serving() as (service, gate):
        result = await call(service, tool="plain", data={"x": 1})
    assert text_of(result).startswith("echo: hello")
    structured = result["structuredContent"]
    assert isinstance(structured, dict)
    assert structured["state"] == "completed"
    assert structured["data"] == [{"x": 1}]
    attempt = gate.attempts[0]
    assert (attempt.verb, attempt.target, attempt.principal) == ("send", "helper", ALICE.principal)


async def test_a_conversation_goes_on_by_its_context() -> None:
    async with serving() as (service, _):
        first = (await call(service))["structuredContent"]
        assert isinstance(first, dict)
        second = (await call(service, context_id=first["context_id"]))["structuredContent"]
    assert isinstance(second, dict)
    assert second["context_id"] == first["context_id"]
    assert second["task_id"] != first["task_id"]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"message": 3},
        {"message": ""},
        {"message": "x", "data": []},
        {"message": "x", "y": 1},
        {"message": "x", "task_id": "a/../b"},
        {"message": "x", "context_id": 7},
    ],
)
async def test_arguments_that_do_not_fit_never_reach_the_gate(arguments: McpObject) -> None:
    async with serving() as (service, gate):
        params: McpObject = {"name": "ask", "arguments": arguments}
        result = await service.answer(ALICE, "tools/call", params, Client())
    assert result["isError"] is True
    assert gate.attempts == []


async def test_a_refusal_says_why() -> None:
    no = Refused(check="budget", reason="nothing is left", approval="ap-7")
    async with serving(refuse=no) as (service, _):
        result = await call(service)
    assert result["isError"] is True
    assert "nothing is left" in text_of(result)
    assert "ap-7" in text_of(result)


async def test_an_agent_that_fails_is_a_tool_that_says_so() -> None:
    async with serving(failing) as (service, _):
        result = await call(service)
    assert result["isError"] is True
    assert "no luck" in text_of(result)


async def test_progress_goes_to_who_gave_a_token() -> None:
    async with serving() as (service, _):
        quiet, keen = Client(), Client()
        await call(service, client=quiet)
        await call(service, client=keen, params={"_meta": {"progressToken": "p"}})
    assert quiet.told == []
    assert all(one["progressToken"] == "p" for one in keen.told)
    assert [one["progress"] for one in keen.told] == list(range(1, len(keen.told) + 1))
    assert "one moment" in [one["message"] for one in keen.told]


async def test_a_call_that_is_cancelled_cancels_its_task() -> None:
    async with serving(endless) as (service, gate):
        client = Client(revision=OLD)
        with anyio.move_on_after(0.05):
            await call(service, client=client)
        page = await gate.tasks(ALICE.principal, _all())
    assert [task.state for task in page.tasks] == [TaskState.CANCELED]


async def test_a_client_of_an_older_revision_is_asked_in_the_middle() -> None:
    client = Client(
        revision=OLD, client=FORMS, answer={"action": "accept", "content": {"message": "Rome"}}
    )
    async with serving(asking) as (service, _):
        result = await call(service, client=client)
    assert "It rains in Rome." in text_of(result)
    assert client.asked[0]["message"] == "Which city?"


@pytest.mark.parametrize(
    ("action", "state"), [("decline", "canceled"), ("cancel", "input_required")]
)
async def test_declining_ends_a_task_and_dismissing_leaves_it(action: str, state: str) -> None:
    client = Client(revision=OLD, client=FORMS, answer={"action": action})
    async with serving(asking) as (service, _):
        result = await call(service, client=client)
    structured = result["structuredContent"]
    assert isinstance(structured, dict)
    assert structured["state"] == state


async def test_a_stateless_client_answers_with_its_next_request() -> None:
    client = Client(client=FORMS)
    async with serving(asking) as (service, gate):
        first = await call(service, client=client)
        assert first["resultType"] == "input_required"
        asked = first["inputRequests"]
        assert isinstance(asked, dict)
        (key,) = asked
        answer: McpObject = {
            "requestState": first["requestState"],
            "inputResponses": {key: {"action": "accept", "content": {"message": "Oslo"}}},
        }
        second = await call(service, client=client, params=answer)
        again = await call(service, client=client, params=answer)
        stranger = await call(service, client=client, visitor=BOB, params=answer)
    assert "It rains in Oslo." in text_of(second)
    assert "It rains in Oslo." in text_of(again)
    assert stranger["isError"] is True
    assert len(gate.attempts) == 2


async def test_a_client_without_forms_is_told_how_to_answer() -> None:
    async with serving(asking) as (service, _):
        first = await call(service)
        structured = first["structuredContent"]
        assert isinstance(structured, dict)
        assert "Which city?" in text_of(first)
        second = await call(service, "Bern", task_id=structured["task_id"])
    assert "It rains in Bern." in text_of(second)


async def test_long_work_is_a_handle_for_who_understands_it() -> None:
    async with serving(endless, handle_after_s=0.01) as (service, _):
        begun = await call(service, client=Client(client=HANDLES))
        assert begun["resultType"] == "task"
        assert begun["status"] == "working"
        assert begun["ttlMs"] is None
        found = await tasks(service, "get", begun["taskId"])
        assert found["status"] == "working"
        assert await tasks(service, "cancel", begun["taskId"]) == {"resultType": "complete"}
        assert await tasks(service, "cancel", begun["taskId"]) == {"resultType": "complete"}
        found = await tasks(service, "get", begun["taskId"])
    assert found["status"] == "cancelled"


async def test_a_quick_answer_is_no_handle() -> None:
    async with serving() as (service, _):
        result = await call(service, client=Client(client=HANDLES))
    assert "taskId" not in result
    assert "echo" in text_of(result)


async def test_a_handles_question_is_answered_by_update() -> None:
    async with serving(asking) as (service, gate):
        begun = await call(service, client=Client(client=HANDLES | FORMS))
        assert begun["status"] == "input_required"
        found = await tasks(service, "get", begun["taskId"])
        asked = found["inputRequests"]
        assert isinstance(asked, dict)
        (key,) = asked
        odd: McpObject = {"unknown": {"action": "accept", "content": {}}}
        await tasks(service, "update", begun["taskId"], inputResponses=odd)
        assert (await tasks(service, "get", begun["taskId"]))["status"] == "input_required"
        good: McpObject = {key: {"action": "accept", "content": {"message": "Kyiv"}}}
        ack = await tasks(service, "update", begun["taskId"], inputResponses=good)
        assert ack == {"resultType": "complete"}
        with anyio.fail_after(5):
            while (await gate.task(ALICE.principal, _id(begun))).state is not TaskState.COMPLETED:
                await anyio.lowlevel.checkpoint()
        found = await tasks(service, "get", begun["taskId"])
    assert found["status"] == "completed"
    result = found["result"]
    assert isinstance(result, dict)
    assert "It rains in Kyiv." in text_of(result)


async def test_an_agents_failure_completes_a_handle_with_an_error_result() -> None:
    async with serving(failing) as (service, gate):
        await call(service)
        page = await gate.tasks(ALICE.principal, _all())
        found = await tasks(service, "get", page.tasks[0].id)
    assert found["status"] == "completed"
    result = found["result"]
    assert isinstance(result, dict)
    assert result["isError"] is True


async def test_another_owners_task_does_not_exist() -> None:
    async with serving(endless, handle_after_s=0.01) as (service, gate):
        begun = await call(service, client=Client(client=HANDLES))
        for method in ("get", "cancel", "update"):
            with pytest.raises(McpError) as refused:
                await tasks(service, method, begun["taskId"], BOB, inputResponses={})
            assert refused.value.code == -32602
        task = await gate.task(ALICE.principal, _id(begun))
        looked = await service.answer(
            BOB,
            "tools/call",
            {"name": "get_task", "arguments": {"task_id": task.id}},
            Client(),
        )
    assert looked["isError"] is True
    assert task.state is TaskState.WORKING


@pytest.mark.parametrize("method", ["get", "update", "cancel"])
async def test_handles_are_for_those_who_declared_them(method: str) -> None:
    async with serving() as (service, _):
        with pytest.raises(McpError) as refused:
            await service.answer(ALICE, f"tasks/{method}", {"taskId": "x"}, Client())
    assert refused.value.code == -32021
    data = refused.value.data
    assert data == {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}


@pytest.mark.parametrize("method", ["tasks/list", "tasks/result", "logging/setLevel", "x"])
async def test_what_is_not_offered_is_no_method(method: str) -> None:
    async with serving() as (service, _):
        with pytest.raises(McpError) as refused:
            await service.answer(ALICE, method, {"taskId": "x"}, Client(client=HANDLES))
    assert refused.value.code == -32601


async def test_card_and_examples_can_be_read() -> None:
    async with serving() as (service, _):
        listed = await service.answer(ALICE, "resources/list", {}, Client())
        resources = listed["resources"]
        assert isinstance(resources, list)
        assert isinstance(resources[0], dict)
        uri = resources[0]["uri"]
        read = await service.answer(ALICE, "resources/read", {"uri": uri}, Client())
        assert '"helper"' in str(read["contents"])
        prompts = await service.answer(ALICE, "prompts/list", {}, Client())
        assert isinstance(prompts["prompts"], list)
        assert isinstance(prompts["prompts"][0], dict)
        name = prompts["prompts"][0]["name"]
        prompt = await service.answer(ALICE, "prompts/get", {"name": name}, Client())
    assert "Weather in Rome?" in str(prompt["messages"])


@pytest.mark.parametrize(
    "visitor",
    [
        replace(ALICE, agents=frozenset({AgentId("other")})),
        replace(ALICE, scopes=frozenset({"tools"})),
        replace(
            ALICE,
            principal=Principal(
                kind=PrincipalKind.AGENT,
                name="helper",
                owner=OwnerId("alice"),
                agent=AgentId("helper"),
            ),
        ),
    ],
    ids=["token of another agent", "scope of tools", "agent without the grant"],
)
async def test_an_agent_that_is_not_open_to_a_visitor_looks_like_none(visitor: Visitor) -> None:
    async with serving() as (service, gate):
        for method in ("tools/list", "tools/call", "resources/list"):
            params: McpObject = {"name": "ask", "arguments": {"message": "x"}}
            with pytest.raises(McpError):
                await service.answer(visitor, method, params, Client())
        assert service.input_schema(visitor, "ask") is None
    assert gate.attempts == []


def _all() -> TaskQuery:
    return TaskQuery()


def _id(begun: McpObject) -> TaskId:
    return TaskId(str(begun["taskId"]))
