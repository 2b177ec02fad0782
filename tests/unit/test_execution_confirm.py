"""A request is cut by policy, shown line by line, and confirmed once for each widening."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive.core.errors import SpecError
from hive.core.grant import Access, Grant, HostRule, Limits, PathRule
from hive.core.ids import AgentId
from hive.core.spec import AgentSpec, EntryPoint, StartKind
from hive.execution.confirm import (
    confirmation_needed,
    confirmed,
    cut_away,
    cut_by_policy,
    grant_lines,
    open_ceiling,
    unattended_ceiling,
)

SPEC = AgentSpec(
    name=AgentId("a"),
    entry=EntryPoint(kind=StartKind.PYTHON, source="/src", path="a.py"),
)
DATA = PathRule(host="/data/in", inside="/data/in")
API = HostRule(host="api.example.org")


def test_a_source_that_asks_for_nothing_is_not_asked_about() -> None:
    grant = cut_by_policy(Grant(models=("*",)), open_ceiling())
    assert confirmation_needed(SPEC, grant, None) is None


def test_without_a_terminal_a_source_gets_its_folder_and_models_alone() -> None:
    needs = Grant(paths=(DATA,), hosts=(API,), programs=("git",), models=("*",), agents=("*",))
    grant = cut_by_policy(needs, unattended_ceiling())
    assert grant == Grant(models=("*",))
    assert cut_away(needs, grant) == [
        "reads /data/in",
        "reaches api.example.org, port 443",
        "runs the program git",
        "calls ANY AGENT",
    ]


def test_every_new_line_is_shown_and_confirmed_once() -> None:
    grant = Grant(paths=(replace(DATA, access=Access.WRITE),), hosts=(API,), models=("*",))
    lines = confirmation_needed(SPEC, grant, None)
    assert lines == ["reads and changes /data/in", "reaches api.example.org, port 443"]
    assert confirmation_needed(SPEC, grant, confirmed(SPEC, grant)) is None


def test_only_what_is_new_is_asked_when_a_grant_widens() -> None:
    before = confirmed(SPEC, Grant(paths=(DATA,), models=("*",)))
    wider = Grant(paths=(DATA,), hosts=(API,), models=("*",))
    assert confirmation_needed(SPEC, wider, before) == ["reaches api.example.org, port 443"]
    writing = Grant(paths=(replace(DATA, access=Access.WRITE),), models=("*",))
    assert confirmation_needed(SPEC, writing, before) == ["reads and changes /data/in"]


def test_a_grant_that_narrows_needs_no_new_yes() -> None:
    before = confirmed(SPEC, Grant(paths=(replace(DATA, access=Access.WRITE),), hosts=(API,)))
    for narrower in (Grant(), Grant(paths=(DATA,)), Grant(hosts=(API,))):
        assert confirmation_needed(SPEC, narrower, before) is None


def test_more_limits_or_another_port_is_wider() -> None:
    before = confirmed(SPEC, Grant(hosts=(API,)))
    more = Grant(hosts=(HostRule(host=API.host, ports=(443, 22)),))
    assert confirmation_needed(SPEC, more, before) == ["reaches api.example.org, ports 443, 22"]
    big = Grant(hosts=(API,), limits=Limits(memory_bytes=64 << 30))
    asked = confirmation_needed(SPEC, big, before)
    assert asked
    assert "memory_bytes" in asked[0]


def test_the_operators_own_mounts_join_what_policy_left() -> None:
    mount = PathRule(host="/data/out", inside="/out", access=Access.WRITE)
    grant = cut_by_policy(Grant(paths=(DATA,)), unattended_ceiling(), [mount])
    assert grant.paths == (mount,)


def test_the_nodes_state_is_never_granted() -> None:
    asked = tuple(
        PathRule(host=host, inside="/x") for host in ("/state/hive", "/state", "/state/hive/vault")
    )
    fine = PathRule(host="/state/hive-other", inside="/y")
    needs = Grant(paths=(*asked, fine))
    assert cut_by_policy(needs, open_ceiling(), forbidden=["/state/hive"]).paths == (fine,)
    with pytest.raises(SpecError, match="keeps its keys"):
        cut_by_policy(Grant(), open_ceiling(), asked[:1], forbidden=["/state/hive"])


grants = st.builds(
    Grant,
    paths=st.lists(
        st.builds(
            PathRule,
            host=st.sampled_from(["/a", "/a/b", "/c"]),
            inside=st.sampled_from(["/x", "/a"]),
            access=st.sampled_from(list(Access)),
        ),
        max_size=2,
    ).map(tuple),
    hosts=st.lists(
        st.builds(
            HostRule,
            host=st.sampled_from(["a.example.org", "*.example.org", "*"]),
            ports=st.sampled_from([(443,), (443, 80), (22,)]),
        ),
        max_size=2,
    ).map(tuple),
    models=st.sampled_from([(), ("*",), ("m",)]),
    agents=st.sampled_from([(), ("*",), ("b",)]),
    gpu=st.booleans(),
    limits=st.builds(Limits, processes_max=st.sampled_from([8, 128, 1000])),
)


@given(needs=grants, ceiling=grants)
def test_policy_never_widens(needs: Grant, ceiling: Grant) -> None:
    left = cut_by_policy(needs, ceiling)
    assert left.cut(ceiling) == left
    assert set(left.paths) <= set(needs.paths)


@given(before=grants, after=grants)
def test_what_is_not_asked_again_was_already_allowed(before: Grant, after: Grant) -> None:
    if confirmation_needed(SPEC, after, confirmed(SPEC, before)) is None:
        for host in ("a.example.org", "b.example.org", "evil.example"):
            for port in (22, 80, 443):
                assert before.allows_host(host, port) or not after.allows_host(host, port)
        assert before.gpu or not after.gpu
        assert {(rule.host, rule.inside) for rule in after.paths} <= {
            (rule.host, rule.inside) for rule in before.paths
        }
        assert after.limits.processes_max <= before.limits.processes_max


def test_lines_carry_no_control_characters() -> None:
    grant = Grant(paths=(PathRule(host="/a\x1b[2K\u202e", inside="/b"),))
    assert grant_lines(grant) == ["reads /a (inside: /b)"]
