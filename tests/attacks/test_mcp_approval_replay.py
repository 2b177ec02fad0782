"""A person said yes to one call. Whoever got that yes tries to do something else with it, or the same twice.

Each attack first shows that the call passes without a rule, so what stops it is the question to a person.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import anyio
import pytest

from hive.core.call import EffectClass, Principal, Refused, Verb
from hive.core.errors import NotFoundError, StateError
from hive.core.json import encode
from hive.engines import Migration, load_migrations
from hive.kernel.approvals import ApprovalRule, ApprovalState, Condition, Operator
from hive.kernel.ports import Attempt
from hive.ledger.journal import body_of
from hive.ledger.rows import COLUMNS, WRITTEN_ORDER, entry_of
from hive.node.build import SCHEMAS
from tests.kernel_rig import ALICE, BOB, Stage, running_kernel

pytestmark = pytest.mark.anyio
RULE = ApprovalRule(id="mail", target="mail.*", hold_s=0.0, note="mail leaves the house")


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


def sending(to: str = "a@example.org", *, by: Principal = ALICE, definition: str = "d1") -> Attempt:
    return Attempt(
        principal=by,
        verb=Verb.INVOKE,
        target="mail.send",
        effect=EffectClass.ONCE,
        arguments=encode({"to": to}),
        facts={"definition": definition},
    )


class Deeds:
    """Counts what really happened."""

    def __init__(self) -> None:
        self.done = 0

    async def act(self) -> AsyncIterator[bytes]:
        self.done += 1
        yield b"sent"


async def tried(kernel, deeds: Deeds, attempt: Attempt) -> Refused | None:
    async with kernel.dispatcher.deliver(attempt, deeds.act) as passage:
        if isinstance(passage, Refused):
            return passage
        async for _ in passage:
            pass
    return None


@pytest.fixture
async def kernel(database, tmp_path):
    async with running_kernel(database, tmp_path, Stage()) as made:
        yield made


async def asked(kernel, deeds: Deeds, attempt: Attempt) -> str:
    """Ask once with the rule in place; return the id under which the call waits."""
    await kernel.approvals.put_rule(RULE, by="operator")
    no = await tried(kernel, deeds, attempt)
    assert no is not None
    assert no.check == "approval"
    return no.approval


async def test_without_a_rule_the_call_passes(kernel):
    deeds = Deeds()
    assert await tried(kernel, deeds, sending()) is None
    assert deeds.done == 1


async def test_with_a_rule_it_waits_and_a_yes_lets_the_same_call_pass_once(kernel):
    deeds = Deeds()
    waits = await asked(kernel, deeds, sending())
    assert deeds.done == 0
    assert (await tried(kernel, deeds, sending())).approval == waits
    await kernel.approvals.decide(waits, allow=True, by="operator", reason="fine")
    assert await tried(kernel, deeds, sending()) is None
    again = await tried(kernel, deeds, sending())
    assert deeds.done == 1
    assert again.approval != waits


@pytest.mark.parametrize(
    "other",
    [
        sending("thief@example.org"),
        sending(by=BOB),
        sending(definition="d2"),
        replace(sending(), target="mail.forward"),
    ],
    ids=["other arguments", "another caller", "a changed definition", "another tool"],
)
async def test_a_yes_opens_nothing_else(kernel, other):
    deeds = Deeds()
    waits = await asked(kernel, deeds, sending())
    await kernel.approvals.decide(waits, allow=True, by="operator")
    no = await tried(kernel, deeds, other)
    assert no.check == "approval"
    assert no.approval != waits
    assert deeds.done == 0


async def test_a_changed_rule_is_another_question(kernel):
    deeds = Deeds()
    waits = await asked(kernel, deeds, sending())
    await kernel.approvals.decide(waits, allow=True, by="operator")
    narrower = Condition(pointer="/to", operator=Operator.MATCHES, value="example")
    await kernel.approvals.put_rule(replace(RULE, conditions=(narrower,)), by="operator")
    assert (await tried(kernel, deeds, sending())).check == "approval"
    assert deeds.done == 0


async def test_two_callers_race_for_one_yes_and_one_of_them_gets_it(kernel):
    deeds, answers = Deeds(), []
    rule = replace(RULE, hold_s=0.5)
    await kernel.approvals.put_rule(rule, by="operator")

    async def race() -> None:
        answers.append(await tried(kernel, deeds, sending()))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(race)
            while not kernel.approvals.open():
                await anyio.lowlevel.checkpoint()
            while not (waiting := kernel.approvals.open()[0]).content:
                await anyio.lowlevel.checkpoint()
            await kernel.approvals.decide(waiting.id, allow=True, by="operator")
    assert deeds.done == 1
    assert sorted(one is None for one in answers) == [False] * 4 + [True]


async def test_a_no_refuses_with_its_reason_and_stays_a_no(kernel):
    deeds = Deeds()
    waits = await asked(kernel, deeds, sending())
    await kernel.approvals.decide(waits, allow=False, by="operator", reason="not to strangers")
    assert "not to strangers" in (await tried(kernel, deeds, sending())).reason
    with pytest.raises(StateError):
        await kernel.approvals.decide(waits, allow=True, by="operator")
    assert deeds.done == 0


async def test_a_yes_that_is_too_old_opens_nothing(kernel):
    deeds = Deeds()
    await kernel.approvals.put_rule(replace(RULE, expires_s=0.3), by="operator")
    waits = (await tried(kernel, deeds, sending())).approval
    await kernel.approvals.decide(waits, allow=True, by="operator")
    await anyio.sleep(0.35)  # the yes itself grows old
    assert (await tried(kernel, deeds, sending())).check == "approval"
    with pytest.raises(NotFoundError):
        kernel.approvals.get(waits)
    assert deeds.done == 0


async def test_questions_and_answers_outlive_the_node_and_a_used_yes_stays_used(database, tmp_path):
    deeds = Deeds()
    async with running_kernel(database, tmp_path, Stage()) as kernel:
        waits = await asked(kernel, deeds, sending())
        other = (await tried(kernel, deeds, sending("b@example.org"))).approval
        await kernel.approvals.decide(waits, allow=True, by="operator")
    async with running_kernel(database, tmp_path, Stage()) as kernel:
        assert kernel.approvals.get(waits).state is ApprovalState.ALLOWED
        await kernel.approvals.decide(other, allow=True, by="operator")
        assert await tried(kernel, deeds, sending()) is None
        # As a crash between the intent and its note in the table would leave it.
        await database.execute("UPDATE approval SET state = 'allowed'")
    async with running_kernel(database, tmp_path, Stage()) as kernel:
        assert (await tried(kernel, deeds, sending())).approval not in ("", waits)
        assert await tried(kernel, deeds, sending("b@example.org")) is None
    assert deeds.done == 2


async def test_a_yes_that_a_held_call_used_does_not_come_back_with_a_restart(database, tmp_path):
    deeds = Deeds()
    async with running_kernel(database, tmp_path, Stage()) as kernel:
        await kernel.approvals.put_rule(replace(RULE, hold_s=30.0), by="operator")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tried, kernel, deeds, sending())
            while not kernel.approvals.open() or not kernel.approvals.open()[0].content:
                await anyio.lowlevel.checkpoint()
            waits = kernel.approvals.open()[0].id
            await kernel.approvals.decide(waits, allow=True, by="operator")
        assert deeds.done == 1
        # As a kill before the note of its use would leave it.
        await database.execute("UPDATE approval SET state = 'allowed' WHERE id = $1", waits)
        held = 'UPDATE approval SET held = replace(held, \'"state":"used"\', \'"state":"allowed"\')'
        await database.execute(held)
    async with running_kernel(database, tmp_path, Stage()) as kernel:
        await kernel.approvals.put_rule(replace(RULE, hold_s=0.0), by="operator")
        assert (await tried(kernel, deeds, sending())).check == "approval"
    assert deeds.done == 1


async def test_the_ledger_says_who_asked_who_said_yes_and_which_call_used_it(kernel, database):
    deeds = Deeds()
    waits = await asked(kernel, deeds, sending())
    await kernel.approvals.decide(waits, allow=True, by="operator", reason="fine")
    await tried(kernel, deeds, sending())
    rows = await database.fetch(f"SELECT {COLUMNS} FROM entry ORDER BY {WRITTEN_ORDER}")
    lines = [entry_of(row) for row in rows]
    told = {line.name: body_of(line) for line in lines}
    assert told["approval.asked"]["principal"] == str(ALICE)
    assert told["approval.allowed"]["by"] == "operator"
    used = [body_of(line) for line in lines if line.name == "invoke mail.send"]
    assert {"kind": "approval", "scope": f"approval:{waits}"}.items() <= used[-2]["claims"][
        0
    ].items()


async def test_what_waits_can_be_read_by_the_person(kernel):
    waits = await asked(kernel, Deeds(), sending("a@example.org"))
    approval = kernel.approvals.get(waits[:26])
    assert await kernel.approvals.arguments(approval) == b'{"to":"a@example.org"}'


async def test_nobody_fills_the_list_of_questions(kernel):
    deeds = Deeds()
    await kernel.approvals.put_rule(RULE, by="operator")
    answers = [await tried(kernel, deeds, sending(f"{n}@example.org")) for n in range(110)]
    assert sum(1 for one in answers if one.approval) == 100
    assert "too many" in answers[-1].reason


@pytest.mark.parametrize(
    ("condition", "arguments", "waits"),
    [
        (Condition(pointer="/n", operator=Operator.MORE, value=10), {"n": 11}, True),
        (Condition(pointer="/n", operator=Operator.MORE, value=10), {"n": 10}, False),
        (Condition(pointer="/n", operator=Operator.MORE, value=10), {"n": "11"}, True),
        (Condition(pointer="/n", operator=Operator.LESS, value=0), {"n": -1}, True),
        (
            Condition(pointer="/p", operator=Operator.UNDER, value="/etc"),
            {"p": "/x/../etc/a"},
            True,
        ),
        (Condition(pointer="/p", operator=Operator.UNDER, value="/etc"), {"p": "/etcetera"}, False),
        (Condition(pointer="/a/0", operator=Operator.EQUAL, value="x"), {"a": ["x"]}, True),
        (Condition(pointer="/a~1b", operator=Operator.EXISTS), {"a/b": None}, True),
        (Condition(pointer="/to", operator=Operator.UNEQUAL, value="boss"), {}, True),
        (Condition(pointer="/to", operator=Operator.MATCHES, value="^a"), {"to": "b"}, False),
    ],
)
async def test_a_rule_may_ask_for_arguments(kernel, condition, arguments, waits):
    await kernel.approvals.put_rule(replace(RULE, conditions=(condition,)), by="operator")
    attempt = replace(sending(), arguments=encode(arguments))
    assert (await tried(kernel, Deeds(), attempt) is not None) is waits
