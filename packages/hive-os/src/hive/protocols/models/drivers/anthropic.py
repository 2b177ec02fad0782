"""Any server that speaks the Anthropic wire."""

from collections.abc import Sequence

from hive.protocols.models.forward import Forwarder
from hive.protocols.models.ports import Dialect


class AnthropicUpstream(Forwarder):
    """Messages and the counting of their tokens; the key goes into `x-api-key`."""

    EXAMPLE = "anthropic:https://api.example.org"
    WIRES = frozenset({Dialect.MESSAGES})

    def _key_headers(self, key: str) -> Sequence[tuple[bytes, bytes]]:
        return ((b"x-api-key", key.encode()),)

    def _models_target(self) -> str:
        return super()._models_target() + "?limit=1000"
