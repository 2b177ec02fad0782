"""What an operator can ask of a node: the one port of the operator's doors.

`hive.node` implements it; the API, the page and the offline commands ask nothing else.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from hive.security.roles import OperatorSeat
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


class Console(Protocol):
    """One node as its operator commands it. Errors are `HiveError`; nothing else is expected."""

    def readiness(self) -> Readiness:
        """Tell which doors are open; answers from the first second, from any thread."""
        ...

    def facts(self) -> NodeFacts:
        """Tell what every stranger may know."""
        ...

    async def is_operator(self, token: str) -> bool:
        """Tell whether a presented token is the operator's own, or an admin's."""
        ...

    async def operator_seat(self, token: str) -> OperatorSeat | None:
        """Tell which operator shows a token, and as what; None for anybody else."""
        ...

    async def status(self) -> NodeStatus:
        """Describe the node."""
        ...

    async def agents(self) -> Sequence[AgentStatus]:
        """List the agents, by name."""
        ...

    async def agent(self, name: str) -> AgentStatus:
        """Describe one agent. Raises NotFoundError."""
        ...

    async def plan(self, order: DeployOrder) -> DeployPlan:
        """Read a source and tell what deploying it would grant; changes nothing.

        Raises:
            SpecError: the source cannot be used.

        """
        ...

    def deploy(self, order: DeployOrder) -> AsyncIterator[DeployStep]:
        """Deploy what was planned; the last step is `ready`.

        Raises:
            SpecError: the source cannot be used, or its plan changed since it was confirmed.
            BuildError: its environment did not build.
            TierUnavailableError: no tier covers the grant.

        """
        ...

    async def start(self, name: str) -> AgentStatus:
        """Start a stopped agent. Raises NotFoundError."""
        ...

    async def stop(self, name: str, *, drain_s: float = 0.0) -> None:
        """Stop an agent. Raises NotFoundError."""
        ...

    async def remove(self, name: str) -> None:
        """Stop an agent and forget it; its record stays. Raises NotFoundError."""
        ...

    async def tasks(self, query: TaskFilter) -> TaskSummaries:
        """List tasks, newest change first."""
        ...

    async def task(self, task_id: str) -> TaskReport:
        """Return one task whole. Raises NotFoundError."""
        ...

    async def cancel(self, task_id: str) -> TaskSummary:
        """Cancel a task. Raises NotFoundError, StateError."""
        ...

    async def parked(self) -> Sequence[ParkedTask]:
        """List the tasks whose open effect waits for a decision."""
        ...

    async def decide(self, task_id: str, *, repeat: bool) -> TaskSummary:
        """Let a parked task go on, repeating its effect, or end it. Raises NotFoundError."""
        ...

    def call(self, name: str, order: CallOrder) -> AsyncIterator[CallEvent]:
        """Send a message to an agent; the stream ends when the task settles. Raises NotFoundError."""
        ...

    def logs(
        self, name: str, *, last: int, follow: bool
    ) -> AbstractAsyncContextManager[AsyncIterator[LogRecord]]:
        """Read what agents printed; an empty name means all of them."""
        ...

    async def trace(self, task_id: str) -> TraceTree:
        """Return the trace of a task (empty: of the last one). Raises NotFoundError."""
        ...

    async def audit_verify(self) -> AuditVerdict:
        """Recompute every hash and link of the ledger."""
        ...

    def audit_tail(
        self, *, last: int, follow: bool
    ) -> AbstractAsyncContextManager[AsyncIterator[AuditRecord]]:
        """Read the newest entries, oldest of them first; with `last` 0, all entries."""
        ...

    async def doctor(self) -> Examination:
        """Examine engines, walls and models by running something real."""
        ...

    async def backup(self, path: str) -> BackupDone:
        """Write database, vault key and specs to a file of mode 0600, and verify it."""
        ...

    async def shutdown(self) -> None:
        """Begin to stop the node; returns before it is gone."""
        ...

    async def issue_token(self, order: TokenOrder) -> TokenIssued:
        """Make a token for a client."""
        ...

    async def list_tokens(self) -> Sequence[TokenSummary]:
        """List the tokens."""
        ...

    async def revoke_token(self, token_id: str) -> None:
        """End a token. Raises NotFoundError."""
        ...
