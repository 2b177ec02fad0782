"""The keys of an issuer (RFC 7517): given, or fetched and kept within bounds.

A token can make the keys be fetched again (it names one that is not known), so that happens at a limited
rate. While the issuer is away, keys that were good stay good for a bounded time. The name of a key is only
ever compared; it is never part of an address or a path.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import anyio

from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.errors import A2AError
from hive_a2a.faults import UNAVAILABLE, WireFault
from hive_a2a.identity.fetch import IssuerLink, IssuerUnavailableError, safe_url
from hive_a2a.identity.jws import BadTokenError, VerifyKey, public_key

KEYS_MAX: Final = 64
_log: Final = logging.getLogger(__name__)


class IssuerKeys(Protocol):
    """Where the keys of one issuer come from."""

    async def named(self, kid: str) -> Sequence[VerifyKey]:
        """Return the keys that a token with this `kid` may be signed by; empty `kid`: all of them."""
        ...


class GivenKeys:
    """Keys that are configured: a JWKS document, or its list of keys."""

    def __init__(self, keys: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        listed = keys.get("keys") if isinstance(keys, Mapping) else keys
        self._keys = read_keys({"keys": list(listed or [])})

    async def named(self, kid: str) -> Sequence[VerifyKey]:
        """Return the keys with this name; all of them where the token names none."""
        return _matching(self._keys, kid)


class FetchedKeys:
    """Keys at an address, or at the one that the issuer's own metadata names (OpenID discovery, RFC 8414).

    `fresh_s`: how long they are used unasked. `again_s`: the least time between two tries, whatever tokens
    ask for. `stale_s`: how long after the last success they are good while the issuer is away.
    """

    def __init__(
        self,
        url: str = "",
        *,
        issuer: str = "",
        link: IssuerLink | None = None,
        clock: WallClock | None = None,
        fresh_s: float = 300.0,
        again_s: float = 10.0,
        stale_s: float = 3600.0,
    ) -> None:
        self._issuer = issuer
        self._url = safe_url(url or issuer)
        self._discover = not url
        self._link = link or IssuerLink()
        self._clock = clock or MachineClock()
        self._fresh_s, self._again_s, self._stale_s = fresh_s, again_s, stale_s
        self._keys: tuple[VerifyKey, ...] = ()
        self._fetched_at = self._tried_at = float("-inf")
        self._lock: anyio.Lock | None = None

    async def named(self, kid: str) -> Sequence[VerifyKey]:
        """Return the keys with this name, after asking the issuer where that is due.

        Raises:
            WireFault: there are no keys to verify with now (503).

        """
        now = self._clock.monotonic()
        if now - self._fetched_at > self._fresh_s:
            await self._fetch(now)
        found = _matching(self._keys, kid)
        if not found:
            await self._fetch(now)
            found = _matching(self._keys, kid)
        if self._clock.monotonic() - self._fetched_at > self._stale_s:
            raise WireFault(
                UNAVAILABLE,
                "The issuer's keys cannot be had now.",
                retry_after_s=self._again_s,
                metadata={"check": "authentication"},
            )
        return found

    async def aclose(self) -> None:
        """Close the connections to the issuer."""
        await self._link.aclose()

    async def _fetch(self, asked_at: float) -> None:
        self._lock = self._lock or anyio.Lock()
        async with self._lock:
            # Whoever waited here while another one asked takes what that one got.
            now = self._clock.monotonic()
            if self._tried_at >= asked_at or now - self._tried_at < self._again_s:
                return
            self._tried_at = now
            try:
                # Shielded, and bounded by the link: or a caller who hangs up early would use up the try.
                with anyio.CancelScope(shield=True):
                    self._keys = await self._ask()
                self._fetched_at = now
            except A2AError as error:
                _log.warning("jwks.unavailable", extra={"why": str(error)})

    async def _ask(self) -> tuple[VerifyKey, ...]:
        url = self._url
        if self._discover:
            metadata = await self._get(url.rstrip("/") + "/.well-known/openid-configuration")
            if metadata.get("issuer") != self._issuer:
                raise IssuerUnavailableError("The metadata is of another issuer.")
            url = safe_url(str(metadata.get("jwks_uri", "")))
        return read_keys(await self._get(url))

    async def _get(self, url: str) -> Mapping[str, Any]:
        answer = await self._link.get(url)
        if answer.status != 200:
            raise IssuerUnavailableError("An issuer refused.", why=f"HTTP {answer.status}.")
        return answer.document


def read_keys(document: Mapping[str, Any]) -> tuple[VerifyKey, ...]:
    """Return the usable keys of a JWKS; others (symmetric, for encryption, unknown) are passed over.

    Raises:
        A2AError: it is not a key set, has too many keys, or none that can be used.

    """
    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > KEYS_MAX:
        raise A2AError(
            "This is not a key set.", why=f"It needs `keys`, at most {KEYS_MAX} of them."
        )
    usable = []
    for one in listed:
        if isinstance(one, Mapping):
            try:
                usable.append(public_key(one))
            except BadTokenError:
                continue
    if not usable:
        raise A2AError("The key set has no key that can verify.")
    return tuple(usable)


def _matching(keys: Sequence[VerifyKey], kid: str) -> Sequence[VerifyKey]:
    return [key for key in keys if key.kid == kid] if kid else keys
