"""What a call asked, as it is kept beside its intent: packed, with what must not be kept taken out.

One byte in front says how: bit 0 that the rest is compressed, bit 1 that something was redacted. The
same arguments give the same bytes, so equal questions of one owner are stored once.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from hive.core.errors import ConfigError, LedgerError

COMPRESS_FROM_BYTES: Final = 2048
KEPT_MAX_BYTES: Final = 16 << 20
REDACTED: Final = "[redacted]"
_LEVEL: Final = 1
_COMPRESSED: Final = 1
_REDACTED: Final = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """The kept arguments of a call; `redacted` tells that they are not all of what was asked."""

    arguments: bytes
    redacted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedKeeper:
    """Packs arguments. `redactions` are regular expressions; what they match is never stored.

    Raises:
        ConfigError: one of them is none.

    """

    kept: bool = True
    redactions: Sequence[str] = ()
    _patterns: tuple[re.Pattern[str], ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        try:
            patterns = tuple(re.compile(one) for one in self.redactions)
        except re.error as error:
            raise ConfigError(
                "HIVE_JOURNAL_REDACTIONS holds no regular expression.",
                why=str(error),
                fix="Write one or more regular expressions, e.g. sk-[A-Za-z0-9]+",
            ) from error
        object.__setattr__(self, "_patterns", patterns)

    def pack(self, arguments: bytes, *, demanded: bool = False) -> bytes | None:
        """Return what is stored of arguments; None where nothing is. What is `demanded` is stored in any case."""
        if not (self.kept or demanded) or not arguments or len(arguments) > KEPT_MAX_BYTES:
            return None
        clean = self.redact(arguments)
        mark = _REDACTED if clean != arguments else 0
        if len(clean) >= COMPRESS_FROM_BYTES:
            return bytes((mark | _COMPRESSED,)) + zlib.compress(clean, _LEVEL)
        return bytes((mark,)) + clean

    def redact(self, arguments: bytes) -> bytes:
        """Return arguments as they may be stored."""
        if not self._patterns:
            return arguments
        text = arguments.decode("utf-8", "surrogateescape")
        for pattern in self._patterns:
            text = pattern.sub(REDACTED, text)
        return text.encode("utf-8", "surrogateescape")


def unpack(content: bytes) -> Asked:
    """Return what `pack` stored.

    Raises:
        LedgerError: it is not from there.

    """
    mark, rest = content[:1], content[1:]
    if not mark or mark[0] > _COMPRESSED | _REDACTED:
        raise _broken()
    if mark[0] & _COMPRESSED:
        inflater = zlib.decompressobj()
        try:
            rest = inflater.decompress(rest, KEPT_MAX_BYTES + 1)
        except zlib.error as error:
            raise _broken() from error
        if len(rest) > KEPT_MAX_BYTES or not inflater.eof:
            raise _broken()
    return Asked(rest, redacted=bool(mark[0] & _REDACTED))


def _broken() -> LedgerError:
    return LedgerError("What a call asked cannot be read.", fix="Run `hive audit verify`.")
