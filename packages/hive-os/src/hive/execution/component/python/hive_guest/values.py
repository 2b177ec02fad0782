"""Values that the agent keeps by name: the names of `hive_guest.values`."""

from wit_world.imports import tier as _tier
from wit_world.imports import values as _values

from hive_guest import _done


class KeptValueError(Exception):
    """A value could not be kept or read."""


def get(key):
    """Return a value as bytes, or None."""
    return _done(lambda: _values.get(key), KeptValueError)


def put(key, value):
    """Keep a value: bytes, or a text."""
    data = value.encode() if isinstance(value, str) else bytes(value)
    _done(lambda: _values.put(key, data), KeptValueError)


def forget(key):
    """Forget a value."""
    _done(lambda: _values.forget(key), KeptValueError)


def keys():
    """Return the names of all values."""
    return list(_done(_values.keys, KeptValueError))


class TierError(Exception):
    """This turn may not move up, or cannot."""


def need(what):
    """Ask for `files`, a `kernel` or a `machine`; where the turn moves up for it, it begins again there."""
    _done(lambda: _tier.ask(what), TierError)
