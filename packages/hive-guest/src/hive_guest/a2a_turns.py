"""Passes turns on to an agent that speaks A2A itself, wherever it runs, and brings back what it says.

Its ids are its own: which of its contexts and tasks belong to ours is remembered here. A stream that breaks
off does not end a task: what became of it is asked until the turn's time is over.
"""

from __future__ import annotations

import _thread
import os
import time
from _queue import Empty, SimpleQueue
from contextlib import suppress

from hive_guest.a2a_wire import ENDED, WAITING, A2AEndpoint, Event, WireError
from hive_guest.loading import UnusableError
from hive_guest.shapes import Answer, Failure, Made, Question

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from hive_guest.api import GuestTurn
    from hive_guest.parts import JsonObject

CANCEL_TIMEOUT_S: Final = 1.0
LATE_TASK_TIMEOUT_S: Final = 0.5
ASK_AGAIN_S: Final = 0.5
ASKING_FAILURES_MAX: Final = 5
SKILLS_MAX: Final = 64
CONTEXTS_MAX: Final = 1000
INVALID_PARAMS: Final = -32602


class Interface:
    """One way to reach an agent, as its card offers it."""

    __slots__ = ("url", "version")

    def __init__(self, url: str, version: str) -> None:
        self.url = url
        self.version = version


class PassedTurns:
    """An agent's endpoint, and which of its contexts and tasks belong to ours."""

    def __init__(self, endpoint: A2AEndpoint, card: JsonObject, *, whose: str) -> None:
        self._endpoint = endpoint
        self._whose = whose
        self.streams = bool((card.get("capabilities") or {}).get("streaming"))
        self._contexts: dict[str, str] = {}
        self._tasks: dict[str, str] = {}

    def run(self, turn: GuestTurn) -> Iterator[Any]:
        """Pass one turn on."""
        until = time.monotonic() + turn.timeout_s
        heard: SimpleQueue[Any] = SimpleQueue()
        task, ended = "", False
        try:
            for event in self._events(turn, heard):
                task = self._remember(turn, event) or task
                ended = event.at_rest
                yield from _pieces(event)
                if ended:
                    return
            if task:
                event = self._end_of(task, until)
                self._remember(turn, event)
                ended = True
                yield from _pieces(event)
                return
            ended = True
            yield Failure(f"{self._whose} ended its stream before it named a task.")
        except WireError as error:
            ended = not task
            yield Failure(f"{self._whose}: {error}")
        finally:
            if not ended:
                self._cancel(task or _late_task(heard))

    def _cancel(self, task: str) -> None:
        if task:
            with suppress(WireError):
                self._endpoint.cancel(task, timeout_s=CANCEL_TIMEOUT_S)

    def _events(self, turn: GuestTurn, heard: SimpleQueue[Any]) -> Iterator[Event]:
        """Yield what comes back, or nothing more where the connection broke after a first event."""
        message = {
            "messageId": turn.message.get("messageId") or os.urandom(16).hex(),
            "role": "ROLE_USER",
            "parts": turn.message.get("parts") or [],
            # An agent may take our name for the conversation, which then outlives this process.
            "contextId": self._contexts.get(turn.context_id, turn.context_id),
        }
        if turn.task_id in self._tasks:
            message["taskId"] = self._tasks.pop(turn.task_id)
        seen = False
        try:
            for event in self._said(message, turn, heard):
                seen = True
                yield event
        except WireError as error:
            if seen and not error.code:
                return
            if seen or error.code != INVALID_PARAMS or turn.context_id in self._contexts:
                raise
            del message["contextId"]
            yield from self._said(message, turn, heard)

    def _said(
        self, message: JsonObject, turn: GuestTurn, heard: SimpleQueue[Any]
    ) -> Iterator[Event]:
        """Send a message and yield its events.

        A thread reads them: a cancellation interrupts only this one, so that the name of a task
        that has just begun is not lost.
        """
        _thread.start_new_thread(self._listen, (message, turn.timeout_s, heard))
        while True:
            item = heard.get()
            if item is None:
                return
            if isinstance(item, WireError):
                raise item
            yield item

    def _listen(self, message: JsonObject, timeout_s: float, heard: SimpleQueue[Any]) -> None:
        try:
            if self.streams:
                for event in self._endpoint.stream(message, timeout_s=timeout_s):
                    heard.put(event)
            else:
                heard.put(self._endpoint.send(message, timeout_s=timeout_s))
        except WireError as error:
            heard.put(error)
        except Exception as error:  # noqa: BLE001, a thread that dies in silence would hang the turn
            heard.put(WireError(f"{type(error).__name__}: {error}"))
        else:
            heard.put(None)

    def _end_of(self, task: str, until: float) -> Event:
        """Ask for a task until it is at rest.

        Raises:
            WireError: it is not at rest in time, or nobody answers.

        """
        failures = 0
        while time.monotonic() < until:
            try:
                event = self._endpoint.get(task, timeout_s=max(1.0, until - time.monotonic()))
            except WireError as error:
                failures += 1
                if error.code or failures >= ASKING_FAILURES_MAX:
                    raise
            else:
                if event.at_rest:
                    return event
            time.sleep(ASK_AGAIN_S)
        message = "its task did not end in time"
        raise WireError(message)

    def _remember(self, turn: GuestTurn, event: Event) -> str:
        """Keep the agent's own ids, since a stranger's ids need not be ours; return its task."""
        for known in (self._contexts, self._tasks):
            if len(known) > CONTEXTS_MAX:
                del known[next(iter(known))]
        value = event.value
        task = _task_of(event)
        if value.get("contextId"):
            self._contexts[turn.context_id] = str(value["contextId"])
        if task and event.state in WAITING:
            self._tasks[turn.task_id] = task
        return task


def _late_task(heard: SimpleQueue[Any]) -> str:
    """Return the task that a canceled turn had begun without knowing it yet."""
    try:
        item = heard.get(timeout=LATE_TASK_TIMEOUT_S)
    except Empty:
        return ""
    return _task_of(item) if isinstance(item, Event) else ""


def _task_of(event: Event) -> str:
    return str(event.value.get("id" if event.kind == "task" else "taskId") or "")


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


def interface_of(card: JsonObject) -> Interface:
    """Return the JSON-RPC endpoint that a card names.

    Raises:
        UnusableError: it names none.

    """
    for offered in card.get("supportedInterfaces") or ():
        if str(offered.get("protocolBinding", "")).upper() == "JSONRPC":
            version = str(offered.get("protocolVersion") or "1.0")
            return Interface(str(offered.get("url", "")), version)
    if card.get("url") and card.get("preferredTransport", "JSONRPC") == "JSONRPC":
        return Interface(str(card["url"]), str(card.get("protocolVersion") or "0.3"))
    raise UnusableError("The agent's card names no JSON-RPC endpoint.", "Serve that binding too.")


def skills_of(card: JsonObject) -> list[JsonObject]:
    """Return the skills of a card, for our own."""
    found = []
    for skill in (card.get("skills") or ())[:SKILLS_MAX]:
        if isinstance(skill, dict) and isinstance(skill.get("id"), str):
            words = {name: str(skill.get(name) or "") for name in ("id", "name", "description")}
            lists = {
                name: [str(word) for word in skill.get(name) or ()] for name in ("tags", "examples")
            }
            found.append({**words, **lists})
    return found
