"""A redaction that is owed is done or the call is refused; a crash in between does not forget it."""

import pytest

from hive.core.call import Admitted, Obligation, ObligationKind, Refused, Verb
from hive.core.grant import Grant
from hive.core.settings import Settings
from hive.kernel.admission import Admission
from hive.kernel.budgets import Budgets
from hive.kernel.claims import ClaimBook
from hive.kernel.ports import CallFacts
from hive.kernel.scans import redactions_of
from hive.testing.clock import StoppedClock
from tests.attacks.test_guard_known_values import call

pytestmark = pytest.mark.anyio


class Owing:
    name = "policy"

    def __init__(self, detail):
        self.detail = detail

    def examine(self, _call, _facts):
        return Obligation(kind=ObligationKind.REDACT, check=self.name, detail=self.detail)


def gate(detail):
    clock = StoppedClock()
    grant = Grant(tools=("*",), models=("*",), agents=("*",))
    return Admission(
        settings=Settings(),
        clock=clock,
        claims=ClaimBook(clock),
        budgets=Budgets(),
        facts=lambda _call, _arguments: CallFacts(grant=grant),
        inquiries=(Owing(detail),),
    )


@pytest.mark.parametrize(
    ("detail", "kinds"), [("email, card", {"email", "card"}), ("", {"secret"})]
)
async def test_what_a_policy_owes_is_read_as_kinds(detail, kinds):
    decision = await gate(detail).admit(call(), b"{}")
    assert isinstance(decision, Admitted)
    assert redactions_of(decision.obligations) == kinds


async def test_a_kind_that_nobody_can_find_refuses_the_call():
    refused = await gate("email,shoe-size").admit(call(), b"{}")
    assert isinstance(refused, Refused)
    assert "shoe-size" in refused.detail


async def test_what_cannot_be_changed_on_its_way_is_refused():
    refused = await gate("email").admit(call(verb=Verb.REMEMBER), b"{}")
    assert isinstance(refused, Refused)


async def test_it_is_still_owed_when_a_call_is_judged_again():
    decision = await gate("email").admit_again(call(), b"{}")
    assert isinstance(decision, Admitted)
    assert redactions_of(decision.obligations) == {"email"}
