"""Callers who show an SVID: the server's TLS layer verified it, and this says whether that id may call.

One trust domain only, and its roots alone in the TLS context: with the roots of several in one context each of
their authorities could make ids of all the others.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from hive_a2a.call import CallerIdentity, RequestHead
from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.errors import A2AError
from hive_a2a.faults import UNAUTHENTICATED, WireFault
from hive_a2a.identity.svid import TLS_PEER, BadSvidError, TlsPeer, tls_peer, trust_domain

_ONE: Final = "/*"
_ANY: Final = "/**"


class SpiffeMtls:
    """Accepts the SVIDs of one trust domain whose id is allowed.

    `allowed` holds ids, or patterns: `spiffe://domain/team/*` is one segment more, `spiffe://domain/team/**`
    one or more. The default is every id of the trust domain.
    """

    def __init__(
        self,
        domain: str,
        *,
        allowed: Sequence[str] = (),
        scheme: str = "mtls",
        clock: WallClock | None = None,
    ) -> None:
        trust_domain(f"spiffe://{domain}")
        self._domain = domain
        self._allowed = tuple(allowed)
        for one in self._allowed:
            if trust_domain(one.removesuffix(_ANY).removesuffix(_ONE)) != domain:
                raise A2AError("An allowed id is of another trust domain.", why=one)
        self._scheme = scheme
        self._clock = clock or MachineClock()

    @property
    def scheme(self) -> str:
        """Return the name of its security scheme in the card."""
        return self._scheme

    def card_scheme(self) -> dict[str, Any]:
        """Return that a client certificate is wanted."""
        return {"mtlsSecurityScheme": {"description": f"X.509 SVID of spiffe://{self._domain}"}}

    async def identify(self, head: RequestHead) -> CallerIdentity | None:
        """Return whose SVID the connection shows; None where it shows no client certificate.

        Raises:
            WireFault: another id, none at all in the certificate, or the SVID ended since (401).

        """
        if not head.spiffe_id:
            # Of a sealed request the certificate may be a carrier's, which says nothing of the caller.
            if head.certificate_sha256 and not head.noise_hash:
                raise _refused("The client certificate is not an SVID.")
            return None
        peer = (head.scope.get("extensions") or {}).get(TLS_PEER)
        # A connection may outlive the certificate that opened it; a caller may not.
        if isinstance(peer, TlsPeer) and self._clock.now().timestamp() >= peer.ends_at:
            raise _refused("The SVID of this connection expired.")
        if not self.allows(head.spiffe_id):
            raise _refused("This SPIFFE id may not call.")
        return CallerIdentity(name=f"mtls:{head.spiffe_id}", scheme=self._scheme)

    def allows(self, spiffe_id: str) -> bool:
        """Tell whether an id may call."""
        try:
            inside = trust_domain(spiffe_id) == self._domain
        except BadSvidError:
            return False
        return inside and (
            not self._allowed or any(_matches(one, spiffe_id) for one in self._allowed)
        )


def with_tls_peer(protocol: type[Any], admits: Callable[[TlsPeer | None], bool]) -> type[Any]:
    """Return a uvicorn HTTP protocol that knows its TLS peer, and closes on one that is not admitted.

    That happens before a byte of the first request is parsed. Requests carry the peer in
    `scope["extensions"][TLS_PEER]`.
    """

    class PeerAwareProtocol(protocol):  # type: ignore[misc]
        _tls_peer: TlsPeer | None = None
        _admitted = False

        def connection_made(self, transport: Any) -> None:  # noqa: ANN401
            super().connection_made(transport)
            try:
                self._tls_peer = tls_peer(transport.get_extra_info("ssl_object"))
                self._admitted = admits(self._tls_peer)
            except BadSvidError:
                self._admitted = False
            if not self._admitted:
                transport.abort()

        def data_received(self, data: bytes) -> None:
            if self._admitted:
                super().data_received(data)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.scope["extensions"] = {
                **self.scope.get("extensions", {}),
                TLS_PEER: self._tls_peer,
            }

    return PeerAwareProtocol


def _matches(pattern: str, spiffe_id: str) -> bool:
    if pattern.endswith(_ANY):
        return spiffe_id.startswith(pattern.removesuffix("**"))
    if pattern.endswith(_ONE):
        parent = pattern.removesuffix("*")
        return spiffe_id.startswith(parent) and "/" not in spiffe_id.removeprefix(parent)
    return spiffe_id == pattern


def _refused(reason: str) -> WireFault:
    # There is no HTTP authentication scheme for TLS certificates; the word tells a reader what is missing.
    line = f'Mutual error="invalid_certificate", error_description="{reason}"'
    return WireFault(
        UNAUTHENTICATED,
        reason,
        metadata={"check": "authentication"},
        headers=((b"www-authenticate", line.encode()),),
    )
