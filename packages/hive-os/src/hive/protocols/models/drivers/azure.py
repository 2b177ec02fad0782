"""Azure OpenAI: the wires of OpenAI under another path, with the key in `api-key`."""

from collections.abc import Sequence
from urllib.parse import quote

from hive.protocols.models.forward import Forwarder
from hive.protocols.models.ports import Dialect, ModelRequest


class AzureUpstream(Forwarder):
    """`/openai/v1/`, or with `?api-version=...` the older paths, in which the model is a deployment's name."""

    EXAMPLE = "azure:https://NAME.openai.azure.com"
    WIRES = frozenset({Dialect.CHAT, Dialect.RESPONSES, Dialect.EMBEDDINGS})

    def _key_headers(self, key: str) -> Sequence[tuple[bytes, bytes]]:
        return ((b"api-key", key.encode()),)

    def _target(self, request: ModelRequest) -> str:
        version = self._place.options.get("api-version", "")
        if not version:
            return super()._target(request)
        folder = f"{self._place.path}/openai"
        below = request.dialect.value.removeprefix("/v1") + request.action
        if request.dialect is not Dialect.RESPONSES:
            folder += f"/deployments/{quote(request.model, safe='')}"
        return f"{folder}{below}?api-version={quote(version, safe='')}"

    def _below(self, path: str) -> str:
        return "/openai" + path

    def _models_target(self) -> str:
        # The older list names what could be deployed, not what is.
        return "" if self._place.options.get("api-version") else super()._models_target()
