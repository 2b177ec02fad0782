"""Any server that speaks the Anthropic wire."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hive.core.clock import Clock
from hive.core.secret import Secret
from hive.protocols.models.forward import Forwarder, open_client, upstream_url
from hive.protocols.models.ports import Dialect


class AnthropicUpstream(Forwarder):
    """Messages; the key goes into `x-api-key`."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, key: Secret, clock: Clock, timeout_s: float
    ) -> AsyncIterator["AnthropicUpstream"]:
        """Open the provider behind `anthropic:https://host`.

        Raises:
            ConfigError: the URL cannot be used.

        """
        address = upstream_url(url, key, example="anthropic:https://api.example.org")
        async with open_client(timeout_s) as client:
            yield cls(
                client=client,
                address=address,
                strip="",
                key_headers=(("x-api-key", key.reveal()),) if key else (),
                dialects=frozenset({Dialect.MESSAGES}),
                clock=clock,
            )
