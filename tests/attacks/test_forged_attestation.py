"""Evidence that was made up, changed or borrowed: real vectors with each class of byte flipped, and an AMD that lies."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from hive.confidential import EvidenceDocument
from hive.confidential.drivers import VERIFIERS
from hive.confidential.drivers.sev_snp import SnpVerifier, amd_chains
from hive.confidential.ports import read_evidence
from hive.confidential.references import SnpReference, SnpTcb, TdxReference
from hive.core.errors import AttestationError
from tests.attestation_rig import (
    BINDING,
    CHIP,
    NOW,
    TDX_NOW,
    own_amd,
    real_snp,
    real_tdx,
    reference,
)

MILAN = real_snp()
REPORT = MILAN.report
MILAN_REFERENCE = SnpReference(
    name="real", measurement=REPORT[0x90:0xC0].hex(), debug=True, product="Milan"
)
FIELDS = {
    "version": 0x00, "guest svn": 0x04, "policy": 0x0A, "family": 0x10, "image": 0x20, "vmpl": 0x30,
    "signature algorithm": 0x34, "current tcb": 0x38, "platform": 0x40, "flags": 0x48,
    "reserved in the head": 0x4C, "report data": 0x50, "measurement": 0x90, "host data": 0xC0,
    "id key": 0xE0, "author key": 0x110, "report id": 0x140, "migration agent": 0x160,
    "reported tcb": 0x186, "chip": 0x1A0, "committed tcb": 0x1E0, "build": 0x1E8, "launch tcb": 0x1F0,
    "reserved at the end": 0x29F, "r": 0x2A0, "r, its zeros": 0x2A0 + 71, "s": 0x2E8,
    "s, its zeros": 0x2E8 + 71, "after the signature": 0x330, "the last byte": 1183,
}  # fmt: skip


def flipped(data: bytes, at: int, mask=0x01) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def snp(evidence, verifier=None, *, binding=None, now=NOW, wanted=MILAN_REFERENCE):
    return (verifier or SnpVerifier()).verify(
        evidence,
        reference=wanted,
        binding=REPORT[0x50:0x90] if binding is None else binding,
        now=now,
    )


def ours(evidence, *, binding=BINDING, now=NOW, **changes):
    return (
        own_amd()
        .verifier()
        .verify(evidence, reference=reference(**changes), binding=binding, now=now)
    )


def why_refused(judge) -> str:
    with pytest.raises(AttestationError) as refused:
        judge()
    return refused.value.why


def test_a_real_report_and_its_real_chain_hold():
    found = snp(MILAN)
    assert (found.kind, found.image) == ("sev-snp", "real")
    assert found.facts["chip"] == REPORT[0x1A0:0x1E0].hex()
    assert found.facts["tcb"] == {"bootloader": 2, "tee": 0, "snp": 5, "microcode": 68, "fmc": 0}


@pytest.mark.parametrize("at", FIELDS.values(), ids=FIELDS)
def test_no_field_of_a_report_can_be_changed(at):
    for mask in (0x01, 0x80):
        changed = msgspec.structs.replace(MILAN, report=flipped(REPORT, at, mask))
        assert why_refused(lambda changed=changed: snp(changed))


def test_no_byte_of_the_chips_certificate_can_be_changed():
    certificate = MILAN.certificates[0]
    for at in range(len(certificate)):
        changed = msgspec.structs.replace(MILAN, certificates=[flipped(certificate, at, 0x04)])
        assert why_refused(lambda changed=changed: snp(changed)), at


@pytest.mark.parametrize("size", [0, 1, 671, 672, 1183, 1185, 4096])
def test_a_report_that_is_cut_short_or_goes_on_is_none(size):
    changed = msgspec.structs.replace(MILAN, report=(REPORT * 4)[:size])
    assert "bytes" in why_refused(lambda: snp(changed))


def test_a_guest_whose_memory_the_host_may_read_gets_nothing():
    strict = msgspec.structs.replace(MILAN_REFERENCE, debug=False)
    assert "debugging" in why_refused(lambda: snp(MILAN, wanted=strict))


def test_an_amd_of_ones_own_is_not_amd():
    made = own_amd()
    assert ours(made.evidence()).image == "payroll"  # it would hold if that root were believed
    assert "product line" in why_refused(lambda: snp(made.evidence(), wanted=reference()))
    stolen = made.certificate()
    # The names of the real chain, under keys of one's own.
    borrowed = {
        name: own_amd().chain.__class__(
            product=name,
            root=chain.root,
            signers={"VCEK": made.chain.signers["VCEK"], "VLEK": chain.signers["VLEK"]},
        )
        for name, chain in amd_chains().items()
    }
    verifier = SnpVerifier(borrowed)
    evidence = made.evidence(certificate=stolen)
    assert "follow" in why_refused(
        lambda: snp(evidence, verifier, binding=BINDING, wanted=reference())
    )


def test_a_certificate_that_another_signed_is_refused():
    made, other = own_amd(), rsa.generate_private_key(65537, 2048)
    certificate = made.certificate(by=other)
    assert "signed by the one above" in why_refused(
        lambda: ours(made.evidence(certificate=certificate))
    )


def test_a_report_that_another_key_signed_is_refused():
    made, other = own_amd(), ec.generate_private_key(ec.SECP384R1())
    assert "not signed by the chip" in why_refused(lambda: ours(made.evidence(key=other)))
    weak = made.certificate(key=ec.generate_private_key(ec.SECP256R1()))
    assert "P-384" in why_refused(lambda: ours(made.evidence(certificate=weak)))


def test_the_certificate_of_another_chip_or_of_older_firmware_is_refused():
    made = own_amd()
    for how, told in (
        ({"chip": CHIP[::-1]}, "another chip"),
        ({"spl": {"3.3": 9}}, "other firmware"),
    ):
        certificate = made.certificate(**how)
        assert told in why_refused(lambda c=certificate: ours(made.evidence(certificate=c)))


def test_a_certificate_that_has_ended_is_refused():
    made = own_amd()
    ended = made.evidence(certificate=made.certificate(ends=NOW.replace(year=2025)))
    assert "this time" in why_refused(lambda: ours(ended))


def test_evidence_of_another_challenge_or_image_is_refused():
    made = own_amd()
    assert "another challenge" in why_refused(lambda: ours(made.evidence(), binding=bytes(64)))
    other = made.evidence(at_0x90=bytes(48))
    assert "not the image" in why_refused(lambda: ours(other))


@pytest.mark.parametrize("name", ["bootloader", "snp", "microcode", "tee"])
def test_firmware_below_the_least_is_refused(name):
    least = {"bootloader": 4, "snp": 9, "microcode": 116, "tee": 1}[name]
    minimum = SnpTcb(**{name: least})
    assert name in why_refused(lambda: ours(own_amd().evidence(), minimum_tcb=minimum))
    assert ours(own_amd().evidence(), minimum_tcb=SnpTcb(**{name: least - 1}))


def test_what_runs_beside_the_kernel_does_not_speak_for_it():
    evidence = own_amd().evidence(at_0x30=(2).to_bytes(4, "little"))
    assert "privilege level 2" in why_refused(lambda: ours(evidence))
    assert ours(evidence, vmpl_max=2)


def test_another_product_line_or_other_hardware_is_refused():
    assert "not a Milan" in why_refused(lambda: ours(own_amd().evidence(), product="Milan"))
    tdx = TdxReference(name="payroll", measurement="00" * 48)
    assert "other hardware" in why_refused(lambda: snp(MILAN, wanted=tdx))


def test_a_report_of_the_other_signer_does_not_pass_with_the_chips_certificate():
    made = own_amd()
    certificate = made.certificate("VLEK")
    assert ours(made.evidence(signer=1, certificate=certificate)).facts["signer"] == "VLEK"
    assert why_refused(lambda: ours(made.evidence(signer=1)))
    assert why_refused(lambda: ours(made.evidence(signer=0, certificate=certificate)))
    assert "no key of the chip" in why_refused(lambda: ours(made.evidence(signer=7)))


@pytest.fixture(scope="module")
def tdx():
    """Give a judge of the real quote."""
    verifier = VERIFIERS.load("tdx")()
    quote = real_tdx()
    body = quote.report[48 : 48 + 584]
    wanted = TdxReference(name="real", measurement=body[136:184].hex())

    def judge(evidence: EvidenceDocument = quote, *, now=TDX_NOW, binding=body[520:584], **changes):
        asked = msgspec.structs.replace(wanted, **changes)
        return verifier.verify(evidence, reference=asked, binding=binding, now=now)

    return judge


def test_a_real_quote_of_tdx_holds_at_its_time(tdx):
    found = tdx()
    assert (found.kind, found.facts["status"]) == ("tdx", "UpToDate")


def test_no_signed_byte_of_a_quote_can_be_changed(tdx):
    real = real_tdx()
    text = real.report.index(b"-----BEGIN")  # certificates, whose line ends carry nothing
    passed = []
    for at in range(text):
        changed = msgspec.structs.replace(real, report=flipped(real.report, at))
        try:
            tdx(changed)
        except AttestationError:
            continue
        passed.append(at)
    assert passed == []
    for more in (b"x", b"x" * 5000):
        longer = msgspec.structs.replace(real, report=real.report + more)
        assert "laid out" in why_refused(lambda longer=longer: tdx(longer))
    for size in (0, 1, 47, 48, 632, 700, 1258, 3000):
        shorter = msgspec.structs.replace(real, report=real.report[:size])
        assert why_refused(lambda shorter=shorter: tdx(shorter))


@pytest.mark.parametrize(
    "part", ["tcb_info", "tcb_info_signature", "qe_identity", "pck_crl", "root_ca_crl"]
)
def test_no_part_of_intels_word_can_be_changed_or_left_out(tdx, part):
    real = real_tdx()
    collateral = msgspec.json.decode(real.collateral)
    for value in (collateral[part][:-2], collateral[part].replace("1", "2", 1)):
        text = msgspec.json.encode(collateral | {part: value}).decode()
        assert why_refused(lambda text=text: tdx(msgspec.structs.replace(real, collateral=text)))
    del collateral[part]
    text = msgspec.json.encode(collateral).decode()
    assert why_refused(lambda: tdx(msgspec.structs.replace(real, collateral=text)))


def test_intels_word_of_yesterday_does_not_count_today(tdx):
    late = TDX_NOW.replace(year=2026)
    assert why_refused(lambda: tdx(now=late))
    assert why_refused(lambda: tdx(now=late, collateral_age_max_s=86400))
    soon = TDX_NOW.replace(month=7, day=20)
    assert why_refused(lambda: tdx(now=soon))
    assert tdx(now=soon, collateral_age_max_s=7 * 86400)


def test_a_quote_of_another_image_challenge_or_register_is_refused(tdx):
    assert "not the image" in why_refused(lambda: tdx(measurement="00" * 48))
    assert "another challenge" in why_refused(lambda: tdx(binding=bytes(64)))
    assert "register 1" in why_refused(lambda: tdx(rtmr={"1": "00" * 48}))
    assert "UpToDate" in why_refused(lambda: tdx(statuses=("SWHardeningNeeded",)))


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"kind":1}', b"\xff", b"{" * 100_000, b"1" * 300_000]
)
def test_what_is_no_evidence_is_refused_whatever_it_is(data):
    with pytest.raises(AttestationError):
        read_evidence(data)
