"""Where an agent is placed, as the supervisor needs it of the node, and an agent on its way back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import anyio

from hive.core.grant import Grant, Tier
from hive.core.json import Json
from hive.core.spec import AgentSpec
from hive.execution.ports import Prepared, SandboxDriver
from hive.kernel.ports import AgentState, AgentView
from hive.kernel.registry import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where an agent was placed: its tier, the tier's driver, and the artifact that is spawned.

    `provenance` is what the record says of who signed it. `above` are the stronger tiers that it may move up to, lowest first.
    """

    tier: Tier
    driver: SandboxDriver
    prepared: Prepared
    provenance: dict[str, Json] = field(default_factory=dict)
    above: tuple["Placed", ...] = ()

    def at_least(self, tier: Tier | None) -> "Placed":
        """Return the lowest place that is strong enough; the strongest there is where none is."""
        places = (self, *self.above)
        return next((one for one in places if tier is None or one.tier >= tier), places[-1])

    def described(self, spec: AgentSpec, grant: Grant) -> dict[str, Json]:
        """Return what the record says of an agent that is deployed here."""
        return {
            "agent": spec.name,
            "source": spec.digest,
            "grant": grant.digest,
            "tier": self.tier.name.lower(),
            **self.provenance,
        }


class Placement(Protocol):
    """Chooses a tier and prepares an agent for it."""

    async def place(self, spec: AgentSpec, grant: Grant, on_line: Callable[[str], None]) -> Placed:
        """Prepare an agent.

        Raises:
            SpecError: its source cannot be used.
            TierUnavailableError: no tier covers the grant.

        """
        ...


class Returning:
    """An agent that the node is bringing back."""

    def __init__(self, deployment: Deployment) -> None:
        self.over = anyio.Event()
        self.view = AgentView(
            spec=deployment.spec,
            grant=deployment.grant,
            state=AgentState.STARTING,
            tier=Tier.PROCESS,
        )
