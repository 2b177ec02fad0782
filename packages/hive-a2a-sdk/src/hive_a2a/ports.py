"""What can be replaced in the server: every port has an implementation here that needs nothing else.

What belongs to the wire (limits, Noise, authentication, extensions, card, push screening) is this
package's own. What decides and records (rate, breaker, warrant, schema, guard, audit) is one `CallChain`:
`hive_a2a.stages.chain.StagedChain` puts the stand-alone stages in their order, and a platform that has a
gate and a record of its own passes its own chain in their place.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from hive_a2a.call import CallerIdentity, Proto, RequestHead, WireCall

ResultT = TypeVar("ResultT")


class Stage(StrEnum):
    """The stages of the server in their order; the words that a policy switches one off with."""

    LIMITS = "limits"
    NOISE = "noise"
    AUTHENTICATION = "authentication"
    EXTENSIONS = "extensions"
    RATE = "rate"
    BREAKER = "breaker"
    WARRANT = "warrant"
    SCHEMA = "schema"
    GUARD = "guard"
    AUDIT = "audit"


class Authenticator(Protocol):
    """One way to prove who calls."""

    @property
    def scheme(self) -> str:
        """Return the name of its security scheme in the card."""
        ...

    def card_scheme(self) -> dict[str, Any]:
        """Return the scheme as the card has it (1.0, 4.5), in ProtoJSON: `{"httpAuthSecurityScheme": {...}}`."""
        ...

    async def identify(self, head: RequestHead) -> CallerIdentity | None:
        """Return who calls; None where the request shows nothing of this kind.

        Raises:
            WireFault: it shows something that is not valid (401). No other way is tried then.

        """
        ...


class CallChain(Protocol):
    """What happens between an authenticated call and the handler that answers it.

    `run` answers the call; a chain that refuses raises `WireFault` without calling it. A chain sees every
    method of every binding, and the whole of a stream up to its last event or its break.
    """

    async def unary(self, call: WireCall, run: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Let a call pass that has one answer."""
        ...

    def stream(
        self, call: WireCall, run: Callable[[], AsyncGenerator[Proto]]
    ) -> AsyncGenerator[Proto]:
        """Let a call pass that has a stream of answers."""
        ...


class RefusalLog(Protocol):
    """Hears of requests that were refused before there was a call: too large, not opened, unknown."""

    def refused(self, head: RequestHead, stage: Stage, reason: str) -> None:
        """Count one; must be cheap and must not wait, since strangers cause it."""
        ...
