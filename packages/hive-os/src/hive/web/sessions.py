"""Who may see the live page: one-time keys that a command prints, and the sessions they open.

Both live in memory only, end by themselves, and are kept as hashes. The control thread makes keys
while the main loop spends them, so a lock guards the two tables.
"""

import hashlib
import threading
from typing import Final

from hive.core.clock import Clock
from hive.core.randomness import Randomness

KEY_LIFETIME_S: Final = 1800.0
SESSION_LIFETIME_S: Final = 12 * 3600.0
KEYS_MAX: Final = 16
SESSIONS_MAX: Final = 64
_SECRET_BYTES: Final = 24


class PageSessions:
    """Make, spend and check the page's keys and sessions."""

    def __init__(self, *, clock: Clock, randomness: Randomness) -> None:
        self._clock = clock
        self._randomness = randomness
        self._lock = threading.Lock()
        self._keys: dict[str, float] = {}
        self._sessions: dict[str, float] = {}

    def make_key(self) -> str:
        """Return a key that opens one session within half an hour."""
        return self._keep(self._keys, KEY_LIFETIME_S, KEYS_MAX)

    def spend_key(self, key: str) -> str | None:
        """Trade a key for a session, once; None when it is spent, unknown or too old."""
        with self._lock:
            expires = self._keys.pop(_digest(key), None)
        if expires is None or expires < self._clock.monotonic():
            return None
        return self.open_session()

    def open_session(self) -> str:
        """Return a new session; the caller has shown who it is."""
        return self._keep(self._sessions, SESSION_LIFETIME_S, SESSIONS_MAX)

    def holds(self, session: str) -> bool:
        """Tell whether a session is open."""
        with self._lock:
            expires = self._sessions.get(_digest(session))
        return expires is not None and expires >= self._clock.monotonic()

    def _keep(self, table: dict[str, float], lifetime_s: float, limit: int) -> str:
        secret = self._randomness.token(_SECRET_BYTES).hex()
        now = self._clock.monotonic()
        with self._lock:
            for stale in [digest for digest, expires in table.items() if expires < now]:
                del table[stale]
            while len(table) >= limit:
                del table[next(iter(table))]
            table[_digest(secret)] = now + lifetime_s
        return secret


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
