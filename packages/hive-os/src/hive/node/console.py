"""The node as its operator commands it; runs on the node's own loop."""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, cast

from hive import __version__
from hive.core.call import EffectClass, Refused, Verb
from hive.core.clock import Clock
from hive.core.ids import AgentId, ContextId, MessageId, OwnerId, TaskId, agent_id, new_id
from hive.core.json import Json, encode
from hive.core.randomness import Randomness
from hive.core.settings import Settings
from hive.core.task import Message, Role, TaskEvent, TaskState
from hive.execution.ports import Probe
from hive.kernel.ports import AgentView, Attempt
from hive.kernel.record import event
from hive.node.deploying import Deployer, missing_agent
from hive.node.kernel_parts import Kernel
from hive.node.records import Records
from hive.node.views import (
    agent_status,
    answer_text,
    call_event,
    log_record,
    parts_of,
    task_report,
    task_summary,
    wall_list,
)
from hive.security.roles import OperatorRole, OperatorSeat, acting_operator
from hive.security.tokens import ClientToken, Tokens
from hive.web.ports import Console
from hive.web.values import (
    AgentStatus,
    AuditRecord,
    AuditVerdict,
    BackupDone,
    CallEvent,
    CallOrder,
    DeployOrder,
    DeployPlan,
    DeployStep,
    EngineStatus,
    Examination,
    LogRecord,
    NodeFacts,
    NodeStatus,
    ParkedTask,
    Readiness,
    TaskFilter,
    TaskReport,
    TaskSummaries,
    TaskSummary,
    TokenIssued,
    TokenOrder,
    TokenSummary,
    TraceTree,
)

CALL_TIMEOUT_S: Final = 3600.0
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True, kw_only=True)
class NodeFace:
    """What a node says of itself; changed while it starts, read from any thread."""

    settings: Settings
    node_id: str
    public_key: str
    address: str
    token_file: str
    started_at: datetime
    doors: dict[str, bool] = field(default_factory=dict)
    engines: list[EngineStatus] = field(default_factory=list)
    probes: tuple[Probe, ...] = ()
    ready: bool = False
    ready_ms: float | None = None
    degraded: list[str] = field(default_factory=list)


class NodeConsole(Console):
    """One running node."""

    def __init__(
        self,
        *,
        face: NodeFace,
        kernel: Kernel,
        deployer: Deployer,
        records: Records,
        tokens: Tokens,
        clock: Clock,
        randomness: Randomness,
        examine: Callable[[], Awaitable[Examination]],
        end: Callable[[], None],
    ) -> None:
        self._face = face
        self._kernel = kernel
        self._deployer = deployer
        self._records = records
        self._tokens = tokens
        self._clock = clock
        self._randomness = randomness
        self._examine = examine
        self._end = end

    def readiness(self) -> Readiness:
        """Tell which doors are open."""
        return Readiness(ready=self._face.ready, doors=dict(self._face.doors))

    def facts(self) -> NodeFacts:
        """Tell what every stranger may know."""
        base = self._face.address
        open_doors = {name: base for name, is_open in self._face.doors.items() if is_open}
        return NodeFacts(
            version=__version__,
            node_id=self._face.node_id,
            public_key=self._face.public_key,
            doors=open_doors,
        )

    async def is_operator(self, token: str) -> bool:
        """Tell whether a presented token is the operator's own, or an admin's."""
        seat = self._tokens.recognise_operator(token)
        return seat is not None and seat.role is OperatorRole.ADMIN

    async def operator_seat(self, token: str) -> OperatorSeat | None:
        """Tell which operator shows a token."""
        return self._tokens.recognise_operator(token)

    def snapshot(self) -> NodeStatus:
        """Describe the node from memory; may be called from any thread."""
        face = self._face
        best = face.probes[0] if face.probes else None
        return NodeStatus(
            version=__version__,
            node_id=face.node_id,
            mode=face.settings.mode,
            pid=os.getpid(),
            address=face.address,
            state_dir=str(face.settings.state),
            started_at=face.started_at,
            ready=face.ready,
            ready_ms=face.ready_ms,
            doors=dict(face.doors),
            engines=list(face.engines),
            walls=wall_list(best.walls) if best else [],
            tier=best.tier.name.lower() if best else "",
            agents=len(self._kernel.supervisor.all()),
            tasks_open=len(self._kernel.feed),
            ledger_entries=self._records.entries_written(),
            memory_bytes=_resident_bytes(),
            token_file=face.token_file,
            degraded=[*face.degraded, *self._kernel.guards.policies.degraded()],
        )

    def agent_list(self) -> Sequence[AgentStatus]:
        """List the agents from memory; may be called from any thread."""
        return [self._agent(view) for view in self._kernel.supervisor.all()]

    def kill_now(self, name: str) -> None:
        """Kill an agent's processes at once; may be called from any thread. Raises NotFoundError."""
        if not self._kernel.supervisor.kill(agent_id(name), "stopped by an operator"):
            raise missing_agent(name)

    async def status(self) -> NodeStatus:
        """Describe the node."""
        return self.snapshot()

    async def agents(self) -> Sequence[AgentStatus]:
        """List the agents, by name."""
        memory = {}
        for hosted in self._kernel.supervisor.hosted():
            used = [await sandbox.stats() for sandbox in hosted.sandboxes]
            memory[hosted.spec.name] = sum(one.memory_bytes for one in used)
        return [
            self._agent(view, memory.get(view.spec.name, 0))
            for view in self._kernel.supervisor.all()
        ]

    async def agent(self, name: str) -> AgentStatus:
        """Describe one agent. Raises NotFoundError."""
        for one in await self.agents():
            if one.name == name:
                return one
        raise missing_agent(name)

    async def plan(self, order: DeployOrder) -> DeployPlan:
        """Read a source and tell what deploying it would grant."""
        return await self._deployer.plan(order)

    def deploy(self, order: DeployOrder) -> AsyncIterator[DeployStep]:
        """Deploy what was planned."""
        return self._deployer.deploy(order)

    async def start(self, name: str) -> AgentStatus:
        """Start a stopped agent. Raises NotFoundError."""
        return self._agent(await self._kernel.supervisor.start(acting_operator(), agent_id(name)))

    async def stop(self, name: str, *, drain_s: float = 0.0) -> None:
        """Stop an agent. Raises NotFoundError."""
        await self._kernel.supervisor.stop(acting_operator(), agent_id(name), drain_s=drain_s)

    async def remove(self, name: str) -> None:
        """Stop an agent and forget it. Raises NotFoundError."""
        await self._kernel.supervisor.remove(acting_operator(), agent_id(name))

    async def tasks(self, query: TaskFilter) -> TaskSummaries:
        """List all owners' tasks, newest change first."""
        page = await self._kernel.store.page(
            agent=AgentId(query.agent) if query.agent else None,
            state=TaskState(query.state) if query.state else None,
            context_id=ContextId(query.context_id) if query.context_id else None,
            limit=query.limit,
            cursor=query.cursor,
        )
        live = [self._kernel.feed.get(task.id) for task in page.tasks]
        tasks = [
            task if held is None else held.task for task, held in zip(page.tasks, live, strict=True)
        ]
        return TaskSummaries(
            tasks=[task_summary(task) for task in tasks],
            total=page.total,
            next_cursor=page.next_cursor,
        )

    async def task(self, task_id: str) -> TaskReport:
        """Return one task whole. Raises NotFoundError."""
        live = self._kernel.feed.get(TaskId(task_id))
        if live is not None:
            return task_report(live.task)
        return task_report(await self._kernel.recovery.task(TaskId(task_id)))

    async def cancel(self, task_id: str) -> TaskSummary:
        """Cancel a task as its owner. Raises NotFoundError, StateError."""
        held = await self._kernel.recovery.task(TaskId(task_id))
        owner = replace(acting_operator(), owner=held.owner)
        return task_summary(await self._kernel.dispatcher.cancel(owner, held.id))

    async def parked(self) -> Sequence[ParkedTask]:
        """List the tasks whose open effect waits for a decision."""
        return [
            ParkedTask(
                task_id=task.id,
                agent=task.agent,
                owner=task.owner,
                call=line.call or "",
                reason=answer_text(task),
                since=line.at,
            )
            for task, line in await self._kernel.recovery.parked()
        ]

    async def decide(self, task_id: str, *, repeat: bool) -> TaskSummary:
        """Let a parked task go on, repeating its effect, or end it. Raises NotFoundError."""
        held = await self._kernel.supervisor.decide(
            acting_operator(), TaskId(task_id), repeat=repeat
        )
        return task_summary(held)

    async def call(self, name: str, order: CallOrder) -> AsyncIterator[CallEvent]:
        """Send a message to an agent; the stream ends when the task settles."""
        parts = parts_of(order.pieces)
        message = Message(
            id=MessageId(new_id(self._clock, self._randomness)),
            role=Role.USER,
            parts=parts,
            context_id=ContextId(order.context_id) if order.context_id else None,
            task_id=TaskId(order.task_id) if order.task_id else None,
        )
        arguments = encode(order.pieces)
        attempt = Attempt(
            principal=acting_operator(),
            verb=Verb.SEND,
            target=name,
            effect=EffectClass.IDEMPOTENT,
            arguments=arguments,
            size_bytes=len(arguments),
            timeout_s=CALL_TIMEOUT_S,
        )
        answer = await self._kernel.dispatcher.send(attempt, agent_id(name), message)
        if isinstance(answer, Refused):
            yield CallEvent(
                kind="refused",
                text=answer.reason,
                check=answer.check,
                retry_after_s=answer.retry_after_s,
            )
            return
        async with aclosing(cast("AsyncGenerator[TaskEvent]", answer.events())) as events:
            async for event in events:
                yield call_event(event)

    @asynccontextmanager
    async def logs(
        self, name: str, *, last: int, follow: bool
    ) -> AsyncIterator[AsyncIterator[LogRecord]]:
        """Read what agents printed; an empty name means all of them."""
        agent = agent_id(name) if name else None
        async with self._kernel.supervisor.logs(agent, last=last, follow=follow) as lines:
            yield (log_record(line) async for line in lines)

    async def trace(self, task_id: str) -> TraceTree:
        """Return the trace of a task (empty: of the last one). Raises NotFoundError."""
        return await self._records.trace(task_id)

    async def audit_verify(self) -> AuditVerdict:
        """Recompute every hash and link of the ledger."""
        return await self._records.verify()

    @asynccontextmanager
    async def audit_tail(
        self, *, last: int, follow: bool
    ) -> AsyncIterator[AsyncIterator[AuditRecord]]:
        """Read the newest entries, oldest of them first."""
        yield self._records.tail(last=last, follow=follow)

    async def doctor(self) -> Examination:
        """Examine engines, walls and models by running something real."""
        return await self._examine()

    async def backup(self, path: str) -> BackupDone:
        """Write database, vault key and specs to a file of mode 0600, and verify it."""
        return await self._records.backup(Path(path))

    async def shutdown(self) -> None:
        """Begin to stop the node."""
        self._end()

    async def issue_token(self, order: TokenOrder) -> TokenIssued:
        """Make a token for a client."""
        token = await self._tokens.issue(
            order.owner,
            owner=OwnerId(order.owner),
            agents=[agent_id(name) for name in order.agents],
            lifetime=timedelta(days=order.days),
            role=OperatorRole(order.role) if order.role else None,
        )
        text = token.reveal()
        newest = next(one for one in self._tokens.live() if f".{one.id}." in text)
        await self._note("token.issued", newest.id, owner=newest.owner, role=newest.role)
        return TokenIssued(token=text, summary=_token_summary(newest))

    async def list_tokens(self) -> Sequence[TokenSummary]:
        """List the tokens."""
        return [_token_summary(token) for token in self._tokens.live()]

    async def revoke_token(self, token_id: str) -> None:
        """End a token. Raises NotFoundError."""
        await self._tokens.revoke(token_id)
        await self._note("token.revoked", token_id)

    async def _note(self, name: str, token_id: str, *, owner: str = "", role: str = "") -> None:
        by: dict[str, Json] = {"token": token_id, "owner": owner, "by": str(acting_operator())}
        by |= {"role": role} if role else {}
        await self._kernel.writer.append(event(name, by, clock=self._clock))

    def _agent(self, view: AgentView, memory_bytes: int = 0) -> AgentStatus:
        return agent_status(
            view,
            base_url=self._face.address,
            memory_bytes=memory_bytes,
            why_tier=self._records.why_tier(view),
            shut_in=self._kernel.guards.wardens.shut_in(view.spec.name),
        )


def _token_summary(token: ClientToken) -> TokenSummary:
    return TokenSummary(
        id=token.id,
        owner=token.owner,
        agents=sorted(token.agents),
        created_at=token.created_at,
        expires_at=token.expires_at,
        revoked=token.revoked_at is not None,
        role=token.role,
    )


def _resident_bytes() -> int:
    """Return this process's own memory, 0 where the kernel does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return 0
