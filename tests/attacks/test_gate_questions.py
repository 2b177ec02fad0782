"""What is asked about a call changes while it is judged: whoever gets the first answer must not use it for the second question.

A yes to a rule is none to what a check found later; an order that was canceled stays so; of two calls side by side
neither slips past what was read before; a new policy never judges by what an older one had asked for.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import anyio
import pytest

from hive.core.call import (
    Admitted,
    Claim,
    EffectClass,
    Obligation,
    ObligationKind,
    Principal,
    PrincipalKind,
    Refused,
    Verb,
)
from hive.core.clock import SystemClock
from hive.core.errors import StateError
from hive.core.grant import Grant
from hive.core.ids import AgentId, OwnerId, SandboxId, TaskId, TurnId
from hive.core.task import TaskState
from hive.engines import Migration, load_migrations
from hive.kernel.admission import CHECK_BROKE
from hive.kernel.approvals import ApprovalRule
from hive.kernel.policies import Policies
from hive.kernel.ports import Arguments, CallFacts, TaskQuery
from hive.kernel.scans import Scans
from hive.node.build import SCHEMAS
from hive.protocols.mcp.gateway.calling import ToolCall
from hive.protocols.mcp.gateway.deeds import ServerDoor
from hive.protocols.mcp.ports import Visitor
from hive.security.guardrails import RedactionWish, ScanReport
from hive.security.guardrails.ports import ScanFinding
from hive.security.policy import PolicyDecision
from hive.security.policy.related import RelationQuestion
from hive.security.relations import RelationDecision
from hive.security.watchdog import Breakers, Watch, shipped_rules
from hive.security.watchdog.breaker import OPEN_S
from tests.attacks.test_mcp_approval_replay import Deeds, sending, tried
from tests.kernel_rig import ALICE, Stage, running_kernel
from tests.unit.test_kernel_replay import CALL
from tests.warrant_play import Players
from tests.warrant_rig import invoke, under

pytestmark = pytest.mark.anyio
RULE = ApprovalRule(id="mail", target="mail.*", hold_s=0.0, note="mail leaves the house")
WAITING = replace(RULE, hold_s=60.0)
INSIDE = replace(
    CALL,
    principal=Principal(
        kind=PrincipalKind.AGENT,
        name="a",
        owner=OwnerId("o"),
        agent=AgentId("a"),
        sandbox=SandboxId("s"),
        turn=TurnId("t"),
    ),
    verb=Verb.INVOKE,
    effect=EffectClass.ONCE,
    task=TaskId("t"),
)


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


@pytest.fixture
async def kernel(database, tmp_path):
    async with running_kernel(database, tmp_path, Stage()) as made:
        yield made


class Demanding:
    """Asks for a person once a test says so, as labels do when a stranger's text came in."""

    name = "labels"
    why = ""

    def examine(self, _call, _facts) -> Obligation | None:
        if not self.why:
            return None
        return Obligation(kind=ObligationKind.APPROVAL, check=self.name, detail=self.why)


def demanding(kernel) -> Demanding:
    check = Demanding()
    admission = kernel.dispatcher._admission
    admission.checks = (*admission.checks, check)
    return check


async def waiting(kernel):
    """Return the next question that is put to a person."""
    asked, found = anyio.Event(), []

    def heard(approval) -> None:
        found.append(approval)
        asked.set()

    end = kernel.approvals.on_change(heard)
    with anyio.fail_after(60):
        await asked.wait()
    end()
    return found[0]


async def test_a_rule_hides_from_the_person_what_a_check_has_found(kernel):
    check, deeds = demanding(kernel), Deeds()
    await kernel.approvals.put_rule(RULE, by="operator")
    no = await tried(kernel, deeds, sending())
    await kernel.approvals.decide(no.approval, allow=True, by="operator")
    check.why = "a stranger's text steers it"
    again = await tried(kernel, deeds, sending())
    assert again.check == "approval"
    assert again.approval != no.approval
    assert deeds.done == 0
    asked = kernel.approvals.get(again.approval)
    assert asked.note == "mail leaves the house a stranger's text steers it"
    await kernel.approvals.decide(again.approval, allow=True, by="operator")
    assert await tried(kernel, deeds, sending()) is None
    assert deeds.done == 1


async def test_a_yes_counts_for_what_a_check_finds_while_the_person_thinks(kernel):
    check, deeds = demanding(kernel), Deeds()
    await kernel.approvals.put_rule(WAITING, by="operator")
    found: list[Refused | None] = []

    async def call() -> None:
        found.append(await tried(kernel, deeds, sending()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        question = await waiting(kernel)
        check.why = "a stranger's text steers it"
        await kernel.approvals.decide(question.id, allow=True, by="operator")
    assert deeds.done == 0
    assert "changed meanwhile" in found[0].reason
    check.why = ""
    assert await tried(kernel, deeds, sending()) is None, "the yes stands for what was asked"


async def test_a_call_that_goes_on_after_a_crash_passes_a_question_that_is_new(kernel):
    entrance = kernel.dispatcher._entrance
    call = replace(entrance.make(sending(), None), effect=EffectClass.IDEMPOTENT)
    assert isinstance(await entrance.judge_again(call, b"{}"), Admitted)
    await kernel.approvals.put_rule(RULE, by="operator")
    no = await entrance.judge_again(call, b"{}")
    assert isinstance(no, Refused)
    await kernel.approvals.decide(no.approval, allow=True, by="operator")
    assert isinstance(await entrance.judge_again(call, b"{}"), Admitted)
    assert isinstance(await entrance.judge_again(call, b"{}"), Refused), "a yes counts once"
    # What its first intent had asked a person for is not asked again.
    claim = Claim(kind="approval", scope="approval:x")
    kernel.dispatcher._admission._claims.restore_open(TaskId("t"), call.id, (claim,))
    assert isinstance(await entrance.judge_again(call, b"{}"), Admitted)


async def test_a_task_that_was_canceled_is_woken_by_an_answer_that_waited(database, tmp_path):
    players = Players()
    players.asks_back = True
    async with running_kernel(database, tmp_path, Stage(play=players.play)) as kernel:
        players.kernel = kernel
        await players.deploy("a", Grant())
        assert await players.send() == "input_required"
        [task] = (await kernel.dispatcher.tasks(ALICE, TaskQuery())).tasks
        rule = replace(WAITING, verb="send", target="a")
        await kernel.approvals.put_rule(rule, by="operator")

        async def goes_on() -> None:
            with pytest.raises(StateError):
                await players.send(task=task.id)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(goes_on)
            question = await waiting(kernel)
            await kernel.dispatcher.cancel(ALICE, task.id)
            await kernel.approvals.decide(question.id, allow=True, by="operator")
        assert (await kernel.dispatcher.task(ALICE, task.id)).state is TaskState.CANCELED


class Slow:
    """A scanner that looks for a while."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.go_on = anyio.Event()

    async def scan(self, text, direction, _source) -> ScanReport:
        if "orders" not in text or direction != "inward":
            return ScanReport()
        self.begun.set()
        await self.go_on.wait()
        return ScanReport(findings=(ScanFinding(kind="injection", start=0, end=1, score=0.9),))


def scans_of(scanner) -> Scans:
    scans = Scans(
        scanner=scanner, wish=RedactionWish.read(()), approve_above=0.5, handle_of=lambda _box: ""
    )
    turn = SimpleNamespace(task=INSIDE.task, ancestor_tasks=())
    scans.hear(INSIDE, [b"orders of a stranger"], turn)
    return scans


def asks(found) -> bool:
    return any(one.kind is ObligationKind.APPROVAL for one in found)


async def test_the_second_of_two_calls_slips_past_a_scan_of_the_first():
    scanner = Slow()
    scans = scans_of(scanner)
    found: list[bool] = []

    async def call() -> None:
        found.append(asks(await scans.examine(INSIDE, CallFacts(arguments=Arguments(b"{}")))))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await scanner.begun.wait()
        tasks.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        scanner.go_on.set()
    assert found == [True, True]


async def test_a_scan_that_is_cut_off_forgets_what_it_was_to_look_at():
    scanner = Slow()
    scans = scans_of(scanner)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scans.examine, INSIDE, CallFacts(arguments=Arguments(b"{}")))
        await scanner.begun.wait()
        tasks.cancel_scope.cancel()
    scanner.go_on.set()
    assert asks(await scans.examine(INSIDE, CallFacts(arguments=Arguments(b"{}"))))


class Swapped:
    """A policy that is replaced while relationships are looked up: the new one reads the arguments, the old one did not."""

    version = "old"

    def reads_arguments(self, _verb) -> bool:
        return self.version == "new"

    def relations(self, _verb, _target):
        return {"may": RelationQuestion(object="doc:x", relation="reader", subject="user:{owner}")}

    async def decide(self, question) -> PolicyDecision:
        secret = isinstance(question.arguments, dict) and "secret" in question.arguments
        return PolicyDecision(allow=not secret, version=self.version, reasons=("no secrets",))

    async def check(self, _asked, *, at="") -> RelationDecision:
        self.version = "new"
        return RelationDecision(allowed=True, revision=at or "1")


async def test_a_new_policy_judges_by_what_the_old_one_had_asked_for():
    policy = Swapped()
    policies = Policies(policy)
    policies.relations = policy
    found = await policies.examine(INSIDE, CallFacts(arguments=Arguments(b'{"secret": 1}')))
    assert isinstance(found, Refused)
    assert found.reason == "no secrets"


def refused_by_guard(reason: str):
    line = {"kind": "intent", "decision": "refused", "check": "guard", "agent": "a"}
    return {**line, "principal": "agent:a", "reason": reason}


async def test_a_guard_that_breaks_makes_agents_look_like_thieves():
    for reason, reactions in (
        ("a secret of this node stands in it, and none may leave", ["quarantine"]),
        (CHECK_BROKE, []),
    ):
        watch = Watch(shipped_rules())
        raised = [one for at in range(25) for one in watch.see(refused_by_guard(reason), at)]
        told = [one.rule.reaction.value for one in raised if one.rule.reaction.value != "open"]
        assert told == reactions
        assert bool(raised) is bool(reactions)


class Refusing:
    """Says no while a test says so."""

    name = "policy"
    says_no = True

    def examine(self, _call, _facts) -> Refused | None:
        return Refused(check=self.name, reason="no") if self.says_no else None


async def test_a_message_that_is_refused_takes_the_one_try_of_a_circuit(database, tmp_path):
    players = Players()
    async with running_kernel(database, tmp_path, Stage(play=players.play)) as kernel:
        players.kernel = kernel
        await players.deploy("a", Grant())
        circuits = kernel.guards.wardens.circuits = Breakers()
        circuits.open("a", SystemClock().monotonic() - OPEN_S, "a rule")
        refusing, admission = Refusing(), kernel.dispatcher._admission
        place = [one.name for one in admission.checks].index("policy")
        admission.checks = (*admission.checks[:place], refusing, *admission.checks[place:])
        assert await players.send() == "denied by policy: no"
        refusing.says_no = False
        # It is judged twice, before and after a person has said yes, and stays one try.
        rule = replace(RULE, verb="send", target="a", hold_s=60.0)
        await kernel.approvals.put_rule(rule, by="operator")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(allow_next, kernel)
            assert await players.send() == "completed"
        await kernel.approvals.remove_rule(rule.id, by="operator")
        assert "denied by circuit" in await players.send(), "the others wait for the try"


async def allow_next(kernel) -> None:
    await kernel.approvals.decide((await waiting(kernel)).id, allow=True, by="operator")


class Seen:
    """A gate that says no, and keeps what it was asked."""

    def __init__(self) -> None:
        self.attempts = []

    @asynccontextmanager
    async def deliver(self, attempt, _act) -> AsyncIterator[Refused]:
        self.attempts.append(attempt)
        yield Refused(check="test", reason="no")


async def test_a_tool_asks_for_a_secret_and_the_answer_is_no_argument():
    gate = Seen()
    definition = SimpleNamespace(
        name="order", server="shop", full_name="shop.order", digest="d", raw={}
    )
    spec = SimpleNamespace(effects={}, timeout_s=1.0, result_max_bytes=1000)
    call = ToolCall(
        visitor=Visitor(principal=ALICE),
        entry=SimpleNamespace(tool=SimpleNamespace(definition=definition, approved_by="")),
        server=SimpleNamespace(spec=spec),
        arguments={},
        canonical=b"{}",
        binding=SimpleNamespace(),
        answers={"key": {"action": "accept", "content": {"key": "sk-live-1"}}},
    )
    door = ServerDoor(SimpleNamespace(), gate)
    no = await door.ask(
        call.visitor, call.request(asking=False), None, look=lambda one: (one, True)
    )
    assert isinstance(no, Refused)
    assert b"sk-live-1" in gate.attempts[0].aside


@pytest.mark.parametrize(
    "name", ["path", "filePath", "filepath", "outputDir", "sourceURI", "rootPath", "file-name"]
)
async def test_a_path_goes_by_another_name(name):
    warrant = under("tool fs", "paths /work")
    assert invoke(warrant, "fs.read", {name: "/work/a b"}) is None
    assert invoke(warrant, "fs.read", {name: "private/x"}) is not None
    assert invoke(warrant, "fs.read", {name: "/etc/a b"}) is not None
    assert invoke(warrant, "fs.read", {"profile": "see private/x"}) is None
