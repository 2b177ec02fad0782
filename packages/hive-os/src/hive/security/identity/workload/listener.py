"""One socket for each sandbox: connections are counted, bounded, and each is placed by the kernel.

grpclib carries the frames. What it lacks is added here: a bound on bytes that no request has claimed, on connections
and on calls, and the process at the other end.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import h2.config
from grpclib.config import Configuration
from grpclib.encoding.proto import ProtoCodec
from grpclib.protocol import H2Protocol
from grpclib.server import Handler, Server

from hive.core.call import Refused
from hive.security.identity.attestation import (
    PeerProcess,
    attest,
    peer_of,
    started_ticks,
)
from hive.security.identity.enrolments import Enrolment
from hive.security.identity.service import IdentityService
from hive.security.identity.workload.api import WorkloadCalls

log: Final = logging.getLogger(__name__)
CONNECTIONS_PER_SANDBOX_MAX: Final = 32
UNCLAIMED_MAX_BYTES: Final = 128 << 10
FIRST_PROCESS_TIMEOUT_S: Final = 5.0
LOOK_AGAIN_S: Final = 0.01
CLOSE_TIMEOUT_S: Final = 0.5
WINDOW_BYTES: Final = (64 << 10) - 1
_GONE: Final = Refused(check="identity", reason="no identity issued", detail="no sandbox process")


class WorkloadListener:
    """Serves the Workload API to one sandbox."""

    def __init__(
        self,
        service: IdentityService,
        enrolment: Enrolment,
        *,
        first_process: Callable[[], int],
    ) -> None:
        self.service = service
        self.enrolment = enrolment
        self._first_process = first_process
        self._first: tuple[int, int] = (0, 0)
        self._noting = anyio.Lock()
        self.connections: set[AttestedProtocol] = set()
        self.under_way: set[object] = set()
        # Only for its dispatcher of events; it never listens.
        self.dispatch = Server([]).__dispatch__
        self.codec = ProtoCodec()
        self.config = Configuration(
            http2_connection_window_size=WINDOW_BYTES, http2_stream_window_size=WINDOW_BYTES
        ).__for_server__()
        self.h2_config = h2.config.H2Configuration(
            client_side=False,
            header_encoding="ascii",
            # What goes out is grpclib's own; what comes in is looked at.
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )

    @asynccontextmanager
    async def listen(self, sock: socket.socket) -> AsyncIterator[None]:
        """Serve a bound unix socket; leaving the context ends the identity and every call."""
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(lambda: AttestedProtocol(self), sock=sock)
        try:
            yield
        finally:
            server.close()
            self.service.leave(self.enrolment)
            await self._aclose()

    async def admit(self, peer: PeerProcess) -> Refused | None:
        """Say why a process is not inside the sandbox; None where it is."""
        first, started = await self._first_noted()
        if not first:
            return _GONE
        return attest(peer, first, started)

    async def _first_noted(self) -> tuple[int, int]:
        """Return the sandbox's first process and when it began, noted once; an agent may be quicker than the node."""
        async with self._noting:
            if self._first[0]:
                return self._first
            with anyio.move_on_after(FIRST_PROCESS_TIMEOUT_S):
                while not (pid := self._first_process()):  # noqa: ASYNC110 - a launch has no event
                    await anyio.sleep(LOOK_AGAIN_S)
                if started := started_ticks(pid):
                    self._first = (pid, started)
            return self._first

    async def _aclose(self) -> None:
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            while self.under_way:  # noqa: ASYNC110 - grpclib has no event either
                await anyio.sleep(LOOK_AGAIN_S)
        for connection in tuple(self.connections):
            connection.abort()


class AttestedProtocol(H2Protocol):
    """One connection: its process is held from the moment it is made."""

    def __init__(self, listener: WorkloadListener) -> None:
        self._listener = listener
        self._peer: PeerProcess | Refused | None = None
        self._inside = False
        self._unclaimed_bytes = 0
        self._transport: asyncio.Transport | None = None
        calls = WorkloadCalls(
            listener.service,
            listener.enrolment,
            admitted=self._admitted,
            heard=self._heard,
            under_way=listener.under_way,
        )
        handler = Handler(dict(calls.mapping()), listener.codec, None, listener.dispatch)
        super().__init__(handler, listener.config, listener.h2_config)

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401
        """Hold the process that connected, unless there are too many."""
        self._transport = transport
        super().connection_made(transport)
        if len(self._listener.connections) >= CONNECTIONS_PER_SANDBOX_MAX:
            transport.abort()
            return
        self._listener.connections.add(self)
        self._peer = peer_of(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        """Cut a connection that sends much and asks nothing."""
        self._unclaimed_bytes += len(data)
        if self._unclaimed_bytes > UNCLAIMED_MAX_BYTES:
            self.abort()
            return
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of the process."""
        self._listener.connections.discard(self)
        if isinstance(self._peer, PeerProcess):
            self._peer.close()
        super().connection_lost(exc)

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _heard(self) -> None:
        self._unclaimed_bytes = 0

    async def _admitted(self) -> Refused | None:
        peer = self._peer
        if not isinstance(peer, PeerProcess):
            return peer or _GONE
        if self._inside and peer.alive:
            return None
        refused = await self._listener.admit(peer)
        self._inside = refused is None
        if refused is not None:
            log.warning(
                "identity.caller_refused",
                extra={"sandbox": self._listener.enrolment.sandbox, "why": refused.detail},
            )
        return refused
