"""Somebody who may write files or send bundles tries to make other rules stand: forged, changed, older, or none."""

import base64
from dataclasses import replace

import msgspec
import pytest

from hive.core.errors import PolicyError
from hive.security.policy.bundle import bundle_of, manifest_bytes, unpacked
from hive.security.policy.signing import public_pem, read_keys, sign_bundle
from hive_a2a.crypto import new_signing_pair
from tests.policy_rig import PolicyRoom, lay_out, named, question, rego

pytestmark = pytest.mark.anyio
CLOSED = 'deny contains "closed" if input.target == "mail.send"'


@pytest.fixture
def keys(tmp_path):
    folder = tmp_path / "policy" / "keys"
    folder.mkdir(parents=True)
    pair = new_signing_pair()
    (folder / "ops.pub").write_text(public_pem(pair.private))
    return pair


async def production(tmp_path) -> PolicyRoom:
    room = PolicyRoom(tmp_path, mode="production")
    await room.policy.open()
    return room


async def stands_still(room: PolicyRoom, bundle) -> bool:
    """Tell whether loading a bundle is refused and changes nothing."""
    before = room.policy.version
    with pytest.raises(PolicyError):
        await room.put(bundle)
    return room.policy.version == before


async def test_the_signed_bundle_of_these_attacks_is_accepted(tmp_path, keys):
    room = await production(tmp_path)
    await room.put(sign_bundle(named(rego(CLOSED), 5), keys.private))
    assert not (await room.policy.decide(question())).allow


async def test_a_strangers_signature_is_not_accepted(tmp_path, keys):
    room = await production(tmp_path)
    assert await stands_still(room, sign_bundle(named(rego(), 5), new_signing_pair().private))


async def test_a_stranger_cannot_pass_under_the_id_of_a_trusted_key(tmp_path, keys):
    room = await production(tmp_path)
    forged = sign_bundle(named(rego(), 5), new_signing_pair().private)
    envelope = msgspec.json.decode(forged.signature)
    genuine = msgspec.json.decode(sign_bundle(named(rego(), 5), keys.private).signature)
    envelope["signatures"][0]["keyid"] = genuine["signatures"][0]["keyid"]
    assert await stands_still(room, replace(forged, signature=msgspec.json.encode(envelope)))


async def test_rules_that_were_changed_after_signing_are_found(tmp_path, keys):
    room = await production(tmp_path)
    signed = sign_bundle(named(rego(CLOSED), 5), keys.private)
    changed = {**signed.files, "rules.rego": b"package hive.rules.invoke\n"}
    assert await stands_still(room, replace(signed, files=changed))
    more = {**signed.files, "z.rego": b"package hive.policy\nallow if true\n"}
    assert await stands_still(room, replace(signed, files=more))


async def test_a_signature_does_not_fit_another_manifest(tmp_path, keys):
    room = await production(tmp_path)
    signed = sign_bundle(named(rego(CLOSED), 5), keys.private)
    other = named(rego(), 6)
    assert await stands_still(room, replace(other, signature=signed.signature))
    envelope = msgspec.json.decode(signed.signature)
    envelope["payload"] = base64.b64encode(manifest_bytes(other.manifest)).decode()
    assert await stands_still(room, replace(other, signature=msgspec.json.encode(envelope)))


async def test_a_signature_of_another_kind_of_document_does_not_count(tmp_path, keys):
    room = await production(tmp_path)
    signed = sign_bundle(named(rego(), 5), keys.private)
    envelope = msgspec.json.decode(signed.signature)
    envelope["payloadType"] = "application/vnd.in-toto+json"
    assert await stands_still(room, replace(signed, signature=msgspec.json.encode(envelope)))


async def test_an_empty_list_of_signatures_is_no_signature(tmp_path, keys):
    room = await production(tmp_path)
    signed = sign_bundle(named(rego(), 5), keys.private)
    envelope = msgspec.json.decode(signed.signature) | {"signatures": []}
    assert await stands_still(room, replace(signed, signature=msgspec.json.encode(envelope)))


async def test_an_older_bundle_does_not_come_back(tmp_path, keys):
    room = await production(tmp_path)
    old = sign_bundle(named(rego(), 5), keys.private)
    await room.put(old)
    await room.put(sign_bundle(named(rego(CLOSED), 6), keys.private))
    assert await stands_still(room, old)
    # Its signature is as good as ever: only what was seen before tells.
    assert read_keys(room.policy.keys_folder).signer_of(old) == "ops"
    again = await production(tmp_path)
    assert await stands_still(again, old)
    assert not (await again.policy.decide(question())).allow


async def test_other_rules_do_not_come_under_the_same_version(tmp_path, keys):
    room = await production(tmp_path)
    await room.put(sign_bundle(named(rego(CLOSED), 6), keys.private))
    assert await stands_still(room, sign_bundle(named(rego(), 6), keys.private))


async def test_rules_that_nobody_signed_or_numbered_are_edited_and_loaded_again(tmp_path):
    room = PolicyRoom(tmp_path)
    await room.policy.open()
    for rules in (rego(CLOSED), rego(), rego(CLOSED)):
        loose = named(rules, 0)
        await room.put(loose)
        assert (await room.policy.decide(question())).allow is (rules == rego())


async def test_a_signed_bundle_without_a_number_does_not_pass_as_a_loose_one(tmp_path, keys):
    room = await production(tmp_path)
    await room.put(sign_bundle(named(rego(CLOSED), 5), keys.private))
    assert await stands_still(room, sign_bundle(named(rego(), 0), keys.private))


async def test_an_operator_may_go_back_and_it_is_on_the_record(tmp_path, keys):
    room = await production(tmp_path)
    old = sign_bundle(named(rego(), 5), keys.private)
    await room.put(sign_bundle(named(rego(CLOSED), 6), keys.private))
    await room.put(old, older=True)
    assert (await room.policy.decide(question())).allow
    assert room.told[-1][1]["version"].startswith("house@5")


async def test_a_removed_bundle_does_not_bring_the_shipped_rules_back(tmp_path):
    room = PolicyRoom(tmp_path)
    await room.policy.open()
    await room.put(named(rego(CLOSED), 1))
    (tmp_path / "policy" / "active.tar").unlink()
    again = PolicyRoom(tmp_path)
    await again.policy.open()
    found = await again.policy.decide(question("mail.read"))
    assert not found.allow
    assert found.reasons == ("no policy stands, so nothing may happen",)
    assert again.names() == ["policy.refused"]


async def test_a_swapped_archive_does_not_stand(tmp_path):
    room = PolicyRoom(tmp_path)
    await room.policy.open()
    await room.put(named(rego(CLOSED), 1))
    (tmp_path / "policy" / "active.tar").write_bytes(named(rego(), 1).archive())
    again = PolicyRoom(tmp_path)
    await again.policy.open()
    assert not (await again.policy.decide(question())).allow


async def test_a_named_bundle_that_is_missing_means_no_and_not_the_shipped_rules(tmp_path):
    room = PolicyRoom(tmp_path, policy_bundle=str(tmp_path / "nowhere"))
    await room.policy.open()
    assert not (await room.policy.decide(question())).allow


async def test_a_node_without_a_policy_refuses(tmp_path):
    room = PolicyRoom(tmp_path)
    assert not (await room.policy.decide(question())).allow
    await room.policy.open()
    assert (await room.policy.decide(question())).allow
    await room.policy.aclose()
    assert not (await room.policy.decide(question())).allow


async def test_data_cannot_stand_in_for_a_rule():
    with pytest.raises(PolicyError):
        rego("", data_json='{"hive": {"policy": {"decision": {"allow": true}}}}')


async def test_a_link_in_a_folder_is_not_followed(tmp_path):
    from hive.security.policy.bundle import read_bundle

    (tmp_path / "outside.rego").write_text("package hive.rules.invoke\n")
    folder = lay_out(rego(CLOSED), tmp_path / "bundle")
    (folder / "more.rego").symlink_to(tmp_path / "outside.rego")
    assert "more.rego" not in read_bundle(folder).files


def test_an_archive_does_not_reach_out_of_itself():
    import io
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        about = tarfile.TarInfo("../../rules.rego")
        about.size = 9
        tar.addfile(about, io.BytesIO(b"package a"))
    with pytest.raises(PolicyError):
        bundle_of(unpacked(out.getvalue()))
