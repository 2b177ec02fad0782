"""Runs turns, one at a time, on the main thread; a second thread reads what the node sends.

Synchronous agents never pay for an event loop. Asynchronous ones share one loop over all turns, because
their clients stay bound to it; what a turn leaves running on it is cancelled when the turn ends.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from _queue import SimpleQueue

from hive_guest.api import GuestTurn, NeedInput, set_turn
from hive_guest.frames import (
    CHUNK_MAX_CHARS,
    ERROR_MAX_CHARS,
    ConnectionEndedError,
    FrameError,
    TurnSocket,
)
from hive_guest.outbox import hand_out
from hive_guest.parts import parts_of
from hive_guest.shapes import Answer, Failure, Loaded, Made, Question

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from typing import Any, Final

    from hive_guest.shapes import Foreign

CANCEL_SIGNAL: Final = signal.SIGURG
INSIST_PAUSE_S: Final = 0.02
INSIST_TIMES: Final = 250
"""Sent by the reading thread to the main thread: it also ends a wait of the system."""

LEFTOVER_GRACE_S: Final = 2.0


class TurnCanceledError(BaseException):
    """The node cancelled the turn; no `Exception`, so that agents do not take it for their own."""


class TurnLoop:
    """Serves the turns of one agent."""

    def __init__(self, channel: TurnSocket, loaded: Loaded) -> None:
        self._channel = channel
        self._loaded = loaded
        self._frames: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._main = _thread.get_ident()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._turn = ""
        self._interruptible = False
        self._canceled = ""
        self._told = ""
        channel.checkpoint = self._checkpoint

    def serve(self) -> int:
        """Run turns until the node hangs up."""
        signal.signal(CANCEL_SIGNAL, self._on_signal)
        _thread.start_new_thread(self._read, ())
        while True:
            frame = self._frames.get()
            if frame is None:
                return 0
            try:
                self._run(frame)
            except ConnectionEndedError:
                return 0

    def _read(self) -> None:
        try:
            while True:
                frame = self._channel.receive()
                if frame["type"] == "turn":
                    self._frames.put(frame)
                elif frame["type"] == "cancel":
                    self._cancel(str(frame.get("turn")))
        except (ConnectionEndedError, FrameError):
            # The node is gone: whatever the agent still does is of no use to anybody.
            if self._loaded.close is not None:
                self._loaded.close()
            os._exit(0)

    def _cancel(self, turn: str) -> None:
        self._canceled = turn
        if turn != self._turn:
            return
        loop, task = self._loop, self._task
        if loop is not None and task is not None:
            loop.call_soon_threadsafe(task.cancel)
        else:
            signal.pthread_kill(self._main, CANCEL_SIGNAL)
            _thread.start_new_thread(self._insist, (turn,))

    def _insist(self, turn: str) -> None:
        """Signal again until the main thread has heard it.

        Before Python 3.12 another thread that gives up the interpreter's lock can clear the mark by which the
        main thread sees a pending signal; an agent that never waits then runs on as if none had come.
        """
        for _ in range(INSIST_TIMES):
            time.sleep(INSIST_PAUSE_S)
            if self._turn != turn or self._told == turn:
                return
            signal.pthread_kill(self._main, CANCEL_SIGNAL)

    def _on_signal(self, _number: int, _frame: object) -> None:
        if not self._channel.sending:  # half a frame would end the whole sandbox
            self._checkpoint()

    def _checkpoint(self) -> None:
        if self._interruptible and self._canceled == self._turn:
            self._told = self._turn
            raise TurnCanceledError

    def _run(self, frame: dict[str, Any]) -> None:
        self._turn = frame["turn"]
        turn = GuestTurn(frame, self._channel)
        out = _Outgoing(turn)
        os.environ["TRACEPARENT"] = turn.traceparent
        set_turn(turn)
        try:
            end = self._attempt(turn, out)
        finally:
            set_turn(None)
        try:
            if not end.get("canceled"):
                hand_out(turn)
            turn.send(end)
        except FrameError as error:
            turn.send({"type": "failed", "error": str(error), "canceled": False})
        self._turn = ""

    def _attempt(self, turn: GuestTurn, out: _Outgoing) -> dict[str, Any]:
        try:
            if self._loaded.waits:
                self._run_async(turn, out)
            else:
                self._run_sync(turn, out)
            return out.end()
        except ConnectionEndedError:
            raise
        except NeedInput as error:
            turn.asked = error.question
            return out.end()
        except BaseException as error:  # noqa: BLE001, whatever an agent raises ends its turn only
            if self._canceled == turn.id:
                return {"type": "failed", "error": "canceled", "canceled": True}
            if turn.asked is not None:
                return out.end()
            # Not the traceback module: the interpreter prints without importing it.
            sys.__excepthook__(type(error), error, error.__traceback__)
            return {"type": "failed", "error": describe(error), "canceled": False}

    def _run_sync(self, turn: GuestTurn, out: _Outgoing) -> None:
        try:
            self._interruptible = True
            self._checkpoint()
            for piece in self._loaded.run(turn):  # type: ignore[union-attr]
                out.take(piece)
        finally:
            self._interruptible = False

    def _run_async(self, turn: GuestTurn, out: _Outgoing) -> None:
        import asyncio

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        loop = self._loop
        before = asyncio.all_tasks(loop)
        self._task = loop.create_task(self._drive(turn, out))
        try:
            if self._canceled == turn.id:
                self._task.cancel()
            loop.run_until_complete(self._task)
        finally:
            self._task = None
            left = asyncio.all_tasks(loop) - before
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=LEFTOVER_GRACE_S))

    async def _drive(self, turn: GuestTurn, out: _Outgoing) -> None:
        pieces = self._loaded.run(turn)
        try:
            async for piece in pieces:  # type: ignore[union-attr]
                out.take(piece)
        finally:
            close = getattr(pieces, "aclose", None)
            if close is not None:
                await close()


class _Outgoing:
    """Sends the pieces of one turn and remembers what its last frame will say."""

    def __init__(self, turn: GuestTurn) -> None:
        self._turn = turn
        self._chunks: list[str] = []
        self._unsent: list[str] = []
        self._answer: Answer | None = None
        self._failure: Failure | None = None

    def take(self, piece: Foreign) -> None:
        """Take one piece that the adapter yielded."""
        if isinstance(piece, str):
            self._chunk(piece)
        elif isinstance(piece, Answer):
            self._answer = piece
        elif isinstance(piece, Question):
            self._turn.asked = piece.value
        elif isinstance(piece, Failure):
            self._failure = piece
        elif isinstance(piece, Made):
            self._flush()
            self._turn.send_artifact(piece.artifact, append=piece.append, last=piece.last)
        elif piece is not None:
            self._answer = Answer(piece)

    def end(self) -> dict[str, Any]:
        """Return the last frame of the turn."""
        self._flush()
        if self._turn.asked is not None:
            parts = parts_of(self._turn.asked)
            return {"type": "need_input", "message": {"role": "ROLE_AGENT", "parts": parts}}
        if self._failure is not None:
            return {
                "type": "failed",
                "error": self._failure.error[:ERROR_MAX_CHARS],
                "canceled": self._failure.canceled,
            }
        parts = parts_of("".join(self._chunks) if self._answer is None else self._answer.value)
        parts = [made for made in parts if made.get("text") != ""]
        return {
            "type": "done",
            "message": {"role": "ROLE_AGENT", "parts": parts} if parts else None,
        }

    def _chunk(self, text: str) -> None:
        self._chunks.append(text)
        self._unsent.append(text)
        # Above the rate, chunks are put together: the reader gets the same text in fewer frames.
        if self._turn.channel.pace.take():
            self._flush()

    def _flush(self) -> None:
        text = "".join(self._unsent)
        self._unsent.clear()
        for start in range(0, len(text), CHUNK_MAX_CHARS):
            self._turn.send({"type": "chunk", "text": text[start : start + CHUNK_MAX_CHARS]})


def describe(error: BaseException) -> str:
    """Say what an agent raised, in one bounded line."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001, the text of a stranger's exception is a stranger's code
        said = ""
    kind = type(error).__name__
    return (f"{kind}: {said}" if said else kind)[:ERROR_MAX_CHARS]
