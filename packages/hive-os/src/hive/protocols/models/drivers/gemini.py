"""Google's Gemini: the model and what is asked of it stand in the path."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from hive.core.json import Json
from hive.protocols.models.forward import Forwarder
from hive.protocols.models.ports import Dialect, ModelRequest

_KEY_IN_QUERY: Final = "key="


class GeminiUpstream(Forwarder):
    """`generateContent` and its kin; the key goes into `x-goog-api-key`."""

    EXAMPLE = "gemini:https://generativelanguage.googleapis.com"
    WIRES = frozenset({Dialect.GEMINI})

    def _key_headers(self, key: str) -> Sequence[tuple[bytes, bytes]]:
        return ((b"x-goog-api-key", key.encode()),)

    def _target(self, request: ModelRequest) -> str:
        action = request.action or (
            "streamGenerateContent" if request.stream else "generateContent"
        )
        # A client that shows its handle in the query would send it on.
        pairs = [
            pair for pair in request.query.split("&") if pair and not pair.startswith(_KEY_IN_QUERY)
        ]
        if action.startswith("stream") and not request.action and "alt=sse" not in pairs:
            pairs.append("alt=sse")
        model = quote(request.model.removeprefix("models/"), safe="")
        path = f"{self._place.path}{Dialect.GEMINI.value}/{model}:{quote(action, safe='')}"
        return f"{path}?{'&'.join(pairs)}" if pairs else path

    def _models_target(self) -> str:
        return f"{self._place.path}{Dialect.GEMINI.value}?pageSize=1000"

    def _names(self, document: Json) -> Sequence[Json]:
        models = document.get("models") if isinstance(document, dict) else None
        if not isinstance(models, list):
            return []
        names = (one.get("name") for one in models if isinstance(one, dict))
        return [name.removeprefix("models/") for name in names if isinstance(name, str)]
