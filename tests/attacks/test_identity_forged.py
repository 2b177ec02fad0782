"""Certificates that want to be an SVID of this trust domain and are not; and those that were, once."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from hive.core.clock import SystemClock
from hive.core.errors import IdentityError
from hive.core.ids import AgentId, NodeId, SandboxId
from hive.security.identity.certificates import (
    CertificateSigner,
    key_from_der,
    leaf_svid,
    new_key,
    verified_leaf,
)
from hive.security.identity.ports import SpiffeId, SvidOrder
from tests.workload_rig import DOMAIN, MovedClock, Tables, opened_service

pytestmark = pytest.mark.anyio
READER = SpiffeId(f"spiffe://{DOMAIN}/agent/reader")


def signed(signer: CertificateSigner, above, *uris: str, key=None):
    """Return a chain whose leaf has these URIs, signed by an authority that was got hold of."""
    key, now = key or new_key(), SystemClock().now()
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(signer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(minutes=5))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()),
            critical=False,
        )
        .add_extension(
            x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(one) for one in uris]),
            critical=True,
        )
        .sign(signer.key, hashes.SHA256())
    )
    return [leaf.public_bytes(Encoding.DER), *above]


async def test_another_authority_of_the_same_name_vouches_for_nobody():
    async with opened_service() as ours, opened_service() as theirs:
        forged = await theirs.x509(theirs.enrol(SandboxId("s"), AgentId("reader")))
        assert forged.spiffe_id == READER
        # It is a sound SVID where its own root is believed: only the root tells them apart.
        assert (await theirs.check_x509(forged.chain)).spiffe_id == READER
        with pytest.raises(IdentityError, match="No root of the trust domain"):
            await ours.check_x509(forged.chain)


async def test_a_certificate_with_a_second_uri_is_nobody():
    async with opened_service() as service:
        mint = service.issuer._ready()
        signer, above = mint.signer, mint.above
        roots, now = mint.roots, SystemClock().now()
        alone = signed(signer, above, READER.text)
        assert verified_leaf(alone, roots, now=now).spiffe_id == READER
        for more in (f"spiffe://{DOMAIN}/agent/admin", "https://example.org"):
            with pytest.raises(IdentityError, match="not an SVID"):
                verified_leaf(signed(signer, above, READER.text, more), roots, now=now)


async def test_an_agent_cannot_sign_for_another_with_its_own_svid():
    async with opened_service() as service:
        own = await service.x509(service.enrol(SandboxId("s"), AgentId("reader")))
        signer = CertificateSigner(
            x509.load_der_x509_certificate(own.chain[0]), key_from_der(own.key)
        )
        made = leaf_svid(
            SpiffeId(f"spiffe://{DOMAIN}/agent/admin"),
            signer,
            own.chain,
            serial=7,
            now=SystemClock().now(),
            life=timedelta(minutes=5),
        )
        with pytest.raises(IdentityError, match="No root of the trust domain"):
            await service.check_x509(made.chain)


async def test_an_authoritys_own_certificate_is_no_workload():
    async with opened_service() as service:
        mint = service.issuer._ready()
        with pytest.raises(IdentityError):
            await service.check_x509(mint.above)


async def test_an_svid_counts_neither_after_its_end_nor_before_its_beginning():
    clock = MovedClock()
    async with opened_service(clock=clock) as service:
        svid = await service.x509(service.enrol(SandboxId("s"), AgentId("reader")))
        assert await service.check_x509(svid.chain)
        for moved_s in (3601, -60):
            clock.moved_s = moved_s
            with pytest.raises(IdentityError, match="No root of the trust domain"):
                await service.check_x509(svid.chain)


async def test_what_leaked_from_a_sandbox_is_worthless_when_the_sandbox_is_gone():
    async with opened_service() as service:
        enrolment = service.enrol(SandboxId("s"), AgentId("reader"))
        svid, token = await service.x509(enrolment), await service.jwt(enrolment, ["billing"])
        assert await service.check_x509(svid.chain)
        assert await service.check_jwt("billing", token.token)
        service.leave(enrolment)
        for check in (
            service.check_x509(svid.chain),
            service.check_jwt("billing", token.token),
        ):
            with pytest.raises(IdentityError, match="sandbox has ended"):
                await check
        # The agent itself goes on: its next sandbox has an identity of its own.
        again = await service.x509(service.enrol(SandboxId("t"), AgentId("reader")))
        assert (await service.check_x509(again.chain)).spiffe_id == READER


async def test_what_leaked_before_the_node_was_killed_is_worthless_when_it_is_back():
    tables = Tables()
    async with opened_service(tables=tables) as service:
        enrolment = service.enrol(SandboxId("s"), AgentId("reader"))
        svid, token = await service.x509(enrolment), await service.jwt(enrolment, ["billing"])
    async with opened_service(tables=tables) as back:
        # The authority is the same one, so nothing but the sandbox's end speaks against it.
        assert verified_leaf(svid.chain, (await back.bundle()).roots, now=SystemClock().now())
        with pytest.raises(IdentityError, match="sandbox has ended"):
            await back.check_x509(svid.chain)
        with pytest.raises(IdentityError, match="sandbox has ended"):
            await back.check_jwt("billing", token.token)


async def test_a_revoked_id_stays_revoked_over_a_restart():
    tables = Tables()
    async with opened_service(tables=tables) as service:
        await service.revoke(READER.text, reason="quarantine", by="operator")
    async with opened_service(tables=tables) as back:
        await back.denied.load()
        with pytest.raises(IdentityError, match="No identity issued"):
            await back.x509(back.enrol(SandboxId("s"), AgentId("reader")))


async def test_a_revoked_serial_ends_one_certificate_and_a_fresh_one_comes():
    async with opened_service() as service:
        enrolment = service.enrol(SandboxId("s"), AgentId("reader"))
        svid = await service.x509(enrolment)
        await service.revoke(svid.serial, reason="leaked")
        with pytest.raises(IdentityError, match="revoked"):
            await service.check_x509(svid.chain)
        fresh = await service.x509(enrolment)
        assert fresh.serial != svid.serial
        assert await service.check_x509(fresh.chain)
        assert service.events.named("svid.revoked")[0]["of"] == svid.serial


async def test_an_agents_name_cannot_be_anothers_id():
    async with opened_service() as service:
        node = service.enrol_node(NodeId("n-1"))
        agent = service.enrol(SandboxId("s"), AgentId("n-1"))
        assert node.spiffe_id != agent.spiffe_id
        for name in ("../node/n-1", "a/b", "", "..", "A b", "x?y", "x%2fy"):
            with pytest.raises(Exception, match="SPIFFE id"):
                service.enrol(SandboxId("t"), AgentId(name) if name else AgentId("."))


async def test_a_root_that_was_exchanged_in_the_database_does_not_open():
    tables, other = Tables(), Tables()
    async with opened_service(tables=tables), opened_service(tables=other):
        pass
    for mine, theirs in zip(tables.authorities, other.authorities, strict=True):
        mine["sealed_key"] = theirs["sealed_key"]  # sealed under the same master key and name
    async with opened_service(tables=tables) as service:
        svid = await service.issuer.x509(SvidOrder(subject=READER, ttl_s=60.0))
        with pytest.raises(IdentityError):
            await service.check_x509(svid.chain)
