"""The host process of the wasm tier: one component, many instances, one socket to the node.

A frame is a length (four bytes, big-endian), the number of an instance (four bytes; 0 is the host itself) and JSON. To the
host goes `load`, to an instance `open`, `turn`, `cancel`, `close`; what an instance answers are the frames of every guest,
and `closed` when it is spent. Frames of one instance are handled in order by one thread at a time.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import deque
from typing import Any, Final

from hive.execution.component.pace import Ticker, Turnstile

FRAME_MAX_BYTES: Final = 8 << 20
THREADS_MAX: Final = 64
_HEAD_BYTES: Final = 8


class Line:
    """The socket to the node; frames are sent whole, from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()

    def send(self, number: int, frame: dict[str, Any]) -> None:
        """Send a frame of an instance; the process ends where nobody reads any more."""
        body = json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "replace"
        )
        if len(body) > FRAME_MAX_BYTES:
            body = json.dumps(
                {
                    "type": "failed",
                    "turn": frame.get("turn", ""),
                    "error": "it said too much at once",
                }
            ).encode()
        try:
            with self._lock:
                self._sock.sendall(len(body).to_bytes(4, "big") + number.to_bytes(4, "big") + body)
        except OSError:
            os._exit(0)

    def frames(self) -> Any:
        """Yield number and body of each frame until the node closes the socket."""
        stream = self._sock.makefile("rb", buffering=1 << 16)
        while len(head := stream.read(_HEAD_BYTES)) == _HEAD_BYTES:
            size = int.from_bytes(head[:4], "big")
            yield int.from_bytes(head[4:], "big"), stream.read(size)


class Seat:
    """One instance and the frames that wait for it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.frames: deque[dict[str, Any]] = deque()
        self.busy = False
        self.canceled = ""
        self.running = ""
        self.instance: Any = None
        self.flows = threading.Event()
        self.flows.set()


class Host:
    """Serves the frames of one component's instances with a few threads.

    Whoever reads a frame also does what it asks for, while another thread reads on: nothing is handed from thread to thread.
    One thread always reads, so that a cancellation gets through however many turns run.
    """

    def __init__(self, line: Line) -> None:
        # Before anything of a stranger is loaded: the library, the engine and its places.
        from hive.execution.component import instance
        from hive.execution.component.engine import make_engine

        self._line = line
        self._made = instance
        self._engine = make_engine()
        self._ticker = Ticker(self._engine)
        self._slots = Turnstile(2 * (os.cpu_count() or 1))
        self._world: Any = None
        self._seats: dict[int, Seat] = {}
        self._lock = threading.Lock()
        self._frames = line.frames()
        self._reading = threading.Lock()
        self._late: deque[Seat] = deque()
        self._threads = 1
        self._readers = 1

    def run(self) -> None:
        """Serve until the node closes the socket."""
        self._line.send(0, {"type": "warm"})
        self._serve()

    def _serve(self) -> None:
        while True:
            with self._reading:
                number, body = next(self._frames, (0, b""))
                if not body:
                    os._exit(0)
                seat = self._take(number, json.loads(body))
            while seat is not None and self._may_leave(seat):
                self._work(seat)
                with self._lock:
                    self._readers += 1
                    seat = self._late.popleft() if self._late else None

    def _take(self, number: int, frame: dict[str, Any]) -> Seat | None:
        """Take a frame; return the instance that now has something to do and nobody who does it."""
        if number == 0:
            self._load(frame)
        elif frame["type"] == "cancel":
            self._cancel(number, frame)
        elif frame["type"] in ("pause", "resume"):
            self._flow(number, flows=frame["type"] == "resume")
        else:
            return self._queue(number, frame)
        return None

    def _may_leave(self, seat: Seat) -> bool:
        """Let this thread stop reading if another one reads; the work of the last reader waits."""
        with self._lock:
            if self._readers == 1 and self._threads < THREADS_MAX:
                self._threads += 1
                self._readers += 1
                threading.Thread(target=self._serve, daemon=True).start()
            if self._readers == 1:
                self._late.append(seat)
                return False
            self._readers -= 1
            return True

    def _work(self, seat: Seat) -> None:
        """Do what waits for an instance."""
        while True:
            with self._lock:
                if not seat.frames:
                    seat.busy = False
                    return
                frame = seat.frames.popleft()
            self._handle(seat, frame)

    def _load(self, frame: dict[str, Any]) -> None:
        from wasmtime import WasmtimeError
        from wasmtime import component as components

        try:
            component = components.Component.deserialize_file(self._engine, frame["path"])
            self._world = self._made.World(self._engine, component, self._slots, wasi=frame["wasi"])
            with self._ticker, self._slots:
                self._world.tried()
        except (WasmtimeError, self._made.UnusableComponentError) as error:
            self._line.send(0, {"type": "unusable", "error": str(error)[:2000]})
            return
        self._line.send(0, {"type": "loaded"})

    def _queue(self, number: int, frame: dict[str, Any]) -> Seat | None:
        with self._lock:
            seat = self._seats.get(number)
            if seat is None:
                seat = self._seats[number] = Seat(number)
            if frame["type"] == "close":
                self._seats.pop(number, None)
                seat.frames.clear()
                if seat.instance is not None:
                    seat.instance.imports.hang_up()
                    seat.instance.stop()
                seat.flows.set()
            frame["arrived_s"] = time.monotonic()
            seat.frames.append(frame)
            if seat.busy:
                return None
            seat.busy = True
            return seat

    def _cancel(self, number: int, frame: dict[str, Any]) -> None:
        with self._lock:
            seat = self._seats.get(number)
            if seat is None:
                return
            seat.canceled = frame["turn"]
            running = seat.running == frame["turn"]
        if running and seat.instance is not None:
            seat.instance.imports.hang_up()
            seat.instance.stop()
            seat.flows.set()

    def _flow(self, number: int, *, flows: bool) -> None:
        with self._lock:
            seat = self._seats.get(number)
        if seat is not None:
            (seat.flows.set if flows else seat.flows.clear)()

    def _say(self, seat: Seat, frame: dict[str, Any]) -> None:
        """Send what a component says while its turn runs; it waits while nobody reads."""
        seat.flows.wait()
        self._line.send(seat.number, frame)

    def _handle(self, seat: Seat, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "open":
                self._open(seat, frame)
            case "turn":
                self._turn(seat, frame)
            case "close":
                self._spent(seat)
                self._line.send(seat.number, {"type": "closed", "reason": "it was closed"})

    def _open(self, seat: Seat, frame: dict[str, Any]) -> None:
        made = self._made
        try:
            with self._slots, self._ticker:
                seat.instance = made.LiveComponent(
                    self._world,
                    places=made.Places(*frame["places"]),
                    memory_bytes=frame["memory_bytes"],
                    cpu_s=frame["cpu_s"],
                    write=lambda said: self._say(seat, said),
                )
        except made.UnusableComponentError as error:
            with self._lock:
                self._seats.pop(seat.number, None)
            self._line.send(seat.number, {"type": "closed", "reason": str(error)})

    def _turn(self, seat: Seat, frame: dict[str, Any]) -> None:
        made, turn = self._made, frame["turn"]
        with self._lock:
            seat.running = turn
            canceled = seat.canceled == turn
        if seat.instance is None or canceled:
            self._line.send(seat.number, _failed(turn, "canceled", canceled=canceled))
            return
        spent = ""
        try:
            with self._slots, self._ticker:
                answer = seat.instance.run(frame)
        except made.StoppedError as error:
            spent = str(error)
            answer = _failed(turn, spent, canceled=seat.canceled == turn)
        with self._lock:
            seat.running = ""
        if seat.canceled == turn:
            answer = _failed(turn, "canceled", canceled=True)
        self._line.send(seat.number, answer)
        if spent:
            # A component that was stopped in its middle is never entered again.
            self._spent(seat)
            with self._lock:
                self._seats.pop(seat.number, None)
            self._line.send(seat.number, {"type": "closed", "reason": spent})

    def _spent(self, seat: Seat) -> None:
        if seat.instance is not None:
            seat.instance.close()
            seat.instance = None


def _failed(turn: str, error: str, *, canceled: bool) -> dict[str, Any]:
    return {"type": "failed", "turn": turn, "error": error[:4096], "canceled": canceled}


def main(_arguments: list[str]) -> int:
    """Serve the socket that the launcher handed over."""
    Host(Line(socket.socket(fileno=int(os.environ["HIVE_TURN_FD"])))).run()
    return 0
