"""The doors for those who show an SVID: one port, TLS by identity on both sides, no token.

Whoever connects is judged before a byte is parsed, again at each request, and cut off in the moment the identity
counts no more.
"""

import asyncio
import hashlib
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from hive.core.call import Principal, PrincipalKind, Refused
from hive.core.ids import OwnerId
from hive.node.http import App, BoundedProtocol, HttpServer
from hive.security.identity.certificates import SeenLeaf
from hive.security.identity.mutual import PeerJudge
from hive.security.tokens import PEER_KEY, Bearer

OWNER_PREFIX: Final = "peer-"
NAME_CHARS: Final = 40
MARK_CHARS: Final = 16
_UNSAFE: Final = re.compile(r"[^a-z0-9]+")


class MutualServer(HttpServer):
    """Serves an app to peers with an SVID; every request says which."""

    def __init__(self, app: App, judge: PeerJudge) -> None:
        super().__init__(app)
        self.judge = judge
        self.peers: set[MutualProtocol] = set()

    @asynccontextmanager
    async def serving(self, sock: socket.socket, tls: ssl.SSLContext) -> AsyncIterator[None]:
        """Serve a bound port while the context lasts."""
        forget = self.judge.on_change(self._look_again)
        await self.listen(sock, tls)
        try:
            yield
        finally:
            forget()
            await self.aclose()

    def _look_again(self) -> None:
        for peer in tuple(self.peers):
            peer.look_again()

    def _protocol(self) -> "MutualProtocol":
        return MutualProtocol(self)


class MutualProtocol(BoundedProtocol):
    """One connection of a peer that is known before it says anything."""

    def __init__(self, server: MutualServer) -> None:
        super().__init__(server)
        self._mutual = server
        self._leaf: SeenLeaf | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Judge who is there."""
        super().connection_made(transport)
        found = self._mutual.judge.of(transport.get_extra_info("ssl_object"))
        if isinstance(found, Refused):
            transport.abort()
            return
        self._leaf = found
        self._mutual.peers.add(self)

    def data_received(self, data: bytes) -> None:
        """Read nothing of somebody who is not known."""
        if self._leaf is not None:
            super().data_received(data)

    def on_message_begin(self) -> None:
        """Say with each request whose it is; one whose identity has ended says nothing more."""
        super().on_message_begin()
        if not self.look_again() and self._leaf is not None:
            self.scope[PEER_KEY] = peer_bearer(self._leaf)  # type: ignore[typeddict-unknown-key]

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the peer."""
        self._mutual.peers.discard(self)
        super().connection_lost(exc)

    def look_again(self) -> bool:
        """Cut the connection where its identity counts no more; tell whether that was so."""
        if self._leaf is None or self._mutual.judge.again(self._leaf) is None:
            return False
        self._leaf = None
        self.transport.abort()
        return True


def peer_bearer(leaf: SeenLeaf) -> Bearer:
    """Return the principal that an SVID stands for: a caller under its own id, with nothing of this node's rights.

    Another node is a caller like an agent: the kind `node` is this node alone, which may read what it likes.
    """
    name = leaf.spiffe_id.path.rpartition("/")[2]
    # The whole id decides whose tasks are whose; the name is for people.
    mark = hashlib.sha256(leaf.spiffe_id.text.encode()).hexdigest()[:MARK_CHARS]
    safe = _UNSAFE.sub("-", name.lower())[:NAME_CHARS].strip("-")
    owner = OwnerId(f"{OWNER_PREFIX}{safe}-{mark}")
    return Bearer(
        principal=Principal(kind=PrincipalKind.CLIENT, name=leaf.spiffe_id.text, owner=owner)
    )
