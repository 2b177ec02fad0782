"""Any command that serves A2A on a loopback port: started once, then each turn is passed on to it.

The port stands in the variable `PORT`, and wherever the command line says `{port}`.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress
from shutil import which
from urllib.parse import urlsplit

from hive_guest.a2a_wire import CARD_PATHS, ENDED, WAITING, A2AEndpoint, Event, WireError, get_json
from hive_guest.loading import UnusableError
from hive_guest.shapes import Answer, Failure, Loaded, Made, Question

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from hive_guest.api import GuestTurn
    from hive_guest.parts import JsonObject

HOST: Final = "127.0.0.1"
START_TIMEOUT_S: Final = 120.0
POLL_S: Final = 0.02
CANCEL_TIMEOUT_S: Final = 2.0
SKILLS_MAX: Final = 64
CONTEXTS_MAX: Final = 1000


def load_a2a_command(argv: list[str]) -> Loaded:
    """Start the command and wait until it shows its card.

    Raises:
        UnusableError: there is no such program, or no card came.

    """
    program = which(argv[0])
    if program is None:
        raise UnusableError(
            f"There is no program {argv[0]!r} in this sandbox.",
            "Name it with its path in the source, or grant the program.",
        )
    port = _free_port()
    pid = os.posix_spawn(
        program,
        [word.replace("{port}", str(port)) for word in argv],
        os.environ | {"PORT": str(port), "HOST": HOST},
        setpgroup=0,
        setsigdef=[signal.SIGPIPE, signal.SIGURG],
    )
    try:
        card = _wait_for_card(pid, port)
        path, version = _interface(card)
    except BaseException:
        _kill(pid)
        raise
    served = _Served(A2AEndpoint((HOST, port), path, version, {}), card)
    return Loaded(
        "a2a-command",
        served.run,
        streams=served.streams,
        waits=False,
        detail=f"{card.get('name', '')} (A2A {served.endpoint.version})",
        skills=_skills(card),
        close=lambda: _kill(pid),
    )


class _Served:
    """The command's endpoint, and which of its contexts and tasks belong to ours."""

    def __init__(self, endpoint: A2AEndpoint, card: JsonObject) -> None:
        self.endpoint = endpoint
        self.streams = bool((card.get("capabilities") or {}).get("streaming"))
        self._contexts: dict[str, str] = {}
        self._tasks: dict[str, str] = {}

    def run(self, turn: GuestTurn) -> Iterator[Any]:
        """Pass one turn on."""
        task = ""
        ended = False
        try:
            for event in self._events(turn):
                task = self._remember(turn, event) or task
                yield from _pieces(event)
                ended = ended or event.kind == "message" or event.state in ENDED | WAITING
        except WireError as error:
            ended = True
            yield Failure(f"The command's A2A server: {error}")
        finally:
            if not ended and task:
                with suppress(WireError):
                    self.endpoint.cancel(task, timeout_s=CANCEL_TIMEOUT_S)
        if not ended:
            yield Failure("The command's A2A server ended its stream before the task.")

    def _events(self, turn: GuestTurn) -> Iterator[Event]:
        message = {
            "messageId": turn.message.get("messageId") or os.urandom(16).hex(),
            "role": "ROLE_USER",
            "parts": turn.message.get("parts") or [],
        }
        if turn.context_id in self._contexts:
            message["contextId"] = self._contexts[turn.context_id]
        if turn.task_id in self._tasks:
            message["taskId"] = self._tasks.pop(turn.task_id)
        if self.streams:
            yield from self.endpoint.stream(message, timeout_s=turn.timeout_s)
        else:
            yield self.endpoint.send(message, timeout_s=turn.timeout_s)

    def _remember(self, turn: GuestTurn, event: Event) -> str:
        """Keep the command's own ids, since a stranger's ids need not be ours; return its task."""
        for known in (self._contexts, self._tasks):
            if len(known) > CONTEXTS_MAX:
                del known[next(iter(known))]
        value = event.value
        task = str(value.get("id" if event.kind == "task" else "taskId") or "")
        if value.get("contextId"):
            self._contexts[turn.context_id] = str(value["contextId"])
        if task and event.state in WAITING:
            self._tasks[turn.task_id] = task
        return task


def _pieces(event: Event) -> Iterator[Any]:
    """Turn one event into what the turn loop knows."""
    if event.kind == "artifact":
        value = event.value
        artifact = value.get("artifact")
        if isinstance(artifact, dict):
            append, last = bool(value.get("append")), bool(value.get("lastChunk"))
            yield Made(_artifact(artifact), append=append, last=last)
        return
    if event.kind == "task":
        for artifact in event.value.get("artifacts") or ():
            yield Made(_artifact(artifact), append=False, last=True)
    said = event.said
    if event.kind == "message" or event.state == "COMPLETED":
        yield Answer({"parts": (said or {}).get("parts") or []})
    elif event.state in WAITING:
        asks = said or {"parts": [{"text": "The agent waits for more input."}]}
        yield Question({"parts": asks.get("parts") or []})
    elif event.state in ENDED:
        text = " ".join(str(part.get("text", "")) for part in (said or {}).get("parts") or ())
        canceled = event.state == "CANCELED"
        yield Failure(text or f"The task is {event.state.lower()}.", canceled=canceled)


def _artifact(artifact: JsonObject) -> JsonObject:
    return {
        "artifactId": str(artifact.get("artifactId") or "artifact"),
        "name": str(artifact.get("name") or ""),
        "description": str(artifact.get("description") or ""),
        "parts": artifact.get("parts") or [],
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_card(pid: int, port: int) -> JsonObject:
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            raise UnusableError(
                f"The command ended with {code} before it served A2A.", "See the agent's log."
            )
        for path in CARD_PATHS:
            with suppress(WireError):
                card = get_json((HOST, port), path, {}, timeout_s=5)
                if isinstance(card, dict):
                    return card
        time.sleep(POLL_S)
    raise UnusableError(
        f"The command showed no agent card for {START_TIMEOUT_S:g} s.",
        "It must serve A2A on 127.0.0.1 at the port that PORT (or `{port}` in its line) names.",
    )


def _interface(card: JsonObject) -> tuple[str, str]:
    """Return path and version of the JSON-RPC endpoint that a card names.

    Raises:
        UnusableError: it names none.

    """
    for offered in card.get("supportedInterfaces") or ():
        if str(offered.get("protocolBinding", "")).upper() == "JSONRPC":
            version = str(offered.get("protocolVersion") or "1.0")
            return urlsplit(str(offered.get("url", ""))).path or "/", version
    if card.get("url") and card.get("preferredTransport", "JSONRPC") == "JSONRPC":
        return urlsplit(str(card["url"])).path or "/", str(card.get("protocolVersion") or "0.3")
    raise UnusableError("The command's card names no JSON-RPC endpoint.", "Serve that binding too.")


def _skills(card: JsonObject) -> list[JsonObject]:
    found = []
    for skill in (card.get("skills") or ())[:SKILLS_MAX]:
        if isinstance(skill, dict) and isinstance(skill.get("id"), str):
            words = {name: str(skill.get(name) or "") for name in ("id", "name", "description")}
            lists = {
                name: [str(word) for word in skill.get(name) or ()] for name in ("tags", "examples")
            }
            found.append({**words, **lists})
    return found


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
