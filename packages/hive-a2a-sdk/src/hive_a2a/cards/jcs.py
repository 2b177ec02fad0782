"""One way to write JSON down (RFC 8785), and what of a card its signature covers.

`canonical_card` writes the bytes that the official SDKs sign. They drop empty values first, and that
has a price: a requirement without scopes (`{"schemes": {"bearer": {}}}`) is empty all the way down, so
anybody may add or take it without breaking the signature. `exact_card` drops nothing; its hash goes into
the protected header of our signatures, and so our own cards are covered to the last member.
"""

import hashlib
import math
import re
from typing import Any, Final

from google.api.field_behavior_pb2 import (  # type: ignore[import-untyped]
    FieldBehavior,
    field_behavior,
)
from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import Error as JsonFormatError
from google.protobuf.json_format import MessageToDict

from hive_a2a.call import Proto
from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.faults import Json

DEPTH_MAX: Final = 128
SAFE_INT_MAX: Final = 2**53 - 1
_ESCAPED: Final = re.compile(r'[\x00-\x1f\\"]')
_SHORT: Final = {
    "\\": "\\\\",
    '"': '\\"',
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}
_DIGITS: Final = re.compile(r"(\d+)(?:\.(\d+))?(?:e([+-]\d+))?")
_PLAIN_FROM: Final = -6
_PLAIN_TO: Final = 21


def canonical_json(value: Json) -> bytes:
    """Write a value by RFC 8785.

    Raises:
        CardError: it has no canonical form: not JSON, not Unicode, an integer that a double cannot hold,
            or nested too deeply.

    """
    out: list[str] = []
    _write(value, out, 1)
    try:
        return "".join(out).encode()
    except UnicodeEncodeError:
        raise _no_form("It holds half a surrogate pair.") from None


def canonical_card(card: Proto) -> bytes:
    """Write the part of a card that the official SDKs sign: no signatures, no empty values.

    Raises:
        CardError: it has no canonical form.

    """
    return canonical_json(_without_empty(_members(card), 1) or {})


def exact_card(card: Proto) -> bytes:
    """Write the whole of a card but its signatures.

    Raises:
        CardError: it has no canonical form.

    """
    return canonical_json(_members(card))


def card_hash(card: Proto) -> bytes:
    """Return the SHA-256 of the whole card but its signatures: equal cards, equal hashes.

    Raises:
        CardError: it has no canonical form.

    """
    return hashlib.sha256(exact_card(card)).digest()


def empty_required(card: Proto) -> tuple[str, ...]:
    """Return the places of required members that are missing or empty, and so would not be signed."""
    found: list[str] = []
    _find_empty(card.DESCRIPTOR, _members(card), "", found)
    return tuple(found)


def _members(card: Proto) -> dict[str, Any]:
    try:
        members: dict[str, Any] = MessageToDict(card)
    except (
        JsonFormatError,
        ValueError,
        SystemError,
    ):  # a number that JSON does not have, or half a surrogate pair
        raise _no_form("A value is not JSON.") from None
    members.pop("signatures", None)
    return members


def _without_empty(value: Json, depth: int) -> Json:
    if isinstance(value, dict | list) and depth > DEPTH_MAX:
        raise _too_deep()
    if isinstance(value, dict):
        kept = {key: _without_empty(one, depth + 1) for key, one in value.items()}
        return {key: one for key, one in kept.items() if one is not None} or None
    if isinstance(value, list):
        return [
            one for one in (_without_empty(one, depth + 1) for one in value) if one is not None
        ] or None
    return None if value == "" else value


def _find_empty(shape: Descriptor, members: Json, at: str, found: list[str]) -> None:
    for field in shape.fields:
        value = members.get(field.json_name)
        place = f"{at}{field.json_name}"
        required = FieldBehavior.REQUIRED in field.GetOptions().Extensions[field_behavior]
        if required and _without_empty(value, 1) is None:
            found.append(place)
        elif value is not None and field.message_type is not None:
            _find_empty_inside(field.message_type, value, place, found)


def _find_empty_inside(shape: Descriptor, value: Json, place: str, found: list[str]) -> None:
    if shape.full_name.startswith("google.protobuf."):
        return
    if shape.GetOptions().map_entry:
        inner = shape.fields_by_name["value"].message_type
        if inner is not None:
            for key, one in value.items():
                _find_empty(inner, one, f"{place}[{key}].", found)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            _find_empty(shape, one, f"{place}[{index}].", found)
    else:
        _find_empty(shape, value, f"{place}.", found)


def _write(value: Json, out: list[str], depth: int) -> None:
    if isinstance(value, dict | list | tuple) and depth > DEPTH_MAX:
        raise _too_deep()
    if isinstance(value, dict):
        mark = "{"
        for key in sorted(value, key=_units):
            out += (mark, _quoted(key), ":")
            _write(value[key], out, depth + 1)
            mark = ","
        out.append("}" if value else "{}")
    elif isinstance(value, list | tuple):
        mark = "["
        for one in value:
            out.append(mark)
            _write(one, out, depth + 1)
            mark = ","
        out.append("]" if value else "[]")
    else:
        out.append(_scalar(value))


def _units(key: Json) -> bytes:
    """Order keys by their UTF-16 code units, which is not the order of code points."""
    if not isinstance(key, str):
        raise _no_form("A key of an object is not a string.")
    return key.encode("utf-16-be", "surrogatepass")


def _scalar(value: Json) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int):
        if abs(value) > SAFE_INT_MAX:
            raise _no_form("An integer is larger than a double can hold exactly.")
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return _number(value)
    raise _no_form("A value is not JSON.")


def _quoted(text: str) -> str:
    def escape(found: re.Match[str]) -> str:
        return _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}"

    return f'"{_ESCAPED.sub(escape, text)}"'


def _number(value: float) -> str:
    """Write a double as ECMAScript does (ECMA-262, Number::toString); Python has the same shortest digits."""
    sign = "-" if value < 0 else ""
    found = _DIGITS.fullmatch(repr(abs(value)))
    whole, part, exponent = found.groups("") if found else ("0", "", "")
    digits = (whole + part).lstrip("0")
    # The value is 0.DIGITS times ten to the power of `point`.
    point = len(whole) + int(exponent or 0) - (len(whole + part) - len(digits))
    digits = digits.rstrip("0")
    if not digits:
        return "0"
    if _PLAIN_FROM < point <= _PLAIN_TO:
        if point >= len(digits):
            return sign + digits.ljust(point, "0")
        if point > 0:
            return f"{sign}{digits[:point]}.{digits[point:]}"
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{point - 1:+d}"


def _no_form(why: str) -> CardError:
    return CardError(
        CardFault.MALFORMED,
        "This has no canonical form.",
        why=why,
        fix="Keep to JSON as RFC 8785 wants it.",
    )


def _too_deep() -> CardError:
    return _no_form(f"It is nested deeper than {DEPTH_MAX} levels.")
