"""`hive confidential` on files, without a node."""

import json

import msgspec
import pytest

from hive.cli.entry import run_command
from tests.attestation_rig import real_snp

REPORT = real_snp().report


@pytest.fixture
def hive(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = run_command(["--state", str(tmp_path / "state"), "confidential", *arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def files(tmp_path):
    (tmp_path / "evidence.json").write_bytes(msgspec.json.encode(real_snp()))
    (tmp_path / "images.toml").write_text(
        f'[[image]]\nkind = "sev-snp"\nname = "real"\ndebug = true\nmeasurement = "{REPORT[0x90:0xC0].hex()}"\n'
    )
    return "evidence.json", "--references", "images.toml", "--image", "real"


def test_real_evidence_is_judged(hive, files, tmp_path):
    binding = ("--binding", REPORT[0x50:0x90].hex())
    code, out, _ = hive("verify", *files, *binding)
    assert code == 0
    assert out.startswith("It holds: real on sev-snp.")
    assert json.loads(hive("verify", *files, *binding, "--json")[1])["product"] == "Milan"
    code, out, err = hive("verify", *files)
    assert (code, out) == (1, "")
    assert "another challenge" in err
    assert "E094" in err
    late = hive("verify", *files, *binding, "--at", "2040-01-01T00:00:00Z")
    assert "this time" in late[2]
    assert "64 bytes" in hive("verify", *files, "--binding", "zz")[2]
    text = (tmp_path / "images.toml").read_text()
    (tmp_path / "images.toml").write_text(text.replace("debug = true", "debug = false"))
    assert "debugging" in hive("verify", *files, *binding)[2]


def test_a_machine_without_the_hardware_gives_no_evidence(hive):
    code, out, err = hive("evidence")
    if code == 0:
        pytest.skip("this is a confidential guest")
    assert out == ""
    assert "E094" in err


def test_an_image_is_sealed_and_opened_and_nothing_is_overwritten(hive, tmp_path):
    (tmp_path / "image").write_bytes(b"layers" * 1000)
    sealing = ("image", "image.sealed", "--image", "payroll", "--key-file", "key")
    code, out, err = hive("seal", *sealing)
    assert (code, "payroll" in out) == (0, True)
    assert "hive secret set image-payroll" in err
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert b"layers" not in (tmp_path / "image.sealed").read_bytes()
    assert "there already" in hive("seal", *sealing)[2]
    opening = ("image.sealed", "opened", "--image", "payroll", "--key-file", "key")
    assert hive("unseal", *opening)[0] == 0
    assert (tmp_path / "opened").read_bytes() == b"layers" * 1000
    assert "there already" in hive("unseal", *opening)[2]
    (tmp_path / "key").write_text("ab" * 32)
    assert hive("unseal", "image.sealed", "other", *opening[2:])[0] == 1
    assert not (tmp_path / "other").exists()
    (tmp_path / "key").write_text("no key")
    assert "holds no key" in hive("unseal", "image.sealed", "other", *opening[2:])[2]


def test_a_pod_is_printed_for_the_cluster(hive):
    image = "registry.example/payroll@sha256:" + "0" * 64
    words = ("manifest", "payroll", "--image", image, "--runtime-class", "kata-qemu-snp")
    code, out, err = hive(*words)
    assert code == 0
    assert json.loads(out)["spec"]["runtimeClassName"] == "kata-qemu-snp"
    assert "sha384" in err
    assert "digest" in hive(*words[:3], "payroll:latest", *words[4:])[2]
