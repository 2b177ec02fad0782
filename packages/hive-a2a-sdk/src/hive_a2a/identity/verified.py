"""Tokens that were verified a moment ago, by hash: a signature is not checked again for each request.

Only what does not depend on the request is remembered; who holds the token is checked every time.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hive_a2a.call import CallerIdentity, RequestHead
from hive_a2a.clock import WallClock
from hive_a2a.identity.binding import HolderCheck
from hive_a2a.identity.challenge import insufficient_scope, invalid_token, shown
from hive_a2a.identity.jws import BadTokenError


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """Whom a token names, what it says, and until when that may be believed unasked."""

    caller: CallerIdentity
    claims: Mapping[str, Any]
    until: float


class VerifiedTokens:
    """At most `entries_max` of them, each for at most `keep_s` and never beyond the token's end."""

    def __init__(self, *, keep_s: float, entries_max: int, clock: WallClock) -> None:
        self._keep_s = keep_s
        self._entries_max = entries_max
        self._clock = clock
        self._kept: OrderedDict[bytes, VerifiedToken] = OrderedDict()

    def get(self, token: str) -> VerifiedToken | None:
        """Return what is known of a token."""
        key = _hash(token)
        found = self._kept.get(key)
        if found is not None and self._clock.now().timestamp() >= found.until:
            del self._kept[key]
            return None
        return found

    def put(
        self, token: str, caller: CallerIdentity, claims: Mapping[str, Any], ends_at: float
    ) -> VerifiedToken:
        """Remember a token that was just verified."""
        until = min(ends_at, self._clock.now().timestamp() + self._keep_s)
        kept = VerifiedToken(caller, claims, until)
        if self._entries_max > 0:
            while len(self._kept) >= self._entries_max:
                self._kept.popitem(last=False)
            self._kept[_hash(token)] = kept
        return kept

    def __len__(self) -> int:
        return len(self._kept)


async def caller_of(
    head: RequestHead,
    *,
    kept: VerifiedTokens,
    verify: Callable[[str], Awaitable[VerifiedToken]],
    holder: HolderCheck,
    scopes: frozenset[str],
) -> CallerIdentity | None:
    """Return whom the token of a request names; None without a token.

    Raises:
        WireFault: it is not valid (401), not shown by its holder (401), or may not do this (403).

    """
    word, token = shown(head.headers.get("authorization", ""))
    if word not in ("bearer", "dpop"):
        return None
    known = kept.get(token)
    if known is None:
        try:
            known = await verify(token)
        except BadTokenError as error:
            raise invalid_token(error.what) from None
    await holder.check(head, word, token, known.claims)
    if not scopes <= known.caller.scopes:
        raise insufficient_scope(scopes)
    return known.caller


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
