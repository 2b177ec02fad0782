"""The most that a request can spend, told before it is sent; and the limit that keeps it there.

A token holds at least one byte of text, and JSON never writes a text in fewer bytes than it has; so a
body's bytes bound its tokens. What stands for more than its bytes (an image, a stored conversation, a tool
that the provider itself runs) is bounded by what the provider states.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from hive.core.json import Json
from hive.protocols.models.guarded import ANSWERS_MAX, LIMITS
from hive.protocols.models.paths import GEMINI_TALKS
from hive.protocols.models.ports import Dialect, ModelRequest

CONTEXT_TOKENS: Final = 2_000_000
REQUEST_TOKENS: Final = 64
MESSAGE_TOKENS: Final = 16
TOOLS_TOKENS: Final = 1024
TOOL_TOKENS: Final = 128
AUDIO_BYTES_PER_TOKEN: Final = 8
LIMIT_MAX_TOKENS: Final = 1 << 40
NESTED_MAX: Final = 4
_LISTS: Final = {
    Dialect.CHAT: "messages",
    Dialect.RESPONSES: "input",
    Dialect.MESSAGES: "messages",
    Dialect.GEMINI: "contents",
}
_STORED: Final = (
    "previous_response_id",
    "conversation",
    "prompt",
    "cachedContent",
    "web_search_options",
    "mcp_servers",
    "container",
)
_FEES: Final = ("web_search_options", "mcp_servers", "plugins")
# Sounds whose size says how long they are; silence packed as FLAC or Opus is hours in a few bytes.
_SOUNDS: Final = frozenset(
    {"audio/wav", "audio/x-wav", "audio/mp3", "audio/mpeg", "audio/pcm", "audio/l16", "wav", "mp3"}
)
_TEXTS: Final = frozenset(
    {
        "text",
        "input_text",
        "output_text",
        "summary_text",
        "reasoning_text",
        "refusal",
        "tool_use",
        "tool_result",
        "tool_reference",
        "thinking",
        "redacted_thinking",
        "search_result",
    }
)
_WHOLE_ITEMS: Final = frozenset(
    f"{kind}_call{end}"
    for kind in ("function", "custom_tool", "computer", "local_shell", "shell", "apply_patch")
    for end in ("", "_output")
)
_OWN_TOOLS: Final = frozenset({"function", "custom", "functionDeclarations"})
_CLIENTS_TOOLS: Final = ("bash_", "text_editor_", "computer_", "memory_")
_OPENAI: Final = ("gpt-", "chatgpt-", "o1", "o3", "o4")
_IN_ORDER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestBound:
    """The most tokens of one request. `limit` is what the client set for one answer, None where nothing.

    `fees` tells that the provider may bill more than tokens: for a search, a container, an image.
    """

    input: int
    limit: int | None
    answers: int = 1
    speaks: bool = True
    audio: bool = False
    fees: bool = False


@dataclass(slots=True)
class _Media:
    bytes: int = 0
    images: int = 0
    audio_bytes: int = 0
    stored: bool = False


def bound_of(request: ModelRequest, *, context: int, image_tokens: int) -> RequestBound:
    """Return the bound of a request for a model of this context; 0 where it is not known."""
    document = request.document
    speaks = _speaks(request)
    media = _Media(stored=any(document.get(name) for name in _STORED))
    said = _said(request)
    for message in said:
        media.stored = media.stored or _lies_elsewhere(message, request.dialect)
        for part in _parts(message, NESTED_MAX):
            _weigh(part, request.dialect, media)
    tools, stored = _tools(document)
    if media.stored or stored:
        asked = context or CONTEXT_TOKENS
    else:
        asked = len(request.body) - media.bytes + media.images * image_tokens
        asked += media.audio_bytes // AUDIO_BYTES_PER_TOKEN
        asked += REQUEST_TOKENS + MESSAGE_TOKENS * len(said) + tools
        if context and speaks:
            asked = min(asked, context)
    return RequestBound(
        input=asked,
        limit=_limit(request) if speaks else 0,
        answers=_answers(request) if speaks else 1,
        speaks=speaks,
        audio=media.audio_bytes > 0,
        fees=stored or any(document.get(name) for name in _FEES),
    )


def with_limit(request: ModelRequest, limit: int, *, models: tuple[str, ...]) -> ModelRequest:
    """Return the request with a limit of output tokens, in its dialect's own field.

    `models` are the names at the providers: some know the newer of OpenAI's two fields only.
    """
    match request.dialect:
        case Dialect.GEMINI:
            held = request.document.get("generationConfig")
            config = {**held} if isinstance(held, dict) else {}
            return _with(request, "generationConfig", {**config, "maxOutputTokens": limit})
        case Dialect.CHAT:
            newer = any(one.rpartition("/")[2].startswith(_OPENAI) for one in models)
            name, other = LIMITS[Dialect.CHAT] if newer else LIMITS[Dialect.CHAT][::-1]
            if request.document.get(other) is not None:
                # One that limits nothing (-1) beside ours: some servers would read that one.
                request = _with(request, other, None)
            return _with(request, name, limit)
        case dialect:
            return _with(request, LIMITS[dialect][0], limit)


def with_usage(request: ModelRequest) -> ModelRequest:
    """Return a chat stream's request so that its usage is told; any other as it is."""
    if request.dialect is not Dialect.CHAT or not request.stream or asks_usage(request):
        return request
    held = request.document.get("stream_options")
    options = {**held} if isinstance(held, dict) else {}
    return _with(request, "stream_options", {**options, "include_usage": True})


def asks_usage(request: ModelRequest) -> bool:
    """Tell whether the client itself wants the usage of a chat stream."""
    options = request.document.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _with(request: ModelRequest, name: str, value: Json) -> ModelRequest:
    document = {**request.document, name: value}
    if name in request.document or len(document) == 1:
        # In the client's order: a schema's order is part of what a model is told.
        return replace(request, document=document, body=_IN_ORDER.encode(document))
    field = _IN_ORDER.encode({name: value})[:-1]
    rest = request.body.lstrip()[1:]
    return replace(request, document=document, body=field + b"," + rest)


def _speaks(request: ModelRequest) -> bool:
    if request.dialect is Dialect.GEMINI:
        return request.action in GEMINI_TALKS
    return request.dialect is not Dialect.EMBEDDINGS and not request.action


def _limit(request: ModelRequest) -> int | None:
    place: Json = dict(request.document)
    if request.dialect is Dialect.GEMINI:
        place = request.document.get("generationConfig")
    if not isinstance(place, dict):
        return None
    given = [place.get(name) for name in LIMITS.get(request.dialect, ())]
    whole = [one for one in given if isinstance(one, int) and not isinstance(one, bool) and one > 0]
    return min(max(whole), LIMIT_MAX_TOKENS) if whole else None


def _answers(request: ModelRequest) -> int:
    given = [request.document.get(name) for name in ("n", "best_of")]
    asked = max((one for one in given if isinstance(one, int)), default=1)
    if request.dialect is Dialect.GEMINI:
        config = request.document.get("generationConfig")
        count = config.get("candidateCount") if isinstance(config, dict) else None
        asked = count if isinstance(count, int) else 1
    if request.dialect in (Dialect.RESPONSES, Dialect.MESSAGES):
        return 1
    return min(max(1, asked), ANSWERS_MAX)


def _tools(document: Mapping[str, Json]) -> tuple[int, bool]:
    """Return what tools add, and whether one of them runs at the provider."""
    tools = [one for one in _listed(document.get("tools")) if isinstance(one, dict)]
    added, elsewhere = (TOOLS_TOKENS if tools else 0), False
    for tool in tools:
        kind = tool.get("type")
        declared = tool.get("functionDeclarations")
        added += TOOL_TOKENS * max(1, len(_listed(declared)))
        if isinstance(kind, str) and kind.startswith(_CLIENTS_TOOLS):
            added += TOOLS_TOKENS
        elif isinstance(kind, str):
            elsewhere = elsewhere or kind not in _OWN_TOOLS
        elif "name" not in tool:
            elsewhere = elsewhere or not set(tool) <= _OWN_TOOLS
    return added, elsewhere


def _said(request: ModelRequest) -> list[Json]:
    """Return everything in a request that can hold parts."""
    document = request.document
    said = _listed(document.get(_LISTS.get(request.dialect, "")))
    if request.dialect is Dialect.GEMINI:
        said += [document.get("systemInstruction"), document.get("content")]
        batch = _listed(document.get("requests"))
        said += [one.get("content") for one in batch if isinstance(one, dict)]
    if request.dialect is Dialect.EMBEDDINGS:
        said += [{"content": document.get("input")}, *_listed(document.get("messages"))]
    return said


def _lies_elsewhere(message: Json, dialect: Dialect) -> bool:
    """Tell whether a message only names what the provider keeps."""
    if not isinstance(message, dict):
        return False
    if dialect is Dialect.CHAT:
        return bool(message.get("audio"))
    if dialect is not Dialect.RESPONSES:
        return False
    kind = message.get("type")
    if kind in (None, "message"):
        return "content" not in message
    if kind == "reasoning":
        return not message.get("encrypted_content")
    return kind not in _WHOLE_ITEMS


def _parts(message: Json, depth: int) -> Iterator[dict[str, Json]]:
    """Yield a message's parts, those inside the answers of tools as well."""
    if not isinstance(message, dict) or depth == 0:
        return
    for name in ("content", "parts", "output"):
        for part in _listed(message.get(name)):
            if isinstance(part, dict):
                yield part
                yield from _parts(part, depth - 1)
    for name in ("functionResponse", "source"):
        yield from _parts(message.get(name), depth - 1)


def _weigh(part: dict[str, Json], dialect: Dialect, media: _Media) -> None:
    """Count what a part stands for, where its dialect gives it a meaning of its own."""
    if dialect is Dialect.GEMINI:
        _weigh_gemini(part, media)
        return
    match part.get("type"):
        case "image_url" | "input_image" | "image" | "computer_screenshot":
            media.images += 1
            media.bytes += _data_bytes(part)
        case "input_audio":
            size = _data_bytes(part)
            media.audio_bytes += size
            media.bytes += size
            held = part.get("input_audio")
            form = held.get("format") if isinstance(held, dict) else None
            media.stored = media.stored or form not in _SOUNDS
        case "document":
            source = part.get("source")
            kind = source.get("type") if isinstance(source, dict) else None
            media.stored = media.stored or kind not in ("text", "content")
        case kind:
            media.stored = media.stored or kind not in _TEXTS


def _weigh_gemini(part: dict[str, Json], media: _Media) -> None:
    if part.get("fileData"):
        media.stored = True
    held = part.get("inlineData")
    if not isinstance(held, dict):
        return
    kind, data = str(held.get("mimeType", "")), held.get("data")
    size = len(data) if isinstance(data, str) and data.isascii() else 0
    if kind.startswith("image/"):
        media.images += 1
        media.bytes += size
    elif kind.partition(";")[0].strip().lower() in _SOUNDS:
        media.audio_bytes += size
        media.bytes += size
    else:
        media.stored = True


def _data_bytes(part: dict[str, Json]) -> int:
    """Return the size of the data in a part, which no tokenizer reads as text."""
    size = 0
    for name in ("image_url", "input_audio", "source"):
        held = part.get(name)
        values = [held.get("url"), held.get("data")] if isinstance(held, dict) else [held]
        size += sum(len(one) for one in values if isinstance(one, str) and one.isascii())
    return size


def _listed(value: Json) -> list[Json]:
    """Return a list; one object stands for a list of it, as Gemini reads it."""
    if isinstance(value, list):
        return list(value)
    return [value] if isinstance(value, dict) else []
