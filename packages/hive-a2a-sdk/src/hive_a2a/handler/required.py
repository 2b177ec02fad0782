"""Are all required fields of a request there? The official check, made quick for the usual answer yes.

The official function walks every descriptor again for every request. Which fields matter is found once a
message type here; only a request that lacks something goes to the official function, for its words.
"""

from functools import cache
from typing import Any, Final, NamedTuple

from a2a.utils.proto_utils import validate_proto_required_fields
from google.api.field_behavior_pb2 import (  # type: ignore[import-untyped]
    FieldBehavior,
    field_behavior,
)
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from hive_a2a.call import Proto

_MESSAGE: Final = FieldDescriptor.TYPE_MESSAGE


class FieldPlan(NamedTuple):
    """What has to be looked at in one type of message."""

    present: tuple[str, ...]
    filled: tuple[tuple[str, Any], ...]
    single: tuple[tuple[str, Descriptor], ...]
    many: tuple[tuple[str, Descriptor], ...]
    by_key: tuple[tuple[str, Descriptor], ...]


def check_required(params: Proto) -> None:
    """Let a request pass that has all its required fields.

    Raises:
        InvalidParamsError: one is missing.

    """
    if not _complete(params, _plan(params.DESCRIPTOR)):
        validate_proto_required_fields(params)


def _complete(message: Proto, plan: FieldPlan) -> bool:
    if not all(message.HasField(name) for name in plan.present):
        return False
    for name, default in plan.filled:
        if getattr(message, name) == default:
            return False
    for name, kind in plan.single:
        if message.HasField(name) and not _complete(getattr(message, name), _plan(kind)):
            return False
    return all(
        _complete(item, _plan(kind)) for name, kind in plan.many for item in getattr(message, name)
    ) and all(
        _complete(item, _plan(kind))
        for name, kind in plan.by_key
        for item in getattr(message, name).values()
    )


@cache
def _plan(kind: Descriptor) -> FieldPlan:
    present: list[str] = []
    filled: list[tuple[str, Any]] = []
    single: list[tuple[str, Descriptor]] = []
    many: list[tuple[str, Descriptor]] = []
    by_key: list[tuple[str, Descriptor]] = []
    for field in kind.fields:
        if FieldBehavior.REQUIRED in field.GetOptions().Extensions[field_behavior]:
            if not field.is_repeated and field.has_presence:
                present.append(field.name)
            else:
                filled.append((field.name, [] if field.is_repeated else field.default_value))
        inner = field.message_type
        if field.type != _MESSAGE or inner is None:
            continue
        if inner.GetOptions().map_entry:
            value = inner.fields_by_name["value"].message_type
            if value is not None and _matters(value, frozenset()):
                by_key.append((field.name, value))
        elif _matters(inner, frozenset()):
            (many if field.is_repeated else single).append((field.name, inner))
    return FieldPlan(tuple(present), tuple(filled), tuple(single), tuple(many), tuple(by_key))


def _matters(kind: Descriptor, above: frozenset[Descriptor]) -> bool:
    if kind in above:
        return False
    for field in kind.fields:
        if FieldBehavior.REQUIRED in field.GetOptions().Extensions[field_behavior]:
            return True
        if field.message_type is not None and _matters(field.message_type, above | {kind}):
            return True
    return False
