"""A client names a task that is not its own: as a handle, as requestState, as an argument, at another agent.

The gate knows whose a task is; each of these would reach another's work if the service asked it as anybody else
than the one who shows the token.
"""

import anyio
import pytest

from hive.core.task import TaskState
from hive.protocols.mcp.ports import McpError
from hive.protocols.mcp.serving.answers import question_key
from tests.unit.test_mcp_serving import ALICE, BOB, FORMS, Client, asking, call, serving, tasks

pytestmark = pytest.mark.anyio


@pytest.fixture
async def victim(anyio_backend):
    """Alice's task, which waits for her answer."""
    async with serving(asking) as (service, gate):
        first = await call(service)
        task = await gate.task(ALICE.principal, first["structuredContent"]["task_id"])
        yield service, gate, task


async def untouched(gate, task):
    now = await gate.task(ALICE.principal, task.id)
    return now.state is TaskState.INPUT_REQUIRED and now.history == task.history


async def test_as_a_handle(victim):
    service, gate, task = victim
    answer = {question_key(task): {"action": "accept", "content": {"message": "stolen"}}}
    for method in ("get", "update", "cancel"):
        with pytest.raises(McpError) as refused:
            await tasks(service, method, task.id, BOB, inputResponses=answer)
        assert refused.value.message == "There is no such task."
    assert await untouched(gate, task)


@pytest.mark.parametrize("action", ["accept", "decline"])
async def test_as_request_state(victim, action):
    service, gate, task = victim
    key = question_key(task)
    forged = {
        "requestState": f"{task.id}/{key}",
        "inputResponses": {key: {"action": action, "content": {"message": "stolen"}}},
    }
    result = await call(service, visitor=BOB, client=Client(client=FORMS), params=forged)
    assert result["isError"] is True
    assert "Which city" not in str(result)
    assert await untouched(gate, task)


async def test_the_same_words_from_the_owner_are_an_answer(victim):
    service, gate, task = victim
    key = question_key(task)
    params = {
        "requestState": f"{task.id}/{key}",
        "inputResponses": {key: {"action": "accept", "content": {"message": "Rome"}}},
    }
    await call(service, visitor=ALICE, client=Client(client=FORMS), params=params)
    assert not await untouched(gate, task)


async def test_as_an_argument(victim):
    service, gate, task = victim
    result = await call(service, "stolen", visitor=BOB, task_id=task.id)
    assert result["isError"] is True
    looked = await service.answer(
        BOB, "tools/call", {"name": "get_task", "arguments": {"task_id": task.id}}, Client()
    )
    assert looked["isError"] is True
    assert "Which city" not in str(looked)
    assert await untouched(gate, task)


@pytest.mark.parametrize("state", ["", "/", "x" * 5000, "../..", "a/b/c", {"a": 1}, 7, ["x"], True])
async def test_made_up_request_state_is_told_and_harms_nobody(victim, state):
    service, gate, task = victim
    params = {"requestState": state, "inputResponses": {}}
    with anyio.fail_after(5):
        result = await call(service, client=Client(client=FORMS), params=params)
    assert result["isError"] is True
    assert await untouched(gate, task)


async def test_one_answer_is_not_taken_twice(victim):
    service, gate, task = victim
    key = question_key(task)
    params = {
        "requestState": f"{task.id}/{key}",
        "inputResponses": {key: {"action": "accept", "content": {"message": "Rome"}}},
    }
    client = Client(client=FORMS)
    answers = []

    async def send():
        answers.append(await call(service, client=client, params=params))

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        group.start_soon(send)
    said = [one for one in gate.attempts if b"Rome" in one.arguments]
    now = await gate.task(ALICE.principal, task.id)
    assert len([message for message in now.history if message.text == "Rome"]) == 1
    assert len(answers) == 2
    assert len(said) <= 2
