"""An A2A agent behind a real door, as a server of tools: its skills, its answers, its questions, its limits."""

import anyio
import httpx
import pytest

from hive.core.clock import SystemClock
from hive.core.errors import EngineUnavailableError, TooLargeError
from hive.core.ids import OwnerId
from hive.core.task import TaskState
from hive.engines import load_migrations
from hive.kernel.ports import TaskQuery
from hive.protocols.mcp.drivers import WIRES
from hive.protocols.mcp.drivers.a2a_places import ScreenedTransport
from hive.protocols.mcp.hub.ports import WireOpening
from hive.protocols.mcp.ports import NEWEST, McpError, ServerSpec, TransportKind
from hive.security.roles import OPERATOR
from hive.testing.a2a_door import OPERATOR_TOKEN, open_door

pytestmark = pytest.mark.anyio
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"


class Ear:
    """Hears progress; is never asked."""

    def __init__(self):
        self.heard = []

    async def note(self, method, params):
        assert method == "notifications/progress"
        self.heard.append(params)

    async def question(self, method, params):
        raise AssertionError(method, params)


@pytest.fixture
def migrations():
    return [*load_migrations("hive.security"), *load_migrations("hive.protocols.a2a")]


@pytest.fixture
async def door(database):
    async with open_door(database) as door:
        yield door


def wire_to(url, *, headers=None, shown=None):
    spec = ServerSpec(
        name="friend", transport=TransportKind.A2A, url=url, headers=headers or {"a": "secret:A"}
    )
    made = WIRES.load("a2a:")
    shown = {"Authorization": f"Bearer {OPERATOR_TOKEN}"} if shown is None else shown
    opening = WireOpening(
        spec=spec,
        owner=OwnerId("alice"),
        instance="1",
        clock=SystemClock(),
        hearer=Ear(),
        headers=shown,
    )
    return made(opening)


async def call(wire, message="hi", *, ear=None, limit=1 << 20, meta=None, tool="ask", **more):
    arguments = {"message": message, **more.pop("arguments", {})}
    params = {"name": tool, "arguments": arguments, "_meta": meta or {}, **more}
    with anyio.fail_after(20):
        return await wire.ask("tools/call", params, hearer=ear or Ear(), result_max_bytes=limit)


async def test_an_agents_card_becomes_a_list_of_tools(door):
    async with (wire := wire_to(door.agent("echo"))).running():
        found = await wire.ask("server/discover", {}, hearer=Ear(), result_max_bytes=1 << 20)
        assert found["supportedVersions"] == [NEWEST]
        listed = await wire.ask("tools/list", {}, hearer=Ear(), result_max_bytes=1 << 20)
        assert [one["name"] for one in listed["tools"]] == ["ask", "echo"]
        with pytest.raises(McpError) as refused:
            await wire.ask("prompts/list", {}, hearer=Ear(), result_max_bytes=1 << 20)
        assert refused.value.code == -32601


async def test_a_call_is_a_message_and_its_artifacts_are_the_result(door):
    async with (wire := wire_to(door.agent("producer"))).running():
        result = await call(wire, tool="producer")
    kinds = [block["type"] for block in result["content"]]
    assert kinds == ["text", "resource", "resource_link", "text"]
    assert result["structuredContent"]["state"] == "completed"
    assert result["structuredContent"]["data"][0]["rows"][1] == 2.5


async def test_pieces_are_progress_and_a_failure_is_an_error_result(door):
    ear = Ear()
    async with (wire := wire_to(door.agent("streamer"))).running():
        result = await call(wire, ear=ear, meta={"progressToken": 7})
    assert "piece 0 piece 1 piece 2 " in result["content"][0]["text"]
    assert [one["progressToken"] for one in ear.heard] == [7] * len(ear.heard)
    async with (wire := wire_to(door.agent("failer"))).running():
        result = await call(wire)
    assert result["isError"] is True
    assert "no such invoice" in result["content"][0]["text"]


async def test_an_agents_question_is_asked_and_its_answer_brought_back(door):
    meta = {CAPABILITIES: {"elicitation": {}}}
    async with (wire := wire_to(door.agent("asker"))).running():
        first = await call(wire, meta=meta)
        assert first["resultType"] == "input_required"
        (key,) = first["inputRequests"]
        answer = {key: {"action": "accept", "content": {"message": "Ada"}}}
        second = await call(
            wire, meta=meta, requestState=first["requestState"], inputResponses=answer
        )
        assert second["content"][0]["text"] == "Hello Ada"
        again = await call(
            wire, meta=meta, requestState=first["requestState"], inputResponses=answer
        )
        assert again["isError"] is True


async def test_without_forms_a_question_is_answered_by_the_tasks_id(door):
    async with (wire := wire_to(door.agent("asker"))).running():
        first = await call(wire)
        task = first["structuredContent"]["task_id"]
        second = await call(wire, "Grace", arguments={"task_id": task})
    assert second["content"][0]["text"] == "Hello Grace"


async def test_one_owners_connection_cannot_go_on_with_anothers_task(door):
    async with (alice := wire_to(door.agent("asker"))).running():
        asked = (await call(alice))["structuredContent"]
        # The node's credential at the agent is the same for both: the agent would let it pass.
        async with (mallory := wire_to(door.agent("asker"))).running():
            for made_up in ({"task_id": asked["task_id"]}, {"context_id": asked["context_id"]}):
                result = await call(mallory, "x", arguments=made_up)
                assert result["isError"] is True
            state = {"requestState": asked["task_id"], "inputResponses": {}}
            assert (await call(mallory, **state))["isError"] is True
    assert len(door.gate.attempts) == 1


async def test_a_call_that_is_cancelled_cancels_the_agents_task(door):
    async with (wire := wire_to(door.agent("sleeper"))).running():
        with anyio.move_on_after(1.0):
            await call(wire)
    page = await door.gate.tasks(OPERATOR, TaskQuery())
    assert [task.state for task in page.tasks] == [TaskState.CANCELED]


async def test_too_much_is_cut_off(door):
    async with (wire := wire_to(door.agent("echo"))).running():
        with pytest.raises(TooLargeError):
            await call(wire, "x" * 5000, limit=1000)


async def test_a_server_that_is_not_there_was_not_asked():
    with pytest.raises(EngineUnavailableError) as failed:
        async with wire_to("http://127.0.0.1:9/a2a/none").running():
            pass
    assert failed.value.__cause__ is None


@pytest.mark.parametrize("host", ["169.254.169.254", "[::ffff:169.254.169.254]"])
async def test_metadata_services_are_not_connected_to(host):
    screened = ScreenedTransport(only_loopback_plain=False)
    async with httpx.AsyncClient(transport=screened) as http:
        with pytest.raises(httpx.ConnectError, match="No address"):
            await http.get(f"http://{host}/agent")


async def test_a_credential_does_not_leave_this_machine_in_the_clear():
    screened = ScreenedTransport(only_loopback_plain=True)
    async with httpx.AsyncClient(transport=screened) as http:
        with pytest.raises(httpx.ConnectError, match="No address"):
            await http.get("http://192.0.2.7/agent")
