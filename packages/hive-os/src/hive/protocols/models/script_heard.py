"""What a request says last, in whichever wire it came; a scripted model hears no more than that.

It reads leniently: a request may hold what only a real provider understands.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from hive.core.json import Json, encode
from hive.protocols.models.ports import Dialect, ModelRequest

MEDIA_TYPES: Final = frozenset({"image_url", "input_image", "image", "document", "input_file"})
MEDIA_TOKENS: Final = 258
SEEN_MAX: Final = 100_000


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What a conversation says last; `turn` is the number of the answer that it waits for, from 1."""

    text: str
    from_tool: bool
    system: str
    turn: int = 1
    media: int = 0


def heard(request: ModelRequest) -> Heard:
    """Return what a request says last, and its system prompt."""
    document = request.document
    if request.dialect is Dialect.GEMINI:
        items, system = document.get("contents"), _gemini_text(document.get("systemInstruction"))
    elif request.dialect is Dialect.RESPONSES:
        items, system = document.get("input"), _text(document.get("instructions"))
        if isinstance(items, str):
            return Heard(text=items, from_tool=False, system=system)
    else:
        items, system = document.get("messages"), _text(document.get("system"))
    entries = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    prompts = [
        _text(entry.get("content"))
        for entry in entries
        if entry.get("role") in ("system", "developer")
    ]
    last = next((found for entry in reversed(entries) if (found := _entry(entry))), ("", False))
    return Heard(
        text=last[0],
        from_tool=last[1],
        system="\n".join([system, *prompts]),
        turn=1 + _answers(entries),
        media=sum(1 for _ in _media(items)),
    )


def input_tokens(request: ModelRequest) -> int:
    """Return a count that follows from the request alone: four bytes are a token, and media have a price."""
    media = list(_media(request.document))
    size = len(request.body) - sum(size for size in media)
    return max(1, size // 4) + MEDIA_TOKENS * len(media)


def _answers(entries: list[dict[str, Json]]) -> int:
    """Count the answers so far; items of one answer that stand together are one."""
    count, inside = 0, False
    for entry in entries:
        said = entry.get("role") in ("assistant", "model") or entry.get("type") in (
            "function_call",
            "reasoning",
        )
        count += said and not inside
        inside = said
    return count


def _entry(entry: Mapping[str, Json]) -> tuple[str, bool] | None:
    if entry.get("type") == "function_call_output":
        return _text(entry.get("output")), True
    if isinstance(parts := entry.get("parts"), list):
        return _gemini_entry(entry, parts)
    role, content = entry.get("role"), entry.get("content")
    if role == "tool":
        return _text(content), True
    if role != "user":
        return None
    blocks = content if isinstance(content, list) else []
    results = [
        _text(block.get("content"))
        for block in blocks
        if isinstance(block, dict) and block.get("type") == "tool_result"
    ]
    return ("\n".join(results), True) if results else (_text(content), False)


def _gemini_entry(entry: Mapping[str, Json], parts: list[Json]) -> tuple[str, bool] | None:
    if entry.get("role") == "model":
        return None
    results = [
        _result(part["functionResponse"])
        for part in parts
        if isinstance(part, dict) and "functionResponse" in part
    ]
    return ("\n".join(results), True) if results else (_text(parts), False)


def _result(result: Json) -> str:
    response = result.get("response") if isinstance(result, dict) else None
    if isinstance(response, dict) and len(response) == 1:
        return _text(next(iter(response.values())))
    return _text(response)


def _gemini_text(content: Json) -> str:
    return _text(content.get("parts")) if isinstance(content, dict) else _text(content)


def _text(content: Json) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [_text(part.get("text")) for part in content if isinstance(part, dict)]
        return "\n".join(part for part in parts if part)
    return "" if content is None else encode(content).decode()


def _media(value: "Json | Mapping[str, Json]") -> Iterator[int]:
    """Yield the size of every image and file in a request, without going deeper than its bytes can."""
    waiting: list[Json | Mapping[str, Json]] = [value]
    for _ in range(SEEN_MAX):
        if not waiting:
            return
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, Mapping):
            if one.get("type") in MEDIA_TYPES or "inlineData" in one or "fileData" in one:
                yield len(encode(one))
            else:
                waiting.extend(one.values())
