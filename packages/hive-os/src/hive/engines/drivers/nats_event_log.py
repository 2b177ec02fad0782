"""The event log on JetStream: one file-backed stream for each name, synced before it acknowledges."""

from collections.abc import Sequence
from typing import Final

import nats.js.errors
from nats.js.api import ConsumerConfig, DeliverPolicy, StorageType, StreamConfig

from hive.engines import names
from hive.engines.drivers.nats_fetch import fetch_all
from hive.engines.drivers.nats_link import NatsLink
from hive.engines.ports import Record

DUPLICATE_WINDOW_S: Final = 120.0
READ_MAX: Final = 10_000
_MESSAGE_ID: Final = "Nats-Msg-Id"


class NatsEventLog:
    """Append-only streams."""

    def __init__(self, link: NatsLink, *, replicas: int) -> None:
        self._link = link
        self._replicas = replicas

    async def append(self, stream: str, data: bytes, *, message_id: str = "") -> int:
        """Append one record and return its sequence, from 1."""
        name = _stream(stream)
        headers = {_MESSAGE_ID: message_id} if message_id else None
        async with self._link.answered():
            streams = self._link.streams()
            try:
                ack = await streams.publish(_subject(stream), data, headers=headers)
            except nats.js.errors.NoStreamResponseError:
                await streams.add_stream(self._config(stream, name))
                ack = await streams.publish(_subject(stream), data, headers=headers)
            return ack.seq

    def _config(self, stream: str, name: str) -> StreamConfig:
        return StreamConfig(
            name=name,
            subjects=[_subject(stream)],
            storage=StorageType.FILE,
            num_replicas=self._replicas,
            duplicate_window=DUPLICATE_WINDOW_S,
            deny_delete=True,
        )

    async def read(self, stream: str, *, after: int = 0, limit: int = 1000) -> Sequence[Record]:
        """Return records with a sequence above `after`, in order; an unknown stream has none."""
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=after + 1
        )
        found = await fetch_all(self._link, _stream(stream), config, limit=min(limit, READ_MAX))
        return [
            Record(
                stream=stream,
                sequence=message.metadata.sequence.stream,
                data=message.data,
                headers=dict(message.headers or {}),
            )
            for message in found
        ]

    async def last(self, stream: str) -> int:
        """Return the highest sequence, 0 for an empty or unknown stream."""
        async with self._link.answered():
            try:
                info = await self._link.streams().stream_info(_stream(stream))
            except nats.js.errors.NotFoundError:
                return 0
            return info.state.last_seq


def _stream(name: str) -> str:
    return f"LOG_{names.plain_name(name, what='stream')}"


def _subject(name: str) -> str:
    return f"hive.log.{name}"
