"""Moving a turn to a stronger tier while it works: asked for through the gate, done by starting the turn again there.

Nothing of the running code is carried over. What the turn asked and was told is in the ledger, and the turn that begins
again is told the same; what it keeps of its own lies with the node. A turn never moves down.
"""

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Final

from hive.core.call import Principal
from hive.core.errors import StateError, TierUnavailableError
from hive.core.grant import Tier
from hive.kernel.hosting import HostedAgent
from hive.kernel.turns import RunningTurn, TurnBook

TIER_OF: Final = MappingProxyType(
    {"files": Tier.PROCESS, "kernel": Tier.GVISOR, "machine": Tier.MICROVM}
)
"""What may be asked for, and the lowest tier that has it: the files of its grant, a kernel, a machine of its own."""


class Rising:
    """Knows where a running turn could go on, and sends it there."""

    def __init__(self, turns: TurnBook, hosted: Callable[[], Sequence[HostedAgent]]) -> None:
        self._turns = turns
        self._hosted = hosted

    def stands(self, principal: Principal, tier: Tier) -> bool:
        """Tell whether the turn already runs in a tier that is strong enough."""
        turn, agent = self._of(principal)
        if turn.playback is not None and turn.playback.offline:
            return True  # A replay begins where its run ended.
        return any(
            sandbox.id == turn.sandbox and sandbox.tier >= tier for sandbox in agent.sandboxes
        )

    def check(self, principal: Principal, tier: Tier) -> None:
        """See whether there is such a place.

        Raises:
            TierUnavailableError: no prepared tier of this machine is strong enough.
            StateError: no turn runs there.

        """
        _, agent = self._of(principal)
        if not any(one.tier >= tier for one in agent.above):
            raise TierUnavailableError(
                f"{agent.spec.name} cannot move up.",
                why=f"No tier from {tier.name.lower()} up is available on this machine for it.",
                fix="Run `hive doctor`, and set HIVE_TIERS.",
            )

    def move(self, principal: Principal, tier: Tier) -> None:
        """End the turn here; its agent begins it again in the lowest tier that is strong enough.

        Raises:
            TierUnavailableError: no prepared tier of this machine is strong enough.
            StateError: no turn runs there.

        """
        self.check(principal, tier)
        turn, agent = self._of(principal)
        turn.rises = tier
        for sandbox in agent.sandboxes:
            if sandbox.id == turn.sandbox:
                sandbox.kill(f"its turn goes on in the tier {tier.name.lower()}")

    def _of(self, principal: Principal) -> tuple[RunningTurn, HostedAgent]:
        turn = self._turns.running(principal.turn)
        found = None
        if turn is not None:
            found = next((one for one in self._hosted() if one.spec.name == turn.agent), None)
        if turn is None or found is None:
            raise StateError("No turn runs here that could move.", fix="Ask from within a turn.")
        return turn, found
