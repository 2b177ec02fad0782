"""Releasing a key on the word of a real TPM (swtpm, spoken to by tpm2-tools): old quotes, changed registers, strangers."""

import hashlib

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from hive.confidential import EvidenceDocument, References, release_binding
from hive.confidential.drivers import VERIFIERS
from hive.confidential.references import TpmReference
from tests.attacks.test_key_release import KEY, Guest, Host
from tests.registration_rig import real_tpm

pytestmark = [pytest.mark.anyio, pytest.mark.peers]
REGISTERS = (0, 7, 16)


@pytest.mark.parametrize("kind", ["ecc", "rsa"])
async def test_a_machine_that_measured_something_else_gets_nothing(tmp_path, kind):
    with real_tpm(tmp_path / "tpm") as tpm:
        keys = {name: der(tpm.made(name, kind)) for name in ("known", "stranger")}
        wanted = TpmReference(
            name="payroll",
            key=hashlib.sha256(keys["known"]).hexdigest(),
            registers={str(one): value.hex() for one, value in tpm.registers(*REGISTERS).items()},
        )
        host, guest = Host(), Guest()
        host.references = References((wanted,))
        host.release._verifier = lambda kind: VERIFIERS.load(kind)()

        def evidence(nonce, *, name="known", registers=REGISTERS):
            binding = release_binding(nonce, guest.public, "payroll")
            quote, signature = tpm.quote(name, binding[:48], *registers)
            return EvidenceDocument(kind="tpm2", report=quote, signature=signature, key=keys[name])

        def asked():
            return host.release.challenge("payroll").nonce

        old, nonce = asked(), asked()
        assert "another challenge" in await host.why_refused(nonce, guest.public, evidence(old))
        nonce = asked()
        told = await host.why_refused(nonce, guest.public, evidence(nonce, name="stranger"))
        assert "another machine" in told
        nonce = asked()
        borrowed = msgspec.structs.replace(evidence(nonce, name="stranger"), key=keys["known"])
        assert "not signed" in await host.why_refused(nonce, guest.public, borrowed)
        nonce = asked()
        told = await host.why_refused(nonce, guest.public, evidence(nonce, registers=(0, 7)))
        assert "other registers" in told
        nonce = asked()
        sealed = await host.release.release("payroll", nonce, guest.public, evidence(nonce))
        assert guest.opened(sealed, nonce) == KEY
        host.noted.clear()
        tpm.measure(16)
        nonce = asked()
        assert "measured" in await host.why_refused(nonce, guest.public, evidence(nonce))


def der(pem: str) -> bytes:
    spki = PublicFormat.SubjectPublicKeyInfo
    return load_pem_public_key(pem.encode()).public_bytes(Encoding.DER, spki)
