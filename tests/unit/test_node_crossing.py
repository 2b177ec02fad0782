"""What crosses from the operator's thread to the node's loop ends when either side goes."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import anyio
import pytest

from hive.node.crossing import AHEAD_MAX, Crossing

pytestmark = pytest.mark.anyio


@pytest.fixture
def far_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


async def test_a_reader_that_leaves_ends_the_source_also_while_the_source_waits_for_room(far_loop):
    ended = threading.Event()
    given: list[int] = []

    async def source() -> AsyncIterator[int]:
        try:
            for number in range(100 * AHEAD_MAX):
                given.append(number)
                yield number
        finally:
            ended.set()

    stream = Crossing(far_loop).stream(source)
    assert await anext(stream) == 0
    await stream.aclose()
    assert await asyncio.to_thread(ended.wait, 5)
    assert len(given) <= AHEAD_MAX + 2


async def test_an_error_of_the_source_is_raised_at_the_reader(far_loop):
    async def source() -> AsyncIterator[int]:
        yield 1
        raise LookupError("gone")

    stream = Crossing(far_loop).stream(source)
    assert await anext(stream) == 1
    with pytest.raises(LookupError):
        await anext(stream)


async def test_everything_arrives_in_order_through_a_bounded_stream(far_loop):
    async def source() -> AsyncIterator[int]:
        for number in range(3 * AHEAD_MAX):
            yield number

    with anyio.fail_after(30):
        seen = [item async for item in Crossing(far_loop).stream(source)]
    assert seen == list(range(3 * AHEAD_MAX))
