"""A transport that sends the head of an answer and its body in one piece.

uvicorn writes them one after the other, and each write is a call of the system that wakes the client: the
first for a head that it can do nothing with. Here what is written waits for the end of the answer, or for
the next turn of the loop, whichever comes first; and never more than a little of it.
"""

import asyncio
from typing import Any, Final

HELD_BYTES_MAX: Final = 64 << 10


class CorkedTransport(asyncio.Transport):
    """Another transport, whose writes gather for a moment."""

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._inner = inner
        self._loop = loop
        self._held: list[bytes] = []
        self._held_bytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hold bytes, and send them soon; what is large goes at once."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(bytes(data))
        self._held_bytes += len(data)
        if self._held_bytes > HELD_BYTES_MAX:
            self.flush()

    def flush(self) -> None:
        """Send what is held."""
        held = self._held
        if not held:
            return
        self._held, self._held_bytes = [], 0
        if not self._inner.is_closing():
            self._inner.write(held[0] if len(held) == 1 else b"".join(held))

    def close(self) -> None:
        """Send what is held, then close."""
        self.flush()
        self._inner.close()

    def abort(self) -> None:
        """Close at once; what is held is lost."""
        self._held, self._held_bytes = [], 0
        self._inner.abort()

    def is_closing(self) -> bool:
        """Tell whether it is closed, or about to be."""
        return self._inner.is_closing()

    def pause_reading(self) -> None:
        """Take no more in."""
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        """Take more in."""
        self._inner.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - asyncio's own
        """Return what the transport knows of the connection."""
        return self._inner.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection to another protocol."""
        self._inner.set_protocol(protocol)
