"""What a tier must offer: walls that are proved by running something, and sandboxes behind them."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from hive.core.grant import Grant, Limits, PathRule, Tier
from hive.core.ids import ContextId, OwnerId, SandboxId, TaskId, TurnId
from hive.core.json import Json
from hive.core.spec import AgentSpec
from hive.core.task import Artifact, Message
from hive.execution.enforcement import Guarding


@dataclass(frozen=True, slots=True, kw_only=True)
class Wall:
    """One wall: whether it stands, and how that was found out."""

    name: str
    stands: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a tier can do on this machine, found out by running it."""

    tier: Tier
    scheme: str
    available: bool
    walls: tuple[Wall, ...]
    reason: str = ""
    start_ms: float | None = None

    @property
    def standing(self) -> frozenset[str]:
        """Return the names of the walls that stand."""
        return frozenset(wall.name for wall in self.walls if wall.stands)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An artifact ready to be spawned: for a process, an interpreter and the paths that it reads.

    `argv` is what runs inside. `reads` are host paths mounted read-only at the same place.
    `digest` names the content.
    """

    spec: AgentSpec
    argv: tuple[str, ...]
    reads: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One wake-up of an agent. `history` is the conversation before `message`."""

    id: TurnId
    task_id: TaskId
    context_id: ContextId
    message: Message
    timeout_s: float
    history: tuple[Message, ...] = ()
    traceparent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextChunk:
    """A piece of the agent's streamed answer."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactMade:
    """The agent made (a piece of) an artifact."""

    artifact: Artifact
    append: bool = False
    last_chunk: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class InputNeeded:
    """The agent asks its client; the turn ends and the task waits."""

    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnDone:
    """The turn ended well; `message` is the agent's answer (None: the artifacts are the answer)."""

    message: Message | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFailed:
    """The turn ended badly: what the agent raised, stripped of control characters."""

    error: str
    canceled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line the agent printed or logged."""

    text: str
    level: str = "info"


GuestEvent: TypeAlias = TextChunk | ArtifactMade | InputNeeded | TurnDone | TurnFailed | LogLine


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxStats:
    """What a sandbox uses now; bytes and seconds."""

    memory_bytes: int
    processes: int
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What the guest found when it loaded the agent."""

    shape: str
    streams: bool
    detail: str = ""
    skills: tuple[Mapping[str, Json], ...] = ()


class Sandbox(Protocol):
    """One isolated place where one agent runs, one turn at a time."""

    @property
    def id(self) -> SandboxId:
        """Return its id."""
        ...

    @property
    def tier(self) -> Tier:
        """Return its class of isolation."""
        ...

    @property
    def walls(self) -> Sequence[Wall]:
        """Return the walls around this very sandbox."""
        ...

    @property
    def pid(self) -> int:
        """Return the host pid of its first process, 0 when there is none."""
        ...

    @property
    def refused(self) -> str:
        """Say for what the kernel ended it; empty where it did not."""
        ...

    async def ready(self, timeout_s: float) -> Description:
        """Wait until the agent is loaded.

        Raises:
            SandboxError: it died; the last lines it printed stand in `why`.
            SpecError: the guest could not find or use the agent.

        """
        ...

    def run_turn(self, turn: Turn) -> AsyncIterator[GuestEvent]:
        """Run one turn; the last event is InputNeeded, TurnDone or TurnFailed.

        Closing the iterator early cancels the turn inside.

        Raises:
            GuestError: the guest broke the protocol; the sandbox is dead.
            SandboxError: the sandbox died before the turn ended.

        """
        ...

    async def cancel(self, turn: TurnId) -> None:
        """Ask the agent to stop; the turn still ends with an event."""
        ...

    async def wait_dead(self) -> str:
        """Wait until the sandbox is gone; return why."""
        ...

    async def stats(self) -> SandboxStats:
        """Measure it."""
        ...

    def kill(self, reason: str) -> None:
        """Kill everything inside at once; may be called from any thread, more than once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What the node hands to a sandbox: where its sockets lie and what its processes see.

    `gate_directory` holds `gate.sock` (HTTP to all doors) and `egress.sock` (proxy), made by the
    node before the spawn, and is the only way out. Inside it is mounted at `/run/hive`.
    """

    sandbox_id: SandboxId
    gate_directory: str
    environment: Mapping[str, str]
    outbox_directory: str = ""


class WalledCommand(Protocol):
    """A command behind the walls whose standard input and output are streams of the node's.

    Nothing is kept in the node but what could not be written yet, and that is bounded.
    """

    @property
    def walls(self) -> Sequence[Wall]:
        """Return the walls around it."""
        ...

    @property
    def pid(self) -> int:
        """Return the host pid of its first process, 0 when there is none."""
        ...

    @property
    def printed(self) -> str:
        """Return the last lines of its standard error."""
        ...

    @property
    def refused(self) -> str:
        """Say for what the kernel ended it; empty where it did not."""
        ...

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what it wrote, as soon as there is something; it waits while nobody reads.

        Raises:
            anyio.EndOfStream: it closed its output or is dead.
            anyio.ClosedResourceError: `aclose` was called.

        """
        ...

    async def send(self, item: bytes) -> None:
        """Hand over the whole of `item`, or nothing where cancelled; waits while too much is unread.

        Raises:
            TooLargeError: it is more than may ever wait.
            anyio.BrokenResourceError: it reads no more.
            anyio.ClosedResourceError: its input was closed.

        """
        ...

    async def send_eof(self) -> None:
        """Close its input once everything is written; how a polite command learns that it may go."""
        ...

    async def aclose(self) -> None:
        """Close both streams; the command itself ends with its context."""
        ...

    async def wait_dead(self) -> str:
        """Wait until it is gone; return why."""
        ...

    async def stats(self) -> SandboxStats:
        """Measure it."""
        ...

    def kill(self, reason: str) -> None:
        """Kill everything inside at once; may be called from any thread, more than once."""
        ...


class SandboxDriver(Protocol):
    """A tier: prepares artifacts and spawns sandboxes, each under the guard that `guarding` gives it."""

    tier: Tier
    guarding: Guarding | None

    async def probe(self) -> Probe:
        """Run something behind the walls and tell which stand; never "the file exists"."""
        ...

    def first_process(self, sandbox: SandboxId) -> int:
        """Return the host pid of a live sandbox's first process, 0 where there is none."""
        ...

    def spawn(
        self, prepared: Prepared, grant: Grant, opening: Opening
    ) -> AbstractAsyncContextManager[Sandbox]:
        """Start a sandbox; leaving the context kills it and removes what it left.

        Raises:
            TierUnavailableError: a demanded wall cannot be built.
            SandboxError: it did not start.

        """
        ...

    async def run(
        self,
        argv: Sequence[str],
        *,
        mounts: Sequence[PathRule],
        opening: Opening,
        limits: Limits,
        timeout_s: float,
        on_line: Callable[[str], None],
    ) -> int:
        """Run one command behind the same walls to its end; return its exit status.

        What it prints is given to `on_line`, stripped and bounded. Environments are built this way.

        Raises:
            SandboxError: it did not start or ran past `timeout_s`.

        """
        ...

    def open(
        self,
        argv: Sequence[str],
        *,
        mounts: Sequence[PathRule],
        opening: Opening,
        limits: Limits,
        on_line: Callable[[str], None],
    ) -> AbstractAsyncContextManager[WalledCommand]:
        """Start a command behind the same walls, with streams; leaving the context kills it.

        It sees the environment of `opening` and nothing else but where its own folders are. Lines of its
        standard error go to `on_line`, stripped and bounded.

        Raises:
            TierUnavailableError: a demanded wall cannot be built.
            SandboxError: it did not start.

        """
        ...


class BuilderDoors(Protocol):
    """Opens the way out for a build: an egress proxy that passes the grant's hosts, nothing else."""

    def open(self, owner: OwnerId, grant: Grant) -> AbstractAsyncContextManager[Opening]:
        """Serve the builder's sockets; leaving the context closes them and forgets the grant."""
        ...
