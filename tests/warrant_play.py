"""Agents on a stage that use tools, hosts and each other as they are told, whatever they are told."""

from collections.abc import AsyncIterator
from dataclasses import replace

import anyio

from hive.core.call import EffectClass, Outcome, Principal, Refused, Verb
from hive.core.clock import SystemClock
from hive.core.grant import Grant
from hive.core.ids import AgentId
from hive.core.json import Json, encode
from hive.core.spec import AgentSpec, EntryPoint, StartKind
from hive.core.task import Role
from hive.execution.ports import GuestEvent, InputNeeded, Turn, TurnDone
from hive.kernel.ports import Attempt
from hive.security.capability import Warrant, WarrantBook
from hive.security.capability.drivers import WARRANTS
from hive.security.capability.ports import WarrantOpening
from tests.kernel_rig import ALICE, OPERATOR, StagedSandbox, said

Step = tuple[str, str, Json]
"""What an agent does: `invoke`, `ask`, `reach` or `send`, of what, with which arguments."""
DENIED = "denied by warrant"


class Players:
    """Plays every agent: each has a list of steps, and `heard` is what it was answered."""

    def __init__(self) -> None:
        self.kernel = None
        self.steps: dict[str, list[Step]] = {}
        self.heard: list[str] = []
        self.done: list[str] = []
        self.before_last: anyio.Event | None = None
        self.reached = anyio.Event()
        self.asks_back = False

    async def play(self, sandbox: StagedSandbox, turn: Turn) -> AsyncIterator[GuestEvent]:
        principal = self.kernel.dispatcher.resolve_handle(sandbox.id, sandbox.handle)
        steps = self.steps.get(principal.agent, [])
        for number, step in enumerate(steps):
            if number == len(steps) - 1 and self.before_last is not None:
                self.reached.set()
                await self.before_last.wait()
            self.heard.append(f"{principal.agent}: {await self.take(principal, step)}")
        if self.asks_back:
            yield InputNeeded(message=said("more?"))
        else:
            yield TurnDone(message=said("done"))

    async def take(
        self, principal: Principal, step: Step, *, warrant: Warrant | None = None
    ) -> str:
        verb, target, arguments = step
        if verb == "send":
            return await self.send(principal, target)
        attempt = Attempt(
            principal=principal,
            verb=Verb(verb),
            target=target,
            effect=EffectClass.ONCE,
            arguments=encode(arguments),
            warrant=warrant,
        )

        async def act() -> AsyncIterator[bytes]:
            self.done.append(f"{verb} {target}")
            yield b"{}"

        async with self.kernel.dispatcher.deliver(attempt, act) as passage:
            if isinstance(passage, Refused):
                return f"denied by {passage.check}: {passage.reason}"
            async for _ in passage:
                pass
            passage.settle(Outcome.OK)
        return "ok"

    async def send(
        self,
        principal: Principal = ALICE,
        to: str = "a",
        *,
        task: str | None = None,
        warrant: Warrant | None = None,
    ) -> str:
        message = said("go", Role.USER)
        attempt = Attempt(
            principal=principal,
            verb=Verb.SEND,
            target=to,
            effect=EffectClass.IDEMPOTENT,
            arguments=encode({"message": message.id}),
            warrant=warrant,
        )
        message = replace(message, task_id=task)
        sent = await self.kernel.dispatcher.send(attempt, AgentId(to), message)
        if isinstance(sent, Refused):
            return f"denied by {sent.check}: {sent.reason}"
        with anyio.fail_after(60):
            settled = await sent.settled()
        return settled.state.value

    async def deploy(self, name: str, grant: Grant, *steps: Step) -> None:
        spec = AgentSpec(
            name=AgentId(name), entry=EntryPoint(kind=StartKind.PYTHON, path="x.py", attribute="f")
        )
        self.steps[name] = list(steps)
        await self.kernel.supervisor.deploy(OPERATOR, spec, grant)


class Noted:
    """What was written down about warrants."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Json]]] = []

    async def __call__(self, name, body, **_where) -> None:
        self.lines.append((name, body))


def book_on(database, *, root: bytes = b"r" * 32, noted: Noted | None = None) -> WarrantBook:
    opening = WarrantOpening(url="tenuo:", root=root, clock=SystemClock())
    engine = WARRANTS.load("tenuo:").open(opening)
    return WarrantBook(database=database, engine=engine, clock=SystemClock(), emit=noted or Noted())
