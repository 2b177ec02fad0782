"""SPIFFE identities: what an id looks like, what a certificate proves, and where one's own comes from.

An id is accepted in its one canonical form only. A certificate is an SVID if it names exactly one URI and that is
an id; two would let a holder choose who it is.
"""

import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from hive_a2a.errors import A2AError, needs_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    # Every server and client imports this module, few meet a certificate; and X.509 is slow to import.
    from cryptography import x509

ID_CHARS_MAX: Final = 2048
_DOMAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_")
_PATH: Final = _DOMAIN | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
TLS_PEER: Final = "hive_a2a.tls_peer"
"""Where `scope["extensions"]` holds the `TlsPeer` of a connection."""


class BadSvidError(A2AError):
    """An SVID or SPIFFE id is not valid."""


@dataclass(frozen=True, slots=True)
class TlsPeer:
    """Who is at the other end of a TLS connection; the id is empty where the certificate is not an SVID."""

    spiffe_id: str
    certificate_sha256: bytes
    ends_at: float


@dataclass(frozen=True, slots=True)
class Svid:
    """One's own identity: certificates (leaf first), private key, and the roots of the trust domain, in PEM."""

    spiffe_id: str
    chain_pem: bytes
    key_pem: bytes = field(repr=False)
    bundle_pem: bytes
    ends_at: float


class SvidSource(Protocol):
    """Where one's own SVID comes from; asked for each new connection, so that a rotated one is used at once."""

    def current(self) -> Svid:
        """Return the SVID that is good now; the same object as long as it has not changed.

        Raises:
            A2AError: there is none.

        """
        ...


class GivenSvids:
    """An SVID that is put in by whoever has it; `put` a new one to rotate."""

    def __init__(self, svid: Svid) -> None:
        self._svid = svid

    def current(self) -> Svid:
        """Return the SVID that was put in last."""
        return self._svid

    def put(self, svid: Svid) -> None:
        """Use another one for every connection from now on."""
        self._svid = svid


class WorkloadSvids:
    """SVIDs of a SPIFFE Workload API, kept fresh by it; needs the package `spiffe` and an open `close`.

    `socket` is its address (`unix:///...`); without one the client reads SPIFFE_ENDPOINT_SOCKET.
    """

    def __init__(self, socket: str | None = None, *, timeout_s: float = 10.0) -> None:
        with needs_extra("spiffe", "spiffe"):
            from spiffe import X509Source
        try:
            self._source: Any = X509Source(socket_path=socket, timeout_in_seconds=timeout_s)
        except Exception as error:  # noqa: BLE001 - the client has many errors for "no identity"
            raise A2AError(
                "The SPIFFE Workload API gave no identity.", why=type(error).__name__
            ) from None
        self._last: Svid | None = None

    def current(self) -> Svid:
        """Return what the Workload API sent last.

        Raises:
            A2AError: it sent none, or none that is valid.

        """
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        try:
            context = self._source.get_x509_context()
            shown = context.default_svid
            bundle = context.x509_bundle_set.get_bundle_for_trust_domain(
                shown.spiffe_id.trust_domain
            )
            chain = b"".join(one.public_bytes(Encoding.PEM) for one in shown.cert_chain)
            roots = sorted(one.public_bytes(Encoding.PEM) for one in bundle.x509_authorities)
            key = shown.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        except Exception as error:  # noqa: BLE001 - as above
            raise A2AError(
                "The SPIFFE Workload API has no identity now.", why=type(error).__name__
            ) from None
        last, bundle_pem = self._last, b"".join(roots)
        if last is None or last.chain_pem != chain or last.bundle_pem != bundle_pem:
            last = self._last = svid_from_pem(chain, key, bundle_pem)
        return last

    def close(self) -> None:
        """End the stream of SVIDs."""
        self._source.close()


def svid_from_pem(chain_pem: bytes, key_pem: bytes, bundle_pem: bytes) -> Svid:
    """Return an SVID of PEM bytes.

    Raises:
        BadSvidError: it cannot be read, names not exactly one id, or the key is another one's.

    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )

    try:
        leaf = x509.load_pem_x509_certificates(chain_pem)[0]
        key = load_pem_private_key(key_pem, None)
        roots = x509.load_pem_x509_certificates(bundle_pem)
        spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        own = key.public_key().public_bytes(*spki) == leaf.public_key().public_bytes(*spki)
        uris = _uris(leaf)
    except Exception as error:  # noqa: BLE001 - as for a peer's
        raise BadSvidError(
            "An SVID cannot be read.",
            why=type(error).__name__,
            fix="It needs PEM, the key unlocked.",
        ) from None
    if not own:
        raise BadSvidError("The private key does not belong to the SVID.")
    found = sole_id(uris)
    ends_at = leaf.not_valid_after_utc.timestamp()
    roots_pem = b"".join(root.public_bytes(Encoding.PEM) for root in roots)
    return Svid(found, chain_pem, key_pem, roots_pem, ends_at)


def trust_domain(spiffe_id: str) -> str:
    """Return the trust domain of an id.

    Raises:
        BadSvidError: it is not an id in its canonical form.

    """
    scheme, _, rest = spiffe_id.partition("://")
    domain, *segments = rest.split("/")
    sound = (
        scheme == "spiffe"
        and len(spiffe_id) <= ID_CHARS_MAX
        and 0 < len(domain) <= 255
        and _DOMAIN.issuperset(domain)
        and all(_PATH.issuperset(one) and one not in ("", ".", "..") for one in segments)
    )
    if not sound:
        raise BadSvidError("This is not a SPIFFE id.")
    return domain


def sole_id(uris: "Iterable[str]") -> str:
    """Return the id of a certificate with these URIs.

    Raises:
        BadSvidError: not exactly one, or it is no SPIFFE id.

    """
    listed = list(uris)
    if len(listed) != 1:
        raise BadSvidError("A certificate must name exactly one URI to be an SVID.")
    trust_domain(listed[0])
    return listed[0]


def peer_spiffe_id(ssl_object: ssl.SSLObject | ssl.SSLSocket) -> str:
    """Return the SPIFFE id of the verified peer of a TLS connection.

    Raises:
        BadSvidError: it showed no certificate, or none that is an SVID.

    """
    peer = tls_peer(ssl_object)
    if peer is None or not peer.spiffe_id:
        raise BadSvidError("The peer shows no SVID.")
    return peer.spiffe_id


def tls_peer(ssl_object: ssl.SSLObject | ssl.SSLSocket | None) -> TlsPeer | None:
    """Return who is at the other end; None without TLS or without a verified certificate.

    Raises:
        BadSvidError: the certificate cannot be read.

    """
    # Python fills the dictionary only where the context verifies, so an unverified one names nobody.
    shown = ssl_object.getpeercert() if ssl_object is not None else None
    data = ssl_object.getpeercert(binary_form=True) if ssl_object is not None else None
    return _peer_of_der(data) if shown and data else None


def grpc_peer(auth_context: "Mapping[str, Iterable[bytes]]") -> TlsPeer | None:
    """Return who is at the other end of a gRPC call, of `context.auth_context()`; None where nobody showed.

    Raises:
        BadSvidError: the certificate cannot be read.

    """
    pem = next(iter(auth_context.get("x509_pem_cert", ())), None)
    return _peer_of_pem(pem) if pem else None


@lru_cache(maxsize=1024)
def _peer_of_der(data: bytes) -> TlsPeer | None:
    from cryptography import x509

    return _peer_read(x509.load_der_x509_certificate, data)


@lru_cache(maxsize=1024)
def _peer_of_pem(data: bytes) -> TlsPeer | None:
    from cryptography import x509

    return _peer_read(x509.load_pem_x509_certificate, data)


def _peer_read(load: "Callable[[bytes], x509.Certificate]", data: bytes) -> TlsPeer:
    """Read a certificate whose chain was verified. Raises BadSvidError."""
    try:
        return _peer(load(data))
    except Exception as error:  # noqa: BLE001 - an unknown version is an error of its own, a name no ASCII another
        raise BadSvidError(
            "The certificate of the peer cannot be read.", why=type(error).__name__
        ) from None


def _peer(certificate: "x509.Certificate") -> TlsPeer:
    from cryptography.hazmat.primitives import hashes

    try:
        found = sole_id(_uris(certificate))
    except Exception:  # noqa: BLE001 - whatever its names are, they are no id
        found = ""
    ends_at = certificate.not_valid_after_utc.timestamp()
    return TlsPeer(found, certificate.fingerprint(hashes.SHA256()), ends_at)


def _uris(certificate: "x509.Certificate") -> list[str]:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)
