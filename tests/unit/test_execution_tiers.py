"""Which tier covers a grant: the lowest, and never a lower one because it is there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive.core.errors import TierUnavailableError
from hive.core.grant import Grant, HostRule, PathRule, Tier
from hive.execution.ports import Probe, Wall
from hive.execution.tiers import choose_tier, explain_tiers

WALLS = ("namespaces", "landlock", "seccomp", "no-network", "unprivileged")


def probe(tier: Tier, *, available: bool = True, walls: tuple[str, ...] = WALLS) -> Probe:
    return Probe(
        tier=tier,
        scheme=tier.name.lower(),
        available=available,
        walls=tuple(Wall(name=one, stands=one in walls) for one in WALLS),
        reason="" if available else "no /dev/kvm",
    )


def test_code_that_is_no_component_runs_in_a_process() -> None:
    choice = choose_tier(Grant(), [probe(Tier.WASM), probe(Tier.PROCESS)])
    assert (choice.tier, choice.scheme) == (Tier.PROCESS, "process")
    assert [(step.tier, step.covers) for step in choice.steps[:2]] == [
        (Tier.WASM, False),
        (Tier.PROCESS, True),
    ]
    assert choice.steps[0].reason == "not a component"


def test_a_component_without_needs_stays_in_the_lowest_tier() -> None:
    probes = [probe(Tier.WASM), probe(Tier.PROCESS)]
    assert choose_tier(Grant(), probes, component=True).tier is Tier.WASM
    files = Grant(paths=(PathRule(host="/a", inside="/a"),))
    assert choose_tier(files, probes, component=True).tier is Tier.PROCESS


def test_a_gpu_needs_a_machine_of_its_own() -> None:
    probes = [probe(Tier.PROCESS), probe(Tier.MICROVM)]
    assert choose_tier(Grant(gpu=True), probes).tier is Tier.MICROVM
    with pytest.raises(TierUnavailableError, match="does not separate a GPU"):
        choose_tier(Grant(gpu=True), probes[:1])


def test_a_wall_that_is_demanded_and_missing_refuses_the_tier() -> None:
    weak = probe(Tier.PROCESS, walls=WALLS[:2])
    with pytest.raises(TierUnavailableError) as caught:
        choose_tier(Grant(), [weak], walls_min=WALLS)
    assert caught.match("no-network, seccomp, unprivileged")
    strong = probe(Tier.MICROVM)
    assert choose_tier(Grant(), [weak, strong], walls_min=WALLS).tier is Tier.MICROVM


def test_a_floor_raises_the_tier_and_a_failed_probe_does_not_count() -> None:
    probes = [probe(Tier.PROCESS), probe(Tier.GVISOR), probe(Tier.MICROVM, available=False)]
    assert choose_tier(Grant(), probes, floor=Tier.GVISOR).tier is Tier.GVISOR
    with pytest.raises(TierUnavailableError, match="microvm: no /dev/kvm"):
        choose_tier(Grant(), probes, floor=Tier.MICROVM)


grants = st.builds(
    Grant,
    paths=st.sampled_from([(), (PathRule(host="/a", inside="/a"),)]),
    hosts=st.sampled_from([(), (HostRule(host="example.org"),)]),
    programs=st.sampled_from([(), ("git",)]),
    gpu=st.booleans(),
    packages=st.booleans(),
)
machines = st.lists(
    st.builds(
        probe,
        st.sampled_from(list(Tier)),
        available=st.booleans(),
        walls=st.sets(st.sampled_from(WALLS)).map(tuple),
    ),
    max_size=4,
    unique_by=lambda one: one.tier,
)


@given(
    grants, machines, st.booleans(), st.sampled_from(list(Tier)), st.sets(st.sampled_from(WALLS))
)
def test_the_choice_is_the_lowest_that_covers_and_never_below_the_floor(
    grant: Grant, probes: list[Probe], component: bool, floor: Tier, demanded: set[str]
) -> None:
    more = {"walls_min": sorted(demanded), "component": component, "floor": floor}
    steps = explain_tiers(grant, probes, **more)
    covering = [step.tier for step in steps if step.covers]
    if not covering:
        with pytest.raises(TierUnavailableError):
            choose_tier(grant, probes, **more)
        return
    choice = choose_tier(grant, probes, **more)
    chosen = next(one for one in probes if one.tier is choice.tier)
    assert choice.tier == min(covering) >= floor
    assert chosen.available
    assert demanded <= chosen.standing
    assert all(step.reason for step in steps)


@given(grants, machines, st.booleans())
def test_asking_for_more_never_lowers_the_tier(
    grant: Grant, probes: list[Probe], component: bool
) -> None:
    def tier_of(one: Grant) -> int:
        steps = explain_tiers(one, probes, component=component)
        return next((step.tier for step in steps if step.covers), len(Tier))

    assert tier_of(grant) >= tier_of(Grant())
