"""Admission fails closed: whatever breaks while a call is judged is a refusal, and takes nothing."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from hive.core.call import Admitted, Call, Principal, PrincipalKind, Refused, Verb
from hive.core.grant import Grant, HostRule, Limits
from hive.core.ids import AgentId, OwnerId, SandboxId, TaskId, TurnId
from hive.core.settings import Settings
from hive.kernel.admission import Admission
from hive.kernel.budgets import Budgets
from hive.kernel.claims import ClaimBook
from hive.kernel.ports import CallFacts
from hive.testing.clock import StoppedClock
from tests.unit.test_kernel_replay import CALL

pytestmark = pytest.mark.anyio

INSIDE = Principal(
    kind=PrincipalKind.AGENT,
    name="a",
    owner=OwnerId("o"),
    agent=AgentId("a"),
    sandbox=SandboxId("s"),
    turn=TurnId("t"),
)
GRANT = Grant(models=("m",), limits=Limits(model_calls_max=2))
NAMES = ("limits", "identity", "schema", "grant", "lineage", "readiness")


def admission(
    facts: Callable[[Call, bytes], CallFacts] = lambda _call, _arguments: CallFacts(grant=GRANT),
):
    clock = StoppedClock(CALL.at)
    claims = ClaimBook(clock)
    settings = Settings(state_dir="/tmp", model_calls_per_task=10)
    return Admission(
        settings=settings, clock=clock, claims=claims, budgets=Budgets(), facts=facts
    ), claims


def call(**changes: object) -> Call:
    later = CALL.deadline.replace(year=2030)
    given = {"principal": INSIDE, "deadline": later, "task": TaskId("t"), **changes}
    return replace(CALL, **given)


async def test_the_call_of_these_tests_is_admitted():
    assert isinstance((await admission()[0].admit(call(), b"{}")), Admitted)


@pytest.mark.parametrize("name", NAMES)
async def test_a_check_that_crashes_refuses_and_takes_nothing(name):
    gate, claims = admission()

    class Crashing:
        def __init__(self) -> None:
            self.name = name

        def examine(self, _call: Call, _facts: CallFacts) -> None:
            raise ZeroDivisionError

    gate.checks = tuple(Crashing() if one.name == name else one for one in gate.checks)
    refused = await gate.admit(call(), b"{}")
    assert isinstance(refused, Refused)
    assert refused.check == name
    assert claims.spent("task:t models.calls") == 0
    assert isinstance((await gate.admit_again(call(), b"{}")), Refused)


async def test_facts_that_cannot_be_fetched_refuse():
    def broken(_call: Call, _arguments: bytes) -> CallFacts:
        raise KeyError

    assert (await admission(broken)[0].admit(call(), b"{}")).check == "facts"
    assert (await admission(broken)[0].admit_again(call(), b"{}")).check == "facts"


async def test_the_order_of_the_checks_is_the_one_that_is_documented():
    assert tuple(one.name for one in admission()[0].checks) == NAMES


async def test_a_turn_that_is_over_calls_nobody():
    gate, _ = admission(lambda _call, _arguments: CallFacts(grant=GRANT, turn_over=True))
    assert (await gate.admit(call(), b"{}")).check == "identity"


@pytest.mark.parametrize("verb", list(Verb))
async def test_a_grant_that_names_nothing_admits_nothing(verb):
    gate, _ = admission(lambda _call, _arguments: CallFacts(grant=Grant()))
    refused = await gate.admit(call(verb=verb, target="host.example:443"), b"{}")
    assert isinstance(refused, Refused)
    assert refused.check == "grant"


async def test_a_host_is_admitted_on_its_own_port_only():
    grant = Grant(hosts=(HostRule(host="host.example", ports=(443,)),))
    gate, _ = admission(lambda _call, _arguments: CallFacts(grant=grant))
    assert isinstance(
        (await gate.admit(call(verb=Verb.REACH, target="host.example:443"), b"{}")), Admitted
    )
    for target in ("host.example:80", "host.example", "other.example:443", ":443"):
        assert isinstance(
            (await gate.admit(call(verb=Verb.REACH, target=target), b"{}")), Refused
        ), target


async def test_the_ceiling_of_a_task_is_the_lower_of_grant_and_node():
    gate, claims = admission()
    answers = [(await gate.admit(call(), b"{}")) for _ in range(3)]
    assert [isinstance(one, Admitted) for one in answers] == [True, True, False]
    gate.give_back(answers[0])
    assert claims.spent("task:t models.calls") == 1
    assert isinstance((await gate.admit(call(), b"{}")), Admitted)


async def test_judging_again_takes_no_second_claim():
    gate, claims = admission()
    assert (await gate.admit_again(call(), b"{}")) == Admitted()
    assert claims.spent("task:t models.calls") == 0
