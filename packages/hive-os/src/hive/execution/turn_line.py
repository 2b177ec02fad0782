"""What carries the frames of one sandbox's turns: a socket of its own, or a share of one."""

import asyncio
from typing import Protocol


class TurnLine(Protocol):
    """The sending half; an asyncio transport is one."""

    def write(self, data: bytes) -> None:
        """Send a frame with its length."""
        ...

    def pause_reading(self) -> None:
        """Let the guest wait: nobody reads."""
        ...

    def resume_reading(self) -> None:
        """Read on."""
        ...

    def is_closing(self) -> bool:
        """Tell whether it is closed."""
        ...

    def abort(self) -> None:
        """Close it at once."""
        ...


class LineReader(Protocol):
    """Whoever is told what came."""

    def receive(self, data: bytes) -> None:
        """Take bytes."""
        ...

    def lost(self, error: Exception | None) -> None:
        """Take note that nothing comes any more."""
        ...


class SocketReader(asyncio.Protocol):
    """Hands what the event loop tells about a socket to a reader."""

    def __init__(self, reader: LineReader) -> None:
        self._reader = reader

    def data_received(self, data: bytes) -> None:
        """Pass bytes on."""
        self._reader.receive(data)

    def eof_received(self) -> bool:
        """Close the socket when the other side has."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that it is closed."""
        self._reader.lost(exc)
