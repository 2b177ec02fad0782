"""A circuit for each agent: it opens when its turns fail, or a rule says so, and lets one try through later."""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

AGENTS_MAX: Final = 10_000
OUTCOMES_MAX: Final = 20
OUTCOMES_MIN: Final = 10
FAILED_SHARE: Final = 0.8
OPEN_S: Final = 30.0
OPEN_MAX_S: Final = 600.0


class CircuitState(StrEnum):
    """Whether messages for an agent pass."""

    CLOSED = "closed"
    OPEN = "open"
    TRYING = "trying"


@dataclass(slots=True)
class _Circuit:
    outcomes: deque[bool] = field(default_factory=lambda: deque(maxlen=OUTCOMES_MAX))
    state: CircuitState = CircuitState.CLOSED
    opened_at: float = 0.0
    open_s: float = OPEN_S
    reason: str = ""
    tried_by: str = ""


class Breakers:
    """The circuits of all agents; times are monotonic seconds."""

    def __init__(self) -> None:
        self._circuits: OrderedDict[str, _Circuit] = OrderedDict()

    def wait_s(self, agent: str, at_s: float, by: str = "") -> float:
        """Return for how long no message passes to an agent; 0 where one may, or `by` is the one that tries.

        Asking changes nothing.
        """
        circuit = self._circuits.get(agent)
        if circuit is None or circuit.state is CircuitState.CLOSED:
            return 0.0
        if circuit.state is CircuitState.TRYING and by and circuit.tried_by == by:
            return 0.0
        return max(0.0, circuit.opened_at + circuit.open_s - at_s)

    def try_s(self, agent: str, at_s: float, by: str) -> float:
        """Return what `wait_s` does, for a message that would pass: after the pause one message is the try.

        While that tries, the others wait; a try of which nobody hears again does not block for ever.
        """
        circuit = self._circuits.get(agent)
        left = self.wait_s(agent, at_s, by)
        if circuit is not None and circuit.state is not CircuitState.CLOSED and left <= 0:
            if circuit.tried_by != by or circuit.state is CircuitState.OPEN:
                circuit.opened_at = at_s
            circuit.state, circuit.tried_by = CircuitState.TRYING, by
        return left

    def note(self, agent: str, at_s: float, *, well: bool) -> bool:
        """Count how a turn ended; return whether this opened the circuit."""
        circuit = self._of(agent)
        if circuit.state is CircuitState.TRYING:
            if well:
                self._circuits.pop(agent, None)
                return False
            return self._open(circuit, at_s, "the try failed")
        if circuit.state is CircuitState.OPEN:
            return False
        circuit.outcomes.append(well)
        failed = circuit.outcomes.count(False)
        enough = len(circuit.outcomes) >= OUTCOMES_MIN
        if enough and failed >= FAILED_SHARE * len(circuit.outcomes):
            return self._open(circuit, at_s, f"{failed} of {len(circuit.outcomes)} turns failed")
        return False

    def open(self, agent: str, at_s: float, reason: str) -> None:
        """Open a circuit, as a rule or a person demands."""
        self._open(self._of(agent), at_s, reason)

    def close(self, agent: str) -> None:
        """Close a circuit."""
        self._circuits.pop(agent, None)

    def reason(self, agent: str) -> str:
        """Return why a circuit is open; empty where it is not."""
        circuit = self._circuits.get(agent)
        return "" if circuit is None or circuit.state is CircuitState.CLOSED else circuit.reason

    def _of(self, agent: str) -> _Circuit:
        circuit = self._circuits.get(agent)
        if circuit is None:
            circuit = self._circuits[agent] = _Circuit()
            if len(self._circuits) > AGENTS_MAX:
                self._circuits.popitem(last=False)
        self._circuits.move_to_end(agent)
        return circuit

    @staticmethod
    def _open(circuit: _Circuit, at_s: float, reason: str) -> bool:
        again = circuit.state is CircuitState.TRYING
        circuit.open_s = min(OPEN_MAX_S, circuit.open_s * 2) if again else OPEN_S
        circuit.state, circuit.opened_at, circuit.reason = CircuitState.OPEN, at_s, reason
        circuit.outcomes.clear()
        return True
