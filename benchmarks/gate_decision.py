"""What the whole chain of checks costs a call of a tool: processor time, one thread, nothing but the gate.

An agent three agents deep calls a tool that sends mail, after it has read foreign text: limits, identity, schema, grant,
quarantine, a warrant of depth three with a condition on the call, a policy of a hundred rules, labels, the guard with known
secrets, lineage, readiness, then the claims. Beside it Microsoft's agent-governance toolkit with the same hundred rules,
which is a part of that alone (`policy_decision` compares like with like).
"""

import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import anyio

from benchmarks.policy_decision import PEER_IS, hundred, toolkit
from hive.core.allow_rules import AllowRule
from hive.core.call import Admitted, Call, Decision, EffectClass, Refused, TraceContext, Verb
from hive.core.clock import SystemClock
from hive.core.grant import Grant
from hive.core.ids import (
    AgentId,
    CallId,
    ContextId,
    OwnerId,
    SandboxId,
    SpanId,
    TaskId,
    TraceId,
    TurnId,
)
from hive.core.json import Json, encode
from hive.core.randomness import SystemRandomness
from hive.core.settings import Settings
from hive.kernel.admission import Admission
from hive.kernel.budgets import Budgets
from hive.kernel.calls import CallMaker
from hive.kernel.claims import ClaimBook
from hive.kernel.flows import Flows
from hive.kernel.policies import Policies
from hive.kernel.ports import Arguments, Attempt, CallFacts
from hive.kernel.scans import Scans
from hive.kernel.turns import RunningTurn
from hive.kernel.wardens import Wardens
from hive.kernel.warrants import TaskWarrants
from hive.node.conditions import ceiling_of
from hive.node.guard import opened_scanner
from hive.node.kernel_parts import Guards
from hive.security.capability import EVERYTHING, TaskOrder, Warrant, warrant_for_task
from hive.security.guardrails import KnownValues, RedactionWish
from hive.security.labels import FlowBook
from hive.security.policy import StandingPolicy

NAME: Final = "gate_decision"
SUMMARY: Final = "Processor time of the whole chain of checks for a call of a tool"
UNIT: Final = "us"
BATCHES: Final = 25
CALLS: Final = 100
TOOL: Final = "mail.send"
ARGUMENTS: Final[Json] = {
    "to": ["bob@example.org"],
    "subject": "the numbers",
    "body": "As agreed, the numbers of the third quarter. " * 5,
    "amount": 5,
}
USER: Final = "Please send bob@example.org the numbers of the third quarter."
READ: Final = "A page about the third quarter, with words that somebody else wrote. " * 40
ROWS: Final[Json] = [
    {"id": f"r{number}", "name": f"Person {number}", "email": f"person{number}@example.org"}
    for number in range(50)
]
SECRETS: Final = {
    f"secret {number}": f"sk-live-{number:04}-{'abcdef0123' * 3}" for number in range(20)
}


def run() -> dict[str, Any]:
    """Measure; return the figures."""
    return anyio.run(_run)


async def _run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(state_dir=str(Path(folder) / "state"), requests_per_s=10_000_000)
        async with opened_scanner(settings, SystemClock()) as scanner:
            policy = await hundred_rules(settings)
            guards = all_guards(settings, policy, scanner)
            gate = WholeGate(settings, guards)
            cold = await _measured(gate.ask, batches=1, calls=1)
            whole = await _measured(gate.ask)
            parts = {f"{check.name}_us": await gate.part(check) for check in gate.admission.checks}
            await policy.aclose()
        peer = toolkit(Path(folder) / "toolkit")
    ordered = sorted(whole)
    return {
        "value": statistics.median(whole),
        "percentiles": {"p10": ordered[len(ordered) // 10], "p90": ordered[len(ordered) * 9 // 10]},
        "peer": peer,
        "peer_is": PEER_IS,
        "details": {"cold_us": cold[0], **parts},
    }


class WholeGate:
    """Admission over the real checks, with one turn that runs."""

    def __init__(self, settings: Settings, guards: Guards) -> None:
        clock = SystemClock()
        self._arguments = encode(ARGUMENTS)
        self._turn = _turn()
        self._maker = CallMaker(clock, SystemRandomness(), lambda _arguments: "ab" * 32)
        self.admission = Admission(
            settings=settings,
            clock=clock,
            claims=ClaimBook(clock),
            budgets=Budgets(),
            facts=self._facts,
            inquiries=guards.inquiries,
        )

    async def ask(self) -> None:
        """Make a call and admit it; its claims are given back."""
        decision = await self.decide()
        if not isinstance(decision, Admitted):
            raise TypeError(f"the call of this benchmark was not admitted: {decision}")

    async def decide(self) -> Decision:
        """Make a call and tell what becomes of it; its claims are given back."""
        decision = await self.admission.admit(self._call(), self._arguments)
        if isinstance(decision, Admitted):
            self.admission.give_back(decision)
        return decision

    async def part(self, check: Any) -> float:
        """Return what one check costs."""
        call = self._call()

        async def one() -> None:
            found = check.examine(call, self._facts(call, self._arguments))
            if isinstance(found, Awaitable):
                await found

        return statistics.median(await _measured(one))

    def _call(self) -> Call:
        attempt = Attempt(
            principal=self._turn.principal,
            verb=Verb.INVOKE,
            target=TOOL,
            effect=EffectClass.ONCE,
            arguments=self._arguments,
            size_bytes=len(self._arguments),
            facts={"server": "mail", "tool": "send", "definition": "cd" * 32},
        )
        return self._maker.make(attempt, self._turn)

    def _facts(self, call: Call, arguments: bytes) -> CallFacts:
        del call
        return CallFacts(
            grant=self._turn.grant,
            payers=self._turn.payers,
            arguments=Arguments(arguments),
            warrant=self._turn.warrant,
        )


async def hundred_rules(settings: Settings) -> StandingPolicy:
    """Open a policy of a hundred rules."""

    async def emit(name: str, body: dict[str, Json]) -> None:
        del name, body

    policy = StandingPolicy(settings=settings, clock=SystemClock(), emit=emit)
    await policy.open()
    await policy.load(hundred().archive(), by="benchmark")
    return policy


def all_guards(settings: Settings, policy: StandingPolicy, scanner: Any) -> Guards:
    """Return every check of the layers, with what the agent has read and the secrets of the node."""
    clock = SystemClock()
    book = FlowBook()
    book.open(
        TaskId("t2"), sandbox=SandboxId("s"), context=ContextId("c"), words=USER, trusted=True
    )
    book.hear(TaskId("t2"), "web.read_page", READ)
    book.hear(TaskId("t2"), "people.list", ROWS)
    scans = Scans(
        scanner=scanner,
        wish=RedactionWish.read(settings.guard_redact),
        approve_above=settings.guard_approve_above,
        handle_of=lambda _sandbox: "h" * 32,
    )
    known = KnownValues(SECRETS)

    async def current() -> KnownValues:
        return known

    scans.known = current
    return Guards(
        wardens=Wardens(clock),
        warrants=TaskWarrants(
            clock=clock,
            randomness=SystemRandomness(),
            ceiling=ceiling_of(settings),
            ttl_s=settings.warrant_ttl_s,
        ),
        policies=Policies(policy),
        flows=Flows(book),
        scans=scans,
    )


def _turn() -> RunningTurn:
    clock = SystemClock()
    warrant: Warrant | None = None
    for depth, most in enumerate((100, 50, 20)):
        grant = _grant(most)
        order = TaskOrder(
            id=f"w{depth}",
            task=TaskId(f"t{depth}"),
            agent=AgentId(f"a{depth}"),
            at=clock.now(),
            deadline=clock.now() + timedelta(days=1),
        )
        made = warrant_for_task(grant, warrant, EVERYTHING, order)
        if isinstance(made, Refused):
            raise TypeError(made.reason)
        warrant = made
    if warrant is None or len(warrant.links) != 3:
        raise TypeError("the warrant has not the depth of this benchmark")
    return RunningTurn(
        id=TurnId("turn"),
        sandbox=SandboxId("s"),
        agent=AgentId("a2"),
        owner=OwnerId("alice"),
        task=TaskId("t2"),
        call=CallId("019a0000-0000-7000-8000-000000000000"),
        trace=TraceContext(trace_id=TraceId("ab" * 16), span_id=SpanId("cd" * 8)),
        deadline=clock.now() + timedelta(days=1),
        grant=_grant(20),
        ancestors=(AgentId("a0"), AgentId("a1")),
        ancestor_tasks=(TaskId("t0"), TaskId("t1")),
        warrant=warrant,
    )


def _grant(most: int) -> Grant:
    rule = AllowRule(
        kind="tool", name=TOOL, arguments=(("amount", f"range:0..{most}"), ("*", "any"))
    )
    return Grant(tools=("mail.*",), models=("*",), agents=("*",), rules=(rule,))


async def _measured(
    one: Callable[[], Awaitable[None]], *, batches: int = BATCHES, calls: int = CALLS
) -> list[float]:
    """Return the processor time of one call in microseconds, batch by batch; the first batch warms up."""
    found = []
    for batch in range(batches + (batches > 1)):
        began = time.process_time_ns()
        for _ in range(calls):
            await one()
        if batch or batches == 1:
            found.append((time.process_time_ns() - began) / calls / 1000)
    return found
