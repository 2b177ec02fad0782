"""The head of an answer, held until its first bytes follow: one packet where the server's library writes two.

Whoever reads, a relay in front of a sandbox above all, wakes once and not twice.
"""

import asyncio
from typing import Final

_BEGINNING: Final = b"HTTP/1.1 "


class HeadHolder:
    """A transport that writes a head together with what follows in the same turn of the loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write; a head alone waits for the end of this turn of the loop."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held + data)
        elif data.startswith(_BEGINNING):
            self._held = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Write what is held, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)
