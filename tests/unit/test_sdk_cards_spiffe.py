"""A card is taken by the certificate of a workload, and by no other certificate."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hive_a2a.cards.errors import CardError, CardFault
from hive_a2a.cards.sign import SigningKey, sign_card
from hive_a2a.cards.spiffe import SpiffeBundle
from hive_a2a.cards.trust import MemoryTrust
from hive_a2a.cards.verify import TrustedBy, verify_card
from tests.cards_rig import PEER, SetClock, refusal, whole_card
from tests.unit.test_sdk_cards_signed import with_header

pytestmark = pytest.mark.anyio
ID = "spiffe://example.org/agent"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
USAGE = {
    "digital_signature": False,
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "key_cert_sign": False,
    "crl_sign": False,
    "encipher_only": False,
    "decipher_only": False,
}


class Authority:
    """A trust domain's authority as SPIFFE wants it, or one below another."""

    def __init__(self, above=None, *, path_length=1):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "example.org")])
        signer = above or self
        self.certificate = (
            _begun(self.name, signer.name, self.key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
            .add_extension(
                x509.KeyUsage(**{**USAGE, "key_cert_sign": True, "crl_sign": True}), critical=True
            )
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.UniformResourceIdentifier("spiffe://example.org")]
                ),
                critical=False,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False
            )
            .add_extension(_issuer(signer.key), critical=False)
            .sign(signer.key, SHA256())
        )

    def svid(self, *, ids=(ID,), key=None, usage="digital_signature", ca=False, names=True):
        key = key or ec.generate_private_key(ec.SECP256R1())
        made = (
            _begun(
                x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "SPIRE")]),
                self.name,
                key.public_key(),
            )
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .add_extension(_issuer(self.key), critical=False)
        )
        if usage:
            made = made.add_extension(x509.KeyUsage(**{**USAGE, usage: True}), critical=True)
        if names:
            made = made.add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(one) for one in ids]),
                critical=False,
            )
        return SigningKey.of(
            key, certificates=[made.sign(self.key, SHA256()).public_bytes(Encoding.DER)]
        )


def _issuer(key):
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _begun(subject, issuer, public):
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(seconds=10))
        .not_valid_after(NOW + timedelta(hours=1))
    )


@pytest.fixture(scope="module")
def authority():
    return Authority()


def trust_in(authority, *, clock=None, spiffe_id=ID, store=None):
    return SpiffeBundle(
        bundle=lambda: [authority.certificate],
        spiffe_id=spiffe_id,
        clock=clock or SetClock(NOW),
        store=store,
    )


async def refused_with(card, trust):
    with pytest.raises(CardError) as refused:
        await verify_card(card, trust, peer=PEER)
    return refusal(refused)


async def test_a_card_is_taken_by_the_workloads_certificate(authority):
    signed = sign_card(whole_card(), authority.svid())
    verdict = await verify_card(signed, trust_in(authority, store=MemoryTrust()), peer=PEER)
    assert verdict.trusted_by is TrustedBy.SPIFFE
    assert verdict.spiffe_id == ID
    assert verdict.known_before


async def test_a_rotated_svid_is_as_good_as_the_one_before(authority):
    trust = trust_in(authority, store=MemoryTrust())
    for _ in range(2):
        await verify_card(sign_card(whole_card(), authority.svid()), trust, peer=PEER)


async def test_an_authority_below_the_bundle_vouches_too(authority):
    below = Authority(authority, path_length=0)
    svid = below.svid()
    chain = (*svid.certificates, below.certificate.public_bytes(Encoding.DER))
    key = SigningKey.of(svid.private, certificates=chain)
    assert (await verify_card(sign_card(whole_card(), key), trust_in(authority))).signed


async def test_another_workload_of_the_same_domain_is_refused(authority):
    for ids in (["spiffe://example.org/other"], [ID, "spiffe://example.org/other"], [ID, ID]):
        signed = sign_card(whole_card(), authority.svid(ids=ids))
        assert await refused_with(signed, trust_in(authority)) is CardFault.CERTIFICATE


async def test_another_domains_authority_is_refused(authority):
    signed = sign_card(whole_card(), Authority().svid())
    assert await refused_with(signed, trust_in(authority)) is CardFault.CERTIFICATE


async def test_a_certificate_out_of_its_time_is_refused(authority):
    signed = sign_card(whole_card(), authority.svid())
    for shift in (-60, 3700):
        clock = SetClock(NOW)
        clock.later(shift)
        refused = await refused_with(signed, trust_in(authority, clock=clock))
        assert refused is CardFault.CERTIFICATE


async def test_a_certificate_that_signs_no_documents_is_refused(authority):
    odd = [
        authority.svid(usage="key_agreement"),
        authority.svid(usage="key_cert_sign"),
        authority.svid(usage=None),
        authority.svid(names=False),
        authority.svid(ca=True),
    ]
    for key in odd:
        signed = sign_card(whole_card(), key)
        assert await refused_with(signed, trust_in(authority)) is CardFault.CERTIFICATE


async def test_a_certificate_of_another_key_is_refused(authority):
    svid = authority.svid()
    thief = SigningKey.of(ec.generate_private_key(ec.SECP256R1()), certificates=svid.certificates)
    assert await refused_with(sign_card(whole_card(), thief), trust_in(authority)) in (
        CardFault.BAD_SIGNATURE,
        CardFault.KEY_CHANGED,
    )


async def test_a_key_of_another_kind_is_refused_though_it_is_certified(authority):
    ours = authority.svid()
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    made = _begun(authority.name, authority.name, other.public_key())
    made = made.add_extension(
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier(ID)]), critical=False
    )
    made = made.add_extension(x509.KeyUsage(**{**USAGE, "digital_signature": True}), critical=True)
    made = made.add_extension(_issuer(authority.key), critical=False)
    der = made.sign(authority.key, SHA256()).public_bytes(Encoding.DER)
    key = SigningKey.of(ours.private, certificates=[der])
    # This one has no basic constraints either, which an SVID need not have.
    fault = await refused_with(sign_card(whole_card(), key), trust_in(authority))
    assert fault in (CardFault.ALGORITHM, CardFault.CERTIFICATE)


async def test_a_card_without_certificates_or_with_odd_ones_is_refused(authority):
    plain = sign_card(whole_card(), SigningKey.make())
    assert await refused_with(plain, trust_in(authority)) is CardFault.CERTIFICATE
    for chain in (["AAAA"], ["not base64!"], ["ÄÄÄÄ"], [""]):
        odd = with_header(plain, x5c=chain)
        assert await refused_with(odd, trust_in(authority)) is CardFault.CERTIFICATE
    assert await refused_with(whole_card(), trust_in(authority)) is CardFault.UNSIGNED


async def test_a_strangers_signature_beside_it_does_no_harm(authority):
    for first in (SigningKey.make(), Authority().svid()):
        signed = sign_card(sign_card(whole_card(), first), authority.svid())
        assert (await verify_card(signed, trust_in(authority))).spiffe_id == ID


async def test_an_empty_bundle_trusts_nobody(authority):
    trust = SpiffeBundle(bundle=list, spiffe_id=ID, clock=SetClock(NOW))
    signed = sign_card(whole_card(), authority.svid())
    assert await refused_with(signed, trust) is CardFault.CERTIFICATE


async def test_an_ed25519_certificate_is_as_good(authority):
    signed = sign_card(whole_card(), authority.svid(key=ed25519.Ed25519PrivateKey.generate()))
    assert (await verify_card(signed, trust_in(authority))).spiffe_id == ID
