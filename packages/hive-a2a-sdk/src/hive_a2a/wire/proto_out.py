"""Protobuf to JSON, as `google.protobuf.json_format` writes it, at a third of its cost.

How a kind of message is written is found once; each message then costs one look at its set fields.
"""

import math
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict

from hive_a2a.call import Proto
from hive_a2a.wire.strict_json import Json

_Writer = Callable[[Any], Json]
_STRING_NUMBERS: Final = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT64,
    }
)


def to_json(message: Proto, *, defaults: bool = False) -> dict[str, Json]:
    """Write a message; with `defaults` also what it leaves unsaid, except where absence means something.

    Raises:
        ValueError: it holds a number that JSON has no word for.

    """
    written: dict[str, Json] = _writer_of(message.DESCRIPTOR, defaults=defaults)(message)
    return written


@cache
def _writer_of(kind: Descriptor, *, defaults: bool) -> _Writer:
    known = _FREE.get(kind.full_name)
    if known is not None:
        return known
    if kind.full_name.startswith("google.protobuf."):
        return lambda message: MessageToDict(message, always_print_fields_with_no_presence=defaults)
    plan: dict[int, tuple[str, _Writer]] = {}
    absent = tuple(
        (field.json_name, _default_of(field))
        for field in kind.fields
        if defaults and (field.is_repeated or not field.has_presence)
    )

    def write(message: Proto) -> dict[str, Json]:
        found: dict[str, Json] = {}
        for field, value in message.ListFields():
            step = plan.get(field.number)
            if step is None:
                step = plan[field.number] = (
                    field.json_name,
                    _field_writer(field, defaults=defaults),
                )
            found[step[0]] = step[1](value)
        for name, default in absent:
            if name not in found:
                found[name] = default() if callable(default) else default
        return found

    return write


def _field_writer(field: FieldDescriptor, *, defaults: bool) -> _Writer:
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        one = _single_writer(inner.fields_by_name["value"], defaults=defaults)
        return lambda value: {str(key): one(value[key]) for key in value}
    one = _single_writer(field, defaults=defaults)
    if not field.is_repeated:
        return one
    if one is _same:
        return list
    return lambda value: [one(item) for item in value]


def _single_writer(field: FieldDescriptor, *, defaults: bool) -> _Writer:
    if field.message_type is not None:
        return _writer_of(field.message_type, defaults=defaults)
    if field.enum_type is not None:
        names = {number: one.name for number, one in field.enum_type.values_by_number.items()}
        return lambda value: names.get(value, value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _base64
    return str if field.cpp_type in _STRING_NUMBERS else _same


def _default_of(field: FieldDescriptor) -> Json | Callable[[], Json]:
    if field.is_repeated:
        entry = field.message_type is not None and field.message_type.GetOptions().map_entry
        return dict if entry else list
    return _single_writer(field, defaults=False)(field.default_value)


def _same(value: Json) -> Json:
    return value


def _base64(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def _struct(message: Proto) -> dict[str, Json]:
    fields = message.fields
    return {key: _value(fields[key]) for key in fields}


def _value(message: Proto) -> Json:
    kind = message.WhichOneof("kind")
    if kind == "string_value":
        return message.string_value
    if kind == "number_value":
        return _number(message.number_value)
    if kind == "struct_value":
        return _struct(message.struct_value)
    if kind == "list_value":
        return [_value(one) for one in message.list_value.values]
    return message.bool_value if kind == "bool_value" else None


def _number(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("A number has no end.")
    return value


def _list(message: Proto) -> list[Json]:
    return [_value(one) for one in message.values]


def _timestamp(message: Proto) -> str:
    nanos: int = message.nanos
    if not 0 <= nanos <= 999_999_999:
        raise ValueError("A timestamp is not valid.")
    second = _second(message.seconds)
    if not nanos:
        return second + "Z"
    if nanos % 1_000_000 == 0:
        return f"{second}.{nanos // 1_000_000:03d}Z"
    if nanos % 1000 == 0:
        return f"{second}.{nanos // 1000:06d}Z"
    return f"{second}.{nanos:09d}Z"


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError):
        raise ValueError("A timestamp is not valid.") from None
    return moment.replace(tzinfo=None).isoformat()


_FREE: Final[dict[str, _Writer]] = {
    "google.protobuf.Struct": _struct,
    "google.protobuf.Value": _value,
    "google.protobuf.ListValue": _list,
    "google.protobuf.Timestamp": _timestamp,
}
