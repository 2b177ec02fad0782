"""What the tests of evidence share: real vectors, and an AMD of our own that signs whatever a test wants."""

import datetime as dates
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from hive.confidential import EvidenceDocument
from hive.confidential.der import read_certificate
from hive.confidential.drivers.sev_snp import AmdChain, SnpVerifier
from hive.confidential.references import SnpReference

VECTORS = Path(__file__).parent / "vectors" / "attestation"
NOW = dates.datetime(2026, 6, 1, tzinfo=dates.UTC)
TDX_NOW = dates.datetime(2025, 6, 19, 12, tzinfo=dates.UTC)
MEASUREMENT = bytes(range(48))
BINDING = bytes(range(64))
CHIP = bytes(range(100, 164))
_OID = "1.3.6.1.4.1.3704.1"
_SPL = {"3.1": 3, "3.2": 0, "3.3": 8, "3.8": 115}
_PSS = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
_LONG = dates.timedelta(days=900)


def real_snp() -> EvidenceDocument:
    """Return the report of a real Milan, with its chip's certificate."""
    return EvidenceDocument(
        kind="sev-snp",
        report=(VECTORS / "milan_report.bin").read_bytes(),
        certificates=[(VECTORS / "milan_vcek.der").read_bytes()],
    )


def real_tdx() -> EvidenceDocument:
    """Return the quote of a real TDX machine, with Intel's collateral."""
    return EvidenceDocument(
        kind="tdx",
        report=(VECTORS / "tdx_quote").read_bytes(),
        collateral=(VECTORS / "tdx_quote_collateral.json").read_text(),
    )


@dataclass(frozen=True)
class OwnAmd:
    """A root, the two signers below it, and a chip."""

    root: rsa.RSAPrivateKey
    signers: dict[str, rsa.RSAPrivateKey]
    chip: ec.EllipticCurvePrivateKey
    chain: AmdChain

    def certificate(
        self, signer="VCEK", *, key=None, by=None, chip=CHIP, spl=None, ends=NOW + _LONG
    ):
        """Return a chip's certificate in DER."""
        public = (key or self.chip).public_key()
        extensions = {
            f"{_OID}.{one}": integer(value) for one, value in (_SPL | (spl or {})).items()
        }
        if signer == "VCEK":
            extensions[f"{_OID}.4"] = chip
        return issued(
            f"SEV-{signer}",
            public,
            f"{signer} of ours",
            by or self.signers[signer],
            extensions,
            ends,
        )

    def report(self, *, key=None, signer=0, masked=False, **fields) -> bytes:
        """Return a signed report; `fields` are byte offsets (`at_0x50`) and what stands there."""
        data = bytearray(1184)
        data[0:4] = (3).to_bytes(4, "little")
        data[0x08:0x10] = (0x30000).to_bytes(8, "little")
        data[0x34:0x38] = (1).to_bytes(4, "little")
        data[0x48:0x4C] = (signer << 2 | masked << 1).to_bytes(4, "little")
        data[0x50:0x90] = BINDING
        data[0x90:0xC0] = MEASUREMENT
        data[0x180:0x188] = bytes([3, 0, 0, 0, 0, 0, 8, 115])
        data[0x1A0:0x1E0] = CHIP
        for name, value in fields.items():
            at = int(name.removeprefix("at_"), 16)
            data[at : at + len(value)] = value
        der = (key or self.chip).sign(bytes(data[:0x2A0]), ec.ECDSA(hashes.SHA384()))
        for at, number in zip((0x2A0, 0x2E8), decode_dss_signature(der), strict=True):
            data[at : at + 72] = number.to_bytes(72, "little")
        return bytes(data)

    def evidence(self, report=None, certificate=None, **fields) -> EvidenceDocument:
        """Return evidence that would hold but for what a test changes."""
        return EvidenceDocument(
            kind="sev-snp",
            report=report or self.report(**fields),
            certificates=[certificate or self.certificate()],
        )

    def verifier(self) -> SnpVerifier:
        return SnpVerifier({"Genoa": self.chain})


def reference(**changes) -> SnpReference:
    return SnpReference(name="payroll", measurement=MEASUREMENT.hex(), **changes)


def integer(value: int) -> bytes:
    return b"\x02" + (b"\x01" + bytes([value]) if value < 128 else b"\x02\x00" + bytes([value]))


def issued(subject, public, issuer, key, extensions, ends=NOW + _LONG) -> bytes:
    """Return a certificate signed as AMD signs."""
    named = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (subject, issuer)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(named[0])
        .issuer_name(named[1])
        .public_key(public)
        .serial_number(7)
        .not_valid_before(NOW - _LONG)
        .not_valid_after(ends)
    )
    for oid, value in (extensions or {f"{_OID}.1": integer(0)}).items():
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA384(), rsa_padding=_PSS).public_bytes(Encoding.DER)


@cache
def own_amd() -> OwnAmd:
    """Make an AMD; its keys are short, so that tests are."""
    root, *middle = (rsa.generate_private_key(65537, 2048) for _ in range(3))
    signers = dict(zip(("VCEK", "VLEK"), middle, strict=True))
    top = issued("root of ours", root.public_key(), "root of ours", root, None)
    chain = AmdChain(
        product="Genoa",
        root=read_certificate(top),
        signers={
            name: read_certificate(
                issued(f"{name} of ours", key.public_key(), "root of ours", root, None)
            )
            for name, key in signers.items()
        },
    )
    return OwnAmd(root, signers, ec.generate_private_key(ec.SECP384R1()), chain)
