"""A warrant can only be made narrower, whatever grants and ceilings meet, and however it travels."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hive.core.allow_rules import AllowRule
from hive.core.call import Refused, Verb
from hive.core.errors import BadInputError
from hive.core.grant import Grant, HostRule
from hive.security.capability import (
    EVERYTHING,
    capability_of,
    capability_text,
    joined,
    objection,
    read_warrant,
    terms_of,
    warrant_for_task,
    write_warrant,
)
from hive.security.capability.grammar import terms_in, terms_text
from hive.security.capability.record import decode_terms, encode_terms
from tests.warrant_rig import DAY, NOW, invoke, order, rule, under, warrant_of

TOOLS = ["fs.read", "fs.write", "fs.*", "mail.send", "*", "pay.out"]
CONDITIONS = st.lists(
    st.tuples(
        st.sampled_from(["path", "path?", "amount", "*", "to?"]),
        st.sampled_from(["under:/a", "under:/a/b", "any", "range:1..5", "in:x,y", "=x", "none"]),
    ),
    max_size=3,
    unique_by=lambda pair: pair[0],
).map(tuple)
RULES = st.lists(
    st.builds(
        AllowRule,
        kind=st.just("tool"),
        name=st.sampled_from(TOOLS),
        arguments=CONDITIONS,
        pass_on=st.booleans(),
    ),
    max_size=3,
).map(tuple)
NAMES = st.lists(st.sampled_from(["a", "b", "c", "*"]), max_size=3, unique=True).map(tuple)
GRANTS = st.builds(
    Grant,
    tools=st.lists(st.sampled_from(TOOLS), max_size=3, unique=True).map(tuple),
    agents=NAMES,
    models=NAMES,
    hosts=st.lists(
        st.builds(
            HostRule,
            host=st.sampled_from(["x.org", "*.x.org", "*"]),
            ports=st.sampled_from([(443,), (80, 443)]),
        ),
        max_size=2,
    ).map(tuple),
    rules=RULES,
)
CALLS = st.one_of(
    st.tuples(
        st.just(Verb.INVOKE),
        st.sampled_from(["fs.read", "fs.write", "mail.send", "pay.out", "other.x"]),
        st.dictionaries(
            st.sampled_from(["path", "amount", "to"]),
            st.sampled_from(["/a", "/a/b/c", "/a/../z", "x", 3, 9]),
            max_size=3,
        ),
    ),
    st.tuples(st.sampled_from([Verb.ASK, Verb.SEND]), st.sampled_from(["a", "b", "z"]), st.none()),
    st.tuples(
        st.just(Verb.REACH),
        st.sampled_from(["x.org:443", "y.x.org:80", "z.org:443"]),
        st.just({"method": "CONNECT", "path": ""}),
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(GRANTS, min_size=1, max_size=4), st.lists(CALLS, min_size=1, max_size=8))
def test_no_task_may_what_any_task_above_it_may_not(grants, calls):
    above = None
    chain = []
    for number, grant in enumerate(grants):
        made = warrant_for_task(grant, above, EVERYTHING, order(str(number)))
        assert not isinstance(made, Refused)
        chain.append(made)
        above = made
    for verb, target, arguments in calls:
        answers = [objection(one, verb, target, arguments, NOW) is None for one in chain]
        # Once denied, denied for all below: sorted from yes to no.
        assert answers == sorted(answers, reverse=True)
        own = objection(warrant_of(grants[-1]), verb, target, arguments, NOW)
        assert own is None or not answers[-1], "never more than the agent's own grant"


@settings(max_examples=200, deadline=None)
@given(GRANTS, GRANTS, st.lists(CALLS, min_size=1, max_size=8))
def test_what_is_cut_allows_nothing_that_either_side_denies(one, other, calls):
    cut = warrant_of(one.cut(other))
    for verb, target, arguments in calls:
        if objection(cut, verb, target, arguments, NOW) is None:
            for side in (one, other):
                assert objection(warrant_of(side), verb, target, arguments, NOW) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(GRANTS, min_size=1, max_size=3))
def test_a_warrant_is_read_back_as_it_was_written(grants):
    above = None
    for number, grant in enumerate(grants):
        above = warrant_for_task(grant, above, EVERYTHING, order(str(number)))
    assert read_warrant(write_warrant(above)) == above
    for terms in above.links:
        assert decode_terms(encode_terms(terms)) == terms
        for one in terms.capabilities:
            assert capability_of(capability_text(one)) == one
        assert terms_in(terms_text(terms)).paths == terms.paths


def test_depth_and_end_only_shrink():
    first = warrant_for_task(
        Grant(agents=("b",)), None, EVERYTHING, order("a", ends=NOW + timedelta(hours=1), depth=2)
    )
    second = warrant_for_task(Grant(), first, EVERYTHING, order("b", ends=NOW + DAY, depth=8))
    assert (second.depth, second.not_after) == (1, NOW + timedelta(hours=1))
    third = warrant_for_task(Grant(), second, EVERYTHING, order("c"))
    refused = warrant_for_task(Grant(), third, EVERYTHING, order("d"))
    assert third.depth == 0
    assert isinstance(refused, Refused)


def test_marks_of_all_above_are_carried():
    first = warrant_of(Grant(), name="a")
    second = warrant_of(Grant(), first, "b")
    assert {"id:w-a", "task:t-a", "agent:a", "id:w-b", "task:t-b", "agent:b"} == second.marks
    assert second.parents == ("w-a",)


def test_a_task_that_goes_on_may_no_more_than_before():
    before = under("tool fs.read")
    again = joined(under("tool *"), before)
    assert invoke(again, "fs.read") is None
    assert invoke(again, "fs.write") is not None


def test_the_ceiling_of_the_operator_bounds_whoever_calls():
    ceiling = terms_in(["tool fs.read path=under:/data", "model *"])
    warrant = warrant_of(Grant(tools=("*",), models=("*",)), ceiling=ceiling)
    assert invoke(warrant, "fs.read", {"path": "/data/x"}) is None
    assert invoke(warrant, "fs.read", {"path": "/etc"}) is not None
    assert invoke(warrant, "fs.write", {"path": "/data/x"}) is not None


def test_what_may_be_passed_on_reaches_the_agent_that_is_asked():
    first = warrant_of(Grant(agents=("b",), rules=(rule("mail.send", pass_on=True),)))
    second = warrant_of(Grant(tools=("mail.send", "fs.read")), first, "b")
    assert invoke(second, "mail.send") is None
    assert invoke(second, "fs.read") is not None


def test_rules_of_two_grants_for_one_tool_hold_both_or_nothing_does():
    one = Grant(tools=("t.t",), rules=(rule("t.t", path="under:/a"),))
    same = Grant(tools=("t.t",), rules=(rule("t.t", path="under:/a/b"),))
    other = Grant(tools=("t.t",), rules=(rule("t.t", amount="range:1..2"),))
    assert invoke(warrant_of(one.cut(same)), "t.t", {"path": "/a/b/c"}) is None
    assert invoke(warrant_of(one.cut(same)), "t.t", {"path": "/a/c"}) is not None
    for arguments in ({}, {"path": "/a"}, {"amount": 1}, {"-": "x"}, {"path": "/a", "amount": 1}):
        assert invoke(warrant_of(one.cut(other)), "t.t", arguments) is not None
    assert one.cut(one) == one
    assert Grant(tools=("t.t",)).cut(one).rules == one.rules


@pytest.mark.parametrize(
    "line",
    [
        "fs.read",
        "tool",
        "tool fs.read path",
        "tool fs.read path=glob:/x/*",
        "tool fs.read path=under:/a/../b",
        "tool fs.read path=under:",
        "tool fs.read amount=range:5..1",
        "tool fs.read amount=range:a..b",
        "tool fs.read u=url:api.example.org",
        "tool fs.read u=url:https://a@b/",
        "tool fs.re\u0430d",
        "model gpt x=any",
        "host exa\u043cple.org",
        "host a:99999",
        "host a/b",
        "tool 'fs.read",
    ],
)
def test_a_line_that_is_no_capability_is_refused(line):
    with pytest.raises(BadInputError):
        capability_of(line)


def test_terms_of_a_grant_are_compiled_once():
    grant = Grant(tools=("fs.*",))
    assert terms_of(grant) is terms_of(Grant(tools=("fs.*",)))
    assert warrant_of(grant).checks[0] is warrant_of(grant, name="b").checks[0]
