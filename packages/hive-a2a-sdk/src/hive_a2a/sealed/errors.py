"""What can go wrong while sealing, on each side.

SealError                    the client cannot send or read sealed
├── SealRefusedError         the server did not open the request; `code` says why
├── BrokenAnswerError        the answer was changed, cut, reordered or comes from elsewhere
├── UnsealedAnswerError      something on the way answered in the clear
└── DowngradeError           a peer who speaks Noise suddenly does not

SealFault                    the server's refusal of one handshake or request
"""

from enum import StrEnum

from hive_a2a.errors import SealError


class SealCode(StrEnum):
    """Why a server did not open something: the word on the wire. None of them is authenticated."""

    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    TOO_SLOW = "too-slow"
    TOO_MANY = "too-many"
    CARD_UNKNOWN = "card-unknown"
    AUDIENCE_UNKNOWN = "audience-unknown"
    SUITE_UNKNOWN = "suite-unknown"
    HANDSHAKE_FAILED = "handshake-failed"
    SESSION_UNKNOWN = "session-unknown"
    NOT_OPENED = "not-opened"
    REPLAYED = "replayed"


STATUS_OF = {
    SealCode.MALFORMED: 400,
    SealCode.TOO_LARGE: 413,
    SealCode.TOO_SLOW: 408,
    SealCode.TOO_MANY: 429,
    SealCode.CARD_UNKNOWN: 412,
    SealCode.AUDIENCE_UNKNOWN: 421,
    SealCode.SUITE_UNKNOWN: 400,
    SealCode.HANDSHAKE_FAILED: 403,
    SealCode.SESSION_UNKNOWN: 409,
    SealCode.NOT_OPENED: 403,
    SealCode.REPLAYED: 409,
}
"""The HTTP status that each is said with."""


class SealFault(Exception):  # noqa: N818 - an expected answer, as WireFault is
    """A handshake or request that the server does not open."""

    def __init__(self, code: SealCode) -> None:
        super().__init__(code.value)
        self.code = code


class SealRefusedError(SealError):
    """The server did not open the request; nobody proves that it was the server who said so."""

    def __init__(self, code: str) -> None:
        super().__init__(
            "A sealed request was not opened.",
            why=f"The answer says: {code}.",
            fix=_FIXES.get(code, "Look at the server's log."),
        )
        self.code = code


class BrokenAnswerError(SealError):
    """An answer does not open, is not whole, or is not in order. Do not use what came of it."""


class UnsealedAnswerError(SealError):
    """Something on the way answered in the clear, in the place of the peer; `status` is its HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(
            "An answer is not sealed.",
            why=f"It came with status {status} and without the seal, so it is not proved to be the peer's.",
            fix="Look for a proxy on the way that answers itself, or ask the peer's operator.",
        )
        self.status = status


class DowngradeError(SealError):
    """A peer who has spoken Noise, or must, would now be spoken to in the clear. Nothing was sent."""


_FIXES = {
    SealCode.TOO_MANY.value: "Try again in a few seconds, and keep a session for many requests.",
    SealCode.CARD_UNKNOWN.value: "Fetch and verify the peer's card again: it has changed.",
    SealCode.AUDIENCE_UNKNOWN.value: "Use an address that the card lists.",
    SealCode.HANDSHAKE_FAILED.value: "Fetch the peer's card again; its key may have changed.",
    SealCode.REPLAYED.value: "Do not send it again unseen: somebody else may have delivered it.",
}
