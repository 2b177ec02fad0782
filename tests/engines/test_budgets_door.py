"""Budgets from the door to the ledger: real requests of an agent through the real kernel."""

import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest
from tests.kernel_rig import Stage, StagedSandbox, deploy, running_kernel, said, send

from hive.core.budget import Budget, BudgetScope, Unit
from hive.core.clock import SystemClock
from hive.core.settings import Settings
from hive.engines import Migration, load_migrations
from hive.execution.ports import GuestEvent, Turn, TurnDone
from hive.node.build import SCHEMAS
from hive.protocols.models import ModelsDoor
from hive.protocols.models.ports import Dialect, ModelHead

pytestmark = pytest.mark.anyio
MANY = {"model_calls_per_task": 1_000_000, "requests_per_s": 1_000_000}
CALLS = 60


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


class Provider:
    """Keeps to the limit that it is given, with random usage; or bills `lie` times as much."""

    dialects = frozenset(Dialect)
    head = ModelHead(status=200, headers=(("content-type", "application/json"),))

    def __init__(self, *, lie: int = 1) -> None:
        self.lie, self.random, self.billed = lie, random.Random(3), 0

    @asynccontextmanager
    async def ask(self, request):
        document = json.loads(request.body)
        words = sum(len(one["content"]) for one in document["messages"])
        said = self.random.randint(1, document["max_completion_tokens"])
        yield _Answer(self, words * self.lie, said * self.lie)

    async def models(self):
        return ()


class _Answer:
    def __init__(self, provider: Provider, asked: int, said: int) -> None:
        self.head, self._provider, self._asked, self._said = provider.head, provider, asked, said

    async def chunks(self):
        await anyio.lowlevel.checkpoint()
        self._provider.billed += self._asked + self._said
        usage = {"prompt_tokens": self._asked, "completion_tokens": self._said}
        yield json.dumps({"usage": usage}).encode()


class Asking:
    """Plays a turn that asks through the door, side by side."""

    def __init__(self, provider: Provider, *, rounds: int = 1) -> None:
        self.provider, self.rounds, self.kernel = provider, rounds, None
        self.statuses: list[int] = []

    async def play(self, sandbox: StagedSandbox, _turn: Turn) -> AsyncIterator[GuestEvent]:
        door = ModelsDoor(
            gate=self.kernel.dispatcher,
            upstream=self.provider,
            settings=Settings(models="openai:http://127.0.0.1:1/v1"),
            clock=SystemClock(),
        )
        for _ in range(self.rounds):
            async with anyio.create_task_group() as tasks:
                for number in range(CALLS // self.rounds):
                    tasks.start_soon(self._ask, door, sandbox, number)
        yield TurnDone(message=said("done"))

    async def _ask(self, door: ModelsDoor, sandbox: StagedSandbox, number: int) -> None:
        asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": f"hi {number}"}]}
        waiting = [{"type": "http.request", "body": json.dumps(asked).encode(), "more_body": False}]

        async def receive():
            if not waiting:
                await anyio.sleep_forever()
            return waiting.pop()

        async def keep(message):
            if message["type"] == "http.response.start":
                self.statuses.append(message["status"])

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "query_string": b"",
            "headers": [
                (b"content-type", b"application/json"),
                (b"authorization", f"Bearer {sandbox.handle}".encode()),
            ],
            "hive.sandbox": sandbox.id,
        }
        await door(scope, receive, keep)


async def asked_below(database, tmp_path, asking: Asking, unit: Unit, limit: int):
    stage = Stage(play=asking.play)
    async with running_kernel(database, tmp_path, stage, **MANY) as kernel:
        asking.kernel = kernel
        await deploy(kernel, model_calls_max=1_000_000)
        budget = Budget(scope=BudgetScope.AGENT, name="worker", unit=unit, limit=limit)
        await kernel.budgets.put(budget, by="me")
        with anyio.fail_after(60):
            await (await send(kernel, "go")).settled()
        return next(one for one in kernel.budgets.states() if one.who == "worker")


@pytest.mark.parametrize(("unit", "limit"), [(Unit.TOKENS, 9000), (Unit.NANO_USD, 60_000_000)])
async def test_an_unlimited_client_never_passes_its_budget(database, tmp_path, unit, limit):
    asking = Asking(Provider(), rounds=6)
    state = await asked_below(database, tmp_path, asking, unit, limit)
    assert set(asking.statuses) == {200, 429}
    assert len(asking.statuses) == CALLS
    assert 0 < state.spent <= limit
    assert (state.reserved, state.closed) == (0, "")
    if unit is Unit.TOKENS:
        assert state.spent == asking.provider.billed


async def test_a_provider_that_bills_more_closes_the_budget_at_once(database, tmp_path):
    asking = Asking(Provider(lie=50), rounds=CALLS)
    state = await asked_below(database, tmp_path, asking, Unit.TOKENS, 9000)
    assert asking.statuses.count(200) == 1
    assert state.spent == asking.provider.billed > 0
    assert state.closed
