"""The one place of the SDK that reads the time, so that a test can say what time it is."""

import time
from datetime import UTC, datetime
from typing import Protocol


class WallClock(Protocol):
    """Tells the time of day, and how much has passed."""

    def now(self) -> datetime:
        """Return the time of day, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some moment; they never jump."""
        ...


class MachineClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """Return the time of day, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since the machine started, about."""
        return time.monotonic()
