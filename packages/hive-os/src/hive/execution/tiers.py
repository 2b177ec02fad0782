"""Which walls an agent gets: the lowest tier that covers its grant, found by a pure function.

It never goes below what the grant asks, and never below the operator's floor: when no tier of this machine
is enough, the answer is an error that names each tier and what it lacks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hive.core.errors import TierUnavailableError
from hive.core.grant import Grant, Tier
from hive.execution.ports import Probe


@dataclass(frozen=True, slots=True, kw_only=True)
class TierStep:
    """One tier that was considered: whether it covers the grant, and why."""

    tier: Tier
    covers: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TierChoice:
    """The tier of an agent, with every step that led to it."""

    tier: Tier
    scheme: str
    steps: tuple[TierStep, ...]


def choose_tier(
    grant: Grant,
    probes: Sequence[Probe],
    *,
    walls_min: Sequence[str] = (),
    component: bool = False,
    floor: Tier = Tier.WASM,
) -> TierChoice:
    """Return the lowest tier that covers a grant.

    `component` tells whether the agent is a WebAssembly component, `floor` is the lowest tier that
    the operator allows.

    Raises:
        TierUnavailableError: no tier of this machine does; `why` has all steps.

    """
    steps = explain_tiers(grant, probes, walls_min=walls_min, component=component, floor=floor)
    for step in steps:
        if step.covers:
            scheme = next(one.scheme for one in probes if one.tier is step.tier and one.available)
            return TierChoice(tier=step.tier, scheme=scheme, steps=steps)
    raise TierUnavailableError(
        "No tier of this machine covers the agent's grant.",
        why="; ".join(f"{step.tier.name.lower()}: {step.reason}" for step in steps) + ".",
        fix="Run `hive doctor`, or grant less.",
    )


def explain_tiers(
    grant: Grant,
    probes: Sequence[Probe],
    *,
    walls_min: Sequence[str] = (),
    component: bool = False,
    floor: Tier = Tier.WASM,
) -> tuple[TierStep, ...]:
    """Judge every tier, lowest first; `hive agent explain` prints this."""
    steps = []
    for tier in Tier:
        of_tier = [probe for probe in probes if probe.tier is tier]
        ready = [probe for probe in of_tier if probe.available]
        reason = _objection(tier, grant, component=component)
        if not reason and tier < floor:
            reason = f"below the least isolation that is demanded, {floor.name.lower()}"
        if not reason and not of_tier:
            reason = "no driver for it is set up here"
        if not reason and not ready:
            reason = of_tier[0].reason or "its probe failed"
        if not reason:
            # The first probe of a tier that is available is the one that would be used.
            missing = sorted(set(walls_min) - ready[0].standing)
            reason = f"the demanded walls do not stand: {', '.join(missing)}" if missing else ""
        steps.append(TierStep(tier=tier, covers=not reason, reason=reason or _praise(tier, grant)))
    return tuple(steps)


def _objection(tier: Tier, grant: Grant, *, component: bool) -> str:
    """Tell why a tier cannot cover a grant, whatever the machine offers."""
    if tier is Tier.WASM:
        if not component:
            return "not a component"
        # Where it may move up, what this tier has not is there when it asks for it.
        needed = [] if grant.tiers else [what for what, asked in _ambient(grant) if asked]
        return f"it has no {', no '.join(needed)}" if needed else ""
    if grant.gpu and tier is not Tier.MICROVM:
        return "it does not separate a GPU"
    return ""


def _ambient(grant: Grant) -> tuple[tuple[str, bool], ...]:
    return (
        ("files", bool(grant.paths)),
        ("programs", bool(grant.programs)),
        ("package installs", grant.packages),
        ("GPU", grant.gpu),
    )


def _praise(tier: Tier, grant: Grant) -> str:
    asked = [what for what, given in _ambient(grant) if given]
    if tier is Tier.WASM:
        return (
            f"may move up to {', '.join(grant.tiers)}"
            if grant.tiers
            else "a component without ambient needs"
        )
    return f"covers {', '.join(asked)}" if asked else "covers code of any kind"
