"""The turn protocol between the node and its guest: frames, limits, and the guest's end of the socket.

A frame is a length (four bytes, big-endian) and that many bytes of JSON: an object with a `type`. The
guest keeps to the limits by itself, because the node kills a sandbox that breaks them.
"""

from __future__ import annotations

import _thread
import json
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    import socket
    from collections.abc import Callable
    from typing import Any, Final

VERSION: Final = 1
CONTROL_MAX_BYTES: Final = 1 << 20
CONTENT_MAX_BYTES: Final = 8 << 20
DEPTH_MAX: Final = 64
FRAMES_PER_S: Final = 400
BURST_FRAMES: Final = 500
CHUNK_MAX_CHARS: Final = 64 << 10
LOG_MAX_CHARS: Final = 8 << 10
ERROR_MAX_CHARS: Final = 4 << 10
HEADER_BYTES: Final = 4

CONTENT_TYPES: Final = frozenset({"turn", "artifact", "need_input", "done"})
"""Frames that carry messages or artifacts and may be as large as `CONTENT_MAX_BYTES`."""


class FrameError(Exception):
    """A frame is too large, too deep, or not JSON."""


class ConnectionEndedError(Exception):
    """The node closed the turn socket."""


def encode_frame(frame: dict[str, Any]) -> bytes:
    """Write one frame with its length.

    Raises:
        FrameError: it is larger or deeper than the node would accept.

    """
    try:
        # Anything that JSON does not know becomes its text; lone surrogates cannot be sent at all.
        body = json.dumps(frame, ensure_ascii=False, separators=(",", ":"), default=str)
        data = body.encode("utf-8", "replace")
    except (ValueError, RecursionError) as error:
        message = f"a {frame.get('type')} frame cannot be written as JSON: {error}"
        raise FrameError(message) from error
    limit = CONTENT_MAX_BYTES if frame.get("type") in CONTENT_TYPES else CONTROL_MAX_BYTES
    if len(data) > limit:
        message = f"a {frame.get('type')} frame of {len(data)} bytes is over the limit of {limit}"
        raise FrameError(message)
    if depth_of(frame) > DEPTH_MAX:
        message = f"a {frame.get('type')} frame is nested deeper than {DEPTH_MAX}"
        raise FrameError(message)
    return len(data).to_bytes(HEADER_BYTES, "big") + data


def depth_of(value: object) -> int:
    """Return how deep lists and dictionaries nest, counting no further than one past the limit."""
    depth, level = 0, [value]
    while level and depth <= DEPTH_MAX:
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, (list, tuple)):
                inner += item
            else:
                continue
            inner.append(None)
        depth += 1 if inner else 0
        level = inner
    return depth


class Pace:
    """Tell whether one more frame may go now, so that the node's rate limit is never met."""

    def __init__(
        self,
        frames_per_s: float = FRAMES_PER_S,
        burst_frames: float = BURST_FRAMES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = frames_per_s
        self._burst = burst_frames
        self._left = burst_frames
        self._now = now
        self._at = now()

    def take(self) -> bool:
        """Use up one frame of the allowance, or return False."""
        at = self._now()
        self._left = min(self._burst, self._left + (at - self._at) * self._rate)
        self._at = at
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def wait(self) -> None:
        """Use up one frame of the allowance, waiting until there is one."""
        while not self.take():
            time.sleep((1 - self._left) / self._rate)


class TurnSocket:
    """The guest's end: frames may be sent from any thread, and are read by one."""

    def __init__(self, sock: socket.socket | _socket.socket) -> None:
        self._sock = sock
        self._lock = _thread.allocate_lock()
        self._buffer = bytearray()
        self._main = _thread.get_ident()
        self.pace = Pace()
        self.checkpoint: Callable[[], None] | None = None
        """Called in the main thread after a frame of its own."""

        self.sending = False
        """True while the main thread is inside a frame: a signal handler must not raise then."""

    def send(self, frame: dict[str, Any]) -> None:
        """Send one frame whole.

        Raises:
            FrameError: it is larger or deeper than the node would accept.
            ConnectionEndedError: nobody reads any more.

        """
        data = encode_frame(frame)
        in_main = _thread.get_ident() == self._main
        with self._lock:
            if in_main:
                self.sending = True
            try:
                self._sock.sendall(data)
            except OSError as error:
                raise ConnectionEndedError from error
            finally:
                if in_main:
                    self.sending = False
        if in_main and self.checkpoint is not None:
            self.checkpoint()

    def receive(self) -> dict[str, Any]:
        """Wait for the next frame of the node.

        Raises:
            FrameError: it is not a frame.
            ConnectionEndedError: there is no next one.

        """
        size = int.from_bytes(self._take(HEADER_BYTES), "big")
        if size > CONTENT_MAX_BYTES:
            message = f"a frame of {size} bytes is over the limit of {CONTENT_MAX_BYTES}"
            raise FrameError(message)
        try:
            frame = json.loads(self._take(size))
        except (ValueError, RecursionError) as error:
            message = "a frame is not JSON"
            raise FrameError(message) from error
        if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
            message = "a frame is not an object with a type"
            raise FrameError(message)
        return frame

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                data = self._sock.recv(max(64 << 10, min(size - len(self._buffer), 1 << 20)))
            except OSError as error:
                raise ConnectionEndedError from error
            if not data:
                raise ConnectionEndedError
            self._buffer += data
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken
