"""What agents keep: so far, values of their own, by name. Memories with meaning and shared documents are not written yet."""

from hive.memory.values import KEY_MAX_CHARS, VALUE_MAX_BYTES, Shelf, Values

__all__ = ("KEY_MAX_CHARS", "VALUE_MAX_BYTES", "Shelf", "Values")
