"""Bundles, signatures, and how one bundle takes the place of another."""

import io
import tarfile

import anyio
import pytest

from hive.core.errors import PolicyError
from hive.security.policy.bundle import bundle_of, read_bundle, unpacked
from hive.security.policy.signing import (
    key_id,
    private_pem,
    public_pem,
    read_keys,
    read_private_key,
    sign_bundle,
)
from hive_a2a.crypto import new_signing_pair
from tests.policy_rig import PolicyRoom, lay_out, named, question, rego

pytestmark = pytest.mark.anyio
CLOSED = 'deny contains "closed" if input.target == "mail.send"'


def trusted(folder, name="ops"):
    pair = new_signing_pair()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.pub").write_text(public_pem(pair.private))
    return pair.private


def test_a_bundle_is_the_same_from_a_folder_and_from_its_archive(tmp_path):
    bundle = named(rego(CLOSED, data_json='{"a": 1}'), 3)
    bundle = sign_bundle(bundle, new_signing_pair().private)
    again = bundle_of(unpacked(bundle.archive()))
    assert (again.digest, again.signature, again.version) == (
        bundle.digest,
        bundle.signature,
        bundle.version,
    )
    (tmp_path / "b.tar").write_bytes(bundle.archive())
    assert read_bundle(tmp_path / "b.tar").digest == bundle.digest
    assert bundle.archive() == again.archive()


def test_a_key_survives_its_file(tmp_path):
    private = trusted(tmp_path)
    (tmp_path / "k").write_text(private_pem(private))
    assert read_private_key(tmp_path / "k") == private
    assert next(iter(read_keys(tmp_path).keys.values()))[0] == "ops"


def test_a_key_file_is_what_openssl_reads(tmp_path):
    from cryptography.hazmat.primitives.serialization import (
        load_pem_private_key,
        load_pem_public_key,
    )

    pair = new_signing_pair()
    loaded = load_pem_private_key(private_pem(pair.private).encode(), None)
    assert loaded.private_bytes_raw() == pair.private
    assert load_pem_public_key(public_pem(pair.private).encode()).public_bytes_raw() == pair.public
    assert len(key_id(pair.public)) == 64


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"data.json": b"{}"},
        {"a.rego": b"\xff\xfe"},
        {"a.rego": b"package a", "data.json": b"[]"},
        {"a.rego": b"package a", "data.json": b"{"},
        {"a.rego": b"package a", "data.json": b'{"hive": {"policy": {"allow": true}}}'},
        {"a.rego": b"package a", "data.json": b'{"a":' + b"[" * 100 + b"]" * 100 + b"}"},
        {"../a.rego": b"package a"},
        {"a.rego": b"package a", "manifest.json": b"{}"},
        {"a.rego": b"package a", "manifest.json": b'{"name":"x","version":1,"files":{}}'},
        {"a.rego": b"package a", "manifest.json": b'{"name":"../x","version":1,"files":{}}'},
        {"a.rego": b"package a", "manifest.json": b'{"name":"x","version":-1,"files":{}}'},
    ],
)
def test_what_is_no_bundle_is_refused(files):
    with pytest.raises(PolicyError):
        bundle_of(files)


def test_an_archive_cannot_bring_links_or_double_files():
    for kind, count in ((tarfile.SYMTYPE, 1), (tarfile.REGTYPE, 2)):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for _ in range(count):
                about = tarfile.TarInfo("a.rego")
                about.type, about.linkname = kind, "/etc/passwd"
                tar.addfile(about, io.BytesIO(b""))
        with pytest.raises(PolicyError):
            unpacked(out.getvalue())


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x1f\x8b\x08garbage", b"\0" * 2000])
def test_an_archive_that_is_none_is_refused(data):
    with pytest.raises(PolicyError):
        bundle_of(unpacked(data))


async def test_the_shipped_rules_stand_where_nothing_else_is_said(tmp_path):
    room = PolicyRoom(tmp_path)
    await room.policy.open()
    assert room.policy.version.startswith("hive-default@1+")
    assert (await room.policy.decide(question())).allow
    assert room.names() == ["policy.loaded"]


async def test_a_loaded_bundle_replaces_the_shipped_one_and_survives_a_start(tmp_path):
    room = PolicyRoom(tmp_path)
    await room.policy.open()
    await room.put(named(rego(CLOSED), 1))
    assert not (await room.policy.decide(question())).allow
    again = PolicyRoom(tmp_path)
    await again.policy.open()
    assert again.policy.version == room.policy.version
    assert not (await again.policy.decide(question())).allow
    await again.policy.load_default(by="operator")
    assert (await again.policy.decide(question())).allow


async def test_a_broken_bundle_leaves_the_old_one_standing_and_says_why(tmp_path):
    room = PolicyRoom(tmp_path)
    await room.policy.open()
    await room.put(named(rego(CLOSED), 1))
    with pytest.raises(PolicyError) as told:
        await room.put(named(rego("deny contains"), 2))
    assert "rules.rego" in told.value.why
    assert room.policy.version.startswith("house@1")
    assert not (await room.policy.decide(question())).allow
    assert room.names()[-1] == "policy.refused"
    assert room.told[-1][1]["stands"] == room.policy.version


async def test_a_bundle_whose_test_fails_does_not_stand(tmp_path):
    room = PolicyRoom(tmp_path)
    await room.policy.open()
    failing = rego(CLOSED, rules_test_rego="package t\ntest_x if 1 == 2")
    with pytest.raises(PolicyError, match="did not pass"):
        await room.put(named(failing, 1))
    assert room.policy.version.startswith("hive-default")


async def test_a_folder_is_followed_and_a_broken_change_is_not(tmp_path):
    folder = lay_out(rego(), tmp_path / "bundle")
    room = PolicyRoom(tmp_path / "state", policy_bundle=str(folder), policy_watch_s=0.01)
    await room.policy.open()
    assert (await room.policy.decide(question())).allow

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(room.policy.watch)
        (folder / "rules.rego").write_text(f"package hive.rules.invoke\n{CLOSED}")
        await room.until("policy.loaded", 2)
        assert not (await room.policy.decide(question())).allow
        (folder / "rules.rego").write_text("package hive.rules.invoke\ndeny contains")
        await room.until("policy.refused", 1)
        assert not (await room.policy.decide(question())).allow
        assert room.policy.problem
        (folder / "rules.rego").write_text("package hive.rules.invoke\n")
        await room.until("policy.loaded", 3)
        assert (await room.policy.decide(question())).allow
        assert room.policy.problem == ""
        tasks.cancel_scope.cancel()


async def test_a_policy_that_is_followed_is_not_loaded_by_hand(tmp_path):
    folder = lay_out(rego(), tmp_path / "bundle")
    room = PolicyRoom(tmp_path / "state", policy_bundle=str(folder))
    await room.policy.open()
    with pytest.raises(PolicyError, match="not given by hand"):
        await room.put(named(rego(), 1))


async def test_production_takes_signed_bundles_only(tmp_path):
    room = PolicyRoom(tmp_path, mode="production")
    await room.policy.open()
    assert room.policy.version.startswith("hive-default")
    bundle = named(rego(CLOSED), 1)
    with pytest.raises(PolicyError, match="has to be signed"):
        await room.put(bundle)
    private = trusted(room.policy.keys_folder)
    await room.put(sign_bundle(bundle, private))
    assert room.policy.standing.signer == "ops"
    assert not (await room.policy.decide(question())).allow


async def test_faults_are_told_once_a_minute(tmp_path):
    room = PolicyRoom(tmp_path)
    await room.policy.open()
    await room.put(named(rego('deny contains "x" if startswith(input.arguments.to, "a")'), 1))
    for _ in range(5):
        found = await room.policy.decide(question(arguments={"to": 5}))
        assert not found.allow
        assert "string" in found.fault
    assert room.names().count("policy.fault") == 1
    room.clock.advance(61)
    await room.policy.decide(question(arguments={"to": 5}))
    assert room.names().count("policy.fault") == 2
