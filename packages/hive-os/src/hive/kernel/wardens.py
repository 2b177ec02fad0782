"""Quarantine, revoked identities and circuits at the gate: an agent that is shut in does nothing and hears nothing."""

from collections.abc import Callable
from typing import Final, Protocol

from hive.core.call import Call, Principal, PrincipalKind, Refused, Verb
from hive.core.clock import Clock
from hive.kernel.ports import CallFacts
from hive.security.watchdog.quarantine import TOOL_SERVER

NAME: Final = "quarantine"
CIRCUIT: Final = "circuit"


class ShutIn(Protocol):
    """Who knows which agents are in quarantine."""

    def of(self, agent: str) -> object | None:
        """Return something where an agent is shut in."""
        ...


class Circuits(Protocol):
    """Who knows which agents take no messages for now."""

    def wait_s(self, agent: str, at_s: float, by: str = "") -> float:
        """Return for how long no message passes; 0 where one may, or `by` is the one that tries."""
        ...

    def try_s(self, agent: str, at_s: float, by: str) -> float:
        """Return the same for a message that passes all else; it may be the one that tries."""
        ...


class Wardens:
    """Asked as the check `quarantine`; says nothing before the node has told it whom to ask."""

    name = NAME

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.quarantine: ShutIn | None = None
        self.circuits: Circuits | None = None
        self.known: Callable[[str], bool] = lambda _agent: False
        self.revoked: Callable[[Principal], bool] = lambda _principal: False

    def shut_in(self, agent: str) -> bool:
        """Tell whether an agent is in quarantine."""
        return self.quarantine is not None and self.quarantine.of(agent) is not None

    def examine(self, call: Call, facts: CallFacts) -> Refused | None:
        """Refuse what an agent in quarantine does, and what is sent to one, or to one whose circuit is open.

        A caller whose identity was revoked does nothing either, by whatever proof it came in.
        """
        return self._confined(call) or self._circuit(call, facts)

    def _confined(self, call: Call) -> Refused | None:
        caller = call.principal.agent
        if caller is not None and self.shut_in(caller):
            return Refused(check=self.name, reason=f"{caller} is in quarantine")
        if self.revoked(call.principal):
            return Refused(check="identity", reason="the identity of the caller was revoked")
        if call.verb is Verb.SEND and self.shut_in(call.target):
            return Refused(check=self.name, reason=f"{call.target} is in quarantine")
        server = call.target.partition(".")[0]
        if call.verb is Verb.INVOKE and self.shut_in(f"{TOOL_SERVER}{server}"):
            return Refused(check=self.name, reason=f"the tool server {server} is in quarantine")
        return None

    def _circuit(self, call: Call, facts: CallFacts) -> Refused | None:
        return self._of_circuit(call, facts, tries=False)

    def take_try(self, call: Call, facts: CallFacts) -> Refused | None:
        """Let a message that has passed all else be the one that tries, or refuse it while another one does."""
        return self._of_circuit(call, facts, tries=True)

    def _of_circuit(self, call: Call, facts: CallFacts, *, tries: bool) -> Refused | None:
        """Refuse a message to an agent whose circuit is open."""
        if self.circuits is None or call.verb is not Verb.SEND or facts.agent is None:
            return None
        if call.principal.kind is PrincipalKind.OPERATOR:
            return None  # Whoever mends an agent has to be able to try it.
        now = self._clock.monotonic()
        ask = self.circuits.try_s if tries else self.circuits.wait_s
        wait_s = ask(call.target, now, call.id)
        if wait_s <= 0:
            return None
        return Refused(
            check=CIRCUIT,
            reason=f"{call.target} takes no messages for now: its circuit is open",
            retry_after_s=wait_s,
        )
