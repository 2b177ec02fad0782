"""Leave a provider alone that fails, and try it again with one question at a time."""

from collections import deque
from typing import Final, Literal

from hive.core.clock import Clock
from hive.core.randomness import Randomness

FAILURES_IN_A_ROW_MAX: Final = 5
WINDOW_MAX: Final = 20
FAILURES_IN_WINDOW_MAX: Final = 12
REST_S: Final = 5.0
REST_MAX_S: Final = 60.0


def jittered(seconds: float, randomness: Randomness) -> float:
    """Return between half and all of a time, so that those who failed together do not come back together."""
    fraction = int.from_bytes(randomness.token(4), "big") / (1 << 32)
    return seconds * (0.5 + fraction / 2)


class CircuitBreaker:
    """Count how one provider does; `admit` says whether it may be asked now."""

    def __init__(self, *, clock: Clock, randomness: Randomness) -> None:
        self._clock = clock
        self._randomness = randomness
        self._window: deque[bool] = deque(maxlen=WINDOW_MAX)
        self._in_a_row = 0
        self._rest_s = REST_S
        self._until: float | None = None
        self._probing = False

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        """Return `closed` while it works, `open` while it is left alone, `half-open` while one question tries it."""
        if self._until is None:
            return "closed"
        return "open" if self._clock.monotonic() < self._until else "half-open"

    @property
    def rest_s(self) -> float:
        """Return how long it is left alone from now."""
        return 0.0 if self._until is None else max(0.0, self._until - self._clock.monotonic())

    def admit(self) -> bool:
        """Tell whether a question may go there; a yes is followed by one of the three below."""
        if self._until is None:
            return True
        if self._probing or self._clock.monotonic() < self._until:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """Say that it answered."""
        self._window.append(True)
        self._in_a_row = 0
        if self._until is not None:
            self._window.clear()
        self._until, self._probing, self._rest_s = None, False, REST_S

    def failed(self) -> None:
        """Say that it did not, by its own fault."""
        self._window.append(False)
        self._in_a_row += 1
        if self._until is not None:
            # The probe failed, or a question of before did: wait longer.
            if self._probing:
                self._rest_s = min(REST_MAX_S, self._rest_s * 2)
                self._rest()
            return
        if (
            self._in_a_row >= FAILURES_IN_A_ROW_MAX
            or self._window.count(False) >= FAILURES_IN_WINDOW_MAX
        ):
            self._rest()

    def abandoned(self) -> None:
        """Say that nobody waited for the answer: nothing was learned."""
        self._probing = False

    def _rest(self) -> None:
        self._probing = False
        self._until = self._clock.monotonic() + jittered(self._rest_s, self._randomness)
