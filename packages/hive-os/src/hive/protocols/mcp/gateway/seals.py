"""The state that a client of the newest revision carries from one round of a call to the next.

It opens only for the same caller, the same target and the same arguments, on the node that wrote it, and not
after its time: nothing of it can be used for another call.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final

from hive.core.call import sha256_hex
from hive.core.clock import Clock
from hive.core.json import decode, encode
from hive.core.randomness import Randomness
from hive.protocols.mcp.ports import McpError, Visitor

STATE_MAX_CHARS: Final = 128 << 10
LIFETIME_S: Final = 3600.0
INVALID_PARAMS: Final = -32602


@dataclass(frozen=True, slots=True)
class CallBinding:
    """What a state belongs to."""

    caller: str
    owner: str
    turn: str
    target: str
    arguments: str

    @classmethod
    def of(cls, visitor: Visitor, target: str, arguments: bytes) -> "CallBinding":
        """Return what a call of a visitor is bound to."""
        who = visitor.principal
        return cls(str(who), str(who.owner), str(who.turn or ""), target, sha256_hex(arguments))


@dataclass(frozen=True, slots=True)
class CarriedState:
    """What was sealed: `kind` says what for."""

    kind: str
    content: str | None


class StateSeal:
    """Writes and opens states with a key that lives as long as the process."""

    def __init__(self, clock: Clock, randomness: Randomness) -> None:
        self._clock = clock
        self._key = randomness.token(32)

    def write(self, kind: str, content: str | None, binding: CallBinding) -> str:
        """Return a state for a client to carry."""
        until = int(self._clock.now().timestamp() + LIFETIME_S)
        body = encode([kind, content, until])
        return f"{_text(body)}.{_text(self._tag(body, binding))}"

    def open(self, state: object, binding: CallBinding) -> CarriedState:
        """Return what a state holds.

        Raises:
            McpError: it is not of this call, or too old.

        """
        if isinstance(state, str) and len(state) <= STATE_MAX_CHARS:
            body, _, tag = state.partition(".")
            raw, shown = _bytes(body), _bytes(tag)
            if raw and shown and hmac.compare_digest(shown, self._tag(raw, binding)):
                match decode(raw):
                    case [str(kind), str() | None as content, int(until)] if (
                        until >= self._clock.now().timestamp()
                    ):
                        return CarriedState(kind, content)
        raise McpError(INVALID_PARAMS, "The requestState is not of this call, or too old.")

    def _tag(self, body: bytes, binding: CallBinding) -> bytes:
        bound = encode(
            [binding.caller, binding.owner, binding.turn, binding.target, binding.arguments]
        )
        return hmac.digest(self._key, len(bound).to_bytes(4, "big") + bound + body, "sha256")


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text.encode("ascii") + b"==")
    except ValueError:
        return b""
