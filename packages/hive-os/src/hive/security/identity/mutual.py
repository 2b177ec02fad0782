"""TLS by SVID on both sides: what this node shows, and whom it believes at the other end.

Contexts come from the SDK: TLS 1.3, both sides verified, the key handed over in memory. They ask for the newest SVID
at each connection, so a rotation needs no restart. Whom a certificate names is judged here before the first byte of
the connection is read, and again at each request: a connection may outlive the right to it.
"""

import ssl
from collections.abc import Callable
from typing import Final

import anyio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from hive.core.call import Refused
from hive.core.errors import IdentityError
from hive.core.ids import NodeId
from hive.security.identity.certificates import SeenLeaf, loaded, seen_leaf
from hive.security.identity.ports import TrustBundle, X509Svid
from hive.security.identity.service import IdentityService
from hive_a2a.errors import A2AError
from hive_a2a.identity.svid import BadSvidError, Svid, peer_spiffe_id
from hive_a2a.identity.tls import client_context, server_context

RETRY_S: Final = 2.0
CHECK: Final = "identity"


class NodeSvids:
    """This node's own SVID, renewed at half of its life; a source for the SDK's contexts and transports."""

    def __init__(self, service: IdentityService, node: NodeId) -> None:
        self._service = service
        self._enrolment = service.enrol_node(node)
        self._svid: Svid | None = None

    def current(self) -> Svid:
        """Return the SVID that is good now. Raises A2AError."""
        if self._svid is None:
            raise A2AError("This node has no identity now.")
        return self._svid

    async def renew(self) -> float:
        """Get the SVID that is good now; return after how many seconds to look again. Raises IdentityError."""
        issued = await self._service.x509(self._enrolment)
        made = tls_svid(issued, await self._service.bundle())
        if made != self._svid:
            self._svid = made
        return max(self._service.renew_in_s(issued), RETRY_S)

    async def keep(self) -> None:
        """Renew it, until cancelled."""
        while True:
            changed, wait_s = self._enrolment.changed, RETRY_S
            try:
                wait_s = await self.renew()
            except IdentityError:
                # Revoked, or the authority is away: what is held goes on until it ends by itself.
                if self._enrolment.current is None:
                    self._svid = None
            with anyio.move_on_after(wait_s):
                await changed.wait()

    def server_context(self) -> ssl.SSLContext:
        """Return a context for a server whose clients must show an SVID of this trust domain."""
        return server_context(self)

    def client_context(self, server_id: str) -> ssl.SSLContext:
        """Return a context for one connection to a server of this id; another gets no byte after the handshake."""
        context = client_context(self)
        context.sslobject_class = only_peer(server_id)
        return context


class PeerJudge:
    """Says whom the certificate at the other end names, and whether that still counts."""

    def __init__(self, service: IdentityService) -> None:
        self._service = service

    def of(self, ssl_object: ssl.SSLObject | ssl.SSLSocket | None) -> SeenLeaf | Refused:
        """Judge the verified peer of a TLS connection."""
        shown = ssl_object.getpeercert() if ssl_object is not None else None
        data = ssl_object.getpeercert(binary_form=True) if ssl_object is not None else None
        # Python fills the dictionary only where the context verifies, so an unverified one names nobody.
        if not shown or not data:
            return Refused(check=CHECK, reason="no client certificate")
        try:
            leaf = seen_leaf(loaded(data))
        except IdentityError:
            return Refused(check=CHECK, reason="the client certificate is not an SVID")
        return self.again(leaf) or leaf

    def again(self, leaf: SeenLeaf) -> Refused | None:
        """Judge anew somebody who was believed before."""
        try:
            self._service.admit_leaf(leaf)
        except IdentityError as error:
            return Refused(check=CHECK, reason=error.why or error.what)
        return None

    def on_change(self, observer: Callable[[], None]) -> Callable[[], None]:
        """Call `observer` whenever somebody may count no more; return what ends that."""
        return self._service.on_change(observer)


def only_peer(server_id: str) -> type[ssl.SSLObject]:
    """Return a TLS object whose handshake fails where the other side is not this id."""

    class OnlyPeer(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            try:
                found = peer_spiffe_id(self)
            except BadSvidError:
                found = ""
            if found != server_id:
                raise ssl.SSLCertVerificationError(1, "the server has another SPIFFE id")

    return OnlyPeer


def tls_svid(svid: X509Svid, bundle: TrustBundle) -> Svid:
    """Return an SVID in the form that the SDK's TLS takes."""
    chain = b"".join(_pem(one) for one in svid.chain)
    key = load_der_private_key(svid.key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    roots = b"".join(sorted(_pem(one) for one in bundle.roots))
    return Svid(svid.spiffe_id.text, chain, key, roots, svid.ends_at.timestamp())


def _pem(certificate: bytes) -> bytes:
    return x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)
