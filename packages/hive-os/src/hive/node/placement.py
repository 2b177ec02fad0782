"""Where an agent runs and what is spawned: the execution layer's answers, put together for the kernel."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from hive.core.clock import Clock
from hive.core.errors import TierUnavailableError
from hive.core.grant import Grant, Tier
from hive.core.ids import AgentId, OwnerId, SandboxId, new_id
from hive.core.randomness import Randomness
from hive.core.spec import AgentSpec, StartKind
from hive.execution.components import standing_alone
from hive.execution.ports import Opening, Prepared
from hive.execution.prepare import Preparer
from hive.execution.tiers import TierChoice, TierStep, choose_tier, explain_tiers
from hive.kernel.places import Placed
from hive.kernel.ports import GateListener
from hive.kernel.turns import TurnBook
from hive.node.gates import ProxyDoor
from hive.node.provenance import Provenance
from hive.node.tiers import Tiers

BUILDER: Final = AgentId("builder")
OPERATORS: Final = OwnerId("operator")


@dataclass(frozen=True, slots=True, kw_only=True)
class TierPlacement:
    """Chooses the tier by the probes of this machine and prepares the artifact for it."""

    tiers: Tiers
    preparer: Preparer
    walls_min: tuple[str, ...]
    tool_doors: "ToolDoors"
    provenance: Provenance

    def choose(self, spec: AgentSpec, grant: Grant) -> TierChoice:
        """Choose the lowest tier that covers a grant, not below what the agent and the operator demand.

        Raises:
            TierUnavailableError: none does.

        """
        return choose_tier(
            grant,
            self.tiers.probes,
            walls_min=self.walls_min,
            floor=max(self.tiers.floor, spec.tier_min),
            component=spec.entry.kind is StartKind.COMPONENT,
        )

    def why(self, spec: AgentSpec, grant: Grant) -> str:
        """Say in one line which tier was chosen for a grant, and what the lower ones lack."""
        try:
            choice = self.choose(spec, grant)
        except TierUnavailableError as error:
            return error.why
        told = [f"{step.tier.name.lower()}: {step.reason}" for step in choice.steps]
        return "; ".join(told[: choice.tier + 1])

    async def place(self, spec: AgentSpec, grant: Grant, on_line: Callable[[str], None]) -> Placed:
        """Prepare an agent.

        Raises:
            SpecError: its source cannot be used.
            SupplyError: nobody trusted has signed it, and this node demands that.
            TierUnavailableError: no tier covers the grant.

        """
        choice = self.choose(spec, grant)
        standing = await self.provenance.admit(spec)
        # Wheels are unpacked and run nothing, so all agents of the operator share what was built from
        # the same requirements. A build script may write into its cache: that one is the agent's own.
        owner = OwnerId(spec.name) if spec.allow_build else OPERATORS
        prepared = await self.preparer.prepare(spec, owner, on_line=on_line)
        covering = [step.tier for step in self._steps(spec, grant) if step.covers]
        allowed = (tier for tier in covering if grant.allows_tier(tier.name.lower()))
        return replace(
            self._at(choice.tier, prepared, grant),
            provenance=standing.record,
            above=tuple(self._at(tier, prepared, grant) for tier in allowed if tier > choice.tier),
        )

    def _at(self, tier: Tier, prepared: Prepared, grant: Grant) -> Placed:
        if prepared.spec.entry.kind is StartKind.COMPONENT and tier is not Tier.WASM:
            prepared = standing_alone(prepared, grant.paths)
        return Placed(tier=tier, driver=self.tiers.drivers[tier], prepared=prepared)

    def _steps(self, spec: AgentSpec, grant: Grant) -> tuple[TierStep, ...]:
        return explain_tiers(
            grant,
            self.tiers.probes,
            walls_min=self.walls_min,
            floor=max(self.tiers.floor, spec.tier_min),
            component=spec.entry.kind is StartKind.COMPONENT,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildDoors:
    """The way out for a build: sockets of its own, bound to a grant that names the package index."""

    gates: GateListener
    turns: TurnBook
    clock: Clock
    randomness: Randomness
    run_directory: Path

    @asynccontextmanager
    async def open(self, owner: OwnerId, grant: Grant) -> AsyncIterator[Opening]:
        """Serve the builder's sockets; leaving the context closes them and forgets the grant."""
        sandbox = SandboxId(new_id(self.clock, self.randomness))
        directory = self.run_directory / sandbox[-12:]
        directory.mkdir(mode=0o711)
        self.turns.bind(sandbox, AgentId(f"{BUILDER}-{owner}"[:63]), grant, builds=True)
        try:
            async with self.gates.listen(sandbox, str(directory)):
                yield Opening(sandbox_id=sandbox, gate_directory=str(directory), environment={})
        finally:
            self.turns.unbind(sandbox)
            _remove(directory)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDoors:
    """The way out for a tool server: a proxy in its own name, under its own grant; no door to the node."""

    egress: ProxyDoor
    turns: TurnBook
    clock: Clock
    randomness: Randomness
    run_directory: Path

    @asynccontextmanager
    async def open(self, server: str, owner: OwnerId, grant: Grant) -> AsyncIterator[Opening]:
        """Serve the server's proxy; leaving the context closes it and forgets the grant."""
        sandbox = SandboxId(new_id(self.clock, self.randomness))
        directory = self.run_directory / sandbox[-12:]
        directory.mkdir(mode=0o711)
        self.turns.bind(sandbox, AgentId(f"tool:{server}"), grant, serves=(server, owner))
        failure: Exception | None = None
        try:
            async with self.egress.serve_unix(directory / "egress.sock", sandbox):
                try:
                    yield Opening(sandbox_id=sandbox, gate_directory=str(directory), environment={})
                except Exception as error:  # noqa: BLE001 - raised again outside of the task group
                    failure = error
            if failure is not None:
                raise failure
        finally:
            self.turns.unbind(sandbox)
            _remove(directory)


def _remove(directory: Path) -> None:
    for left in directory.glob("*.sock"):
        left.unlink(missing_ok=True)
    directory.rmdir()
