"""How often a question may be repeated: a share of all questions, and never sooner than the provider says."""

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

from hive.core.clock import Clock
from hive.protocols.models.ports import ModelHead

RATIO: Final = 0.2
RESERVE_MAX: Final = 10.0
RESERVE_PER_S: Final = 1.0
BALANCE_MAX: Final = 100.0
RETRY_AFTER_MAX_S: Final = 10.0
PAUSE_S: Final = 0.5
PAUSE_MAX_S: Final = 8.0


class RetryBudget:
    """Retries as a share of the questions, so that a provider in trouble is not asked many times over."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._balance = RESERVE_MAX
        self._at = clock.monotonic()

    def deposit(self) -> None:
        """Count a question."""
        self._balance = min(BALANCE_MAX, self._balance + RATIO)

    def withdraw(self) -> bool:
        """Take one retry; False when there is none left."""
        now = self._clock.monotonic()
        if self._balance < RESERVE_MAX:
            # A node with few questions may retry as well, slowly.
            self._balance = min(
                RESERVE_MAX, self._balance + max(0.0, now - self._at) * RESERVE_PER_S
            )
        self._at = now
        if self._balance < 1.0:
            return False
        self._balance -= 1.0
        return True


def retry_after_s(head: ModelHead, clock: Clock) -> float | None:
    """Return how long a provider asks to be left alone; None where it says nothing that can be read."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = head.header(name).strip()
        if text and (seconds := _number(text)) is not None:
            return max(0.0, seconds * scale)
    try:
        at = parsedate_to_datetime(head.header("retry-after"))
        return max(0.0, (at - clock.now()).total_seconds())
    except (ValueError, TypeError):
        return None


def pause_s(round_number: int, asked_s: float | None, jitter: Callable[[float], float]) -> float:
    """Return how long to wait before the next round."""
    backoff = jitter(min(PAUSE_MAX_S, PAUSE_S * 2**round_number))
    return backoff if asked_s is None else max(asked_s, backoff)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None
