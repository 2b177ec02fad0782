"""A clock that stands still until it is told to go on."""

from datetime import UTC, datetime, timedelta


class StoppedClock:
    """Time for tests."""

    def __init__(self, at: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._at = at
        self._elapsed_s = 0.0

    def now(self) -> datetime:
        """Return the time it stands at."""
        return self._at

    def monotonic(self) -> float:
        """Return the seconds that it was advanced."""
        return self._elapsed_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._at += timedelta(seconds=seconds)
        self._elapsed_s += seconds
