"""The operator's own thread and socket: a flood at the doors cannot stop a `stop`.

The thread has an event loop of its own. Status, listing and stopping read what the kernel keeps in
memory and kill through the operating system; everything else crosses over to the node's loop.
"""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import anyio

from hive.core.errors import NodeUnreachableError
from hive.node.crossing import Crossing
from hive.node.http import HttpServer, bind_path
from hive.security.roles import OperatorSeat
from hive.web.chapters import Answer, ApiQuestion, Chapter, Lines, RouteKey
from hive.web.operator import OperatorApi
from hive.web.ports import Console
from hive.web.sessions import PageSessions
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

ItemT = TypeVar("ItemT")
START_TIMEOUT_S: Final = 5.0
JOIN_TIMEOUT_S: Final = 0.5
RECORD_WAIT_S: Final = 0.02
SWITCH_S: Final = 0.001


class FastConsole(Console):
    """A console for another thread: what must be fast is answered here, the rest crosses over."""

    def __init__(
        self,
        console: Console,
        crossing: Crossing,
        *,
        status: Callable[[], NodeStatus],
        agents: Callable[[], Sequence[AgentStatus]],
        kill: Callable[[str], None],
    ) -> None:
        self._console = console
        self._crossing = crossing
        self._status = status
        self._agents = agents
        self._kill = kill

    def readiness(self) -> Readiness:
        """Tell which doors are open."""
        return self._console.readiness()

    def facts(self) -> NodeFacts:
        """Tell what every stranger may know."""
        return self._console.facts()

    async def is_operator(self, token: str) -> bool:
        """Compare a presented token with the operator's."""
        return await self._console.is_operator(token)

    async def operator_seat(self, token: str) -> OperatorSeat | None:
        """Tell which operator shows a token."""
        return await self._console.operator_seat(token)

    async def status(self) -> NodeStatus:
        """Describe the node, without its loop."""
        return self._status()

    async def agents(self) -> Sequence[AgentStatus]:
        """List the agents, without the node's loop."""
        return self._agents()

    async def agent(self, name: str) -> AgentStatus:
        """Describe one agent."""
        return await self._crossing.ask(partial(self._console.agent, name))

    async def plan(self, order: DeployOrder) -> DeployPlan:
        """Tell what deploying a source would grant."""
        return await self._crossing.ask(partial(self._console.plan, order))

    def deploy(self, order: DeployOrder) -> AsyncIterator[DeployStep]:
        """Deploy what was planned."""
        return self._crossing.stream(partial(self._console.deploy, order))

    async def start(self, name: str) -> AgentStatus:
        """Start a stopped agent."""
        return await self._crossing.ask(partial(self._console.start, name))

    async def stop(self, name: str, *, drain_s: float = 0.0) -> None:
        """Stop an agent: its processes die here and now.

        The record follows on the node's loop, for which this answer waits only a moment.
        """
        stop = partial(self._console.stop, name, drain_s=drain_s)
        if drain_s > 0.0:
            await self._crossing.ask(stop)
            return
        self._kill(name)
        await self._crossing.begin(stop, wait_s=RECORD_WAIT_S)

    async def remove(self, name: str) -> None:
        """Stop an agent and forget it."""
        await self._crossing.ask(partial(self._console.remove, name))

    async def tasks(self, query: TaskFilter) -> TaskSummaries:
        """List tasks."""
        return await self._crossing.ask(partial(self._console.tasks, query))

    async def task(self, task_id: str) -> TaskReport:
        """Return one task whole."""
        return await self._crossing.ask(partial(self._console.task, task_id))

    async def cancel(self, task_id: str) -> TaskSummary:
        """Cancel a task."""
        return await self._crossing.ask(partial(self._console.cancel, task_id))

    async def parked(self) -> Sequence[ParkedTask]:
        """List the tasks whose open effect waits for a decision."""
        return await self._crossing.ask(self._console.parked)

    async def decide(self, task_id: str, *, repeat: bool) -> TaskSummary:
        """Let a parked task go on, or end it."""
        return await self._crossing.ask(partial(self._console.decide, task_id, repeat=repeat))

    def call(self, name: str, order: CallOrder) -> AsyncIterator[CallEvent]:
        """Send a message to an agent."""
        return self._crossing.stream(partial(self._console.call, name, order))

    def logs(
        self, name: str, *, last: int, follow: bool
    ) -> AbstractAsyncContextManager[AsyncIterator[LogRecord]]:
        """Read what agents printed."""
        return self._opened(partial(self._console.logs, name, last=last, follow=follow))

    async def trace(self, task_id: str) -> TraceTree:
        """Return the trace of a task."""
        return await self._crossing.ask(partial(self._console.trace, task_id))

    async def audit_verify(self) -> AuditVerdict:
        """Recompute every hash and link."""
        return await self._crossing.ask(self._console.audit_verify)

    def audit_tail(
        self, *, last: int, follow: bool
    ) -> AbstractAsyncContextManager[AsyncIterator[AuditRecord]]:
        """Read the newest entries."""
        return self._opened(partial(self._console.audit_tail, last=last, follow=follow))

    async def doctor(self) -> Examination:
        """Examine engines, walls and models."""
        return await self._crossing.ask(self._console.doctor)

    async def backup(self, path: str) -> BackupDone:
        """Write a backup."""
        return await self._crossing.ask(partial(self._console.backup, path))

    async def shutdown(self) -> None:
        """Begin to stop the node."""
        await self._crossing.ask(self._console.shutdown)

    async def issue_token(self, order: TokenOrder) -> TokenIssued:
        """Make a token."""
        return await self._crossing.ask(partial(self._console.issue_token, order))

    async def list_tokens(self) -> Sequence[TokenSummary]:
        """List the tokens."""
        return await self._crossing.ask(self._console.list_tokens)

    async def revoke_token(self, token_id: str) -> None:
        """End a token."""
        await self._crossing.ask(partial(self._console.revoke_token, token_id))

    @asynccontextmanager
    async def _opened(
        self, opening: Callable[[], AbstractAsyncContextManager[AsyncIterator[ItemT]]]
    ) -> AsyncIterator[AsyncIterator[ItemT]]:
        async def items() -> AsyncIterator[ItemT]:
            async with opening() as inner:
                async for item in inner:
                    yield item

        yield self._crossing.stream(items)


class CrossedChapter:
    """A chapter for another thread: every question crosses over to the node's loop."""

    def __init__(self, chapter: Chapter, crossing: Crossing) -> None:
        self.answers: Mapping[RouteKey, Answer] = {
            key: partial(_ask_over, crossing, answer) for key, answer in chapter.answers.items()
        }
        self.streams: Mapping[RouteKey, Lines] = {
            key: partial(_stream_over, crossing, lines) for key, lines in chapter.streams.items()
        }


async def _ask_over(crossing: Crossing, answer: Answer, question: ApiQuestion) -> object:
    return await crossing.ask(partial(answer, question))


def _stream_over(crossing: Crossing, lines: Lines, question: ApiQuestion) -> AsyncIterator[object]:
    return crossing.stream(partial(lines, question))


class ControlThread:
    """Serves the operator API on the control socket from a thread of its own."""

    def __init__(
        self,
        console: Console,
        sessions: PageSessions,
        path: Path,
        *,
        chapters: Sequence[Chapter] = (),
    ) -> None:
        self._api = OperatorApi(console, sessions=sessions, guarded=False, chapters=chapters)
        self._path = path
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hive-operator", daemon=True)

    def __enter__(self) -> "ControlThread":
        # Here and not on the thread, so that what is wrong with the path is raised where it is heard.
        self._socket = bind_path(self._path, mode=0o600)
        self._thread.start()
        if not self._started.wait(START_TIMEOUT_S):
            raise NodeUnreachableError("The operator's socket did not open.")
        return self

    def __exit__(self, *_: object) -> None:
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)
        self._thread.join(JOIN_TIMEOUT_S)
        self._path.unlink(missing_ok=True)

    def _run(self) -> None:
        # A busy loop hands the interpreter over only so often; an operator waits for several turns of it.
        sys.setswitchinterval(SWITCH_S)
        # Through anyio, so that what this thread starts on the node's loop need not find out where it runs.
        anyio.run(self._serve)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = HttpServer(self._api)
        await server.listen(self._socket)
        self._started.set()
        await self._stop.wait()
        await server.aclose()
