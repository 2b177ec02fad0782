"""Read a stretch of a stream through a consumer that lives only for it."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import anyio
import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig

from hive.core.errors import HiveError
from hive.engines.drivers.nats_link import NatsLink

FETCH_MAX: Final = 500
FETCH_TIMEOUT_S: Final = 5.0
CLEAN_WITHIN_S: Final = 1.0
IDLE_CONSUMER_S: Final = 30.0


async def fetch_all(
    link: NatsLink, stream: str, config: ConsumerConfig, *, limit: int
) -> Sequence[Msg]:
    """Return at most `limit` messages that the consumer `config` would deliver now."""
    config.ack_policy = AckPolicy.NONE
    config.mem_storage = True
    config.num_replicas = 1
    config.inactive_threshold = IDLE_CONSUMER_S
    found: list[Msg] = []
    name = ""
    try:
        async with link.answered():
            streams = link.streams()
            try:
                info = await streams.add_consumer(stream, config)
            except nats.js.errors.NotFoundError:
                return []
            name = info.name
            wanted = min(limit, info.num_pending or 0)
            if wanted == 0:
                return []
            pull = await streams.pull_subscribe_bind(consumer=name, stream=stream)
            try:
                while len(found) < wanted:
                    count = min(FETCH_MAX, wanted - len(found))
                    found += await pull.fetch(count, timeout=FETCH_TIMEOUT_S)
            except nats.errors.TimeoutError:
                # What was pending has expired or was deleted meanwhile; the rest was delivered.
                return found
            finally:
                await pull.unsubscribe()
        return found
    finally:
        await drop_consumer(link, stream, name)


async def drop_consumer(link: NatsLink, stream: str, name: str) -> None:
    """Remove a consumer; if that fails, the server does it after a while."""
    if not name:
        return
    with (
        anyio.CancelScope(shield=True),
        anyio.move_on_after(CLEAN_WITHIN_S),
        suppress(nats.errors.Error, OSError, HiveError),
    ):
        await link.streams().delete_consumer(stream, name)
