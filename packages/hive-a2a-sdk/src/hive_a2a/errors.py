"""What can go wrong in the SDK: its own small tree, so that it stands without Hive.

A2AError                 anything below
├── CryptoError          a key, signature or sealed text is not valid
└── WireLimitError            a request breaks the limits of the wire
"""


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


class WireLimitError(A2AError):
    """A request breaks the limits of the wire; `status` is the HTTP status that says so."""

    def __init__(self, what: str, *, status: int = 400, why: str = "", fix: str = "") -> None:
        super().__init__(what, why=why, fix=fix)
        self.status = status
