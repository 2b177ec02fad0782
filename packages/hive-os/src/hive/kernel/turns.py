"""Which turn runs in which sandbox, and the handle that stands for it.

A handle is constant for the life of a sandbox and resolved on every call: to the turn that runs there
now, or to nobody. It is worthless on any other sandbox's socket.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import anyio

from hive.core.call import Call, Principal, PrincipalKind, Refused, TraceContext
from hive.core.grant import Grant, Tier
from hive.core.ids import AgentId, CallId, OwnerId, SandboxId, TaskId, TurnId
from hive.core.randomness import Randomness
from hive.kernel.budgets import Payers
from hive.kernel.playback import Playback
from hive.kernel.replay import Rerun
from hive.security.capability.warrant import Warrant

HANDLE_PREFIX: Final = "hive-"
CHAIN_DEPTH_MAX: Final = 8


@dataclass(slots=True, kw_only=True)
class RunningTurn:
    """One turn while it runs: what its inner calls inherit, and `calls`, those under way.

    `ancestors` are the agents whose turns wait for this one, nearest last, `ancestor_tasks` their tasks. `rerun` serves recorded
    results after a crash, `playback` those of another run. `parked` is set when a *once* effect (`parked_call`) must not be
    repeated; from then on every inner call is refused. `rises` is the tier in which it begins again. Every inner call is held to `warrant`. `connections` are those of
    the `calls` that stay open to a host.
    """

    id: TurnId
    sandbox: SandboxId
    agent: AgentId
    owner: OwnerId
    task: TaskId
    call: CallId
    trace: TraceContext
    deadline: datetime
    grant: Grant
    ancestors: tuple[AgentId, ...] = ()
    ancestor_tasks: tuple[TaskId, ...] = ()
    rerun: Rerun | None = None
    playback: Playback | None = None
    warrant: Warrant | None = None
    parked: str = ""
    parked_call: CallId | None = None
    rises: Tier | None = None
    calls: set[anyio.CancelScope] = field(default_factory=set)
    connections: set[anyio.CancelScope] = field(default_factory=set)
    over: bool = False

    @property
    def payers(self) -> Payers:
        """Return whose budgets the turn's calls draw from."""
        return Payers(
            owner=self.owner,
            agents=(self.agent, *reversed(self.ancestors)),
            tasks=(self.task, *reversed(self.ancestor_tasks)),
        )

    @property
    def principal(self) -> Principal:
        """Return who calls from inside this turn."""
        return Principal(
            kind=PrincipalKind.AGENT,
            name=self.agent,
            owner=self.owner,
            agent=self.agent,
            sandbox=self.sandbox,
            turn=self.id,
        )


@dataclass(slots=True, kw_only=True)
class _Bound:
    handle: str
    agent: AgentId
    grant: Grant
    builds: bool = False
    serves: tuple[str, OwnerId] | None = None
    turn: RunningTurn | None = None
    strays: int = 0


@dataclass(slots=True)
class TurnBook:
    """The one place that knows which turn runs where."""

    randomness: Randomness
    _bound: dict[SandboxId, _Bound] = field(default_factory=dict)
    _turns: dict[TurnId, RunningTurn] = field(default_factory=dict)

    def bind(
        self,
        sandbox: SandboxId,
        agent: AgentId,
        grant: Grant,
        *,
        builds: bool = False,
        serves: tuple[str, OwnerId] | None = None,
    ) -> str:
        """Register a sandbox; return the handle that its agent finds in its environment.

        One that `builds` an environment has no turns, and goes out on the node's own behalf. One that
        `serves` tools has none either: it goes out under its own name, for whom it was started.
        """
        handle = HANDLE_PREFIX + self.randomness.token(24).hex()
        self._bound[sandbox] = _Bound(
            handle=handle, agent=agent, grant=grant, builds=builds, serves=serves
        )
        return handle

    def unbind(self, sandbox: SandboxId) -> None:
        """Forget a sandbox; its handle resolves to nothing from now on."""
        bound = self._bound.pop(sandbox, None)
        if bound is not None and bound.turn is not None:
            self._turns.pop(bound.turn.id, None)

    def begin(self, turn: RunningTurn) -> None:
        """Let a turn run; its sandbox has none at this moment."""
        self._bound[turn.sandbox].turn = turn
        self._turns[turn.id] = turn

    def end(self, turn: RunningTurn) -> None:
        """End a turn: its handle is worthless at once, and what it left under way is cut off."""
        self._turns.pop(turn.id, None)
        turn.over = True
        for scope in tuple(turn.calls):
            scope.cancel()
        bound = self._bound.get(turn.sandbox)
        if bound is not None and bound.turn is turn:
            bound.turn = None

    def hang_up(self, whose: Callable[[RunningTurn], bool]) -> None:
        """Cut the open connections of turns: one that was admitted must not outlive by an hour what admitted it."""
        for turn in tuple(self._turns.values()):
            if turn.connections and whose(turn):
                for scope in tuple(turn.connections):
                    scope.cancel()

    def strays(self, sandbox: SandboxId) -> int:
        """Return how often something inside called although no turn ran; such a sandbox is unclean."""
        bound = self._bound.get(sandbox)
        return 0 if bound is None else bound.strays

    def running(self, turn: TurnId | None) -> RunningTurn | None:
        """Return a running turn by its id."""
        return None if turn is None else self._turns.get(turn)

    def grant_of(self, principal: Principal) -> Grant | None:
        """Return the grant of the sandbox that a principal calls from."""
        bound = None if principal.sandbox is None else self._bound.get(principal.sandbox)
        return None if bound is None else bound.grant

    def whose(self, sandbox: SandboxId) -> tuple[AgentId, TaskId | None] | None:
        """Return the agent in a sandbox, and the task whose turn runs there."""
        bound = self._bound.get(sandbox)
        if bound is None:
            return None
        return bound.agent, None if bound.turn is None else bound.turn.task

    def handle_in(self, sandbox: SandboxId) -> str:
        """Return the handle of a sandbox; empty where there is none."""
        bound = self._bound.get(sandbox)
        return "" if bound is None else bound.handle

    def grant_in(self, sandbox: SandboxId) -> Grant | None:
        """Return the grant of a sandbox."""
        bound = self._bound.get(sandbox)
        return None if bound is None else bound.grant

    def builds_in(self, sandbox: SandboxId) -> bool:
        """Tell whether a sandbox builds an environment: its hosts are the operator's choice."""
        bound = self._bound.get(sandbox)
        return bound is not None and bound.builds

    def resolve(self, sandbox: SandboxId, handle: str) -> Principal | Refused:
        """Return who calls from this sandbox with this handle now."""
        bound = self._bound.get(sandbox)
        if bound is None or not hmac.compare_digest(
            bound.handle.encode(), handle.encode("utf-8", "replace")
        ):
            return Refused(check="identity", reason="this key is not valid on this socket")
        if bound.turn is None:
            bound.strays += 1
            return Refused(check="identity", reason="no turn is running, so this key means nobody")
        return bound.turn.principal

    def principal_without_turn(self, sandbox: SandboxId) -> Principal | Refused:
        """Return who is behind a sandbox's proxy socket: its running turn, a builder, or a tool server."""
        bound = self._bound.get(sandbox)
        if bound is None:
            return Refused(check="identity", reason="this socket belongs to no sandbox")
        if bound.turn is not None:
            return bound.turn.principal
        if bound.builds:
            return Principal(
                kind=PrincipalKind.AGENT,
                name=f"builder of {bound.agent}",
                owner=OwnerId("builder"),
                agent=bound.agent,
                sandbox=sandbox,
            )
        if bound.serves is not None:
            name, owner = bound.serves
            return Principal(
                kind=PrincipalKind.AGENT,
                name=f"tool:{name}",
                owner=owner,
                agent=bound.agent,
                sandbox=sandbox,
            )
        bound.strays += 1
        return Refused(check="identity", reason="no turn is running, so nobody may go out")

    def lineage(self, call: Call) -> tuple[AgentId, ...]:
        """Return the agents that wait above a call, its caller last."""
        turn = self.running(call.principal.turn)
        return () if turn is None else (*turn.ancestors, turn.agent)
