"""References, DER, the kernel's interface for evidence, a TPM's quotes, and pods."""

import base64
import errno
import gzip
import hashlib
import os
import tomllib
from contextlib import contextmanager

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hive.confidential import EvidenceDocument, read_references
from hive.confidential.der import elements, oid_text, read_certificate
from hive.confidential.drivers import VERIFIERS
from hive.confidential.drivers.sev_snp import ROOTS, amd_chains
from hive.confidential.drivers.tsm import (
    VCEK,
    ConfigfsEntry,
    TsmSource,
    chip_certificates,
    configfs_entry,
)
from hive.confidential.manifests import NO_EXEC, PodOrder, confidential_pod, init_data
from hive.confidential.references import TpmReference
from hive.core.errors import AttestationError, BadInputError, ConfigError
from tests.attestation_rig import NOW, own_amd
from tests.registration_rig import SoftTpm

DIGEST = "00" * 48
FILE = f"""
[[image]]
kind = "sev-snp"
name = "payroll"
measurement = "{DIGEST}"
minimum_tcb = {{ snp = 8, microcode = 72 }}
[[image]]
kind = "tdx"
name = "payroll"
measurement = "{DIGEST}"
rtmr = {{ 1 = "{DIGEST}" }}
[[image]]
kind = "tpm2"
name = "rack"
key = "{"ab" * 32}"
registers = {{ 7 = "{"cd" * 32}" }}
"""


def test_references_are_found_by_image_and_hardware(tmp_path):
    (tmp_path / "images.toml").write_text(FILE)
    found = read_references(tmp_path / "images.toml")
    assert found.of("payroll", "sev-snp").minimum_tcb.microcode == 72
    assert found.of("payroll", "tdx").rtmr == {"1": DIGEST}
    assert found.of("rack", "tpm2").registers == {"7": "cd" * 32}
    for image, kind in (("rack", "tdx"), ("nobody", "tdx"), ("payroll", "tpm2")):
        with pytest.raises(AttestationError):
            found.of(image, kind)


@pytest.mark.parametrize(
    "change",
    [
        ("kind = \"tdx\"", "kind = \"sgx\""),
        ("name = \"rack\"", "name = \"Rack 1\""),
        (f'measurement = "{DIGEST}"', 'measurement = "00"'),
        (f'measurement = "{DIGEST}"', f'measurement = "{"AB" * 48}"'),
        ("snp = 8", "snp_ = 8"),
        ("rtmr = { 1", "rtmr = { 4"),
        ("registers = { 7", "registers = { 24"),
        (f'registers = {{ 7 = "{"cd" * 32}" }}', "registers = {}"),
        ('kind = "tdx"', 'kind = "sev-snp"'),
        ("[[image]]", "[image]"),
        ("", "debugging = true\n"),
    ],
)  # fmt: skip
def test_a_reference_that_means_nothing_is_no_reference(tmp_path, change):
    (tmp_path / "images.toml").write_text(FILE.replace(*change, 1))
    with pytest.raises(ConfigError):
        read_references(tmp_path / "images.toml")


def test_a_file_that_is_missing_or_endless_is_told(tmp_path):
    with pytest.raises(ConfigError):
        read_references(tmp_path / "none.toml")
    (tmp_path / "long.toml").write_text("#" * (2 << 20))
    with pytest.raises(ConfigError, match="limit"):
        read_references(tmp_path / "long.toml")


def test_amds_roots_are_the_pinned_ones():
    assert set(amd_chains()) == set(ROOTS) == {"Milan", "Genoa", "Turin"}


@pytest.mark.parametrize(
    "data",
    [
        b"\x30", b"\x30\x01", b"\x30\x80\x00\x00", b"\x30\x81\x05abcde", b"\x30\x82\x00\x85" + bytes(133),
        b"\x3f\x00\x00", b"\x30\x85\x01\x00\x00\x00\x00", b"\x30\x84\xff\xff\xff\xff",
    ],
)  # fmt: skip
def test_what_is_not_der_is_refused(data):
    with pytest.raises(AttestationError):
        elements(data)


def test_no_certificate_that_was_cut_short_is_read():
    whole = own_amd().certificate()
    assert read_certificate(whole).not_after > NOW
    for size in range(len(whole)):
        with pytest.raises(AttestationError):
            read_certificate(whole[:size])
    with pytest.raises(AttestationError):
        read_certificate(whole + b"\x00")


def test_object_identifiers_are_read():
    assert oid_text(bytes.fromhex("2b060104019c78010304")) == "1.3.6.1.4.1.3704.1.3.4"
    assert oid_text(bytes.fromhex("5503")) == "2.5.3"
    with pytest.raises(AttestationError):
        oid_text(b"\x2b\x86")


class Kernel:
    """The interface as the kernel documents it: one write bumps the generation, wrong lengths are refused."""

    def __init__(self, provider="sev_guest", *, auxiliary=b"", meddles=False):
        self.provider, self.auxiliary, self.meddles = provider, auxiliary, meddles
        self.generation, self.asked, self.open = 0, None, 0

    @contextmanager
    def entry(self):
        self.open += 1
        try:
            yield self
        finally:
            self.open -= 1

    def read(self, name):
        match name:
            case "provider":
                return self.provider.encode() + b"\n"
            case "generation":
                return f"{self.generation}\n".encode()
            case "outblob":
                if self.asked is None:
                    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
                if self.meddles:
                    self.write("inblob", bytes(64))
                return b"report:" + self.asked
            case "auxblob" if self.auxiliary:
                return self.auxiliary
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def write(self, name, data):
        if name != "inblob" or not 32 <= len(data) <= 64:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self.asked = data
        self.generation += 1


def table(*entries: tuple[bytes, bytes]) -> bytes:
    """Return a host's table of certificates."""
    head, body = b"", b""
    start = 24 * (len(entries) + 1)
    for name, data in entries:
        head += name + (start + len(body)).to_bytes(4, "little") + len(data).to_bytes(4, "little")
        body += data
    return head + bytes(24) + body


def test_evidence_is_asked_of_the_kernel_with_the_hosts_certificate_beside_it():
    kernel = Kernel(auxiliary=table((bytes(15) + b"x", b"other"), (VCEK.bytes_le, b"chip")))
    found = TsmSource(kernel.entry).produce(bytes(range(64)))
    assert (found.kind, found.report) == ("sev-snp", b"report:" + bytes(range(64)))
    assert found.certificates == [b"chip"]
    assert kernel.open == 0
    assert TsmSource(Kernel("tdx_guest").entry).produce(bytes(64)).kind == "tdx"
    assert TsmSource(Kernel().entry).produce(bytes(64)).certificates == []


def test_an_answer_to_somebody_elses_question_is_not_ours():
    kernel = Kernel(meddles=True)
    with pytest.raises(AttestationError, match="Somebody else"):
        TsmSource(kernel.entry).produce(bytes(64))
    assert kernel.open == 0


def test_a_machine_without_the_interface_says_so(tmp_path):
    assert "configfs-tsm" in TsmSource(lambda: configfs_entry(tmp_path / "none")).probe()
    assert "not known" in TsmSource(Kernel("rot13").entry).probe()
    with pytest.raises(AttestationError, match="64 bytes"):
        TsmSource(Kernel().entry).produce(b"short")


def test_attributes_are_read_and_written_in_one_piece(tmp_path):
    (tmp_path / "inblob").write_bytes(b"")
    entry = ConfigfsEntry(tmp_path)
    entry.write("inblob", b"asked")
    assert entry.read("inblob") == b"asked"
    (tmp_path / "outblob").write_bytes(bytes(70_000))
    with pytest.raises(AttestationError, match="65536"):
        entry.read("outblob")


@pytest.mark.parametrize(
    "data", [VCEK.bytes_le + b"\xff\xff\xff\xff\x10\x00\x00\x00", VCEK.bytes_le + bytes(8)]
)
def test_a_table_that_points_outside_of_itself_is_refused(data):
    with pytest.raises(AttestationError, match="cut short"):
        chip_certificates(data)


def test_a_table_with_half_an_entry_has_none():
    assert chip_certificates(b"") == []
    assert chip_certificates(VCEK.bytes_le) == []


def tpm_case():
    """Return a TPM, what its quote over a binding is as evidence, and its reference."""
    tpm = SoftTpm()
    spki = tpm.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    wanted = TpmReference(
        name="rack",
        key=hashlib.sha256(spki).hexdigest(),
        registers={str(number): value.hex() for number, value in tpm.registers.items()},
    )

    def evidence(binding, **how):
        quote, signature = tpm.quote(binding[:48], **how)
        return EvidenceDocument(kind="tpm2", report=quote, signature=signature, key=spki)

    return tpm, evidence, wanted


def test_a_known_machine_speaks_for_itself_and_no_other_does():
    verifier, binding = VERIFIERS.load("tpm2")(), bytes(range(64))
    tpm, evidence, wanted = tpm_case()
    _, strange, _ = tpm_case()

    def judge(said, wanted=wanted, binding=binding):
        return verifier.verify(said, reference=wanted, binding=binding, now=NOW)

    good = evidence(binding)
    assert judge(good).image == "rack"
    bad = {
        "another machine": strange(binding),
        "another challenge": evidence(bytes(64)),
        "not signed": msgspec.structs.replace(good, signature=strange(binding).signature),
        "not a quote": evidence(binding, kind=0x8014),
        "cut short": msgspec.structs.replace(
            good, report=good.report[:20], signature=tpm.signature(good.report[:20])
        ),
        "Something follows": evidence(binding, after=b"x"),
    }
    for told, said in bad.items():
        with pytest.raises(AttestationError) as refused:
            judge(said)
        assert told in refused.value.why
    other = msgspec.structs.replace(wanted, registers={"0": "00" * 32, "7": "00" * 32})
    with pytest.raises(AttestationError, match="something else"):
        judge(good, other)
    for key in (b"", b"rubbish"):
        named = msgspec.structs.replace(wanted, key=hashlib.sha256(key).hexdigest())
        with pytest.raises(AttestationError, match="cannot be used"):
            judge(msgspec.structs.replace(good, key=key), named)


IMAGE = "registry.example/payroll@sha256:" + "0" * 64


def test_a_pod_carries_init_data_whose_digest_is_told():
    order = PodOrder(
        name="payroll",
        image=IMAGE,
        runtime_class="kata-qemu-snp",
        release_url="https://hive.example",
    )
    pod = confidential_pod(order)
    (annotation,) = pod["metadata"]["annotations"].values()
    text = gzip.decompress(base64.b64decode(annotation)).decode()
    data = init_data(order.release_url, order.policy)
    assert hashlib.sha384(text.encode()).hexdigest() == data.digest
    said = tomllib.loads(text)
    assert (said["algorithm"], said["version"]) == ("sha384", "0.1.0")
    assert said["data"]["policy.rego"] == NO_EXEC
    for name in ("aa.toml", "cdh.toml"):
        assert "https://hive.example" in str(tomllib.loads(said["data"][name]))
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"]["memory"] == str(1 << 30)
    assert confidential_pod(order) == pod


@pytest.mark.parametrize(
    "text", ['a"b', "a\\b", "a\nb", "a\tb", "\x00\x7f\x1f", "ü€😀", "'''", '"""']
)
def test_init_data_holds_any_policy_as_it_is(text):
    assert tomllib.loads(init_data("", text).text)["data"] == {"policy.rego": text}


@pytest.mark.parametrize(
    "change",
    [
        {"image": "registry.example/payroll:latest"},
        {"image": "payroll@sha256:00"},
        {"name": "Payroll"},
        {"namespace": "a/b"},
        {"runtime_class": ""},
        {"release_url": "http://hive.example"},
        {"release_url": 'https://a"\nb'},
    ],
)
def test_a_pod_that_could_be_pointed_elsewhere_is_not_made(change):
    given = {"name": "payroll", "image": IMAGE, "runtime_class": "kata"} | change
    with pytest.raises(BadInputError):
        confidential_pod(PodOrder(**given))
