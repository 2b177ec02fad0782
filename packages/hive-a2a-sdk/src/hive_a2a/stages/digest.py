"""One hash for what a request says, the same on every binding and in every language.

A proof of possession covers it, so that client and server must compute the same from the decoded
request. Neither JSON (number formats, key order) nor protobuf (no canonical form) gives that, so the
content is written as a sequence of tagged, length-prefixed fields:

    field       tag (1 byte), length (8 bytes, big-endian), bytes
    text        T utf-8          raw   R bytes       url   U utf-8
    name        I utf-8: tenant, then id, task, context of the request; or id, context, task of the message
    data        D, then the value: 0 null, t true, f false, n number (IEEE 754 double, big-endian),
                s string, [ list (count, then values), { object (count, then name and value by utf-8 order)
    only where there is one, in this order and behind the parts:
    metadata    O of the request, o of the message: an object as above
    reference   F utf-8: each task that the message refers to
    push        W utf-8: the URL to notify, then w utf-8: its token

The digest is SHA-256 over `hive-a2a/request/v1`, a zero byte, the method (M), then these fields.
"""

import struct
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from hive_a2a.call import Proto

DOMAIN: Final = b"hive-a2a/request/v1\x00"
DEPTH_MAX: Final = 64
_DOUBLE: Final = struct.Struct(">d")
_LENGTH: Final = struct.Struct(">Q")


class TooDeepError(ValueError):
    """A data part is nested deeper than anybody reads."""


def request_digest(method: str, params: Proto, *, tenant: str) -> bytes:
    """Return the digest of a request: of its message, or of the task that it names.

    The tenant is given, since one binding has it in the path and another in the body.

    Raises:
        TooDeepError: a data part is nested too deeply.

    """
    out = bytearray(DOMAIN)
    _field(out, b"M", method.encode())
    _field(out, b"I", tenant.encode())
    message = message_of(params)
    if message is None:
        for name in ("id", "task_id", "context_id"):
            _field(out, b"I", str(getattr(params, name, "")).encode())
        _push(out, push_of(params))
        return sha256(out).digest()
    for text in (message.message_id, message.context_id, message.task_id):
        _field(out, b"I", text.encode())
    for part in message.parts:
        kind = part.WhichOneof("content")
        if kind == "text":
            _field(out, b"T", part.text.encode())
        elif kind == "raw":
            _field(out, b"R", part.raw)
        elif kind == "url":
            _field(out, b"U", part.url.encode())
        elif kind == "data":
            value = bytearray()
            _value(value, part.data, DEPTH_MAX)
            _field(out, b"D", bytes(value))
    _beside(out, params, message)
    return sha256(out).digest()


def message_of(params: Proto) -> Proto | None:
    """Return the message of a request that sends one."""
    if params is None or "message" not in params.DESCRIPTOR.fields_by_name:
        return None
    return params.message


def push_of(params: Proto) -> Proto | None:
    """Return where a request wants its task's changes sent, by whichever method it says so."""
    fields = params.DESCRIPTOR.fields_by_name if params is not None else {}
    if "configuration" in fields:
        asked = params.configuration
        return (
            asked.task_push_notification_config
            if asked.HasField("task_push_notification_config")
            else None
        )
    return params if "url" in fields else None


def _beside(out: bytearray, params: Proto, message: Proto) -> None:
    for tag, holder in ((b"O", params), (b"o", message)):
        if holder.HasField("metadata") and holder.metadata.fields:
            value = bytearray()
            _object(value, holder.metadata.fields, DEPTH_MAX)
            _field(out, tag, bytes(value))
    for reference in message.reference_task_ids:
        _field(out, b"F", reference.encode())
    _push(out, push_of(params))


def _push(out: bytearray, config: Proto | None) -> None:
    if config is not None:
        _field(out, b"W", config.url.encode())
        _field(out, b"w", config.token.encode())


def _field(out: bytearray, tag: bytes, value: bytes) -> None:
    out += tag + _LENGTH.pack(len(value)) + value


def _value(out: bytearray, value: Proto, depth_left: int) -> None:
    if depth_left == 0:
        raise TooDeepError
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        _field(out, b"s", value.string_value.encode())
    elif kind == "number_value":
        out += b"n" + _DOUBLE.pack(value.number_value)
    elif kind == "bool_value":
        out += b"t" if value.bool_value else b"f"
    elif kind == "struct_value":
        _object(out, value.struct_value.fields, depth_left)
    elif kind == "list_value":
        out += b"[" + _LENGTH.pack(len(value.list_value.values))
        for one in value.list_value.values:
            _value(out, one, depth_left - 1)
    else:
        out += b"0"


def _object(out: bytearray, fields: Mapping[str, Proto], depth_left: int) -> None:
    out += b"{" + _LENGTH.pack(len(fields))
    for name in sorted(fields, key=str.encode):
        _field(out, b"s", name.encode())
        _value(out, fields[name], depth_left - 1)
