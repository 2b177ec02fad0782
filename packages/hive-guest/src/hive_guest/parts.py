"""Turns what an agent returned into the parts of an A2A 1.0 message, and a message into text."""

from __future__ import annotations

import sys
from binascii import b2a_base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, TypeAlias

    from hive_guest.shapes import Foreign

    JsonObject: TypeAlias = dict[str, Any]

_CONTENT: Final = ("text", "raw", "url", "data")
SEPARATED: Final = "urn:hive:separated:v1"
"""The extension by which the node marks each part of an agent's message as `instruction` or `data`."""


class GuestPart(dict):  # type: ignore[type-arg]
    """One part of a message or artifact, already in the shape of A2A 1.0."""


def part(
    text: str | None = None,
    *,
    raw: bytes | None = None,
    url: str | None = None,
    data: Foreign = None,
    media_type: str = "",
    filename: str = "",
) -> GuestPart:
    """Make one piece of an answer: exactly one of text, bytes, URL or data.

    Raises:
        ValueError: none or several of them were given.

    """
    content = {
        "text": text,
        "raw": None if raw is None else b2a_base64(raw, newline=False).decode("ascii"),
        "url": url,
        "data": data,
    }
    given = {name: value for name, value in content.items() if value is not None}
    if len(given) != 1:
        message = "a part is exactly one of text, raw, url or data"
        raise ValueError(message)
    made = GuestPart(given)
    if media_type:
        made["mediaType"] = media_type
    if filename:
        made["filename"] = filename
    return made


def text_of(message: JsonObject) -> str:
    """Return the text parts of a message, joined by new lines."""
    return "\n".join(p["text"] for p in message.get("parts", ()) if isinstance(p.get("text"), str))


def instructions_of(message: JsonObject) -> str:
    """Return the text parts that the node lets count as instructions, joined by new lines.

    A message of a person has no marks: all of it counts.
    """
    parts = [one for one in message.get("parts", ()) if isinstance(one.get("text"), str)]
    return "\n".join(one["text"] for one in parts if _role(one) != "data")


def data_of(message: JsonObject) -> str:
    """Return the text parts that are only shown, joined by new lines: never a thing to obey."""
    parts = [one for one in message.get("parts", ()) if isinstance(one.get("text"), str)]
    return "\n".join(one["text"] for one in parts if _role(one) == "data")


def _role(wire: JsonObject) -> object:
    mark = (wire.get("metadata") or {}).get(SEPARATED)
    return mark.get("role") if isinstance(mark, dict) else None


def text_of_content(content: Foreign) -> str:
    """Return the text of a model's content: a string, or a list of strings and typed blocks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, (list, tuple)):
        return ""
    pieces = []
    for block in content:
        if isinstance(block, str):
            pieces.append(block)
        elif isinstance(block, dict) and isinstance(block.get("text"), str):
            pieces.append(block["text"])
    return "".join(pieces)


def parts_of(value: Foreign) -> list[JsonObject]:
    """Turn what an agent returned into parts; nothing becomes no part."""
    if value is None:
        return []
    if isinstance(value, (list, tuple)) and value and all(_is_piece(item) for item in value):
        return [_part_of(item) for item in value]
    if isinstance(value, dict) and isinstance(value.get("parts"), list):
        return [GuestPart(item) for item in value["parts"] if _is_wire_part(item)]
    return [_part_of(value)]


def _part_of(value: Foreign) -> JsonObject:
    if isinstance(value, GuestPart):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return part(raw=bytes(value), media_type="application/octet-stream")
    data = plain_data(value)
    return part(str(data)) if isinstance(data, str) else part(data=data)


def plain_data(value: Foreign) -> Any:
    """Turn a value into what JSON can say: models and data classes by field, the rest as text."""
    if isinstance(value, (str, int, float, bool, list, tuple, dict)):
        return value
    for method, options in (("model_dump", {"mode": "json"}), ("to_dict", {}), ("_asdict", {})):
        dump = getattr(value, method, None)
        if callable(dump) and not isinstance(value, type):
            return dump(**options)
    if hasattr(type(value), "__dataclass_fields__"):
        return sys.modules["dataclasses"].asdict(value)
    return str(value)


def _is_piece(item: Foreign) -> bool:
    return isinstance(item, (GuestPart, bytes))


def _is_wire_part(item: Foreign) -> bool:
    return isinstance(item, dict) and sum(name in item for name in _CONTENT) == 1
