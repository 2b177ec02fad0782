"""How many tokens an answer cost, read from the answer itself while it passes.

Only what a provider says is counted, in one meaning for all wires; a stream that names no usage costs its
bytes. This runs for every frame that passes, so bytes are searched first and only a line that can hold a
count is read as JSON. Buffers are bounded: a line that is too long is skipped, never held.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from hive.core.json import Json, decode
from hive.protocols.models.conversation import TokenUsage

LINE_MAX_BYTES: Final = 1 << 20
BODY_MAX_BYTES: Final = 32 << 20
TOKENS_MAX: Final = 1 << 50
_MARK: Final = b'"usage'
_MARKED: Final = re.compile(rb'"usage(?:Metadata)?"\s*:\s*\{')
_INPUT_TELLERS: Final = ("input", "tools", "aside_read", "aside_write")
_PIECES: Final = (b'"delta"', b'"candidates"')
_TEXTS: Final = re.compile(
    rb'"(?:content|text|delta|arguments|partial_json|thinking|reasoning_content|reasoning|refusal)"'
    rb'\s*:\s*"((?:[^"\\]++|\\.)*+)"'
)
# Where a wire names a count. Every name means the same on all wires that have it.
_COUNTS: Final = {
    "prompt_tokens": "input",
    "input_tokens": "input",
    "promptTokenCount": "input",
    "toolUsePromptTokenCount": "tools",
    "completion_tokens": "output",
    "output_tokens": "output",
    "candidatesTokenCount": "output",
    "total_tokens": "total",
    "totalTokenCount": "total",
    "cachedContentTokenCount": "cached",
    "cache_read_input_tokens": "aside_read",
    "cache_creation_input_tokens": "aside_write",
    "thoughtsTokenCount": "thoughts",
}
_INSIDE: Final = {
    "cached_tokens": "cached",
    "cache_write_tokens": "written",
    "reasoning_tokens": "reasoning",
    "thinking_tokens": "reasoning",
}
_DETAILS: Final = (
    "prompt_tokens_details",
    "input_tokens_details",
    "completion_tokens_details",
    "output_tokens_details",
)


class _Place(msgspec.Struct):
    """Where a document can hold usage; everything else in it is skipped without being built."""

    usage: msgspec.Raw = msgspec.Raw()
    usage_gemini: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="usageMetadata")
    message: msgspec.Raw = msgspec.Raw()
    response: msgspec.Raw = msgspec.Raw()


_PLACE: Final = msgspec.json.Decoder(_Place)
_PLACES: Final = msgspec.json.Decoder(list[_Place])


class UsageMeter:
    """Read usage from one answer: feed every chunk, then ask for `usage` or the `cost`.

    `output_pieces` counts the streamed pieces of an answer (a piece holds at least a part of one token, so
    a model that was told to stop after n tokens sends not many more than n), `output_bytes` the bytes of
    their text as JSON writes it. Both grow while the stream passes; a whole answer has none.
    """

    def __init__(self, *, streams: bool) -> None:
        self._streams = streams
        self._line = bytearray()
        self._skipping = False
        self._after_cr = False
        self._event: list[bytes] = []
        self._event_bytes = 0
        self._body: list[bytes] = []
        self._counts: dict[str, int] = {}
        self._bytes = 0
        self._read_body = False
        self.output_pieces: int = 0
        self.output_bytes: int = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body."""
        self._bytes += len(chunk)
        if not self._streams:
            if self._bytes <= BODY_MAX_BYTES:
                self._body.append(chunk)
            else:
                self._body.clear()
            return
        held = self._line or self._event or self._skipping or self._after_cr
        if not held and chunk.endswith(b"\n\n") and not _told(chunk):
            # Whole events without usage: nearly every frame of a stream ends here.
            self._measure(chunk)
            return
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r") if chunk else self._after_cr
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
            if not self._skipping:
                self._end_line(bytes(self._line))
            self._skipping = False
            self._line.clear()

    def _end_line(self, line: bytes) -> None:
        content = line.rstrip(b"\r\n")
        if content.startswith(b"data:"):
            self._measure(content)
            self._event.append(content[5:])
            self._event_bytes += len(content)
            if self._event_bytes > LINE_MAX_BYTES:
                self._end_event()
            elif len(self._event) == 1:
                self._read_event()
        elif not content:
            self._end_event()

    def _end_event(self) -> None:
        if len(self._event) > 1:
            self._read_event()
        self._event.clear()
        self._event_bytes = 0

    def _read_event(self) -> None:
        data = b"\n".join(self._event)
        if _told(data):
            self._read(data)

    def _measure(self, data: bytes) -> None:
        pieces = data.count(_PIECES[0]) + data.count(_PIECES[1])
        if pieces:
            self.output_pieces += pieces
            self.output_bytes += sum(map(len, _TEXTS.findall(data)))
            if b'"functionCall"' in data:
                # Gemini's arguments are no string: their line is the bound.
                self.output_bytes += len(data)

    def _read(self, data: bytes) -> None:
        try:
            places = _PLACES.decode(data) if data.lstrip()[:1] == b"[" else [_PLACE.decode(data)]
            for place in places:
                self._read_place(place)
                for inner in (place.message, place.response):
                    if bytes(inner)[:1] == b"{":
                        self._read_place(_PLACE.decode(inner))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return

    def _read_place(self, place: _Place) -> None:
        for raw in (place.usage, place.usage_gemini):
            if bytes(raw)[:1] == b"{":
                usage = decode(bytes(raw))
                if isinstance(usage, dict):
                    _count(usage, self._counts)

    def usage(self) -> TokenUsage | None:
        """Return what the provider has counted so far, None while it has told nothing."""
        if self._streams:
            self._read_rest()
        elif self._body and not self._read_body:
            self._read_body = True
            self._read(b"".join(self._body))
        return _neutral(self._counts)

    def _read_rest(self) -> None:
        if _told(self._line) and self._line.startswith(b"data:"):
            self._read(b"\n".join([*self._event, bytes(self._line[5:])]))

    def cost(self) -> dict[str, Json]:
        """Return what is known: tokens where the provider told them, and bytes."""
        usage = self.usage()
        known: dict[str, Json] = {"answer_bytes": self._bytes}
        if usage is None:
            return known
        known |= {
            name: value
            for name, value, tellers in (
                ("input_tokens", usage.input, _INPUT_TELLERS),
                ("output_tokens", usage.output, ("output", "thoughts")),
                ("cached_tokens", usage.cache_read, ("cached", "aside_read")),
                ("reasoning_tokens", usage.reasoning, ("reasoning", "thoughts")),
            )
            if any(teller in self._counts for teller in tellers)
        }
        if usage.cache_write:
            known["cache_write_tokens"] = usage.cache_write
        return known


def usage_of(document: Mapping[str, Json]) -> TokenUsage | None:
    """Read a wire's own usage object into the neutral one, None where it counts nothing."""
    counts: dict[str, int] = {}
    _count(document, counts)
    return _neutral(counts)


def _told(data: bytes | bytearray) -> bool:
    return _MARK in data and _MARKED.search(data) is not None


def _count(usage: Mapping[str, Json], counts: dict[str, int]) -> None:
    _keep(usage, _COUNTS, counts)
    for name in _DETAILS:
        details = usage.get(name)
        if isinstance(details, dict):
            _keep(details, _INSIDE, counts)


def _keep(numbers: Mapping[str, Json], names: Mapping[str, str], counts: dict[str, int]) -> None:
    for key, name in names.items():
        value = numbers.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            # A stream repeats its usage, growing: the largest is the whole.
            counts[name] = max(counts.get(name, 0), min(max(0, value), TOKENS_MAX))


def _neutral(counts: Mapping[str, int]) -> TokenUsage | None:
    """Put a provider's counts into one meaning: input with its cache, output with its thoughts."""
    if not counts:
        return None
    read, written = counts.get("aside_read", 0), counts.get("aside_write", 0)
    asked = counts.get("input", 0) + counts.get("tools", 0) + read + written
    output = counts.get("output", 0) + counts.get("thoughts", 0)
    if "total" in counts and "input" in counts:
        # Some providers leave the reasoning out of their output, but not out of their total.
        output = max(output, counts["total"] - asked)
    return TokenUsage(
        input=asked,
        output=output,
        cache_read=min(asked, max(read, counts.get("cached", 0))),
        cache_write=min(asked, max(written, counts.get("written", 0))),
        reasoning=min(output, max(counts.get("reasoning", 0), counts.get("thoughts", 0))),
    )
