"""Any server that speaks the OpenAI wires: OpenAI, vLLM, llama.cpp, LM Studio, OpenRouter, LocalAI."""

from hive.protocols.models.forward import Forwarder
from hive.protocols.models.ports import Dialect


class OpenAIUpstream(Forwarder):
    """Chat completions, responses, embeddings; the key goes into `Authorization`.

    A server that speaks fewer is told by `?wires=chat,embeddings`, or learned from its answers. The address
    ends where its own path for `/v1` ends: `https://host/v1`, `https://openrouter.ai/api/v1`.
    """

    EXAMPLE = "openai:https://api.example.org/v1"
    WIRES = frozenset({Dialect.CHAT, Dialect.RESPONSES, Dialect.EMBEDDINGS, Dialect.MESSAGES})
    SPOKEN = frozenset({Dialect.CHAT, Dialect.RESPONSES, Dialect.EMBEDDINGS})

    def _below(self, path: str) -> str:
        return path.removeprefix("/v1")
