"""The node's end of a sandbox's turn socket; trusts nothing that comes out of it.

A guest that breaks a limit or speaks out of turn has lost its sandbox: the channel closes, tells the
driver, and whoever waits gets a `GuestError`. A guest that is merely faster than its reader waits.
"""

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

import anyio

from hive.core.clock import Clock, SystemClock
from hive.core.errors import GuestError, HiveError, SandboxError, SpecError
from hive.core.ids import MessageId, TurnId, new_id
from hive.core.randomness import Randomness, SystemRandomness
from hive.execution.guest_frames import (
    CONTENT_MAX_BYTES,
    ERROR_MAX_CHARS,
    HEADER_BYTES,
    LEVELS,
    ArtifactFrame,
    ChunkFrame,
    DoneFrame,
    FailedFrame,
    GuestMessageWire,
    HelloFrame,
    LogFrame,
    NeedInputFrame,
    Received,
    TurnFrame,
    UnusableFrame,
    artifact_of,
    as_text,
    broken,
    clean,
    description_of,
    log_lines,
    message_of,
    read_frame,
    turn_of,
    write_frame,
    write_turn,
)
from hive.execution.ports import (
    ArtifactMade,
    Description,
    GuestEvent,
    InputNeeded,
    LogLine,
    TextChunk,
    Turn,
    TurnDone,
    TurnFailed,
)
from hive.execution.turn_line import SocketReader, TurnLine

FRAMES_PER_S_MAX: Final = 2000
FRAMES_PER_S_LASTING: Final = 800
TURN_MAX_BYTES: Final = 64 << 20
EVENTS_MAX: Final = 256
EVENTS_MAX_BYTES: Final = 16 << 20
CANCEL_GRACE_S: Final = 5.0

_CLOCK: Final = SystemClock()
_RANDOMNESS: Final = SystemRandomness()
_ENDS: Final = (InputNeeded, TurnDone, TurnFailed)


class GuestChannel:
    """Speaks the turn protocol with the guest of one sandbox, one turn at a time.

    `on_broken` is called once when the guest broke the protocol or did not stop when it was told to:
    the driver kills the sandbox then.
    """

    def __init__(
        self,
        sock: socket.socket | None,
        *,
        frame_max_bytes: int = CONTENT_MAX_BYTES,
        frames_per_s_max: int = FRAMES_PER_S_MAX,
        turn_max_bytes: int = TURN_MAX_BYTES,
        cancel_grace_s: float = CANCEL_GRACE_S,
        on_broken: Callable[[HiveError], None] | None = None,
        clock: Clock = _CLOCK,
        randomness: Randomness = _RANDOMNESS,
    ) -> None:
        self._sock = sock
        self._frame_max_bytes = frame_max_bytes
        self._frames_per_s_max = frames_per_s_max
        self._turn_max_bytes = turn_max_bytes
        self._cancel_grace_s = cancel_grace_s
        self._on_broken = on_broken
        self._clock = clock
        self._randomness = randomness
        self._transport: TurnLine | None = None
        self._buffer = bytearray()
        self._allowance = float(frames_per_s_max)
        self._allowance_at = clock.monotonic()
        self._description: Description | None = None
        self._greeted = anyio.Event()
        self._error: HiveError | None = None
        self._turn: Turn | None = None
        self._turn_bytes = 0
        self._abandoned = False
        self._idle = anyio.Event()
        self._idle.set()
        self._events: deque[tuple[GuestEvent, int]] = deque()
        self._events_bytes = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._grace: asyncio.TimerHandle | None = None

    async def ready(self, timeout_s: float) -> Description:
        """Wait until the guest has loaded its agent; may be called again.

        Raises:
            SpecError: the agent cannot be used.
            GuestError: the guest broke the protocol.
            SandboxError: it said nothing in time, or died.

        """
        try:
            with anyio.fail_after(timeout_s):
                await self._open()
                await self._greeted.wait()
        except TimeoutError as error:
            raise SandboxError(
                "The agent did not become ready.",
                why=f"It said nothing for {timeout_s:g} s.",
                fix="See `hive logs AGENT`: a module that never ends its import does this.",
            ) from error
        if self._description is None:
            raise self._reason()
        return self._description

    async def run_turn(self, turn: Turn) -> AsyncIterator[GuestEvent]:
        """Run one turn; the last event is InputNeeded, TurnDone or TurnFailed.

        Closing the iterator early cancels the turn.

        Raises:
            GuestError: the guest broke the protocol.
            SandboxError: it died, or is not ready.
            TooLargeError: the message does not fit into a frame.

        """
        await (
            self._idle.wait()
        )  # bounded: an abandoned turn ends or breaks the channel in its grace
        self._begin(turn)
        ended = False
        try:
            while not ended:
                event = await self._next()
                ended = isinstance(event, _ENDS)
                yield event
        finally:
            if not ended:
                self._abandon()

    async def cancel(self, turn_id: TurnId) -> None:
        """Ask the agent to stop; one that has not after the grace ends as canceled and is killed."""
        if self._turn is not None and self._turn.id == turn_id:
            self._send_cancel(self._turn)

    def close(self) -> None:
        """Close the socket; whoever waits gets a `SandboxError`."""
        if self._transport is not None:
            self._transport.abort()
        elif self._sock is not None:
            self._sock.close()
        self._fail(SandboxError("The sandbox was closed."))

    def attach(self, line: TurnLine) -> None:
        """Speak over a line that is open already; whoever holds its other end calls `take` and `lost`."""
        self._transport = line

    async def _open(self) -> None:
        if self._transport is None and self._error is None and self._sock is not None:
            self._sock.settimeout(0)
            loop = asyncio.get_running_loop()
            self._transport, _ = await loop.create_unix_connection(
                lambda: SocketReader(self), sock=self._sock
            )

    def _begin(self, turn: Turn) -> None:
        if self._error is not None or self._transport is None or self._description is None:
            raise self._reason()
        if self._turn is not None:
            raise SandboxError("The sandbox runs a turn already.", why="It runs one at a time.")
        data = write_turn(turn, self._frame_max_bytes)
        self._turn = turn
        self._turn_bytes = 0
        self._abandoned = False
        self._idle = anyio.Event()
        self._transport.write(data)

    async def _next(self) -> GuestEvent:
        while not self._events:
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        event, size_bytes = self._events.popleft()
        self._events_bytes -= size_bytes
        if self._paused and len(self._events) < EVENTS_MAX // 2:
            self._pause(pause=False)
        return event

    def _abandon(self) -> None:
        """Nobody reads this turn any more: cancel it, and drop what still comes of it."""
        self._events.clear()
        self._events_bytes = 0
        if self._turn is None or self._error is not None:
            return
        self._abandoned = True
        self._pause(pause=False)
        self._send_cancel(self._turn)

    def _send_cancel(self, turn: Turn) -> None:
        if self._transport is None or self._error is not None or self._grace is not None:
            return
        self._transport.write(write_frame({"type": "cancel", "turn": turn.id}))
        self._grace = asyncio.get_running_loop().call_later(
            self._cancel_grace_s, self._overdue, turn.id
        )

    def _overdue(self, turn_id: TurnId) -> None:
        self._grace = None
        if self._turn is None or self._turn.id != turn_id:
            return
        self._put(TurnFailed(error="canceled", canceled=True), 0)
        self._break(
            GuestError(
                "The agent did not stop when it was told to.",
                why=f"Its turn went on for {self._cancel_grace_s:g} s after it was cancelled.",
                fix="Nothing: the sandbox was killed, and a fresh one serves the next turn.",
            )
        )

    def receive(self, data: bytes) -> None:
        """Take bytes from the socket; called by the event loop."""
        self._buffer += data
        try:
            while self._error is None and (body := self._take_frame()) is not None:
                self._accept(body)
        except HiveError as error:
            self._break(error)

    def take(self, body: bytes) -> None:
        """Take one frame that came over a line; called by the event loop."""
        try:
            if self._error is None:
                self._accept(body)
        except HiveError as error:
            self._break(error)

    def _accept(self, body: bytes) -> None:
        self._count(len(body))
        self._dispatch(read_frame(body), len(body))

    def lost(self, error: Exception | None) -> None:
        """Take note that the socket is closed; called by the event loop."""
        self._fail(
            SandboxError(
                "The sandbox died.",
                why=f"Its turn socket closed: {error}." if error else "Its turn socket closed.",
                fix="See `hive logs AGENT` for what it printed last.",
            )
        )

    def _take_frame(self) -> bytes | None:
        if len(self._buffer) < HEADER_BYTES:
            return None
        size = int.from_bytes(self._buffer[:HEADER_BYTES], "big")
        if size > self._frame_max_bytes:
            raise broken(f"A frame has {size} bytes; the limit is {self._frame_max_bytes}.")
        end = HEADER_BYTES + size
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[HEADER_BYTES:end])
        del self._buffer[:end]
        return body

    def _count(self, size_bytes: int) -> None:
        now = self._clock.monotonic()
        # A burst is allowed; what goes on and on shares the node's one loop with all other agents.
        lasting = min(FRAMES_PER_S_LASTING, self._frames_per_s_max)
        refill = (now - self._allowance_at) * lasting
        self._allowance = min(float(self._frames_per_s_max), self._allowance + refill) - 1
        self._allowance_at = now
        if self._allowance < 0:
            raise broken(
                f"More than {self._frames_per_s_max} frames came in a second, or more than {lasting} "
                "a second for long."
            )
        self._turn_bytes += size_bytes
        if self._turn_bytes > self._turn_max_bytes:
            raise broken(f"A turn sent more than {self._turn_max_bytes} bytes.")

    def _dispatch(self, received: Received, size_bytes: int) -> None:
        frame = received.frame
        if isinstance(frame, HelloFrame | UnusableFrame):
            self._greet(frame)
            return
        if self._turn is None or turn_of(frame) != self._turn.id:
            raise broken("A frame belongs to a turn that does not run in this sandbox.")
        for event in self._events_of(frame, self._turn, nul=received.nul):
            if isinstance(event, _ENDS):
                self._end_turn()
            if not self._abandoned:
                self._put(event, size_bytes)

    def _greet(self, frame: HelloFrame | UnusableFrame) -> None:
        if self._greeted.is_set():
            raise broken("The guest said hello twice.")
        if isinstance(frame, HelloFrame):
            self._description = description_of(frame)
            self._greeted.set()
            return
        why, fix = clean(frame.error, ERROR_MAX_CHARS), clean(frame.fix, ERROR_MAX_CHARS)
        self._fail(SpecError("The agent cannot be used.", why=why, fix=fix))

    def _events_of(self, frame: TurnFrame, turn: Turn, *, nul: bool) -> list[GuestEvent]:
        def said(wire: GuestMessageWire) -> TurnDone:
            message_id = MessageId(new_id(self._clock, self._randomness))
            return TurnDone(message=message_of(wire, message_id, turn, nul=nul))

        match frame:
            case ChunkFrame():
                return [TextChunk(text=as_text(frame.text, nul=nul))]
            case ArtifactFrame():
                artifact = artifact_of(frame.artifact, nul=nul)
                return [ArtifactMade(artifact=artifact, append=frame.append, last_chunk=frame.last)]
            case LogFrame():
                level = frame.level if frame.level in LEVELS else "info"
                return [LogLine(text=line, level=level) for line in log_lines(frame.text)]
            case NeedInputFrame():
                question = said(frame.message).message
                return [] if question is None else [InputNeeded(message=question)]
            case DoneFrame():
                return [TurnDone(message=None) if frame.message is None else said(frame.message)]
            case FailedFrame():
                error = clean(frame.error, ERROR_MAX_CHARS)
                return [TurnFailed(error=error, canceled=frame.canceled)]

    def _end_turn(self) -> None:
        self._turn = None
        self._idle.set()
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _put(self, event: GuestEvent, size_bytes: int) -> None:
        self._events.append((event, size_bytes))
        self._events_bytes += size_bytes
        if len(self._events) >= EVENTS_MAX or self._events_bytes >= EVENTS_MAX_BYTES:
            self._pause(pause=True)
        self._wake()

    def _pause(self, *, pause: bool) -> None:
        if self._transport is None or self._paused == pause or self._transport.is_closing():
            return
        self._paused = pause
        if pause:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _break(self, error: HiveError) -> None:
        if self._error is not None:
            return
        self._fail(error)
        if self._transport is not None:
            self._transport.abort()
        if self._on_broken is not None:
            self._on_broken(error)

    def _fail(self, error: HiveError) -> None:
        if self._error is None:
            self._error = error
            self._end_turn()
            self._greeted.set()
            self._wake()

    def _reason(self) -> HiveError:
        return self._error or SandboxError(
            "The agent is not ready.", why="Its guest has not said hello."
        )
