"""What Hive changes in the binding of wasmtime, in one place: bytes in one piece, and no shared state between threads.

The binding converts `list<u8>` byte by byte, reads a function's type anew at every call, and keeps the candidates for a
variant's case in a global set that another thread may clear. It also guesses the case of a result by the class of its value.
"""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING, Any, Final

import wasmtime
from wasmtime import _ffi as ffi
from wasmtime import component as components
from wasmtime.component import _types as types

if TYPE_CHECKING:
    from collections.abc import Callable

_VALUE_BYTES: Final = ctypes.sizeof(ffi.wasmtime_component_val_t)
_U8_OFFSET: Final = ffi.wasmtime_component_val_t.of.offset


def record(**fields: Any) -> components.Record:
    """Make a record; `_` in a name stands for the `-` of the WIT file."""
    made = components.Record()
    for name, value in fields.items():
        setattr(made, name.replace("_", "-"), value)
    return made


def variant(tag: str, payload: Any) -> components.Variant:
    """Make a variant of one case."""
    return components.Variant(tag, payload)


class Signature:
    """The types of a function, read once: they are the same for every instance of a component."""

    def __init__(self, function: components.Func, store: wasmtime.Store) -> None:
        kind = function.type(store)
        self._parameters = [one for _, one in kind.params]
        self._result = kind.result

    def call(self, function: components.Func, store: wasmtime.Store, *given: Any) -> Any:
        """Call a function of this type.

        Raises:
            WasmtimeError: it trapped.

        """
        values = (ffi.wasmtime_component_val_t * len(given))()
        result = ffi.wasmtime_component_val_t()
        ready = 0
        try:
            for kind, value in zip(self._parameters, given, strict=True):
                kind.convert_to_c(store, value, ctypes.pointer(values[ready]))
                ready += 1
            error = ffi.wasmtime_component_func_call(
                ctypes.byref(function._func),
                store._context(),
                values,
                ready,
                ctypes.byref(result),
                1,
            )
        finally:
            for number in range(ready):
                ffi.wasmtime_component_val_delete(ctypes.byref(values[number]))
        if ctypes.cast(error, ctypes.c_void_p).value:
            raise wasmtime.WasmtimeError._from_ptr(error)
        return None if self._result is None else self._result.convert_from_c(result)


def _named(kind: Any, store: Any, value: components.Variant) -> Any:
    """Take the case that a value names; the binding guesses by its class, and takes a record for an option."""
    inner = dict(kind._cases())[value.tag]
    if inner is None:
        return (value.tag, None)
    raw = ffi.wasmtime_component_val_t()
    inner.convert_to_c(store, value.payload, ctypes.pointer(raw))
    return (value.tag, ffi.wasmtime_component_val_new(ctypes.byref(raw)))


def _lowered(plain: Callable[..., Any]) -> Callable[..., Any]:
    one_at_a_time = threading.RLock()

    def lower(self: Any, store: Any, value: Any) -> Any:
        if isinstance(value, components.Variant):
            return _named(self, store, value)
        with one_at_a_time:
            return plain(self, store, value)

    return lower


def _patterns() -> list[bytes]:
    """Return how each byte looks as a value of the C interface."""
    found = []
    for number in range(256):
        value = ffi.wasmtime_component_val_t()
        value.kind = ffi.WASMTIME_COMPONENT_U8
        value.of.u8 = number
        found.append(bytes(value))
    return found


_PATTERNS: Final = _patterns()


def _read_once(read: Callable[[Any], Any], place: str) -> property:
    """Make a property that is read from the library once for each type."""

    def kept(self: Any) -> Any:
        try:
            return getattr(self, place)
        except AttributeError:
            value = read(self)
            setattr(self, place, value)
            return value

    return property(kept)


def _install() -> None:
    """Put all changes in place."""
    plain_lower = types.VariantLikeType._lower
    plain_to = types.ListType.convert_to_c
    plain_from = types.ListType.convert_from_c

    def to_c(self: Any, store: Any, value: Any, target: Any) -> None:
        if not isinstance(value, bytes) or not self._is_bytes():
            plain_to(self, store, value, target)
            return
        values = ffi.wasmtime_component_vallist_t()
        ffi.wasmtime_component_vallist_new_uninit(values, len(value))
        ctypes.memmove(
            values.data, b"".join(map(_PATTERNS.__getitem__, value)), len(value) * _VALUE_BYTES
        )
        target.contents.kind = ffi.WASMTIME_COMPONENT_LIST
        target.contents.of.list = values

    def from_c(self: Any, value: Any) -> Any:
        if not self._is_bytes():
            return plain_from(self, value)
        values = value.of.list
        try:
            if not values.size:
                return b""
            raw = (ctypes.c_ubyte * (values.size * _VALUE_BYTES)).from_address(
                ctypes.addressof(values.data.contents)
            )
            return bytes(memoryview(raw).cast("B")[_U8_OFFSET::_VALUE_BYTES])
        finally:
            ffi.wasmtime_component_vallist_delete(ctypes.byref(values))

    for kind, name in (
        (types.RecordType, "fields"),
        (types.VariantType, "cases"),
        (types.ListType, "element"),
    ):
        setattr(kind, name, _read_once(getattr(kind, name).fget, f"_hive_{name}"))
    for changed, name, better in (
        (types.VariantLikeType, "_lower", _lowered(plain_lower)),
        (types.ListType, "convert_to_c", to_c),
        (types.ListType, "convert_from_c", from_c),
    ):
        setattr(changed, name, better)


_install()
