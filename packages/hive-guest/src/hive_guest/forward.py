"""Carries loopback connections of the sandbox to the node's unix sockets; the only way out.

One thread, one loop. A side that has finished sending is passed on as a half-close; a side that reads
slowly makes the other wait, so no buffer grows past its bound.
"""

import contextlib
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

CONNECTIONS_MAX: Final = 256
BUFFER_MAX_BYTES: Final = 256 << 10
READ_BYTES: Final = 64 << 10
BACKLOG: Final = 128
CONNECT_TIMEOUT_S: Final = 5.0
RETRY_S: Final = 0.01

_READ: Final = selectors.EVENT_READ
_WRITE: Final = selectors.EVENT_WRITE


class _Side:
    """One of the two sockets of a connection, and the bytes that wait to be written to it."""

    __slots__ = ("buffer", "ended", "mask", "other", "shut", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.other: _Side = self
        self.buffer = bytearray()
        self.mask = 0
        self.ended = False
        self.shut = False


class _Forwarder:
    """The state of `serve`: listeners, connections, and those that the node has no room for yet."""

    def __init__(self, routes: Mapping[int, str], connections_max: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._max = connections_max
        self._open = 0
        self._listening = False
        self._waiting: deque[tuple[socket.socket, str, float]] = deque()
        self._listeners: dict[socket.socket, str] = {}
        for port, path in routes.items():
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.settimeout(0)
            listener.bind(("127.0.0.1", port))
            listener.listen(BACKLOG)
            self._listeners[listener] = path
        self._listen()

    def run(self, watch: tuple[int, Callable[[], bool]] | None) -> None:
        if watch is not None:
            self._selector.register(watch[0], _READ, None)
        while True:
            for key, events in self._selector.select(RETRY_S if self._waiting else None):
                data = key.data
                if data is None:
                    if watch is None or not watch[1]():
                        return
                elif isinstance(data, _Side):
                    self._move(data, events)
                else:
                    self._accept(key.fileobj, data)
            if self._waiting:
                self._retry()

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, _Side):
                key.data.sock.close()
        for listener in self._listeners:
            listener.close()
        for waiting in self._waiting:
            waiting[0].close()
        self._selector.close()

    def _listen(self) -> None:
        """Take new connections while there is room; the kernel's backlog holds the others."""
        room = self._open < self._max
        if room and not self._listening:
            for listener, path in self._listeners.items():
                self._selector.register(listener, _READ, path)
        elif self._listening and not room:
            for listener in self._listeners:
                self._selector.unregister(listener)
        self._listening = room

    def _accept(self, listener: object, path: str) -> None:
        if not isinstance(listener, socket.socket):
            return
        try:
            near = listener.accept()[0]
        except BlockingIOError:
            return
        except OSError:  # out of descriptors: without a pause this would spin until one is free
            time.sleep(RETRY_S)
            return
        near.settimeout(0)
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open += 1
        self._listen()
        self._connect(near, path, time.monotonic() + CONNECT_TIMEOUT_S)

    def _connect(self, near: socket.socket, path: str, until: float) -> None:
        far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        far.settimeout(0)
        try:
            far.connect(path)
        except BlockingIOError:  # the node's backlog is full for the moment
            far.close()
            self._waiting.append((near, path, until))
            return
        except OSError:
            far.close()
            self._give_up(near)
            return
        one, two = _Side(near), _Side(far)
        one.other, two.other = two, one
        self._watch(one)
        self._watch(two)

    def _retry(self) -> None:
        for _ in range(len(self._waiting)):
            near, path, until = self._waiting.popleft()
            if time.monotonic() > until:
                self._give_up(near)
            else:
                self._connect(near, path, until)

    def _give_up(self, near: socket.socket) -> None:
        near.close()
        self._open -= 1
        self._listen()

    def _move(self, side: _Side, events: int) -> None:
        if side.sock.fileno() < 0:  # dropped by an earlier event of the same round
            return
        try:
            if events & _WRITE and side.buffer:
                self._flush(side)
            if events & _READ and not side.ended:
                self._read(side)
        except BlockingIOError:
            return
        except OSError:
            self._drop(side)
            return
        if side.shut and side.other.shut:
            self._drop(side)
            return
        self._watch(side)
        self._watch(side.other)

    def _read(self, side: _Side) -> None:
        other = side.other
        data = side.sock.recv(READ_BYTES)
        if not data:
            side.ended = True
            if not other.buffer:
                self._shut(other)
            return
        if other.buffer:
            other.buffer += data
            return
        # The usual case: the other side takes everything at once, and nothing is copied.
        try:
            sent = other.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            other.buffer += data[sent:]

    def _flush(self, side: _Side) -> None:
        sent = side.sock.send(side.buffer)
        del side.buffer[:sent]
        if not side.buffer and side.other.ended:
            self._shut(side)

    def _shut(self, side: _Side) -> None:
        side.shut = True
        with contextlib.suppress(OSError):
            side.sock.shutdown(socket.SHUT_WR)

    def _watch(self, side: _Side) -> None:
        mask = 0
        if not side.ended and len(side.other.buffer) < BUFFER_MAX_BYTES:
            mask |= _READ
        if side.buffer:
            mask |= _WRITE
        if mask == side.mask:
            return
        if not side.mask:
            self._selector.register(side.sock, mask, side)
        elif not mask:
            self._selector.unregister(side.sock)
        else:
            self._selector.modify(side.sock, mask, side)
        side.mask = mask

    def _drop(self, side: _Side) -> None:
        for one in (side, side.other):
            if one.mask:
                self._selector.unregister(one.sock)
                one.mask = 0
            one.sock.close()
        self._open -= 1
        self._listen()


def serve(
    routes: Mapping[int, str],
    *,
    connections_max: int = CONNECTIONS_MAX,
    ready: Callable[[], None] | None = None,
    watch: tuple[int, Callable[[], bool]] | None = None,
) -> None:
    """Forward 127.0.0.1:port to the unix socket of each route, until `watch` ends it.

    `ready` is called once all ports listen. `watch` is a descriptor and what to do when it can be
    read (a signal wake-up descriptor, say); when that returns False, the forwarder stops.

    Raises:
        OSError: a port cannot be bound.

    """
    forwarder = _Forwarder(routes, connections_max)
    try:
        if ready is not None:
            ready()
        forwarder.run(watch)
    finally:
        forwarder.close()
