"""Time as a dependency, so that tests can stop it and a replay can repeat it."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tell wall time (for records) and monotonic time (for durations)."""

    def now(self) -> datetime:
        """Return the wall time, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment; never goes back."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the wall time, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment; never goes back."""
        return time.monotonic()
