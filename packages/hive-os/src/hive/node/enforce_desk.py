"""The kernel's guard as the operator sees and commands it."""

import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from hive.core.errors import NotFoundError, PolicyError, SandboxError, TierUnavailableError
from hive.core.grant import Limits, PathRule
from hive.core.ids import AgentId, SandboxId, printable
from hive.core.json import Json
from hive.core.kernel_rules import KernelAct, KernelRule
from hive.execution.enforcement import KernelEvent
from hive.execution.enforcement.ladder import described
from hive.execution.enforcement.rows import rows_of
from hive.execution.ports import Opening, SandboxDriver
from hive.kernel.ports import Agents
from hive.node.enforcing import Enforcement
from hive.security.kernel_policy import KeptPolicy, read_policies
from hive.web.enforce import (
    EnforceDesk,
    EnforceStatus,
    EnforceStep,
    EnforceTrial,
    KernelPolicyLine,
    KernelPolicyOrder,
    KernelRuleLine,
)

TRIAL: Final = "hive enforce test"
TRIAL_TIMEOUT_S: Final = 10.0
AFTER_S: Final = 0.05
TOLD_WITHIN_S: Final = 1.0
BAIT: Final = "this must not be read"
_MEMORY_BYTES: Final = 64 << 20


class NodeEnforce(EnforceDesk):
    """The kernel's guard of one node; `note` writes an event."""

    def __init__(
        self,
        enforcement: Enforcement,
        *,
        agents: Agents,
        builder: SandboxDriver,
        note: Callable[[str, dict[str, Json]], Awaitable[None]],
    ) -> None:
        self._enforcement = enforcement
        self._agents = agents
        self._builder = builder
        self._note = note
        self._one = anyio.Lock()

    async def status(self) -> EnforceStatus:
        """Tell what guards."""
        held = self._enforcement
        enforcer = held.enforcer
        return EnforceStatus(
            enforcer=held.taken,
            steps=tuple(
                EnforceStep(name=one.name, stands=one.stands, detail=one.detail)
                for one in held.steps
            ),
            sandboxes=len(held.guards),
            met=held.told,
            lost=0 if enforcer is None else enforcer.lost,
            house_rules=len(held.house),
            policies=tuple(map(policy_line, held.policies.all())),
        )

    async def explain(self, agent: str) -> Sequence[KernelRuleLine]:
        """Tell which rules stand for an agent."""
        view = self._agents.get(AgentId(agent))
        if view is None:
            raise NotFoundError(
                f"There is no agent {printable(agent[:80])!r}.", fix="See `hive ps`."
            )
        return [rule_line(rule) for rule in self._enforcement.rules_for(agent, view.grant)]

    async def put(self, order: KernelPolicyOrder) -> Sequence[KernelPolicyLine]:
        """Let a policy file stand, for live sandboxes too."""
        async with self._one:
            for one in read_policies(order.data):
                _fits(one.kernel)
            read = await to_thread.run_sync(self._enforcement.policies.put, order.name, order.data)
            await to_thread.run_sync(self._enforcement.guards.changed)
        await self._note(
            "kernel.policy_put",
            {"file": order.name, "policies": [one.name for one in read]},
        )
        return [policy_line(KeptPolicy(file=order.name, policy=one)) for one in read]

    async def drop(self, name: str) -> None:
        """Let a policy file stand no longer."""
        async with self._one:
            gone = await to_thread.run_sync(self._enforcement.policies.drop, name)
            await to_thread.run_sync(self._enforcement.guards.changed)
        await self._note(
            "kernel.policy_dropped",
            {"file": name, "policies": [one.name for one in gone]},
        )

    async def trial(self) -> EnforceTrial:
        """Let a sandbox open a bait: a rule for it is put up, and taken down afterwards."""
        enforcer, house = self._enforcement.enforcer, self._enforcement.house
        if enforcer is None:
            raise TierUnavailableError(
                "Nothing enforces rules in the kernel here.",
                why=described(self._enforcement.steps),
                fix="hive enforce status",
            )
        met: list[KernelEvent] = []
        seen = anyio.Event()

        def observe(event: KernelEvent) -> None:
            if event.rule == TRIAL:
                met.append(event)
                seen.set()

        async with self._one:
            with tempfile.TemporaryDirectory(prefix="hive-bait-") as folder:
                bait = await to_thread.run_sync(_laid_out, folder)
                rule = KernelRule(name=TRIAL, act=KernelAct.OPEN, path=str(bait))
                self._enforcement.observers.append(observe)
                try:
                    enforcer.protect((*house, rule))
                    killed, printed = await self._opens(folder)
                    with anyio.move_on_after(TOLD_WITHIN_S):
                        await seen.wait()
                finally:
                    self._enforcement.observers.remove(observe)
                    enforcer.protect(house)
        told = met[0] if met else None
        return EnforceTrial(
            enforcer=self._enforcement.taken,
            killed=killed,
            printed=printed,
            told=told is not None,
            signal_after_us=0.0 if told is None else round(told.taken_us, 1),
            what="" if told is None else told.what,
        )

    async def _opens(self, folder: str) -> tuple[bool, str]:
        """Let `cat` read the bait in a sandbox; return whether it was killed, and what it printed."""
        with tempfile.TemporaryDirectory(prefix="hive-bait-") as gate:
            opening = Opening(
                sandbox_id=SandboxId("enforce-trial"), gate_directory=gate, environment={}
            )
            async with self._builder.open(
                ["/bin/cat", "/bait/bait"],
                mounts=[PathRule(host=folder, inside="/bait")],
                opening=opening,
                limits=Limits(memory_bytes=_MEMORY_BYTES),
                on_line=lambda _line: None,
            ) as streams:
                printed = b""
                with anyio.move_on_after(TRIAL_TIMEOUT_S), contextlib.suppress(anyio.EndOfStream):
                    while True:
                        printed += await streams.receive()
                await anyio.sleep(AFTER_S)
                return streams.refused != "", printed.decode("utf-8", "replace")


def _laid_out(folder: str) -> Path:
    """Write the bait where every user may read it."""
    Path(folder).chmod(0o711)
    bait = Path(folder, "bait")
    bait.write_text(BAIT)
    bait.chmod(0o644)
    return bait


def policy_line(kept: KeptPolicy) -> KernelPolicyLine:
    """Return a policy as people see it."""
    policy = kept.policy
    return KernelPolicyLine(
        file=kept.file,
        name=policy.name,
        kind=policy.kind,
        agents=policy.agents.text,
        rules=len(policy.kernel),
        notes=policy.notes,
    )


def rule_line(rule: KernelRule) -> KernelRuleLine:
    """Return a rule as people see it."""
    what = f"{rule.path}{'/**' if rule.below and rule.path != '/' else ''}" or rule.syscall
    if rule.act is KernelAct.CONNECT:
        ports = ",".join(map(str, rule.ports)) or "any port"
        what = f"{'/'.join(rule.protocols) or 'tcp/udp'} {rule.network or 'anywhere'} {ports}"
    programs = ", ".join(rule.programs)
    return KernelRuleLine(
        rule=rule.name,
        act=str(rule.act),
        answer=str(rule.answer),
        what=what,
        programs=f"all but {programs}" if rule.besides else programs,
    )


def _fits(rules: Sequence[KernelRule]) -> None:
    """Try whether rules can be said to the kernel at all. Raises PolicyError."""
    try:
        rows_of(tuple(enumerate(rules, start=1)), 1, "")
    except SandboxError as error:
        raise PolicyError("The policy cannot be enforced.", why=error.why, fix=error.fix) from error
