"""A certificate that TLS took and nobody can read is refused in the SDK's own words, and closes its connection."""

import base64
import itertools

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hive_a2a import grpc_server
from hive_a2a.errors import A2AError
from hive_a2a.faults import UNAUTHENTICATED, WireFault
from hive_a2a.identity.mtls import with_tls_peer
from hive_a2a.identity.svid import (
    BadSvidError,
    TlsPeer,
    grpc_peer,
    peer_spiffe_id,
    svid_from_pem,
    tls_peer,
)
from tests.identity_rig import DOMAIN, Authority

pytestmark = pytest.mark.anyio
VERSION_3 = bytes.fromhex("a003020102")
SUBJECT_ALT_NAME = bytes.fromhex("0603551d11")
AUTHORITY_KEY_ID = bytes.fromhex("0603551d23")


@pytest.fixture(scope="module")
def good():
    """Return a good SVID as DER and PEM, with its key and its root."""
    authority = Authority()
    chain, key = authority.leaf(f"spiffe://{DOMAIN}/a")
    der = x509.load_pem_x509_certificate(chain).public_bytes(Encoding.DER)
    return der, key, authority.bundle


def shown(der):
    """Return what `ssl` gives of a verified peer with this certificate."""

    class Verified:
        def getpeercert(self, binary_form=False):
            return der if binary_form else {"subject": ()}

    return Verified()


def pem(der):
    text = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE-----\n" + text + b"-----END CERTIFICATE-----\n"


def version_of(der, number):
    assert der.count(VERSION_3) == 1
    return der.replace(VERSION_3, VERSION_3[:-1] + bytes([number]))


def test_a_version_that_nobody_knows_is_the_sdks_refusal(good):
    der, key, roots = good
    with pytest.raises(x509.InvalidVersion):
        x509.load_der_x509_certificate(version_of(der, 7))
    assert not issubclass(x509.InvalidVersion, (ValueError, A2AError)), "or this tests nothing"
    for ask in (tls_peer, peer_spiffe_id):
        with pytest.raises(BadSvidError, match="cannot be read"):
            ask(shown(version_of(der, 7)))
    with pytest.raises(BadSvidError, match="cannot be read"):
        grpc_peer({"x509_pem_cert": [pem(version_of(der, 7))]})
    with pytest.raises(BadSvidError, match="cannot be read"):
        svid_from_pem(pem(version_of(der, 7)), key, roots)


def test_bytes_that_are_no_certificate_are_the_sdks_refusal(good):
    der, _, _ = good
    for bad in (b"\x30", b"\x00", der[:-1], der + b"\x00", der[:40], b"\xff" * 500):
        with pytest.raises(BadSvidError):
            tls_peer(shown(bad))
        with pytest.raises(BadSvidError):
            grpc_peer({"x509_pem_cert": [bad]})


def test_an_extension_that_stands_twice_names_nobody(good):
    der, _, _ = good
    twice = der.replace(AUTHORITY_KEY_ID, SUBJECT_ALT_NAME)
    with pytest.raises(x509.DuplicateExtension):
        _ = x509.load_der_x509_certificate(twice).extensions
    assert tls_peer(shown(twice)).spiffe_id == ""
    assert grpc_peer({"x509_pem_cert": [pem(twice)]}).spiffe_id == ""


def test_whatever_byte_is_changed_the_answer_is_a_peer_or_the_sdks_refusal(good):
    """Every byte in turn, with a few values each: no error of the library comes out."""
    der, key, roots = good
    refused, named = 0, set()
    for at, flip in itertools.product(range(len(der)), (0x01, 0x20, 0x80, 0xFF)):
        made = der[:at] + bytes([der[at] ^ flip]) + der[at + 1 :]
        try:
            peer = tls_peer(shown(made))
        except BadSvidError:
            refused += 1
        else:
            assert isinstance(peer, TlsPeer)
            named.add(peer.spiffe_id)
        if flip == 0x01:
            try:
                svid_from_pem(pem(made), key, roots)
            except BadSvidError:
                continue
    assert refused > 100
    assert {"", f"spiffe://{DOMAIN}/a"} <= named


def test_a_connection_with_an_unreadable_certificate_is_cut_before_its_first_byte(good):
    der, _, _ = good
    read = []

    class Protocol:
        def connection_made(self, transport):
            pass

        def data_received(self, data):
            read.append(data)

    class Transport:
        aborted = False

        def get_extra_info(self, name):
            return shown(version_of(der, 7))

        def abort(self):
            self.aborted = True

    protocol, transport = with_tls_peer(Protocol, lambda _peer: True)(), Transport()
    protocol.connection_made(transport)
    protocol.data_received(b"GET / HTTP/1.1\r\n\r\n")
    assert (transport.aborted, read) == (True, [])


def test_a_grpc_call_with_an_unreadable_certificate_is_refused_as_unknown(good):
    der, _, _ = good

    class Context:
        def auth_context(self):
            return {"x509_pem_cert": [pem(version_of(der, 7))]}

    peer, readable = grpc_server._peer_of(Context())
    assert peer is None
    with pytest.raises(WireFault) as refused:
        grpc_server._admit_readable(readable=readable)
    assert refused.value.kind is UNAUTHENTICATED
