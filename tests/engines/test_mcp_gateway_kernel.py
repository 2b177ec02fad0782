"""Tools behind the real kernel: what an agent called is on record, and nothing happens twice after a crash."""

from collections.abc import AsyncIterator, Sequence

import anyio
import pytest
from tests.kernel_rig import ALICE, OPERATOR, Stage, StagedSandbox, running_kernel, said, send
from tests.mcp_gateway_rig import OLD, PaperHub, QuietClient, call, text_of, tool

from hive.core.call import Refused
from hive.core.clock import SystemClock
from hive.core.grant import Grant, Limits
from hive.core.ids import AgentId
from hive.core.randomness import SystemRandomness
from hive.core.spec import AgentSpec, EntryPoint, StartKind
from hive.core.task import TaskState
from hive.engines import Migration
from hive.execution.ports import GuestEvent, Turn, TurnDone
from hive.node.build import all_migrations
from hive.observability import SpanFeed, SpanStatus
from hive.observability.drivers.memory import MemorySpans
from hive.protocols.mcp.gateway import Gateways
from hive.protocols.mcp.ports import McpError, Visitor

pytestmark = pytest.mark.anyio


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return all_migrations()


class ToolUser:
    """Plays an agent that calls tools, in this order, and answers with what it was told."""

    def __init__(self, *names: str, client: QuietClient | None = None) -> None:
        self.names = names
        self.client = client
        self.kernel = None
        self.gateways: Gateways | None = None
        self.answers: list[str] = []
        self.dies = False
        self.hang = anyio.Event()
        self.reached = anyio.Event()

    async def play(self, sandbox: StagedSandbox, turn: Turn) -> AsyncIterator[GuestEvent]:
        principal = self.kernel.dispatcher.resolve_handle(sandbox.id, sandbox.handle)
        assert not isinstance(principal, Refused)
        for name in self.names:
            self.answers.append(await self.use(Visitor(principal=principal), name))
        self.reached.set()
        await self.hang.wait()
        yield TurnDone(message=said(" ".join(self.answers)))

    async def use(self, visitor: Visitor, name: str) -> str:
        try:
            answer = text_of(await call(self.gateways.all, name, who=visitor, client=self.client))
        except McpError as error:
            answer = f"error {error.code}"
        if self.dies:  # with the node, before it reads any answer
            await anyio.sleep_forever()
        return answer


def opened(kernel, hub: PaperHub, user: ToolUser) -> Gateways:
    user.kernel = kernel
    user.gateways = Gateways(
        hub=hub,
        gate=kernel.dispatcher,
        grant_of=kernel.dispatcher._turns.grant_of,
        clock=SystemClock(),
        randomness=SystemRandomness(),
    )
    return user.gateways


async def deploy(kernel, *tools: str) -> None:
    spec = AgentSpec(
        name=AgentId("worker"),
        entry=EntryPoint(kind=StartKind.PYTHON, path="x.py", attribute="f"),
    )
    await kernel.supervisor.deploy(OPERATOR, spec, Grant(tools=tools, limits=Limits()))


async def at_rest(kernel, task):
    with anyio.fail_after(30):
        while True:
            held = await kernel.dispatcher.task(ALICE, task)
            if held.state.terminal or held.state.interrupted:
                return held
            live = kernel.feed.get(task)
            if live is not None:
                await live.wait_settled()
            await anyio.lowlevel.checkpoint()


async def test_an_agent_uses_what_its_grant_names_and_all_of_it_is_on_record(database, tmp_path):
    hub, user = PaperHub(), ToolUser("files__read", "files__erase", "bank__pay")
    hub.add("files", tool("read"), tool("erase"))
    hub.add("bank", tool("pay"))
    user.hang.set()
    async with (
        running_kernel(database, tmp_path, Stage(play=user.play)) as kernel,
        opened(kernel, hub, user).running(),
    ):
        await deploy(kernel, "files.read")
        delivery = await send(kernel, "go")
        with anyio.fail_after(30):
            task = await delivery.settled()
    assert task.state is TaskState.COMPLETED
    assert user.answers == ["{}", "error -32602", "error -32602"]
    assert [params["name"] for _, params in hub.asked] == ["read"]
    trace = hub.asked[0][1]["_meta"]["traceparent"]
    assert trace.startswith("00-")


async def test_a_tools_span_leaves_the_node_where_spans_do(database, tmp_path):
    hub, user, store = PaperHub(), ToolUser("files__read"), MemorySpans()
    hub.add("files", tool("read"))
    user.hang.set()
    feed = SpanFeed(store)
    async with (
        running_kernel(database, tmp_path, Stage(play=user.play), exported=feed) as kernel,
        opened(kernel, hub, user).running(),
    ):
        await deploy(kernel, "files.read")
        delivery = await send(kernel, "go")
        with anyio.fail_after(30):
            await delivery.settled()
    await feed.flush()
    _, trace, span, _ = hub.asked[0][1]["_meta"]["traceparent"].split("-")
    [told] = [one for one in await store.of_trace(trace) if one.context.span_id == span]
    assert told.name == "execute_tool files.read"
    assert told.attributes["gen_ai.tool.name"] == "read"
    assert told.attributes["mcp.method.name"] == "tools/call"
    assert told.status is SpanStatus.UNSET


async def test_a_call_that_came_back_before_a_crash_is_not_made_again(database, tmp_path):
    hub, user = PaperHub(), ToolUser("files__read", "files__read")
    hub.add("files", tool("read"))
    async with (
        running_kernel(database, tmp_path, Stage(play=user.play)) as kernel,
        opened(kernel, hub, user).running(),
    ):
        await deploy(kernel, "*")
        task = (await send(kernel, "go")).task
        with anyio.fail_after(30):
            await user.reached.wait()
    assert len(hub.asked) == 2
    user.hang.set()
    user.answers = []
    async with (
        running_kernel(database, tmp_path, Stage(play=user.play)) as kernel,
        opened(kernel, hub, user).running(),
    ):
        await kernel.supervisor.find(AgentId("worker"))
        done = await at_rest(kernel, task.id)
    assert done.state is TaskState.COMPLETED
    assert user.answers == ["{}", "{}"]
    assert len(hub.asked) == 2


@pytest.mark.parametrize(
    ("hints", "happens"), [({}, 1), ({"idempotentHint": True}, 2), ({"readOnlyHint": True}, 2)]
)
@pytest.mark.parametrize("client", [QuietClient(), QuietClient(client={"elicitation": {}})])
async def test_a_crash_in_the_middle_of_a_call_parks_it_unless_it_may_be_repeated(
    database, tmp_path, hints, happens, client
):
    hanging, began = True, anyio.Event()

    async def respond(*_):
        began.set()
        if hanging:
            await anyio.sleep_forever()
        return {"content": [{"type": "text", "text": "paid"}]}

    hub, user = PaperHub(), ToolUser("bank__pay", client=client)
    # An old server and a client that can be asked: the call lives in a task of the gateway's own.
    hub.add("bank", tool("pay", annotations=hints), respond=respond, revision=OLD)
    user.hang.set()
    async with (
        running_kernel(database, tmp_path, Stage(play=user.play)) as kernel,
        opened(kernel, hub, user).running(),
    ):
        await deploy(kernel, "*")
        task = (await send(kernel, "go")).task
        with anyio.fail_after(30):
            await began.wait()
        user.dies = True
    hanging = user.dies = False
    async with (
        running_kernel(database, tmp_path, Stage(play=user.play)) as kernel,
        opened(kernel, hub, user).running(),
    ):
        await kernel.supervisor.find(AgentId("worker"))
        done = await at_rest(kernel, task.id)
    assert len(hub.asked) == happens
    expected = TaskState.COMPLETED if happens == 2 else TaskState.AUTH_REQUIRED
    assert done.state is expected
