"""Made-up evidence: a report, a quote, a certificate, a host's table and a sealed image that were bent."""

import io

import msgspec
import pytest

from hive.confidential.der import read_certificate
from hive.confidential.drivers import VERIFIERS
from hive.confidential.drivers.sev_snp import SnpVerifier
from hive.confidential.drivers.tsm import VCEK, chip_certificates
from hive.confidential.ports import read_evidence
from hive.confidential.references import TdxReference
from hive.confidential.sealing import seal, unseal
from hive.core.errors import AttestationError
from hive.core.randomness import SystemRandomness
from tests.attestation_rig import BINDING, NOW, TDX_NOW, own_amd, real_snp, real_tdx, reference
from tests.fuzz.mutator import fuzz

pytestmark = pytest.mark.fuzz
TABLE = VCEK.bytes_le + (48).to_bytes(4, "little") + (4).to_bytes(4, "little") + bytes(24) + b"chip"


def test_certificates():
    good = [real_snp().certificates[0], own_amd().certificate(), own_amd().certificate("VLEK")]
    assert fuzz(good, read_certificate, allowed=AttestationError)


def test_reports():
    made = own_amd()
    verifier = made.verifier()

    def judge(data):
        evidence = made.evidence(report=data)
        return verifier.verify(evidence, reference=reference(), binding=BINDING, now=NOW)

    assert fuzz([made.report()], judge, allowed=AttestationError)


def test_evidence_as_it_travels():
    def judge(data):
        evidence = read_evidence(data)
        return SnpVerifier().verify(evidence, reference=wanted, binding=binding, now=NOW)

    real = real_snp()
    wanted = msgspec.structs.replace(
        reference(), measurement=real.report[0x90:0xC0].hex(), debug=True
    )
    binding = real.report[0x50:0x90]
    assert fuzz([msgspec.json.encode(real)], judge, allowed=AttestationError)


def test_quotes():
    real, verifier = real_tdx(), VERIFIERS.load("tdx")()
    body = real.report[48:632]
    wanted = TdxReference(name="real", measurement=body[136:184].hex())

    def judge(data):
        evidence = msgspec.structs.replace(real, report=data)
        return verifier.verify(evidence, reference=wanted, binding=body[520:584], now=TDX_NOW)

    assert fuzz([real.report], judge, allowed=AttestationError)


def test_tables_of_hosts():
    assert fuzz([TABLE], chip_certificates, allowed=AttestationError)


def test_sealed_images():
    whole = b"".join(seal(io.BytesIO(b"layers" * 50), "payroll", bytes(32), SystemRandomness()))
    assert fuzz(
        [whole],
        lambda data: list(unseal(io.BytesIO(data), bytes(32), image="payroll")),
        allowed=AttestationError,
    )
