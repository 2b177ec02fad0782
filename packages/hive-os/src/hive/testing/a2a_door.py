"""An A2A door that is open on loopback, with agents that are functions: for tests and measurements."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import anyio

from hive.core.call import Principal
from hive.core.clock import Clock, SystemClock
from hive.core.ids import AgentId, MessageId, OwnerId, SandboxId
from hive.core.json import Json
from hive.core.randomness import SystemRandomness
from hive.core.secret import Secret
from hive.core.settings import Settings
from hive.core.task import Artifact, Message, Part, Role
from hive.engines.ports import Database, KeyValue
from hive.execution.ports import ArtifactMade, GuestEvent, InputNeeded, Turn, TurnDone, TurnFailed
from hive.protocols.a2a.routes import A2ADoor
from hive.security.tokens import Tokens
from hive.testing.fake_gate import AgentFunction, FakeAgents, FakeGate, fake_spec
from hive.testing.loopback import serve_app

if TYPE_CHECKING:
    from hive.protocols.a2a.warrants import WarrantVerifier

OPERATOR_TOKEN: Final = "operator-token-for-tests"  # noqa: S105 - it opens nothing but this door
PUSH_KEY: Final = bytes(32)


def said(turn: Turn, *parts: Part) -> Message:
    """Make an agent's answer to a turn."""
    return Message(id=MessageId(f"{turn.id}-answer"), role=Role.AGENT, parts=parts)


async def echo(turn: Turn) -> AsyncIterator[GuestEvent]:
    """Answer with the same parts, as one artifact."""
    yield ArtifactMade(artifact=Artifact(id="answer", parts=turn.message.parts, name="echo"))
    yield TurnDone(message=None)


async def streamer(turn: Turn) -> AsyncIterator[GuestEvent]:
    """Answer with one artifact in three pieces."""
    for number in range(3):
        piece = Artifact(id="words", parts=(Part(text=f"piece {number} "),))
        yield ArtifactMade(artifact=piece, append=number > 0, last_chunk=number == 2)
        await anyio.lowlevel.checkpoint()
    yield TurnDone(message=said(turn, Part(text="done")))


async def asker(turn: Turn) -> AsyncIterator[GuestEvent]:
    """Ask for a name, then greet."""
    if len(turn.history) == 1:
        yield InputNeeded(message=said(turn, Part(text="What is your name?")))
        return
    yield TurnDone(message=said(turn, Part(text=f"Hello {turn.message.text}")))


async def producer(turn: Turn) -> AsyncIterator[GuestEvent]:
    """Answer with every kind of part."""
    data: dict[str, Json] = {"rows": [1, 2.5, None, True, "x"]}
    parts = (
        Part(text="report"),
        Part(raw=b"\x00\xff binary", media_type="application/octet-stream", filename="a.bin"),
        Part(url="https://example.com/report.pdf", media_type="application/pdf"),
        Part(data=data, has_data=True, metadata={"kind": "table"}),
    )
    yield ArtifactMade(artifact=Artifact(id="all", parts=parts, name="all kinds"))
    yield TurnDone(message=None)


async def sleeper(_turn: Turn) -> AsyncIterator[GuestEvent]:
    """Never answer."""
    await anyio.sleep_forever()
    yield TurnDone(message=None)


async def failer(_turn: Turn) -> AsyncIterator[GuestEvent]:
    """Fail."""
    yield TurnFailed(error="ValueError: no such invoice")


AGENTS: Final[dict[str, AgentFunction]] = {
    "echo": echo,
    "streamer": streamer,
    "asker": asker,
    "producer": producer,
    "sleeper": sleeper,
    "failer": failer,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDoor:
    """A door, what stands behind it, and where it is reached."""

    url: str
    door: A2ADoor
    gate: FakeGate
    agents: FakeAgents
    tokens: Tokens

    def agent(self, name: str) -> str:
        """Return the URL of an agent."""
        return f"{self.url}/a2a/{name}"

    async def token(self, owner: str, *agents: str, days: float = 1) -> str:
        """Issue a token and return it."""
        names = [AgentId(one) for one in agents]
        lifetime = timedelta(days=days)
        made = await self.tokens.issue(
            f"{owner}-app", owner=OwnerId(owner), agents=names, lifetime=lifetime
        )
        return made.reveal()


@asynccontextmanager
async def open_door(
    database: Database,
    *,
    settings: Settings | None = None,
    clock: Clock | None = None,
    required_extensions: tuple[str, ...] = (),
    handles: dict[tuple[SandboxId, str], Principal] | None = None,
    sandbox: SandboxId | None = None,
    grpc_address: str = "",
    warrants: "tuple[WarrantVerifier, KeyValue] | None" = None,
) -> AsyncIterator[OpenDoor]:
    """Open a door with one public agent for each function of `AGENTS`."""
    clock = clock or SystemClock()
    randomness = SystemRandomness()
    tokens = Tokens(
        database=database, clock=clock, randomness=randomness, operator=Secret(OPERATOR_TOKEN)
    )
    await tokens.load()
    agents = FakeAgents(*(fake_spec(name, description=f"The {name}.") for name in AGENTS))
    gate = FakeGate(dict(AGENTS), handles=handles, clock=clock)
    door = A2ADoor(
        gate=gate,
        agents=agents,  # type: ignore[arg-type]  # the door only reads
        tokens=tokens,
        database=database,
        settings=settings or Settings(push_private=True),
        clock=clock,
        randomness=randomness,
        push_key=PUSH_KEY,
        required_extensions=required_extensions,
        grpc_address=grpc_address,
        warrants=warrants,
    )
    async with gate.running(), door.running(), serve_app(door, sandbox=sandbox) as url:
        door.cards = type(door.cards)(
            public_url=url,
            grpc_address=grpc_address,
            required_extensions=required_extensions,
        )
        yield OpenDoor(url=url, door=door, gate=gate, agents=agents, tokens=tokens)
