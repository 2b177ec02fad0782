"""A console for tests of the operator's doors: answers from memory, and records what it was told.

It stands in for a whole node, so it keeps the port's promises: streams end, unknown names raise
NotFoundError, and followers are woken by `say` and `append`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final, TypeVar

import anyio

from hive.core.call import Principal, PrincipalKind
from hive.core.errors import NotFoundError, SpecError
from hive.security.roles import OPERATOR, OperatorRole, OperatorSeat
from hive.web.values import (
    AgentStatus,
    AuditRecord,
    AuditVerdict,
    BackupDone,
    CallEvent,
    CallOrder,
    ChainVerdict,
    DeployOrder,
    DeployPlan,
    DeployStep,
    EngineStatus,
    Examination,
    Finding,
    LogRecord,
    NodeFacts,
    NodeStatus,
    ParkedTask,
    Piece,
    Product,
    Readiness,
    TaskFilter,
    TaskReport,
    TaskSummaries,
    TaskSummary,
    TokenIssued,
    TokenOrder,
    TokenSummary,
    TracedStep,
    TraceTree,
    WallStatus,
)

LineT = TypeVar("LineT")
MOMENT: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TOKEN: Final = "the-operators-token"  # noqa: S105  a test's own
ROLE_WORD: Final = "as"
WALLS: Final = [
    WallStatus(name="namespaces", stands=True, detail="unshared six, saw none of the host"),
    WallStatus(name="no-network", stands=True, detail="connect: network is unreachable"),
]


class MemoryConsole:
    """One node's console, in memory."""

    def __init__(self, *, ready: bool = True) -> None:
        self.ready = ready
        self.hosted: dict[str, AgentStatus] = {}
        self.reports: dict[str, TaskReport] = {}
        self.entries: list[AuditRecord] = []
        self.lines: list[LogRecord] = []
        self.orders: list[DeployOrder | CallOrder] = []
        self.agreed: set[str] = set()
        self.traces: dict[str, TraceTree] = {}
        self.first_bad: int | None = None
        self.degraded: list[str] = []
        self.stopping = False
        self.answers: dict[str, list[CallEvent]] = {}
        self._tokens: dict[str, TokenSummary] = {}
        self._news = anyio.Event()

    def readiness(self) -> Readiness:
        """Tell which doors are open."""
        return Readiness(ready=self.ready, doors={"a2a": self.ready, "operator": True})

    def facts(self) -> NodeFacts:
        """Tell what every stranger may know."""
        return NodeFacts(
            version="0.1.0", node_id="node-1", public_key="cHVibGlj", doors={"a2a": "/a2a"}
        )

    async def is_operator(self, token: str) -> bool:
        """Compare a presented token."""
        return token == TOKEN

    async def operator_seat(self, token: str) -> OperatorSeat | None:
        """Give the token's seat: the operator's own, or `role NAME` for a role's."""
        if token == TOKEN:
            return OperatorSeat(principal=OPERATOR, role=OperatorRole.ADMIN)
        word, _, role = token.partition(" ")
        if word != ROLE_WORD or role not in set(OperatorRole):
            return None
        principal = Principal(
            kind=PrincipalKind.OPERATOR, name=f"some-{role}", owner=OPERATOR.owner
        )
        return OperatorSeat(principal=principal, role=OperatorRole(role))

    async def status(self) -> NodeStatus:
        """Describe the node."""
        engine = EngineStatus(
            port="database",
            engine="postgres",
            version="18.4",
            embedded=True,
            detail="on its socket",
        )
        return NodeStatus(
            version="0.1.0",
            node_id="node-1",
            mode="development",
            pid=4121,
            address="http://127.0.0.1:8700",
            state_dir="/state",
            started_at=MOMENT,
            ready=self.ready,
            ready_ms=910.0,
            doors=self.readiness().doors,
            engines=[engine],
            walls=WALLS,
            tier="process",
            agents=len(self.hosted),
            tasks_open=0,
            ledger_entries=len(self.entries),
            degraded=self.degraded,
        )

    async def agents(self) -> Sequence[AgentStatus]:
        """List the agents, by name."""
        return [self.hosted[name] for name in sorted(self.hosted)]

    async def agent(self, name: str) -> AgentStatus:
        """Describe one agent."""
        return self._hosted(name)

    async def plan(self, order: DeployOrder) -> DeployPlan:
        """Tell what deploying would grant."""
        if "missing" in order.source:
            raise SpecError("There is no such source.", why=order.source, fix="Name a file.")
        lines = [f"reads {mount}" for mount in order.mounts]
        digest = f"digest-of-{order.source}-{len(lines)}"
        return DeployPlan(
            name=order.name or "my-agent",
            found='a function "agent"',
            lines=lines,
            safe_lines=["its own folder, read-only"],
            digest=digest,
            agreed=digest in self.agreed,
        )

    async def deploy(self, order: DeployOrder) -> AsyncIterator[DeployStep]:
        """Deploy, step by step."""
        self.orders.append(order)
        if order.confirmed:
            self.agreed.add(order.confirmed)
        name = order.name or "my-agent"
        yield DeployStep(stage="progress", text="installing")
        yield DeployStep(stage="found", text='a function "agent"', agent=name)
        yield DeployStep(stage="card", text=f"http://127.0.0.1:8700/a2a/{name}", agent=name)
        self.hosted[name] = AgentStatus(
            name=name, state="ready", tier="process", walls=WALLS, source=order.source
        )
        yield DeployStep(stage="ready", text="ready", took_ms=400.0, agent=name)

    async def start(self, name: str) -> AgentStatus:
        """Start a stopped agent."""
        return self._hosted(name)

    async def stop(self, name: str, *, drain_s: float = 0.0) -> None:
        """Stop an agent."""
        self._hosted(name)

    async def remove(self, name: str) -> None:
        """Forget an agent."""
        del self.hosted[self._hosted(name).name]

    async def tasks(self, query: TaskFilter) -> TaskSummaries:
        """List tasks, newest first."""
        found = [
            report.summary
            for report in reversed(self.reports.values())
            if query.agent in ("", report.summary.agent)
        ]
        return TaskSummaries(tasks=found[: query.limit], total=len(found))

    async def task(self, task_id: str) -> TaskReport:
        """Return one task whole."""
        if task_id not in self.reports:
            raise NotFoundError("There is no such task.")
        return self.reports[task_id]

    async def parked(self) -> Sequence[ParkedTask]:
        """List nothing: the fake repeats no effect."""
        return ()

    async def decide(self, task_id: str, *, repeat: bool) -> TaskSummary:
        """Find nothing to decide."""
        raise NotFoundError(f"No task {task_id!r} is parked.", why=f"repeat={repeat}")

    async def cancel(self, task_id: str) -> TaskSummary:
        """Cancel a task."""
        return (await self.task(task_id)).summary

    async def call(self, name: str, order: CallOrder) -> AsyncIterator[CallEvent]:
        """Answer with what was scripted for this agent, else with the text in capitals."""
        self._hosted(name)
        self.orders.append(order)
        if name in self.answers:
            for event in self.answers[name]:
                yield event
            return
        text = (order.pieces[0].text or "").upper()
        task = f"task-{len(self.reports) + 1}"
        self._keep(name, task, asked=order.pieces[0].text or "", answer=text)
        yield CallEvent(kind="task", task_id=task, context_id="context-1", state="working")
        product = Product(id="artifact-1", pieces=[Piece(text=text)])
        yield CallEvent(kind="artifact", task_id=task, text=text, product=product)
        yield CallEvent(kind="status", task_id=task, state="completed")

    @asynccontextmanager
    async def logs(
        self, name: str, *, last: int, follow: bool
    ) -> AsyncIterator[AsyncIterator[LogRecord]]:
        """Read what agents printed."""
        if name:
            self._hosted(name)
        kept = [line for line in self.lines if name in ("", line.agent)]
        yield self._stream(kept[len(kept) - last :] if last else [], self.lines, follow=follow)

    async def trace(self, task_id: str) -> TraceTree:
        """Return a trace that was put in."""
        if task_id and task_id not in self.traces:
            raise NotFoundError("There is no such trace.")
        if not self.traces:
            raise NotFoundError("Nothing is on record yet.", fix="hive run ./my_agent.py:agent")
        return self.traces[task_id] if task_id else list(self.traces.values())[-1]

    async def audit_verify(self) -> AuditVerdict:
        """Return the verdict that a test chose."""
        ok = self.first_bad is None
        chain = ChainVerdict(
            chain="node-1/1",
            entries=len(self.entries),
            head="ab" * 32,
            ok=ok,
            first_bad=self.first_bad,
            reason="" if ok else "it does not hash to its successor",
        )
        return AuditVerdict(ok=ok, entries=len(self.entries), chains=[chain])

    @asynccontextmanager
    async def audit_tail(
        self, *, last: int, follow: bool
    ) -> AsyncIterator[AsyncIterator[AuditRecord]]:
        """Read the newest entries."""
        kept = self.entries[-last:] if last else list(self.entries)
        yield self._stream(kept, self.entries, follow=follow)

    async def doctor(self) -> Examination:
        """Return one finding of each kind."""
        good = Finding(section="engines", name="database", state="ok", detail="postgres 18.4")
        weak = Finding(
            section="models",
            name="models",
            state="degraded",
            detail="no upstream",
            fix="set HIVE_MODELS",
        )
        return Examination(findings=[good, weak])

    async def backup(self, path: str) -> BackupDone:
        """Pretend no file: only tell what would be told."""
        return BackupDone(path=path, size_bytes=1 << 20, sha256="cd" * 32, entries=3, verified=True)

    async def shutdown(self) -> None:
        """Begin to stop."""
        self.stopping = True

    async def issue_token(self, order: TokenOrder) -> TokenIssued:
        """Make a token."""
        summary = TokenSummary(
            id=f"token-{len(self._tokens) + 1}",
            owner=order.owner,
            agents=order.agents,
            created_at=MOMENT,
        )
        self._tokens[summary.id] = summary
        return TokenIssued(token=f"secret-of-{summary.id}", summary=summary)

    async def list_tokens(self) -> Sequence[TokenSummary]:
        """List the tokens."""
        return list(self._tokens.values())

    async def revoke_token(self, token_id: str) -> None:
        """End a token."""
        if token_id not in self._tokens:
            raise NotFoundError("There is no such token.")
        del self._tokens[token_id]

    def say(self, line: LogRecord) -> None:
        """Let an agent print a line; wakes who follows."""
        self.lines.append(line)
        self._wake()

    def append(self, entry: AuditRecord) -> None:
        """Put an entry into the ledger; wakes who follows."""
        self.entries.append(entry)
        self._wake()

    def trace_of(self, task_id: str, *steps: TracedStep, agent: str = "my-agent") -> None:
        """Put a trace on record."""
        self.traces[task_id] = TraceTree(
            trace_id="0" * 32,
            task_id=task_id,
            agent=agent,
            state="completed",
            started_at=MOMENT,
            duration_ms=12.0,
            steps=list(steps),
        )

    def _hosted(self, name: str) -> AgentStatus:
        if name not in self.hosted:
            raise NotFoundError("There is no such agent.", fix="hive ps")
        return self.hosted[name]

    def _keep(self, agent: str, task: str, *, asked: str, answer: str) -> None:
        summary = TaskSummary(
            id=task,
            context_id="context-1",
            agent=agent,
            state="completed",
            caller="operator",
            created_at=MOMENT,
            updated_at=MOMENT,
            asked=asked,
            answer=answer,
        )
        self.reports[task] = TaskReport(summary=summary)

    def _wake(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()

    async def _stream(
        self, kept: list[LineT], source: list[LineT], *, follow: bool
    ) -> AsyncIterator[LineT]:
        position = len(source)
        for line in kept:
            yield line
        while follow:
            while position < len(source):
                position += 1
                yield source[position - 1]
            await self._news.wait()
