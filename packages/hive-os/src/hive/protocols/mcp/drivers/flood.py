"""How much a server may say unasked: a count and a size for each moment, over which it is cut off."""

from typing import Final

from hive.core.clock import Clock
from hive.protocols.mcp.drivers.messages import broken

WINDOW_S: Final = 1.0
NOTES_MAX: Final = 2000
NOTES_MAX_BYTES: Final = 16 << 20


class FloodGauge:
    """Counts what came unasked on one connection or for one request."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._count = 0
        self._bytes = 0

    def add(self, size_bytes: int) -> None:
        """Count one message.

        Raises:
            EngineUnavailableError: it is one too many.

        """
        now = self._clock.monotonic()
        if now - self._began > WINDOW_S:
            self._began, self._count, self._bytes = now, 0, 0
        self._count += 1
        self._bytes += size_bytes
        if self._count > NOTES_MAX or self._bytes > NOTES_MAX_BYTES:
            raise broken(f"It sent more than {NOTES_MAX} messages in a second, unasked.")
