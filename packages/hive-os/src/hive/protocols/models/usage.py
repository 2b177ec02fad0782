"""How many tokens an answer cost, read from the answer itself while it passes.

Only what a provider says is counted; a stream that names no usage costs its bytes. Buffers are bounded: a
line that is too long is skipped, never held.
"""

from collections.abc import Mapping
from typing import Final

from hive.core.json import Json, decode, depth_exceeds

LINE_MAX_BYTES: Final = 1 << 20
_INPUT: Final = ("prompt_tokens", "input_tokens")
_OUTPUT: Final = ("completion_tokens", "output_tokens")
_CACHE: Final = ("cache_creation_input_tokens", "cache_read_input_tokens")


class UsageMeter:
    """Read usage from one answer: feed every chunk, then ask for the cost."""

    def __init__(self, *, streams: bool) -> None:
        self._streams = streams
        self._line = bytearray()
        self._skipping = False
        self._body = bytearray()
        self._tokens: dict[str, int] = {}
        self._bytes = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body."""
        self._bytes += len(chunk)
        if not self._streams:
            if len(self._body) <= LINE_MAX_BYTES:
                self._body += chunk
            return
        for piece in chunk.splitlines(keepends=True):
            self._take(piece)

    def _take(self, piece: bytes) -> None:
        ended = piece.endswith((b"\n", b"\r"))
        if not self._skipping:
            self._line += piece
        if len(self._line) > LINE_MAX_BYTES:
            self._skipping = True
            self._line.clear()
        if ended:
            if not self._skipping and b'"usage"' in self._line:
                self._read(bytes(self._line).removeprefix(b"data:").strip())
            self._skipping = False
            self._line.clear()

    def _read(self, data: bytes) -> None:
        if depth_exceeds(data):
            return
        try:
            document = decode(data)
        except ValueError:
            return
        if not isinstance(document, dict):
            return
        for place in (document, document.get("message"), document.get("response")):
            if isinstance(place, dict) and isinstance(usage := place.get("usage"), dict):
                self._count(usage)

    def _count(self, usage: Mapping[str, Json]) -> None:
        for name, keys in (
            ("input_tokens", _INPUT),
            ("output_tokens", _OUTPUT),
            ("cached_tokens", _CACHE),
        ):
            amounts = [
                value
                for key in keys
                if isinstance(value := usage.get(key), int) and not isinstance(value, bool)
            ]
            if amounts:
                # A stream repeats its usage, growing: the largest is the whole.
                self._tokens[name] = max(self._tokens.get(name, 0), max(0, sum(amounts)))

    def cost(self) -> dict[str, Json]:
        """Return what is known: tokens where the provider told them, and bytes."""
        if not self._streams and len(self._body) <= LINE_MAX_BYTES:
            self._read(bytes(self._body))
        return {**self._tokens, "answer_bytes": self._bytes}
