"""The parts of a Gemini content, both ways: words, thoughts, media, calls of functions and their results.

Gemini may leave a call without an id and finds its result by name and order. Every other wire needs ids, so
calls get one of ours, and lose it again on the way back.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from hive.core.json import Json, decode
from hive.protocols.models.conversation import (
    MediaPart,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    Utterance,
)
from hive.protocols.models.wires.fields import (
    Fields,
    arguments_object,
    arguments_text,
    bad,
    compact,
    untranslatable,
)
from hive.protocols.models.wires.seals import (
    REDACTED_MARK,
    gemini_mark,
    gemini_seal,
    gemini_shown,
)

GENERATED_ID: Final = "hivecall_"
_KINDS: Final = ("text", "inlineData", "fileData", "functionCall", "functionResponse")
_READ: Final = frozenset({*_KINDS, "thought", "thoughtSignature"})
_WORDS: Final = ("result", "output")


class CallNames:
    """The calls that wait for their results, so that a result without an id finds its call."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[str]] = {}
        self._count = 0

    def called(self, name: str, given: str, seed: str = "") -> str:
        """Return the id of a call, one of ours where it has none."""
        self._count += 1
        digest = hashlib.sha256(f"{seed}\n{self._count}\n{name}".encode("utf-8", "replace"))
        call_id = given or GENERATED_ID + digest.hexdigest()[:24]
        self._waiting.setdefault(name, deque()).append(call_id)
        return call_id

    def answered(self, name: str, given: str) -> str:
        """Return the id of the call that a result belongs to."""
        waiting = self._waiting.get(name)
        if given:
            if waiting and given in waiting:
                waiting.remove(given)
            return given
        return waiting.popleft() if waiting else self.called(name, "")


def read_part(part: Fields, names: CallNames, seed: str = "") -> Iterator[Part]:
    """Read one part; a seal on plain words becomes a thought of its own behind them.

    Raises:
        BadInputError: it is none, or several.
        UntranslatableError: only this wire has it.

    """
    for key in part.rest(_READ):
        raise untranslatable(part.place(key), "only this wire has it")
    kinds = [key for key in _KINDS if part.has(key)]
    seal = gemini_mark(part.text("thoughtSignature"))
    if len(kinds) > 1 or (not kinds and not seal):
        raise bad(part.where, f"must hold one of {', '.join(_KINDS)}")
    match kinds[0] if kinds else "":
        case "functionCall":
            yield _call(part, names, seed)
        case "functionResponse":
            yield _result(part, names)
        case "inlineData" | "fileData":
            yield _media(part)
        case _ if seal.startswith(REDACTED_MARK):
            yield ThinkingPart(signature=seal.removeprefix(REDACTED_MARK), redacted=True)
        case _ if part.flag("thought"):
            yield ThinkingPart(text=part.text("text"), signature=seal)
        case _:
            if text := part.text("text"):
                yield TextPart(text=text)
            if seal:
                yield ThinkingPart(signature=seal)


def _call(part: Fields, names: CallNames, seed: str) -> ToolCallPart:
    call = Fields.of(part.raw("functionCall"), part.place("functionCall"))
    name = call.named("name")
    return ToolCallPart(
        id=names.called(name, call.text("id"), seed),
        name=name,
        arguments=arguments_text(call.mapping("args")),
        signature=part.text("thoughtSignature"),
    )


def _result(part: Fields, names: CallNames) -> ToolResultPart:
    result = Fields.of(part.raw("functionResponse"), part.place("functionResponse"))
    for key in result.rest({"id", "name", "response", "parts"}):
        raise untranslatable(result.place(key), "only this wire has it")
    name = result.named("name")
    response = result.mapping("response")
    parts: list[TextPart | MediaPart] = [TextPart(text=_said(response))] if response else []
    parts.extend(_media(one) for one in result.objects("parts"))
    return ToolResultPart(
        call_id=names.answered(name, result.text("id")),
        name=name,
        parts=tuple(parts),
        is_error=list(response) == ["error"],
    )


def _said(response: Mapping[str, Json]) -> str:
    if len(response) == 1:
        [(key, value)] = response.items()
        if key in (*_WORDS, "error") and isinstance(value, str):
            return value
    return compact(response).decode()


def _media(part: Fields) -> MediaPart:
    inline, file = part.inner("inlineData"), part.inner("fileData")
    if inline is not None:
        return MediaPart(
            media_type=inline.named("mimeType"),
            data=_standard(inline.named("data")),
            name=inline.text("displayName"),
        )
    if file is None:
        raise bad(part.where, "must hold inlineData or fileData")
    return MediaPart(
        media_type=file.text("mimeType") or "application/octet-stream",
        url=file.named("fileUri"),
        name=file.text("displayName"),
    )


def _standard(data: str) -> str:
    """Return base64 in its usual letters; Google's clients write the others."""
    return data.replace("-", "+").replace("_", "/")


def write_parts(utterance: Utterance, named: Mapping[str, str], where: str) -> list[Json]:
    """Write an utterance's parts for a provider; `named` is the function behind each call's id.

    Raises:
        UntranslatableError: the wire has no words for one.

    """
    written: list[Json] = []
    for index, part in enumerate(utterance.parts):
        written.extend(_written(part, named, f"{where}.parts[{index}]"))
    return written


def _written(part: Part, named: Mapping[str, str], where: str) -> Iterator[Json]:
    match part:
        case TextPart():
            yield {"text": part.text}
        case MediaPart():
            yield write_media(part, where)
        case ThinkingPart():
            # Another provider's seal would be refused, and thoughts without one are not taken back.
            seal = gemini_seal(part.signature)
            if seal is not None:
                sealed: dict[str, Json] = {"text": part.text, "thoughtSignature": seal}
                yield sealed | {"thought": True} if part.text else sealed
        case ToolCallPart():
            yield write_call(part)
        case ToolResultPart():
            yield from _written_result(part, named, where)


def _written_result(part: ToolResultPart, named: Mapping[str, str], where: str) -> Iterator[Json]:
    name = part.name or named.get(part.call_id, "")
    if not name:
        raise untranslatable(where, "no call before it has its id")
    result: dict[str, Json] = {"name": name, "response": _response(part)}
    if not part.call_id.startswith(GENERATED_ID):
        result["id"] = part.call_id
    yield {"functionResponse": result}
    for one in part.parts:
        if isinstance(one, MediaPart):
            yield write_media(one, where)


def _response(result: ToolResultPart) -> Json:
    text = "\n".join(part.text for part in result.parts if isinstance(part, TextPart))
    if result.is_error:
        return {"error": text}
    try:
        value = decode(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) and value else {"result": text}


def write_media(part: MediaPart, where: str) -> Json:
    """Write an image, sound or document.

    Raises:
        UntranslatableError: its kind is not known.

    """
    if part.url:
        return {"fileData": {"mimeType": _whole_type(part, where), "fileUri": part.url}}
    return {"inlineData": {"mimeType": _whole_type(part, where), "data": part.data}}


def _whole_type(part: MediaPart, where: str) -> str:
    if part.media_type.endswith("/*"):
        raise untranslatable(
            where, "the Gemini wire needs the media type, and its address has none"
        )
    return part.media_type


def write_call(part: ToolCallPart) -> dict[str, Json]:
    """Write a call of a function."""
    call: dict[str, Json] = {"name": part.name, "args": arguments_object(part.arguments)}
    if part.id and not part.id.startswith(GENERATED_ID):
        call["id"] = part.id
    written: dict[str, Json] = {"functionCall": call}
    if part.signature:
        written["thoughtSignature"] = part.signature
    return written


def shown_parts(parts: Iterable[Part]) -> Iterator[Json]:
    """Yield an answer's parts for a client.

    Raises:
        UntranslatableError: it holds a tool's result.

    """
    for part in parts:
        match part:
            case TextPart():
                yield {"text": part.text}
            case ThinkingPart(redacted=True):
                yield shown_thought("", REDACTED_MARK + part.signature)
            case ThinkingPart():
                yield shown_thought(part.text, part.signature)
            case ToolCallPart():
                yield shown_call(part)
            case MediaPart():
                yield write_media(part, "candidates[0]")
            case ToolResultPart():
                raise untranslatable("candidates[0]", "a model gives no tool's result")


def shown_thought(text: str, signature: str) -> dict[str, Json]:
    """Write a thought for a client; a seal without words stands on empty text, as Gemini's own do."""
    shown: dict[str, Json] = {"text": text}
    if text or not signature:
        shown["thought"] = True
    if seal := gemini_shown(signature):
        shown["thoughtSignature"] = seal
    return shown


def shown_call(part: ToolCallPart) -> dict[str, Json]:
    """Write a call for a client, which gets every id that there is."""
    return write_call(part) | {
        "functionCall": {
            "id": part.id,
            "name": part.name,
            "args": arguments_object(part.arguments),
        }
    }
