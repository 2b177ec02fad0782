"""What `hive doctor` says of the layers that judge a call, read from settings and files alone."""

import os
from datetime import timedelta

import pytest

from hive.core.secret import Secret
from hive.core.settings import Settings
from hive.node.doctor_guards import guards_alone, policy_finding, root_finding, watch_finding
from hive.node.watchdog import RULES_FILE, rules_in
from hive.security.policy.shelf import PolicyShelf
from hive.security.policy.signing import public_pem, sign_bundle
from hive.security.supply_chain.trust import PackageSigner, TrustFolder
from hive.testing.clock import StoppedClock
from tests.policy_rig import lay_out, named, rego

pytestmark = pytest.mark.anyio
KEY = b"k" * 32
PRODUCTION = {
    "mode": "production",
    "master_key": Secret("bTEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
    "operator_token": Secret("a-token-of-an-operator-0123456789"),
    "walls_min": ("seccomp",),
}
RULE = '[[rule]]\nid = "mine"\ntitle = "Mine"\n[rule.match]\ndecision = "refused"\n'


async def found(state, clock=None, **settings):
    told = await guards_alone(Settings(state_dir=str(state), **settings), clock or StoppedClock())
    assert [one.section for one in told] == ["policy", "trust", "relations", "watchdog", "witnesses"]  # fmt: skip
    assert all(one.fix for one in told if one.state in ("failed", "degraded")), told
    return {one.section: one for one in told}


async def test_an_empty_state_folder_has_a_line_for_each(tmp_path):
    told = await found(tmp_path / "none")
    assert told["policy"].state == "ok"
    assert told["policy"].name == "regorus"
    assert told["policy"].detail.startswith("hive-default@1+")
    assert told["policy"].detail.endswith("shipped with Hive")
    assert told["trust"].detail == "0 signers of agents and tools, 0 of policies"
    assert (told["relations"].name, told["relations"].state) == ("postgresql", "info")
    assert told["watchdog"].detail == f"{len(rules_in(tmp_path))} rules"
    assert told["witnesses"].detail.startswith("1 witness, in the state folder")
    assert not (tmp_path / "none").exists(), "looking changes nothing"


async def test_production_says_what_is_missing(tmp_path):
    told = await found(tmp_path, **PRODUCTION)
    assert {one.section for one in told.values() if one.state == "degraded"} == {"trust", "witnesses"}  # fmt: skip


@pytest.mark.parametrize("mode", [{}, PRODUCTION])
async def test_a_bundle_is_named_with_its_signer(tmp_path, mode):
    folder = tmp_path / "policy" / "keys"
    folder.mkdir(parents=True)
    (folder / "ops.pub").write_text(public_pem(KEY))
    signed = sign_bundle(named(rego(), 3), KEY)
    PolicyShelf(tmp_path / "policy").keep(signed)
    told = (await found(tmp_path, **mode))["policy"]
    assert (told.state, told.detail) == ("ok", f"{signed.version}, signed by ops")
    (folder / "ops.pub").unlink()
    told = (await found(tmp_path, **mode))["policy"]
    assert told.state == "failed"
    assert "trusted" in told.detail


@pytest.mark.parametrize(("mode", "state"), [({}, "degraded"), (PRODUCTION, "failed")])
async def test_a_bundle_that_nobody_signed_is_said_to_be_so(tmp_path, mode, state):
    bundle = tmp_path / "house"
    lay_out(rego(), bundle)
    told = (await found(tmp_path, policy_bundle=str(bundle), **mode))["policy"]
    assert told.state == state
    assert "not signed" in told.detail


async def test_what_cannot_be_read_is_a_finding(tmp_path):
    (tmp_path / RULES_FILE).write_text("[[rule]")
    (tmp_path / "trust").mkdir()
    (tmp_path / "trust" / "x.pub").write_text("no key")
    told = await found(
        tmp_path,
        policy_bundle=str(tmp_path / "nowhere"),
        relations_url="nothing:",
        witness_url="nothing:",
    )
    assert {one.state for one in told.values()} == {"failed"}


async def test_an_engine_elsewhere_is_not_vouched_for_and_its_address_not_shown(tmp_path):
    told = await found(
        tmp_path,
        policy_url="opa:http://127.0.0.1:1",
        relations_url="openfga:http://user:hidden@127.0.0.1:1?store=hive",
    )
    assert [told[one].state for one in ("policy", "relations")] == ["unverified"] * 2
    assert not any(word in str(told) for word in ("hidden", "127.0.0.1"))


async def test_signers_and_own_rules_are_counted(tmp_path):
    TrustFolder(tmp_path / "trust").add("ci", PackageSigner(private=KEY).der)
    (tmp_path / RULES_FILE).write_text(RULE)
    told = await found(tmp_path)
    assert told["trust"].state == "ok"
    assert told["trust"].detail == "1 signer of agents and tools (ci), 0 of policies"
    assert told["watchdog"].detail.endswith(f"rules, 1 of them from {RULES_FILE}")
    shut = watch_finding(rules_in(tmp_path), shut_in=1)
    assert shut.detail.endswith("; 1 agent in quarantine")


@pytest.mark.parametrize(("days", "state"), [(3, "ok"), (200, "degraded")])
async def test_a_trust_root_tells_its_age(tmp_path, days, state):
    pytest.importorskip("sigstore")
    now = StoppedClock().now()
    root = tmp_path / "root.json"
    root.write_text("{}")
    at = (now - timedelta(days=days, minutes=1)).timestamp()
    os.utime(root, (at, at))
    url = f"sigstore:?issuer=https://i.example&subject=ci@example.org&root={root}"
    told = (await found(tmp_path, StoppedClock(now), verify_url=url))["trust"]
    assert (told.state, told.name) == (state, "sigstore")
    assert told.detail.endswith(f"trust root {days} days old")


async def test_a_witness_elsewhere_is_said_to_be_elsewhere(tmp_path):
    told = await found(tmp_path, witness_url="hive:https://other:8700/witness?key=x")
    assert (told["witnesses"].name, told["witnesses"].state) == ("hive", "ok")
    assert "elsewhere" in told["witnesses"].detail
    near = await found(tmp_path, witness_url=f"file:{tmp_path}", witness_for=("a", "b"))
    assert near["witnesses"].detail == "1 witness, on this machine; this node is one for 2 others"


def test_a_policy_that_did_not_come_up_is_told():
    none = policy_finding(Settings(), bundle=None, source="", signer="", problem="it is gone")
    assert (none.state, "it is gone" in none.detail) == ("failed", True)
    kept = policy_finding(
        Settings(), bundle=named(rego(), 1), source="x", signer="o", problem="bad"
    )
    assert (kept.state, "bad" in kept.detail) == ("degraded", True)


@pytest.mark.parametrize(("days", "state"), [(59, "degraded"), (61, "ok")])
def test_a_root_that_ends_soon_is_said_to_end(days, state):
    now = StoppedClock().now()
    told = root_finding("local-ca:", about="x", ends_at=now + timedelta(days=days), now=now)
    assert told.state == state
    assert bool(told.fix) is (state != "ok")
