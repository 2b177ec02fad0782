"""The node as a server of MCP: who may see and call which row of the table."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from hive.core.call import Principal, PrincipalKind
from hive.core.errors import NotFoundError
from hive.core.ids import OwnerId
from hive.core.json import Json
from hive.protocols.mcp.ports import NEWEST, McpError, McpObject, Visitor
from hive.protocols.mcp.serving.node import (
    NodeService,
    OperatorAsk,
    OperatorResource,
    OperatorTool,
)
from hive.protocols.mcp.serving.tasks import LongTask
from hive.security.roles import OPERATOR

pytestmark = pytest.mark.anyio
BOSS = Visitor(principal=OPERATOR)
_ALICE = Principal(kind=PrincipalKind.CLIENT, name="alice", owner=OwnerId("alice"))
WATCHER = Visitor(principal=_ALICE, scopes=frozenset({"observe"}))
DOER = Visitor(principal=_ALICE, scopes=frozenset({"operate"}))
CLIENT = Visitor(principal=_ALICE)
STRANGER = Visitor(
    principal=Principal(kind=PrincipalKind.ANONYMOUS, name="anonymous", owner=OwnerId("anonymous")),
    scopes=frozenset({"tools", "agents"}),
)


@dataclass
class Client:
    """A client that is told nothing and asked nothing."""

    revision: str = NEWEST
    client: Mapping[str, Json] = field(default_factory=dict)

    async def notify(self, method: str, params: McpObject) -> None:
        """Fail: nothing here tells of progress."""
        raise AssertionError(method, params)

    async def ask(self, method: str, params: McpObject) -> McpObject:
        """Fail: nothing here asks."""
        raise AssertionError(method, params)


class NoTasks:
    """Long work of a node that has none."""

    async def find(self, visitor: Visitor, task_id: str) -> LongTask | None:
        """Find nothing."""
        del visitor, task_id
        return None

    async def provide(
        self, visitor: Visitor, task_id: str, answers: Mapping[str, McpObject]
    ) -> None:
        """Fail: what was not found takes no answers."""
        raise AssertionError(visitor, task_id, answers)

    async def cancel(self, visitor: Visitor, task_id: str) -> None:
        """Fail: what was not found is not cancelled."""
        raise AssertionError(visitor, task_id)


async def look(ask: OperatorAsk) -> McpObject:
    """Tell what was asked for."""
    return {"looked": ask.text("task"), "limit": ask.number("limit", 5, 10)}


async def act(ask: OperatorAsk) -> McpObject:
    """Do something, unless there is no such task."""
    if ask.text("task") == "missing":
        raise NotFoundError("There is no such task.")
    return {"content": [{"type": "text", "text": "done"}]}


async def read(which: str) -> McpObject:
    """Read something."""
    return {"read": which}


TASK: Json = {"type": "string"}
NUMBER: Json = {"type": "integer"}
SERVICE = NodeService(
    tools=[
        OperatorTool(
            name="see",
            title="See",
            description="Looks.",
            properties={"task": TASK, "limit": NUMBER},
            look=look,
        ),
        OperatorTool(
            name="do",
            title="Do",
            description="Does.",
            properties={"task": TASK},
            required=("task",),
            act=act,
            destructive=True,
        ),
    ],
    resources=[
        OperatorResource(name="agents", title="A", description="", read=read),
        OperatorResource(name="tasks", title="T", description="", read=read, each=True),
    ],
    tasks=NoTasks(),
    version="1",
)


async def listed(visitor: Visitor) -> dict[str, McpObject]:
    answer = await SERVICE.answer(visitor, "tools/list", {}, Client())
    tools = answer["tools"]
    assert isinstance(tools, list)
    return {str(one["name"]): one for one in tools if isinstance(one, dict)}


async def call(visitor: Visitor, name: str, **arguments: Json) -> McpObject:
    params: McpObject = {"name": name, "arguments": arguments}
    return await SERVICE.answer(visitor, "tools/call", params, Client())


@pytest.mark.parametrize(
    ("visitor", "names"),
    [
        (BOSS, {"see", "do"}),
        (DOER, {"see", "do"}),
        (WATCHER, {"see"}),
        (CLIENT, set()),
        (STRANGER, set()),
    ],
)
async def test_each_sees_what_its_scope_opens(visitor: Visitor, names: set[str]) -> None:
    assert set(await listed(visitor)) == names
    for name in ("see", "do"):
        assert (SERVICE.input_schema(visitor, name) is not None) == (name in names)


@pytest.mark.parametrize(
    ("visitor", "name"),
    [(WATCHER, "do"), (CLIENT, "see"), (CLIENT, "do"), (STRANGER, "see"), (STRANGER, "do")],
)
async def test_calling_without_the_scope_is_refused_and_says_which(
    visitor: Visitor, name: str
) -> None:
    with pytest.raises(McpError) as refused:
        await call(visitor, name, task="t")
    assert refused.value.data == {"requiredScope": "observe" if name == "see" else "operate"}


@pytest.mark.parametrize("visitor", [CLIENT, STRANGER])
async def test_resources_are_for_observers(visitor: Visitor) -> None:
    answer = await SERVICE.answer(visitor, "resources/list", {}, Client())
    assert answer["resources"] == []
    with pytest.raises(McpError):
        await SERVICE.answer(visitor, "resources/read", {"uri": "hive://agents"}, Client())


async def test_hints_say_what_only_reads() -> None:
    tools = await listed(BOSS)
    see, do = tools["see"]["annotations"], tools["do"]["annotations"]
    assert isinstance(see, dict)
    assert isinstance(do, dict)
    assert see["readOnlyHint"] is True
    assert (do["readOnlyHint"], do["destructiveHint"]) == (False, True)


async def test_facts_come_as_text_and_as_structure() -> None:
    result = await call(WATCHER, "see", task="t-1")
    assert result["structuredContent"] == {"looked": "t-1", "limit": 5}
    assert "t-1" in str(result["content"])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("see", {"other": 1}), ("do", {}), ("do", {"task": "missing"})],
)
async def test_what_does_not_fit_is_told_as_a_result(name: str, arguments: McpObject) -> None:
    assert (await call(BOSS, name, **arguments))["isError"] is True


@pytest.mark.parametrize("limit", [0, 11, True, "5", 2.5])
async def test_a_number_out_of_bounds_is_an_error(limit: Json) -> None:
    with pytest.raises(McpError):
        await call(BOSS, "see", limit=limit)


@pytest.mark.parametrize(
    "uri", ["hive://agents/x", "hive://tasks", "hive://nothing", "file:///etc/passwd", "agents", 3]
)
async def test_other_addresses_lead_nowhere(uri: Json) -> None:
    with pytest.raises(McpError) as refused:
        await SERVICE.answer(BOSS, "resources/read", {"uri": uri}, Client())
    assert refused.value.code == -32602
    with pytest.raises(McpError) as refused:
        await SERVICE.answer(BOSS, "resources/read", {"uri": uri}, Client(revision="2025-11-25"))
    assert refused.value.code == -32002


async def test_resources_are_read_by_their_address() -> None:
    one = await SERVICE.answer(WATCHER, "resources/read", {"uri": "hive://tasks/t-9"}, Client())
    assert "t-9" in str(one["contents"])
    all_of_them = await SERVICE.answer(
        WATCHER, "resources/read", {"uri": "hive://agents"}, Client()
    )
    assert "read" in str(all_of_them["contents"])
