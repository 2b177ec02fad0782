"""JSON to protobuf: quick for the everyday forms of ProtoJSON, the library's own reader for the rest.

What the quick way takes, it takes with the library's meaning; whatever looks unusual to it (another
spelling of a name, an enum's number, a number in a string) goes to `google.protobuf.json_format` as it is.
Stricter on both ways: `raw` must be base64, where the library drops what is none, and no field may stand
there in both its spellings.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from hive_a2a.faults import WireFault, invalid
from hive_a2a.wire.strict_json import Json, read_base64

ProtoT = TypeVar("ProtoT", bound=Message)
_Reader = Callable[[Json], Any]
_INT32_END: Final = 1 << 31


class _Unusual(Exception):  # noqa: N818 - nothing is wrong, it only needs the other reader
    """This form is for the library's own reader."""


def to_proto(value: Json, kind: type[ProtoT]) -> ProtoT:
    """Make a message of a decoded JSON object; unknown fields are ignored (1.0, 5.7).

    Raises:
        WireFault: it does not fit (-32602).

    """
    descriptor: Descriptor = kind.DESCRIPTOR  # type: ignore[assignment]
    try:
        return kind(**_reader_of(descriptor)(value))
    except (_Unusual, ValueError, TypeError, OverflowError, SystemError):
        return _slowly(value, kind)


def _slowly(value: Json, kind: type[ProtoT]) -> ProtoT:
    descriptor: Descriptor = kind.DESCRIPTOR  # type: ignore[assignment]
    try:
        _admit_clear(value, descriptor)
        return ParseDict(value, kind(), ignore_unknown_fields=True)
    except ParseError as error:
        raise WireFault(
            invalid("").kind,
            "The parameters are not valid.",
            metadata={"parseError": str(error)[:300]},
        ) from None
    # Half a surrogate pair in a key of a free value is a SystemError of the library's.
    except (ValueError, TypeError, OverflowError, AttributeError, RecursionError, SystemError):
        raise invalid("The parameters are not valid.") from None


def _admit_clear(value: Json, kind: Descriptor) -> None:
    """Let nothing pass that the library reads too kindly.

    Half base64, and one field in both its spellings. A word that is none of an enum's stays what the standard
    makes of it, an unset field: the JavaScript SDK says `UNRECOGNIZED` where a program names no status.
    """
    if not isinstance(value, Mapping):
        return
    for field in kind.fields:
        found = value.get(field.json_name)
        if field.name != field.json_name and field.name in value:
            if field.json_name in value:
                raise invalid(f"The field {field.json_name} stands twice, in both its spellings.")
            found = value[field.name]
        if field.type == FieldDescriptor.TYPE_BYTES and isinstance(found, str):
            read_base64(found)
        elif field.message_type is not None and not _is_free(field.message_type):
            for one in found if isinstance(found, list) else (found,):
                _admit_clear(one, field.message_type)


def _is_free(kind: Descriptor) -> bool:
    return kind.full_name.startswith("google.protobuf.")


@cache
def _reader_of(kind: Descriptor) -> Callable[[Json], dict[str, Any]]:
    """Return what reads objects of this kind into the arguments of its constructor."""
    # Readers of inner kinds are looked up when first needed: kinds may hold each other.
    fields = {field.json_name: field for field in kind.fields}
    other_names = {field.name for field in kind.fields} - set(fields)
    alternatives = {
        field.json_name: field.containing_oneof.name
        for field in kind.fields
        if field.containing_oneof is not None and len(field.containing_oneof.fields) > 1
    }
    plan: dict[str, tuple[str, _Reader]] = {}

    def read(value: Json) -> dict[str, Any]:
        if type(value) is not dict:
            raise _Unusual
        found: dict[str, Any] = {}
        chosen: set[str] | None = None
        for name, one in value.items():
            step = plan.get(name)
            if step is None:
                field = fields.get(name)
                if field is None:
                    if name in other_names or name[:1] == "[":
                        raise _Unusual
                    continue
                step = plan[name] = (field.name, _field_reader(field))
            if one is None:
                raise _Unusual
            if alternatives and name in alternatives:
                chosen = chosen or set()
                if alternatives[name] in chosen:
                    raise _Unusual
                chosen.add(alternatives[name])
            found[step[0]] = step[1](one)
        return found

    return read


def _field_reader(field: FieldDescriptor) -> _Reader:
    one = _single_reader(field)
    if not field.is_repeated:
        return one
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _unusual

    def read(value: Json) -> list[Any]:
        if type(value) is not list:
            raise _Unusual
        return [one(item) for item in value]

    return read


def _single_reader(field: FieldDescriptor) -> _Reader:
    if field.message_type is not None:
        known = _FREE.get(field.message_type.full_name)
        if known is None:
            return _unusual if _is_free(field.message_type) else _reader_of(field.message_type)
        return known
    if field.enum_type is not None:
        numbers = {name: value.number for name, value in field.enum_type.values_by_name.items()}

        def read(value: Json) -> int:
            if type(value) is not str or value not in numbers:
                raise _Unusual
            return numbers[value]

        return read
    return _SCALARS.get(field.type, _unusual)


def _unusual(_value: Json) -> Json:
    raise _Unusual


def _text(value: Json) -> str:
    if type(value) is not str:
        raise _Unusual
    return value


def _raw(value: Json) -> bytes:
    if type(value) is not str:
        raise _Unusual
    return read_base64(value)


def _flag(value: Json) -> bool:
    if type(value) is not bool:
        raise _Unusual
    return value


def _int32(value: Json) -> int:
    if type(value) is not int or not -_INT32_END <= value < _INT32_END:
        raise _Unusual
    return value


def _struct(value: Json) -> dict[str, Any]:
    # The library makes a Struct of a plain dictionary, and a ListValue of a list, all the way down.
    if type(value) is not dict:
        raise _Unusual
    return value


def _free_value(value: Json) -> dict[str, Any]:
    """Return the arguments of a protobuf `Value` that means this JSON value."""
    match value:
        case str():
            return {"string_value": value}
        case bool():
            return {"bool_value": value}
        case int() | float():
            return {"number_value": float(value)}
        case list():
            return {"list_value": value}
        case dict():
            return {"struct_value": value}
        case _:
            raise _Unusual


_FREE: Final[dict[str, _Reader]] = {
    "google.protobuf.Struct": _struct,
    "google.protobuf.Value": _free_value,
}
_SCALARS: Final[dict[int, _Reader]] = {
    FieldDescriptor.TYPE_STRING: _text,
    FieldDescriptor.TYPE_BYTES: _raw,
    FieldDescriptor.TYPE_BOOL: _flag,
    FieldDescriptor.TYPE_INT32: _int32,
}
