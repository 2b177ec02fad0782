"""The kernel's guard of a node: begun while the engines come up, its rules put up before any agent starts, and what it tells
written into the ledger.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from anyio import to_thread
from anyio.abc import TaskGroup

from hive.core.clock import Clock
from hive.core.errors import ConfigError, EngineError, LedgerError, TierUnavailableError
from hive.core.grant import Grant
from hive.core.ids import SandboxId, TaskId
from hive.core.json import Json
from hive.core.kernel_rules import KernelAct, KernelRule
from hive.core.settings import Settings
from hive.execution.enforcement import Enforcer, EnforcerStep, KernelEvent, KernelGuards
from hive.execution.enforcement.ladder import AUTO, described, take_step, taken
from hive.kernel.record import event
from hive.kernel.turns import TurnBook
from hive.ledger.writer import LedgerWriter
from hive.node.tiers import Tiers
from hive.security.kernel_policy import KernelPolicies

if TYPE_CHECKING:
    from hive.node.kernel_parts import Ground

log: Final = logging.getLogger(__name__)
FOLDER: Final = "kernel-policies"
HOUSE: Final = "the node's own secrets"
WRITTEN_MAX: Final = 20
WAITING_MAX: Final = 4096
COUNTED_MAX: Final = 4096
OPEN_TO_SANDBOXES: Final = frozenset(
    {"environments", "components", "builders", "sources", "bundles", "hidden-programs", "logs"}
)
HOST_SECRETS: Final = ("/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/sudoers.d")
HOST_KEYS: Final = ("/etc/ssh", "ssh_host_*_key")

Step = tuple[Enforcer | None, tuple[EnforcerStep, ...]]


class _Told(NamedTuple):
    """What was met, and whose it was."""

    met: KernelEvent
    agent: str
    task: TaskId | None


class Enforcement:
    """What the kernel holds for this node, and what it tells of it."""

    def __init__(self, turns: TurnBook, writer: LedgerWriter, clock: Clock, folder: Path) -> None:
        self.policies = KernelPolicies(folder)
        self.guards = KernelGuards(None)
        self.steps: tuple[EnforcerStep, ...] = ()
        self.house: tuple[KernelRule, ...] = ()
        self.told = 0
        self.observers: list[Callable[[KernelEvent], None]] = []
        self._turns = turns
        self._writer = writer
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Queue[_Told] = asyncio.Queue(WAITING_MAX)
        self._unwritten: Counter[tuple[SandboxId, str]] = Counter()

    @property
    def enforcer(self) -> Enforcer | None:
        """Return what holds the rules; None where the walls stand alone."""
        return self.guards.enforcer

    @property
    def taken(self) -> str:
        """Return the name of the step that was taken."""
        step = taken(self.steps)
        return "" if step is None else step.name

    def begin(self, step: Step) -> None:
        """Take over an enforcer, and read the policies.

        Raises:
            ConfigError: a policy in the state folder cannot be read any more.

        """
        enforcer, self.steps = step
        self.policies.load()
        self.guards = KernelGuards(
            enforcer,
            missing=described(self.steps),
            agent_in=self._agent_in,
            rules_of=self.policies.rules_of,
            met=self._met,
        )

    async def protect_house(self, state: Path) -> None:
        """Put up the rules of every sandbox, once all that they keep is there.

        Raises:
            SandboxError: the kernel does not take one.

        """
        if self.enforcer is not None:
            self.house = await to_thread.run_sync(house_rules, state)
            self.enforcer.protect(self.house)

    def rules_for(self, agent: str, grant: Grant) -> tuple[KernelRule, ...]:
        """Return every rule that stands for an agent: the house's, its grant's, and those of policies."""
        return (*self.house, *self.guards.rules_for(agent, grant))

    def objection_to(self, sandbox: SandboxId, address: str, port: int) -> str:
        """Return the name of the rule that refuses a sandbox a connection; one that kills ends the sandbox too."""
        return self.guards.connecting(
            sandbox, self._turns.grant_in(sandbox) or Grant(), address, port
        )

    async def run(self) -> None:
        """Write what was met; of one thing that is met again and again only the first times, then how often."""
        while True:
            await self._write(*await self._waiting.get())

    async def _write(self, met: KernelEvent, agent: str, task: TaskId | None) -> None:
        self.told += 1
        key = (met.sandbox, met.rule)
        if len(self._unwritten) >= COUNTED_MAX and key not in self._unwritten:
            self._unwritten.clear()
        self._unwritten[key] += 1
        count = self._unwritten[key]
        if count > WRITTEN_MAX and count & (count - 1):
            return
        body: dict[str, Json] = {
            "rule": met.rule,
            "act": str(met.act),
            "answer": str(met.answer),
            "what": met.what,
            "program": met.program,
            "pid": met.pid,
            "sandbox": str(met.sandbox),
            "time": count,
            "signal_after_us": round(met.taken_us, 1),
        }
        if task is not None:
            body["task"] = str(task)
        try:
            await self._writer.append(event("kernel.refused", body, clock=self._clock, agent=agent))
        except (EngineError, LedgerError):
            log.warning("kernel.refusal_not_written", extra=body)

    def _agent_in(self, sandbox: SandboxId) -> str:
        found = self._turns.whose(sandbox)
        return "" if found is None else found[0]

    def _met(self, met: KernelEvent) -> None:
        # Whose it was is asked at once: the turn may end before the node's loop hears of it.
        agent, task = self._turns.whose(met.sandbox) or ("", None)
        self._loop.call_soon_threadsafe(self._queue, _Told(met, agent, task))

    def _queue(self, told: "_Told") -> None:
        met = told.met
        for observe in tuple(self.observers):
            observe(met)
        try:
            self._waiting.put_nowait(told)
        except asyncio.QueueFull:
            log.warning("kernel.refusal_lost", extra={"rule": met.rule})


def begin_early(stack: AsyncExitStack, settings: Settings) -> "Future[Step]":
    """Begin the enforcer in a thread of its own: the kernel takes a moment to check it."""
    threads = ThreadPoolExecutor(1, thread_name_prefix="enforcer")
    future = threads.submit(take_step, settings.enforcer or AUTO)
    threads.shutdown(wait=False)

    def leave() -> None:
        if future.exception() is None and (held := future.result()[0]) is not None:
            held.__exit__()

    stack.callback(leave)
    return future


async def open_enforcement(
    tasks: TaskGroup, ground: "Ground", tiers: Tiers, step: "Future[Step]"
) -> Enforcement:
    """Put the kernel's guard of a node up.

    Raises:
        ConfigError: the setting is wrong, or a policy in the state folder cannot be read.
        TierUnavailableError: the enforcer that the setting names does not stand here.

    """
    folder = ground.settings.state / FOLDER
    enforcement = Enforcement(ground.turns, ground.writer, ground.clock, folder)
    enforcement.begin(await asyncio.wrap_future(step))
    tiers.guard(enforcement.guards)
    tasks.start_soon(enforcement.run)
    return enforcement


def house_rules(state: Path) -> tuple[KernelRule, ...]:
    """Return the rules of every sandbox: no process of one opens the node's own secrets, or the machine's."""
    own = [one for one in sorted(state.iterdir()) if one.name not in OPEN_TO_SANDBOXES]
    folder, pattern = HOST_KEYS
    machine = [Path(one) for one in HOST_SECRETS]
    machine += sorted(Path(folder).glob(pattern)) if Path(folder).is_dir() else []
    return tuple(
        KernelRule(name=HOUSE, act=KernelAct.OPEN, path=str(one), below=one.is_dir())
        for one in (*own, *machine)
        if one.is_file() or one.is_dir()
    )


def steps_alone(settings: Settings) -> tuple[EnforcerStep, ...]:
    """Tell which enforcer would stand on a machine where no node runs, by taking it for a moment."""
    try:
        enforcer, steps = take_step(settings.enforcer or AUTO)
    except (ConfigError, TierUnavailableError) as error:
        return (EnforcerStep(name=settings.enforcer, stands=False, detail=error.why),)
    if enforcer is not None:
        enforcer.__exit__()
    return steps
