"""The first bytes of a tunnel: a TLS client has to name the host that the tunnel was opened to (RFC 8446, RFC 6066).

A server behind a shared address chooses by that name, so another one in it leads elsewhere than what the gate was asked
for. Nothing is decrypted, and nothing after the hello is read.
"""

from dataclasses import dataclass, field
from typing import Final

from anyio.abc import ByteReceiveStream

HELLO_MAX_BYTES: Final = 32 << 10
TLS_PORTS: Final = frozenset({443, 465, 563, 636, 853, 990, 993, 995, 8443})
"""Where nothing but TLS is spoken from the first byte on."""
ALERT: Final = bytes((21, 3, 3, 0, 2, 2, 112))
"""A fatal `unrecognized_name` (RFC 8446, 6.2): clients print it, and try no second time."""
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_RECORD_MAX_BYTES: Final = 1 << 14


class FrontedError(Exception):
    """What a client says in its hello is not what it asked the gate for."""


class UnfinishedError(Exception):
    """There is more of the hello to come."""


class _Bytes:
    """Read numbers and vectors from the front; what is missing or left over is an error."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        if self._at + count > len(self._data):
            raise FrontedError("its TLS hello is cut short")
        self._at += count
        return self._data[self._at - count : self._at]

    def vector(self, length_bytes: int) -> "_Bytes":
        """Return what a length of that many bytes stands before."""
        return _Bytes(self.take(int.from_bytes(self.take(length_bytes), "big")))

    def number(self, count: int) -> int:
        """Return a number of that many bytes."""
        return int.from_bytes(self.take(count), "big")

    @property
    def left(self) -> int:
        """Return how many bytes are left."""
        return len(self._data) - self._at


def named_in(hello: bytes) -> str | None:
    """Return the host that a client names, in lower case; None where it names none.

    `hello` is the handshake message without its head (RFC 8446, 4.1.2).

    Raises:
        FrontedError: it is none, or names hosts in a way that can be read twice.

    """
    body = _Bytes(hello)
    body.take(2 + 32)
    body.vector(1)
    body.vector(2)
    body.vector(1)
    if not body.left:
        return None
    extensions = body.vector(2)
    if body.left:
        raise FrontedError("its TLS hello has bytes behind its end")
    found: list[str] = []
    while extensions.left:
        kind, content = extensions.number(2), extensions.vector(2)
        if kind != _SERVER_NAME:
            continue
        names = content.vector(2)
        if content.left:
            raise FrontedError("its TLS hello names hosts in a way that can be read twice")
        while names.left:
            sort, name = names.number(1), names.vector(2)
            if sort != 0:
                raise FrontedError("its TLS hello names something that is no host")
            found.append(name.take(name.left).decode("ascii", "replace").lower())
    if len(found) > 1:
        raise FrontedError("its TLS hello names more than one host")
    return found[0] if found else None


def hello_in(data: bytes) -> bytes:
    """Return the hello that a client's first bytes hold, put together from their records.

    Raises:
        UnfinishedError: there is more to come.
        FrontedError: they are something else.

    """
    message, at = b"", 0
    while True:
        head = data[at : at + 5]
        if head and head[0] != _HANDSHAKE:
            raise FrontedError("it does not begin with a TLS hello")
        if len(head) < 5:
            raise UnfinishedError
        length = int.from_bytes(head[3:5], "big")
        if not 0 < length <= _RECORD_MAX_BYTES or head[1] != 3:
            raise FrontedError("it does not begin with a TLS hello")
        record = data[at + 5 : at + 5 + length]
        message += record
        if message and message[0] != _CLIENT_HELLO:
            raise FrontedError("it does not begin with a TLS hello")
        if len(message) >= 4 and len(message) - 4 >= (size := int.from_bytes(message[1:4], "big")):
            return message[4 : 4 + size]
        if len(record) < length:
            raise UnfinishedError
        at += 5 + length


def objection(data: bytes, host: str, port: int, *, literal: bool) -> str:
    """Tell what is against a client's first bytes; nothing where they may pass.

    On ports where other protocols are spoken too, bytes that are no TLS pass as they are.

    Raises:
        UnfinishedError: there is more to come.

    """
    if data[:1] != bytes((_HANDSHAKE,)) and port not in TLS_PORTS:
        return ""
    try:
        named = named_in(hello_in(data))
    except FrontedError as error:
        return str(error)
    if named is None:
        return "" if literal else f"its TLS hello does not name {host}"
    if literal or named != host.lower().rstrip("."):
        return f"its TLS hello names {named[:253]!r} and not {host}"
    return ""


@dataclass(slots=True)
class CheckedStart(ByteReceiveStream):
    """A client's side of a tunnel whose first bytes are held until they may pass; `refused` says why they did not."""

    client: ByteReceiveStream
    host: str
    port: int
    literal: bool
    refused: str = ""
    _held: bytearray = field(default_factory=bytearray)
    _passed: bool = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what the client sends; nothing of it, where its start is refused.

        Raises:
            FrontedError: its start is refused.
            anyio.EndOfStream: it has ended.

        """
        if self._passed and not self._held:
            return await self.client.receive(max_bytes)
        while not self._passed:
            self._held += await self.client.receive(max_bytes)
            try:
                self.refused = objection(
                    bytes(self._held), self.host, self.port, literal=self.literal
                )
            except UnfinishedError:
                if len(self._held) > HELLO_MAX_BYTES:
                    self.refused = "its TLS hello has no end"
            else:
                self._passed = not self.refused
            if self.refused:
                raise FrontedError(self.refused)
        piece = bytes(self._held[:max_bytes])
        del self._held[:max_bytes]
        return piece

    async def aclose(self) -> None:
        """Close the client's side."""
        await self.client.aclose()
