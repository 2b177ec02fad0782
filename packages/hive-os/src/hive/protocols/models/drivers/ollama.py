"""Ollama: OpenAI's chat wire, with a list of models of its own."""

from collections.abc import Sequence

from hive.core.json import Json
from hive.protocols.models.forward import Forwarder
from hive.protocols.models.ports import Dialect


class OllamaUpstream(Forwarder):
    """Chat and embeddings; newer servers speak more, which `?wires=chat,embeddings,responses` tells."""

    EXAMPLE = "ollama:http://127.0.0.1:11434"
    DEFAULT = "http://127.0.0.1:11434"
    WIRES = frozenset({Dialect.CHAT, Dialect.EMBEDDINGS, Dialect.RESPONSES, Dialect.MESSAGES})
    SPOKEN = frozenset({Dialect.CHAT, Dialect.EMBEDDINGS})

    def _models_target(self) -> str:
        return f"{self._place.path}/api/tags"

    def _names(self, document: Json) -> Sequence[Json]:
        models = document.get("models") if isinstance(document, dict) else None
        if not isinstance(models, list):
            return []
        return [one.get("name") for one in models if isinstance(one, dict)]
