"""Our request handler beside the official one: the same conversations, the same everything.

Hypothesis makes up agents and clients (`sdk_conversations`); both handlers play them with the same stores.
"""

import asyncio
import logging
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from a2a.server.cluster import (
    TaskEventStream,
    TaskVersion,
    VersionedDatabaseTaskStore,
    VersionedEvent,
)
from a2a.server.request_handlers.default_request_handler_v2 import DefaultRequestHandlerV2
from a2a.server.tasks import DatabaseTaskStore, InMemoryTaskStore
from hypothesis import HealthCheck, given, settings
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from hive.testing.engines import DatabaseServer
from hive_a2a.handler import FastRequestHandler, MemoryTaskStore
from tests.unit.sdk_conversations import (
    CARD,
    CLUSTER_CONVERSATIONS,
    CONVERSATIONS,
    STORED_CONVERSATIONS,
    Ask,
    NamedTasks,
    Player,
    Quiet,
    RecordingSender,
    Scene,
    ScriptedAgent,
    closing,
    watched,
)

MANY = settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=False
)


# The official handler leaves coroutines behind that complain when they are collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    # Failures are part of the play; written out they would take longer than the play itself.
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def seen(kind: Any, store: Any, asks: Sequence[Ask], *, push: bool, quiet: Quiet) -> Any:
    stage = Scene()
    handler = kind(
        agent_executor=ScriptedAgent(stage),
        task_store=store,
        agent_card=CARD,
        push_sender=RecordingSender(stage) if push else None,
        request_context_builder=NamedTasks(),
    )
    async with closing(handler):
        return await Player(handler, stage, quiet).play(asks)


@MANY
@given(asks=CONVERSATIONS)
def test_both_answer_alike_with_the_official_store_in_memory(asks: Sequence[Ask]) -> None:
    async def both() -> None:
        official = await seen(
            DefaultRequestHandlerV2, InMemoryTaskStore(), asks, push=False, quiet=Quiet()
        )
        ours = await seen(FastRequestHandler, InMemoryTaskStore(), asks, push=False, quiet=Quiet())
        assert ours == official

    uvloop.run(both())


@MANY
@given(asks=CONVERSATIONS)
def test_both_answer_alike_with_our_store_and_push(asks: Sequence[Ask]) -> None:
    async def both() -> None:
        official = await seen(
            DefaultRequestHandlerV2, InMemoryTaskStore(), asks, push=True, quiet=Quiet()
        )
        ours = await seen(FastRequestHandler, MemoryTaskStore(), asks, push=True, quiet=Quiet())
        assert ours == official

    uvloop.run(both())


FEW = settings(MANY, max_examples=12)
"""Each example makes databases."""


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[AsyncEngine]:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        engine = create_async_engine(f"sqlite+aiosqlite:///{place}/tasks.db")
        try:
            yield engine
        finally:
            await engine.dispose()


@FEW
@given(asks=STORED_CONVERSATIONS)
def test_both_answer_alike_with_a_store_in_sqlite(tmp_path: Path, asks: Sequence[Ask]) -> None:
    async def one(kind: Any) -> Any:
        async with sqlite(tmp_path) as engine:
            quiet = Quiet()
            store = DatabaseTaskStore(engine)
            await store.initialize()
            return await seen(kind, watched(store, quiet), asks, push=False, quiet=quiet)

    async def both() -> None:
        official = await one(DefaultRequestHandlerV2)
        assert await one(FastRequestHandler) == official

    uvloop.run(both())


class SharedStream(TaskEventStream):
    """The events of all replicas, in one process."""

    def __init__(self) -> None:
        self._events: dict[str, list[VersionedEvent]] = {}
        self._changed = asyncio.Event()

    async def publish(self, task_id: str, event: VersionedEvent) -> None:
        self._events.setdefault(task_id, []).append(event)
        self._changed.set()
        self._changed = asyncio.Event()

    async def subscribe(
        self, task_id: str, *, after: TaskVersion
    ) -> AsyncGenerator[VersionedEvent, None]:
        read = 0
        while True:
            events = self._events.get(task_id, [])
            while read < len(events):
                read += 1
                if events[read - 1].version.is_after(after):
                    yield events[read - 1]
            await self._changed.wait()

    async def destroy(self, task_id: str) -> None:
        self._events.pop(task_id, None)


async def seen_by_two(kind: Any, engine: AsyncEngine, asks: Sequence[Ask]) -> Any:
    stage, quiet, stream, names = Scene(), Quiet(), SharedStream(), NamedTasks()
    store = VersionedDatabaseTaskStore(engine)
    await store.initialize()
    one, other = (
        kind(
            agent_executor=ScriptedAgent(stage),
            task_store=watched(store, quiet),
            agent_card=CARD,
            request_context_builder=names,
            event_stream=stream,
        )
        for _ in range(2)
    )
    async with closing(one), closing(other):
        return await Player(one, stage, quiet, other=other).play(asks)


@FEW
@given(asks=CLUSTER_CONVERSATIONS)
def test_two_replicas_on_one_database_answer_alike(tmp_path: Path, asks: Sequence[Ask]) -> None:
    async def one(kind: Any) -> Any:
        async with sqlite(tmp_path) as engine:
            return await seen_by_two(kind, engine, asks)

    async def both() -> None:
        official = await one(DefaultRequestHandlerV2)
        assert await one(FastRequestHandler) == official

    uvloop.run(both())


def test_both_answer_alike_with_a_store_in_postgresql(database_server: DatabaseServer) -> None:
    async def one(kind: Any, asks: Sequence[Ask]) -> Any:
        async with database_server.open() as database:
            name = (await database.fetch("SELECT current_database() AS name"))[0]["name"]
            url = make_url(database_server.url(name)).difference_update_query(["app_role"])
            engine = create_async_engine(url.set(drivername="postgresql+asyncpg"))
            try:
                return await seen_by_two(kind, engine, asks)
            finally:
                await engine.dispose()

    @settings(FEW, max_examples=5)
    @given(asks=CLUSTER_CONVERSATIONS)
    def alike(asks: Sequence[Ask]) -> None:
        async def both() -> None:
            official = await one(DefaultRequestHandlerV2, asks)
            assert await one(FastRequestHandler, asks) == official

        uvloop.run(both())

    alike()
