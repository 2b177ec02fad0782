"""How often strangers make this node ask addresses that they named: bounded for each of them, and for all.

Whom the operator let in does not share what strangers may use up: such a client has a small budget of its own.
A source on this machine is counted with all others only, for it may be a proxy that speaks for many.
"""

import ipaddress
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from hive.core.clock import Clock
from hive.protocols.mcp.oauth.answers import OauthError

FETCHES_PER_MINUTE_MAX: Final = 60
FETCHES_AT_ONCE_MAX: Final = 8
SOURCE_FETCHES_PER_MINUTE_MAX: Final = 10
SOURCE_FETCHES_AT_ONCE_MAX: Final = 2
KNOWN_FETCHES_PER_MINUTE_MAX: Final = 6
KNOWN_MAX: Final = 1024
MINUTE_S: Final = 60.0


class LookupBudget:
    """Counts lookups that began within the last minute and those under way."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._begun: deque[tuple[float, str]] = deque(maxlen=FETCHES_PER_MINUTE_MAX)
        self._running: Counter[str] = Counter()
        self._known: dict[str, deque[float]] = {}

    @contextmanager
    def stranger(self, source: str) -> Iterator[None]:
        """Count one lookup for a client that nobody here agreed to yet.

        Raises:
            OauthError: there are too many, of this source or of all.

        """
        now, source = self._clock.monotonic(), source_group(source)
        while self._begun and now - self._begun[0][0] >= MINUTE_S:
            self._begun.popleft()
        mine = sum(1 for _, one in self._begun if one == source)
        if (
            len(self._begun) >= FETCHES_PER_MINUTE_MAX
            or self._running.total() >= FETCHES_AT_ONCE_MAX
        ):
            raise _busy()
        if source and (
            mine >= SOURCE_FETCHES_PER_MINUTE_MAX
            or self._running[source] >= SOURCE_FETCHES_AT_ONCE_MAX
        ):
            raise _busy()
        self._begun.append((now, source))
        self._running[source] += 1
        try:
            yield
        finally:
            self._running[source] -= 1
            if not self._running[source]:
                del self._running[source]

    def known(self, client: str) -> None:
        """Count one lookup for a client that the operator let in.

        Raises:
            OauthError: its own address was asked too often.

        """
        now = self._clock.monotonic()
        if client not in self._known and len(self._known) >= KNOWN_MAX:
            old = [name for name, times in self._known.items() if now - times[-1] >= MINUTE_S]
            for name in old:
                del self._known[name]
            if not old:
                raise _busy()
        times = self._known.setdefault(client, deque(maxlen=KNOWN_FETCHES_PER_MINUTE_MAX))
        if len(times) == KNOWN_FETCHES_PER_MINUTE_MAX and now - times[0] < MINUTE_S:
            raise _busy()
        times.append(now)


def source_group(source: str) -> str:
    """Return what counts as one source: an address, of IPv6 its network; empty for this machine."""
    try:
        address = ipaddress.ip_address(source.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            network = ipaddress.ip_network((address, 64), strict=False)
            return "" if address.is_loopback else str(network)
        address = address.ipv4_mapped
    return "" if address.is_loopback else str(address)


def _busy() -> OauthError:
    return OauthError(
        "temporarily_unavailable",
        "Too many clients are looked up. Try again in a minute.",
        status=503,
        headers={"retry-after": "60"},
    )
