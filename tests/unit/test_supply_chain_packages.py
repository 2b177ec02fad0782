"""A package that was signed is accepted for what it is, and says so; its parts are told without a network."""

import json
from hashlib import sha256

import pytest

from hive.core.errors import NotFoundError, SupplyError
from hive.security.supply_chain.drivers.cyclonedx import CycloneDxBill
from hive.security.supply_chain.envelope import pre_authentication, read_bundle
from hive.security.supply_chain.locks import PinnedPart, pinned_parts
from hive.security.supply_chain.statement import read_claim
from hive.security.supply_chain.trust import read_public_key, read_signer
from hive.security.supply_chain.versions import rank
from tests.supply_rig import AT, SignedSource

pytestmark = pytest.mark.anyio
UV_LOCK = b"""
version = 1
[[package]]
name = "mailer"
version = "1.0"
source = { editable = "." }
[[package]]
name = "Some_Thing"
version = "2.1"
sdist = { url = "x", hash = "sha256:%s" }
wheels = [{ url = "y", hash = "sha256:%s" }]
""" % (b"a" * 64, b"b" * 64)


@pytest.fixture
def source(tmp_path) -> SignedSource:
    return SignedSource(tmp_path)


async def test_a_signed_source_is_admitted_and_the_record_names_signer_and_bundle(source):
    bundle = source.sign()
    standing = await source.admit()
    assert standing.record == {
        "signed": True,
        "signer": "release",
        "bundle": sha256(bundle).hexdigest(),
    }
    assert source.release.id[:16] in standing.text


async def test_an_unsigned_source_is_told_in_development_and_refused_in_production(source):
    standing = await source.admit(demanded=False)
    assert standing.record == {"signed": False, "unsigned_because": "It is not signed."}
    with pytest.raises(SupplyError, match="not signed"):
        await source.admit()


async def test_papers_are_no_part_of_what_they_vouch_for(source):
    before = source.find().spec.digest
    source.sign(sbom=CycloneDxBill().write(name="mailer", version="0.0.0", parts=[], made_at=AT))
    assert source.find().spec.digest == before
    assert (await source.admit()).signed is not None


async def test_what_the_statement_says_is_for_machines_and_people(source):
    (source.folder / "requirements.txt").write_text("anyio==4.9.0\n")
    signed = read_bundle(source.sign())
    claim = read_claim(signed.payload)
    assert (claim.kind, claim.name, claim.issued) == ("agent", "mailer", AT)
    assert claim.spec["requirements"] == ["anyio==4.9.0"]
    assert claim.locks == {"requirements.txt": sha256(b"anyio==4.9.0\n").hexdigest()}
    statement = json.loads(signed.payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"][0]["digest"]["sha256"] == source.find().spec.digest
    assert signed.payload_type == "application/vnd.in-toto+json"


def test_the_encoding_that_is_signed_is_the_one_of_the_standard():
    # The example of the DSSE specification, version 1.0.
    assert pre_authentication("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


async def test_a_key_that_is_taken_away_stops_the_next_start(source):
    source.sign()
    spec = source.find().spec
    await source.admit()
    source.trust.remove("release")
    with pytest.raises(SupplyError, match="No key that is trusted"):
        await source.provenance().admit(spec)


async def test_a_node_that_becomes_a_production_node_starts_nothing_unsigned(source):
    await source.admit(demanded=False)
    with pytest.raises(SupplyError):
        await source.provenance().admit(source.find().spec)


async def test_files_of_hive_itself_need_no_signature_and_a_changed_one_does(source):
    from hive.execution.source_copy import stage, staged_path
    from hive.execution.source_server import find_server

    spec, visible = find_server("mcp:files")
    stage(visible, source.state)
    assert (await source.provenance().admit(spec)).text == "a part of Hive"
    copied = staged_path(source.state, spec.digest) / "agent.py"
    copied.chmod(0o644)
    copied.write_text("import os\n")
    with pytest.raises(SupplyError):
        await source.provenance().admit(spec)


def test_keys_are_told_by_name_and_by_the_beginning_of_their_id(source, tmp_path):
    other = source.key("other")
    source.trust.add("other", other.der)
    assert {one.name for one in source.trust.keys().values()} == {"release", "other"}
    assert source.trust.remove(other.id[:12]).name == "other"
    with pytest.raises(NotFoundError):
        source.trust.remove("other")
    with pytest.raises(SupplyError, match="Another key"):
        source.trust.add("release", other.der)
    assert read_signer(tmp_path / "other.key").id == other.id
    assert read_public_key(tmp_path / "other.pub") == other.der
    assert (tmp_path / "other.key").stat().st_mode & 0o077 == 0
    with pytest.raises(SupplyError, match="cannot be written"):
        source.key("other")


def test_locks_are_read_without_being_run():
    npm = {"packages": {"": {"name": "me"}, "node_modules/@a/b": {"version": "3.0.0"}}}
    locks = {
        "uv.lock": UV_LOCK,
        "package-lock.json": json.dumps(npm).encode(),
        "requirements.txt": b"Flask[async]==3.0 \\\n  --hash=sha256:%s\nanyio>=4\n" % (b"c" * 64),
    }
    assert pinned_parts(locks) == [
        PinnedPart(ecosystem="npm", name="@a/b", version="3.0.0"),
        PinnedPart(ecosystem="pypi", name="flask", version="3.0", hashes=("c" * 64,)),
        PinnedPart(ecosystem="pypi", name="some-thing", version="2.1", hashes=("a" * 64, "b" * 64)),
    ]
    with pytest.raises(SupplyError, match=r"uv\.lock"):
        pinned_parts({"uv.lock": b"[[package"})


def test_a_bill_is_cyclonedx_and_the_same_for_the_same_parts():
    parts = pinned_parts({"uv.lock": UV_LOCK, "package-lock.json": b"{}"})
    bill = CycloneDxBill().write(name="mailer", version="1.0", parts=parts, made_at=AT)
    said = json.loads(bill)
    assert (said["bomFormat"], said["specVersion"]) == ("CycloneDX", "1.6")
    assert [one["purl"] for one in said["components"]] == ["pkg:pypi/some-thing@2.1"]
    assert bill == CycloneDxBill().write(name="mailer", version="1.0", parts=parts, made_at=AT)


def test_versions_have_the_usual_order():
    ordered = [
        "nightly",
        "0.9",
        "1.0.dev1",
        "1.0-rc.1",
        "1.0rc2",
        "1.0",
        "1.0.post1",
        "1.0.1",
        "1.10",
        "v2",
    ]
    mixed = sorted(ordered)  # by letters, which is another order
    assert mixed != ordered
    assert sorted(mixed, key=rank) == ordered
    assert rank("1.0") == rank("1.0.0")
