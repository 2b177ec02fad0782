"""What every hosted agent needs of the node, and the names under which it finds its handle."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from hive.core.clock import Clock
from hive.core.ids import OwnerId, SandboxId
from hive.core.randomness import Randomness
from hive.core.task import Message
from hive.execution.ports import Sandbox
from hive.kernel.feed import TaskFeed
from hive.kernel.flows import Flows
from hive.kernel.jobs import TurnJob
from hive.kernel.logbook import LogBook
from hive.kernel.outcomes import OutcomeDesk
from hive.kernel.ports import GateListener
from hive.kernel.turns import TurnBook
from hive.observability.spans import Tracer

KEY_NAMES: Final = (
    "HIVE_HANDLE",
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GOOGLE_API_KEY",
    "GEMINI_API_KEY",
    "HIVE_MCP_KEY",
)
MCP_ADDRESS: Final = "HIVE_MCP_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostParts:
    """What every hosted agent needs of the node."""

    gates: GateListener
    turns: TurnBook
    feed: TaskFeed
    flows: Flows
    outcomes: OutcomeDesk
    logs: LogBook
    tracer: Tracer
    clock: Clock
    randomness: Randomness
    run_directory: Path
    history: Callable[[TurnJob], Awaitable[tuple[Message, ...]]]
    rerun: Callable[[TurnJob], Awaitable[TurnJob]]
    note_rerun: Callable[[TurnJob], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Slot:
    """One live sandbox of an agent; `idle` is the wait for its next turn."""

    sandbox: Sandbox
    id: SandboxId
    owner: OwnerId | None = None
    dead: bool = False
    idle: anyio.CancelScope | None = None


def first_error(error: Exception) -> Exception:
    """Return the error behind a task group's."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def keys_of(handle: str) -> dict[str, str]:
    """Return the variables in which frameworks look for a key; all of them hold the handle."""
    return dict.fromkeys(KEY_NAMES, handle)


def opened_with(handle: str, doors: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of an agent: its doors, and the handle wherever a client looks for a key.

    Many clients of tools take an address and no key, so the address holds the handle as well.
    """
    environment = {**doors, **keys_of(handle)}
    if MCP_ADDRESS in doors:
        environment[MCP_ADDRESS] = f"{doors[MCP_ADDRESS]}/~{handle}"
    return environment
