"""What an agent may ask of the place where it runs; every function works in a thread too.

Nothing here is a door of its own: frames go to the node over the turn socket, calls to other agents
over the loopback port, and the node decides.
"""

from __future__ import annotations

import os
import sys
from json import dumps

from hive_guest.frames import LOG_MAX_CHARS
from hive_guest.parts import part, parts_of, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, NoReturn

    from hive_guest.frames import TurnSocket
    from hive_guest.parts import GuestPart, JsonObject

__all__ = ["AgentCallError", "GuestTurn", "NeedInput", "agents", "artifact", "ask_input", "call"]
__all__ += ["log", "part", "turn"]

GATE_HOST: Final = "127.0.0.1"
GATE_PORT: Final = 4100
ID_MAX_CHARS: Final = 128
ID_CHARACTERS: Final = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:@-"
)


class NeedInput(BaseException):
    """End the turn with a question to the client; the answer is the next message of the task.

    It is no `Exception`, so that a framework's own error handling lets it pass.
    """

    def __init__(self, question: object) -> None:
        super().__init__(question)
        self.question = question


class AgentCallError(Exception):
    """Another agent could not be asked, refused, or failed."""


class GuestTurn:
    """The turn that runs now. `message` and `history` are A2A 1.0 messages as plain dictionaries."""

    __slots__ = (
        "artifacts",
        "asked",
        "channel",
        "context_id",
        "history",
        "id",
        "message",
        "task_id",
        "timeout_s",
        "traceparent",
    )

    def __init__(self, frame: JsonObject, channel: TurnSocket) -> None:
        self.id: str = frame["turn"]
        self.task_id: str = frame.get("task", "")
        self.context_id: str = frame.get("context", "")
        self.message: JsonObject = frame.get("message") or {}
        self.history: list[JsonObject] = frame.get("history") or []
        self.timeout_s: float = frame.get("timeout_s") or 300.0
        self.traceparent: str = frame.get("traceparent", "")
        self.asked: object = None
        self.artifacts = 0
        self.channel = channel

    @property
    def text(self) -> str:
        """Return the text of the message; of one that has only data, that data as JSON."""
        text = text_of(self.message)
        return text if text or self.data is None else dumps(self.data, ensure_ascii=False)

    @property
    def data(self) -> Any:
        """Return the data of the first part that has some, or None."""
        parts = self.message.get("parts", ())
        return next((part["data"] for part in parts if part.get("data") is not None), None)

    def past(self) -> list[tuple[str, str]]:
        """Return the conversation before the message as (`user` or `agent`, text)."""
        told = []
        for message in self.history:
            text = text_of(message)
            if text:
                told.append(("agent" if message.get("role") == "ROLE_AGENT" else "user", text))
        return told

    def send(self, frame: JsonObject) -> None:
        """Send a frame that belongs to this turn."""
        self.channel.send({**frame, "turn": self.id})

    def send_artifact(self, made: JsonObject, *, append: bool, last: bool) -> None:
        """Send a piece of an artifact, waiting where they come too fast."""
        self.channel.pace.wait()
        made = {**made, "artifactId": valid_id(str(made.get("artifactId") or "artifact"))}
        self.send({"type": "artifact", "artifact": made, "append": append, "last": last})


def valid_id(text: str) -> str:
    """Return an id as the node takes it: the same one, or one made of it and always the same."""
    kept = "".join(c if c in ID_CHARACTERS else "-" for c in text)
    if kept == text and 0 < len(text) <= ID_MAX_CHARS:
        return text
    from hashlib import sha256

    return f"{kept[:64]}-{sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}"


_running: list[GuestTurn] = []


def turn() -> GuestTurn:
    """Return the turn that runs now.

    Raises:
        RuntimeError: none does; the agent is being loaded, or runs outside of Hive.

    """
    if not _running:
        message = "no turn is running"
        raise RuntimeError(message)
    return _running[-1]


def set_turn(now: GuestTurn | None) -> None:
    """Say which turn runs now, or that none does."""
    _running[:] = [] if now is None else [now]


def ask_input(question: str | GuestPart) -> NoReturn:
    """End the turn with a question to the client; the answer is the next message of the task."""
    if _running:
        # Kept as well, because some frameworks turn everything that a tool raises into its result.
        _running[-1].asked = question
    raise NeedInput(question)


def artifact(
    value: object,
    *,
    name: str = "",
    media_type: str = "",
    filename: str = "",
    artifact_id: str = "",
    append: bool = False,
    last: bool = True,
) -> str:
    """Hand out text, bytes, data or parts as an artifact of the task; return its id.

    A long one may come in pieces: the first with `last=False`, the next ones with its `artifact_id`
    and `append=True`.

    Raises:
        hive_guest.frames.FrameError: it is larger than one frame may be.

    """
    now = turn()
    now.artifacts += 1
    identity = artifact_id or f"artifact-{now.artifacts}"
    parts = parts_of(value)
    for made in parts:
        if media_type:
            made["mediaType"] = media_type
        if filename:
            made["filename"] = filename
    made_artifact = {"artifactId": identity, "name": name or filename, "parts": parts}
    now.send_artifact(made_artifact, append=append, last=last)
    return identity


def log(text: object, *, level: str = "info") -> None:
    """Write a line to the agent's log; outside of a turn, or above the rate, it is printed."""
    if _running and _running[-1].channel.pace.take():
        _running[-1].send({"type": "log", "text": str(text)[:LOG_MAX_CHARS], "level": level})
    else:
        sys.stderr.write(f"{text}\n")


def call(agent: str, text: str, *, timeout_s: float | None = None) -> Any:
    """Ask another agent and return the text of its answer; where a loop runs, await it.

    The node decides whether this agent may, and continues this turn's trace and budget.

    Raises:
        AgentCallError: the agent could not be asked, refused, or failed.

    """
    from hive_guest.neighbours import ask

    return _here_or_awaited(lambda: ask(agent, text, timeout_s))


def agents() -> Any:
    """Return the cards of the agents that may be asked; where a loop runs, await it.

    Raises:
        AgentCallError: the node did not answer.

    """
    from hive_guest.neighbours import known

    return _here_or_awaited(known)


def gate_address() -> tuple[str, int]:
    """Return where the node's doors listen inside this sandbox."""
    host, _, port = os.environ.get("HIVE_GATE", "").partition(":")
    return host or GATE_HOST, int(port or GATE_PORT)


def _here_or_awaited(deed: Callable[[], object]) -> object:
    events = sys.modules.get("asyncio.events")
    loop = events._get_running_loop() if events else None  # noqa: SLF001, the public one raises
    return deed() if loop is None else loop.run_in_executor(None, deed)
