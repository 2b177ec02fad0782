"""What can go wrong in the SDK: its own small tree, so that it stands without Hive.

A2AError                 anything below
├── CryptoError          a key, signature or sealed text is not valid
├── SealError            the client cannot send or read sealed (`sealed.errors` has the kinds)
└── WireLimitError       a request breaks the limits of the wire
"""

from collections.abc import Iterator
from contextlib import contextmanager


class A2AError(Exception):
    """Something broke; says what, why and what to do. Never holds a key, token or message body."""

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        return " ".join(filter(None, (self.what, self.why)))


class CryptoError(A2AError):
    """A key, signature or sealed text is not valid."""


class SealError(A2AError):
    """The client cannot send or read sealed."""


class WireLimitError(A2AError):
    """A request breaks the limits of the wire; `status` is the HTTP status that says so."""

    def __init__(self, what: str, *, status: int = 400, why: str = "", fix: str = "") -> None:
        super().__init__(what, why=why, fix=fix)
        self.status = status


@contextmanager
def needs_extra(extra: str, *packages: str) -> Iterator[None]:
    """Say which extra to install where an import fails for want of one of these packages.

    Raises:
        A2AError: one of them is not installed.

    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in packages:
            raise
        raise A2AError(
            f"The package {error.name!r} is not installed.",
            why=f"What was asked for comes with the extra [{extra}] of hive-a2a-sdk.",
            fix=f"pip install 'hive-a2a-sdk[{extra}]'",
        ) from None
