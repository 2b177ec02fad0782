"""Reports of AMD SEV-SNP (SEV-SNP ABI 1.55, 7.3), verified down to AMD's root keys without a network.

AMD's keys are pinned by the hash of the root's key; the certificates that lead from it to the chip's come with this
package, the chip's own with the evidence. What the guest may choose is believed only under the chip's signature.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from hive.confidential.der import AmdCertificate, number, read_certificate
from hive.confidential.ports import Attested, EvidenceDocument, refused
from hive.confidential.references import Reference, SnpReference, SnpTcb
from hive.core.json import Json

REPORT_BYTES: Final = 1184
SIGNED_BYTES: Final = 0x2A0
VERSIONS: Final = (2, 3, 5)
ECDSA_P384_SHA384: Final = 1
DEBUG: Final = 1 << 19
_NUMBER_BYTES: Final = 72
_SIGNERS: Final = {0: "VCEK", 1: "VLEK"}
_OID: Final = "1.3.6.1.4.1.3704.1"
_SPL: Final = {
    "bootloader": f"{_OID}.3.1",
    "tee": f"{_OID}.3.2",
    "snp": f"{_OID}.3.3",
    "microcode": f"{_OID}.3.8",
    "fmc": f"{_OID}.3.9",
}
_CHIP: Final = f"{_OID}.4"
_PSS: Final = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
ROOTS: Final = {
    "Milan": "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9",
    "Genoa": "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831",
    "Turin": "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08",
}
"""SHA-256 of the root's public key (SubjectPublicKeyInfo), by product line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpReport:
    """The fields of a report that are judged."""

    policy: int
    vmpl: int
    signer: int
    masked: bool
    binding: bytes
    measurement: bytes
    host_data: bytes
    tcb: bytes
    chip: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AmdChain:
    """What leads from AMD to the chips of one product line: root, signer of chips, signer of loads."""

    product: str
    root: AmdCertificate
    signers: Mapping[str, AmdCertificate]


class SnpVerifier:
    """Judges reports; `chains` are AMD's unless a test brings its own."""

    def __init__(self, chains: Mapping[str, AmdChain] | None = None) -> None:
        self._chains = chains

    def verify(
        self, evidence: EvidenceDocument, *, reference: Reference, binding: bytes, now: datetime
    ) -> Attested:
        """Take a report of this reference that carries `binding`. Raises AttestationError."""
        if not isinstance(reference, SnpReference):
            raise refused("The reference is of other hardware.")
        report = read_report(evidence.report)
        if len(evidence.certificates) != 1:
            raise refused("Exactly one certificate belongs to a report: that of the chip.")
        certificate = read_certificate(evidence.certificates[0])
        chain = self._chain(certificate, _SIGNERS[report.signer])
        _check_chain(chain, certificate, _SIGNERS[report.signer], now)
        _check_signature(evidence.report, certificate)
        tcb = _check_chip(report, certificate, chain.product)
        _check_reference(report, reference, chain.product, tcb, binding)
        return Attested(
            kind="sev-snp",
            image=reference.name,
            measurement=report.measurement,
            binding=report.binding,
            facts=_facts(report, chain.product, tcb),
        )

    def _chain(self, certificate: AmdCertificate, signer: str) -> AmdChain:
        for chain in (self._chains if self._chains is not None else amd_chains()).values():
            if chain.signers[signer].subject == certificate.issuer:
                return chain
        raise refused("The chip's certificate is of no product line that is known.")


def read_report(data: bytes) -> SnpReport:
    """Read a report; nothing in it is believed yet.

    Raises:
        AttestationError: it is none of a version that is known, or unused bytes are used.

    """
    if len(data) != REPORT_BYTES:
        raise refused(f"A report has {REPORT_BYTES} bytes; this has {len(data)}.")

    def field(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], "little")

    if field(0, 4) not in VERSIONS:
        raise refused(f"Version {field(0, 4)} of the report is not known.")
    if field(0x34, 4) != ECDSA_P384_SHA384:
        raise refused("The report is not signed with ECDSA P-384 and SHA-384.")
    flags = field(0x48, 4)
    signer = flags >> 2 & 7
    if signer not in _SIGNERS:
        raise refused("The report is signed by no key of the chip.")
    if any(data[SIGNED_BYTES + 2 * _NUMBER_BYTES :]):
        raise refused("Bytes after the signature are used.")
    return SnpReport(
        policy=field(0x08, 8),
        vmpl=field(0x30, 4),
        signer=signer,
        masked=bool(flags >> 1 & 1),
        binding=data[0x50:0x90],
        measurement=data[0x90:0xC0],
        host_data=data[0xC0:0xE0],
        tcb=data[0x180:0x188],
        chip=data[0x1A0:0x1E0],
    )


@cache
def amd_chains() -> Mapping[str, AmdChain]:
    """Return AMD's chains, whose roots are the pinned ones."""
    found = {}
    for product, pin in ROOTS.items():
        text = resources.files("hive.confidential.roots").joinpath(f"{product.lower()}.pem")
        root, vcek, vlek = (read_certificate(one) for one in _pem(text.read_text()))
        if hashlib.sha256(root.key).hexdigest() != pin:
            raise refused(f"The root of {product} is not the pinned one.")
        signers = {"VCEK": vcek, "VLEK": vlek}
        found[product] = AmdChain(product=product, root=root, signers=signers)
    return found


def _pem(text: str) -> list[bytes]:
    pieces = text.split("-----BEGIN CERTIFICATE-----")[1:]
    return [base64.b64decode(one.partition("-----END CERTIFICATE-----")[0]) for one in pieces]


def _check_chain(chain: AmdChain, certificate: AmdCertificate, signer: str, now: datetime) -> None:
    middle = chain.signers[signer]
    steps = ((chain.root, chain.root), (middle, chain.root), (certificate, middle))
    for child, parent in steps:
        if child.issuer != parent.subject:
            raise refused("The certificates do not follow each other.")
        if not child.not_before <= now <= child.not_after:
            raise refused("A certificate does not count at this time.")
        key = serialization.load_der_public_key(parent.key)
        if not isinstance(key, rsa.RSAPublicKey):
            raise refused("A certificate is not signed with RSA.")
        try:
            key.verify(child.signature, child.signed, _PSS, hashes.SHA384())
        except InvalidSignature as error:
            raise refused("A certificate is not signed by the one above it.") from error


def _check_signature(report: bytes, certificate: AmdCertificate) -> None:
    try:
        key = serialization.load_der_public_key(certificate.key)
    except ValueError as error:
        raise refused("The chip's certificate holds no usable key.") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise refused("The chip's key is not on P-384.")
    first, second = (
        int.from_bytes(report[at : at + _NUMBER_BYTES], "little")
        for at in (SIGNED_BYTES, SIGNED_BYTES + _NUMBER_BYTES)
    )
    try:
        signature = encode_dss_signature(first, second)
        key.verify(signature, report[:SIGNED_BYTES], ec.ECDSA(hashes.SHA384()))
    except (InvalidSignature, ValueError) as error:
        raise refused("The report is not signed by the chip.") from error


def _check_chip(report: SnpReport, certificate: AmdCertificate, product: str) -> SnpTcb:
    """Hold the report against the chip's certificate: same firmware, same chip."""
    tcb = _tcb(report.tcb, product)
    for name, oid in _SPL.items():
        if oid in certificate.extensions:
            said = number(certificate.extensions[oid])
            if said != getattr(tcb, name):
                raise refused(f"The certificate is of other firmware ({name} {said}).")
        elif name != "fmc":
            raise refused(f"The chip's certificate does not tell its firmware ({name}).")
    if report.signer == 0 and not report.masked:
        chip = certificate.extensions.get(_CHIP, b"")
        size = 8 if product == "Turin" else len(report.chip)
        if not hmac.compare_digest(chip[-size:], report.chip[:size]):
            raise refused("The certificate is of another chip.")
    return tcb


def _tcb(data: bytes, product: str) -> SnpTcb:
    if product == "Turin":
        return SnpTcb(fmc=data[0], bootloader=data[1], tee=data[2], snp=data[3], microcode=data[7])
    return SnpTcb(bootloader=data[0], tee=data[1], snp=data[6], microcode=data[7])


def _check_reference(
    report: SnpReport, reference: SnpReference, product: str, tcb: SnpTcb, binding: bytes
) -> None:
    if not hmac.compare_digest(report.measurement, bytes.fromhex(reference.measurement)):
        raise refused(f"It is not the image {reference.name}: the measurement is another.")
    if not hmac.compare_digest(report.binding, binding):
        raise refused("The report was made for another challenge.")
    if report.policy & DEBUG and not reference.debug:
        raise refused("The host may read this guest's memory: debugging is allowed.")
    if report.vmpl > reference.vmpl_max:
        raise refused(f"The report comes from privilege level {report.vmpl}.")
    if reference.product and reference.product != product:
        raise refused(f"It is a {product}, not a {reference.product}.")
    for name in _SPL:
        least = getattr(reference.minimum_tcb, name)
        if getattr(tcb, name) < least:
            raise refused(f"The firmware is too old: {name} {getattr(tcb, name)}, not {least}.")


def _facts(report: SnpReport, product: str, tcb: SnpTcb) -> dict[str, Json]:
    return {
        "product": product,
        "signer": _SIGNERS[report.signer],
        "chip": report.chip.hex(),
        "debug": bool(report.policy & DEBUG),
        "vmpl": report.vmpl,
        "host_data": report.host_data.hex(),
        "tcb": {name: getattr(tcb, name) for name in _SPL},
    }
