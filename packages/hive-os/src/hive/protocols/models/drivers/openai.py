"""Any server that speaks the OpenAI wires: OpenAI, Ollama, vLLM, llama.cpp, LM Studio, OpenRouter."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hive.core.clock import Clock
from hive.core.secret import Secret
from hive.protocols.models.forward import Forwarder, open_client, upstream_url
from hive.protocols.models.ports import Dialect


class OpenAIUpstream(Forwarder):
    """Chat completions and responses; the key goes into `Authorization`."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, key: Secret, clock: Clock, timeout_s: float
    ) -> AsyncIterator["OpenAIUpstream"]:
        """Open the provider behind `openai:https://host/v1`.

        Raises:
            ConfigError: the URL cannot be used.

        """
        address = upstream_url(url, key, example="openai:https://api.example.org/v1")
        async with open_client(timeout_s) as client:
            yield cls(
                client=client,
                address=address,
                strip="/v1",
                key_headers=(("authorization", f"Bearer {key.reveal()}"),) if key else (),
                dialects=frozenset({Dialect.CHAT, Dialect.RESPONSES}),
                clock=clock,
            )
