"""Runs a guest as a plain process on the test's side of a socket pair: the protocol without the walls."""

import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import Process

from hive.core.errors import HiveError
from hive.core.ids import ContextId, MessageId, TaskId, TurnId
from hive.core.task import Message, Part, Role
from hive.execution.guest_channel import GuestChannel
from hive.execution.ports import GuestEvent, TextChunk, Turn, TurnDone
from hive_guest.environment import MAIN_PATH, TELEMETRY_OFF, TURN_FD_VARIABLE

LEAVE_S: Final = 1.0
PATH: Final = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestProcess:
    """A running guest: its channel, its process, and the file with what it printed."""

    channel: GuestChannel
    process: Process
    log: Path


@asynccontextmanager
async def open_guest(
    arguments: Sequence[str],
    *,
    folder: Path,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
    on_broken: Callable[[HiveError], None] | None = None,
    cancel_grace_s: float = 5.0,
) -> AsyncIterator[GuestProcess]:
    """Start a guest that works in `folder`; leaving the context kills it."""
    near, far = socket.socketpair()
    work, log = folder / "work", folder / "guest.log"
    work.mkdir(parents=True, exist_ok=True)
    given = {"PATH": PATH, "HOME": str(work), TURN_FD_VARIABLE: str(far.fileno()), **TELEMETRY_OFF}
    with log.open("ab") as output:
        process = await anyio.open_process(
            [python, "-I", MAIN_PATH, *arguments],
            env={**given, **(environment or {})},
            pass_fds=(far.fileno(),),
            stdin=None,
            stdout=output,
            stderr=output,
        )
    far.close()
    channel = GuestChannel(near, cancel_grace_s=cancel_grace_s, on_broken=on_broken)
    try:
        yield GuestProcess(channel=channel, process=process, log=log)
    finally:
        channel.close()
        with anyio.move_on_after(LEAVE_S, shield=True):  # its commands are its own to end
            await process.wait()
        if process.returncode is None:
            process.kill()
        with anyio.move_on_after(5, shield=True):
            await process.wait()


def a_turn(
    text: str = "hello",
    *,
    number: int = 1,
    past: Sequence[tuple[Role, str]] = (),
    context: str = "context-1",
    task: str = "task-1",
) -> Turn:
    """Make a turn with one text."""
    return Turn(
        id=TurnId(f"turn-{number}"),
        task_id=TaskId(task),
        context_id=ContextId(context),
        message=a_message(text, Role.USER),
        history=tuple(a_message(said, role) for role, said in past),
        timeout_s=30,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


def a_message(text: str, role: Role) -> Message:
    """Make a message with one text."""
    return Message(id=MessageId("message-1"), role=role, parts=(Part(text=text),))


async def run_to_end(channel: GuestChannel, turn: Turn) -> list[GuestEvent]:
    """Run one turn and return all its events."""
    return [event async for event in channel.run_turn(turn)]


def answer_of(events: Sequence[GuestEvent]) -> str:
    """Return the text of the answer that a turn ended with."""
    end = events[-1]
    assert isinstance(end, TurnDone), end
    return "" if end.message is None else end.message.text


def chunks_of(events: Sequence[GuestEvent]) -> list[str]:
    """Return what a turn streamed."""
    return [event.text for event in events if isinstance(event, TextChunk)]
