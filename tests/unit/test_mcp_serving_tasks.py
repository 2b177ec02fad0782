"""Long work in memory behind the tasks extension: handles, questions, ends, and who may ask."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest

from hive.core.call import Principal, PrincipalKind
from hive.core.clock import SystemClock
from hive.core.ids import OwnerId
from hive.core.json import Json
from hive.core.randomness import SystemRandomness
from hive.protocols.mcp.ports import NEWEST, McpError, McpObject, Visitor
from hive.protocols.mcp.serving.running import RunningTasks, Work, WorkHand
from hive.protocols.mcp.serving.tasks import EXTENSION, LongTask, WorkDesk, handle

pytestmark = pytest.mark.anyio


def visitor(name: str) -> Visitor:
    return Visitor(principal=Principal(kind=PrincipalKind.CLIENT, name=name, owner=OwnerId(name)))


ALICE, BOB = visitor("alice"), visitor("bob")


@dataclass
class Client:
    """A client that understands handles."""

    revision: str = NEWEST
    client: Mapping[str, Json] = field(default_factory=lambda: {"extensions": {EXTENSION: {}}})

    async def notify(self, method: str, params: McpObject) -> None:
        """Fail: nothing is told here."""
        raise AssertionError(method, params)

    async def ask(self, method: str, params: McpObject) -> McpObject:
        """Fail: nothing is asked here."""
        raise AssertionError(method, params)


@asynccontextmanager
async def keeping(work_max: int = 10) -> AsyncIterator[tuple[RunningTasks, WorkDesk]]:
    tasks = RunningTasks(SystemClock(), SystemRandomness(), work_max=work_max)
    with anyio.fail_after(5):
        async with tasks.running():
            yield tasks, WorkDesk(tasks)


async def ask(
    desk: WorkDesk, method: str, task: str, who: Visitor = ALICE, **more: Json
) -> McpObject:
    params: McpObject = {"taskId": task, **more}
    return await desk.answer(who, f"tasks/{method}", params, Client())


async def until(desk: WorkDesk, work: LongTask, status: str) -> McpObject:
    while True:
        found = await ask(desk, "get", work.id)
        if found["status"] == status:
            return found
        await anyio.lowlevel.checkpoint()


def form(name: str) -> McpObject:
    return {"method": "elicitation/create", "params": {"message": name}}


async def test_a_handle_says_all_that_its_client_needs() -> None:
    async def work(hand: WorkHand) -> McpObject:
        hand.say("half way")
        await anyio.sleep_forever()
        raise AssertionError

    async with keeping() as (tasks, desk):
        begun = tasks.start(ALICE, work)
        wire = handle(begun)
        assert wire["resultType"] == "task"
        assert set(wire) >= {"taskId", "status", "createdAt", "lastUpdatedAt", "ttlMs"}
        assert not set(wire) & {"task", "result", "error", "inputRequests", "requestState", "ttl"}
        assert str(wire["createdAt"]).endswith("Z")
        await anyio.wait_all_tasks_blocked()
        assert (await ask(desk, "get", begun.id))["statusMessage"] == "half way"


async def test_what_work_returns_is_the_result() -> None:
    async def work(hand: WorkHand) -> McpObject:
        del hand
        return {"content": [], "isError": True}

    async with keeping() as (tasks, desk):
        found = await until(desk, tasks.start(ALICE, work), "completed")
    assert found["result"] == {"content": [], "isError": True}
    assert found["resultType"] == "complete"
    assert "error" not in found


@pytest.mark.parametrize(
    ("broken", "code"), [(McpError(-32000, "no", {"a": 1}), -32000), (KeyError("x"), -32603)]
)
async def test_work_that_raises_has_failed_and_hurts_no_other(broken: Exception, code: int) -> None:
    async def work(hand: WorkHand) -> McpObject:
        del hand
        raise broken

    async def other(hand: WorkHand) -> McpObject:
        await hand.ask(form("x"))
        return {"content": []}

    async with keeping() as (tasks, desk):
        beside = tasks.start(ALICE, other)
        found = await until(desk, tasks.start(ALICE, work), "failed")
        await until(desk, beside, "input_required")
    error = found["error"]
    assert isinstance(error, dict)
    assert error["code"] == code
    assert "result" not in found


async def test_questions_are_answered_one_by_one_and_keys_are_never_used_again() -> None:
    async def work(hand: WorkHand) -> McpObject:
        first = await hand.ask(form("a"), form("b"))
        second = await hand.ask(form("c"))
        return {"content": [], "answers": [*first, *second]}

    async with keeping() as (tasks, desk):
        begun = tasks.start(ALICE, work)
        asked = (await until(desk, begun, "input_required"))["inputRequests"]
        assert isinstance(asked, dict)
        one, two = asked
        ack = await ask(desk, "update", begun.id, inputResponses={one: {"n": 1}, "odd": {}})
        assert ack == {"resultType": "complete"}
        left = (await ask(desk, "get", begun.id))["inputRequests"]
        assert isinstance(left, dict)
        assert list(left) == [two]
        await ask(desk, "update", begun.id, inputResponses={two: {"n": 2}})
        await anyio.wait_all_tasks_blocked()
        again = (await until(desk, begun, "input_required"))["inputRequests"]
        assert isinstance(again, dict)
        (three,) = again
        assert three not in (one, two)
        await ask(desk, "update", begun.id, inputResponses={three: {"n": 3}, one: {"n": 9}})
        found = await until(desk, begun, "completed")
    result = found["result"]
    assert isinstance(result, dict)
    assert result["answers"] == [{"n": 1}, {"n": 2}, {"n": 3}]


async def _forever(hand: WorkHand) -> McpObject:
    await hand.ask(form("x"))
    raise AssertionError


FOREVER: Work = _forever


async def test_cancelling_ends_work_and_may_be_done_twice() -> None:
    async with keeping() as (tasks, desk):
        begun = tasks.start(ALICE, FOREVER)
        await until(desk, begun, "input_required")
        for _ in range(2):
            assert await ask(desk, "cancel", begun.id) == {"resultType": "complete"}
        found = await ask(desk, "get", begun.id)
    assert found["status"] == "cancelled"
    assert "inputRequests" not in found


@pytest.mark.parametrize("method", ["get", "update", "cancel"])
async def test_anothers_work_does_not_exist(method: str) -> None:
    async with keeping() as (tasks, desk):
        begun = tasks.start(ALICE, FOREVER)
        with pytest.raises(McpError) as refused:
            await ask(desk, method, begun.id, BOB, inputResponses={})
        assert refused.value.code == -32602
        await until(desk, begun, "input_required")


@pytest.mark.parametrize("answers", [None, [], {"a": 1}, {str(n): {} for n in range(65)}])
async def test_answers_of_another_shape_are_refused(answers: Json) -> None:
    async with keeping() as (tasks, desk):
        begun = tasks.start(ALICE, FOREVER)
        with pytest.raises(McpError) as refused:
            await ask(desk, "update", begun.id, inputResponses=answers)
    assert refused.value.code == -32602


async def test_work_is_bounded() -> None:
    async with keeping(work_max=2) as (tasks, _):
        tasks.start(ALICE, FOREVER)
        tasks.start(ALICE, FOREVER)
        with pytest.raises(McpError):
            tasks.start(ALICE, FOREVER)


async def test_an_older_revision_has_no_handles() -> None:
    async with keeping() as (tasks, desk):
        begun = tasks.start(ALICE, FOREVER)
        old = Client(revision="2025-11-25")
        with pytest.raises(McpError) as refused:
            await desk.answer(ALICE, "tasks/get", {"taskId": begun.id}, old)
    assert refused.value.code == -32601
