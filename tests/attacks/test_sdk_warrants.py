"""Widened, replayed, revoked, expired, moved and traversing warrants. Each attack works where the guard is off."""

import secrets

import pytest
import tenuo_core

from hive_a2a.clock import MachineClock
from hive_a2a.crypto import new_signing_pair
from hive_a2a.faults import WireFault
from hive_a2a.policy import Policy
from hive_a2a.ports import Stage
from hive_a2a.stages.audit import MemoryAudit
from hive_a2a.stages.chain import ChainParts
from hive_a2a.stages.tenuo_warrants import (
    HeldWarrant,
    TenuoWarrants,
    WarrantError,
    attenuate_for,
    mint,
    proof_headers,
    revocation_list,
)
from tests.stages_rig import (
    FREE_RATE,
    URL,
    SetClock,
    a_call,
    a_chain,
    a_request,
    an_answer,
    answering,
)

pytestmark = pytest.mark.anyio
ROOT, HOLDER, NEXT, MALLORY = (new_signing_pair() for _ in range(4))
T = tenuo_core
TOOLS = {"a2a.SendMessage": {"data.path": T.Subpath("/data/mine"), "text_bytes": T.Range(0, 10)}}


def shown(held, params, *, key=HOLDER, audience=URL, clock=None, method="SendMessage"):
    return proof_headers(
        held, holder_private=key.private, method=method, params=params, audience=audience,
        nonce=secrets.token_bytes(16), clock=clock,
    )  # fmt: skip


def held_by_holder(root=ROOT, tools=TOOLS, ttl_s=60) -> HeldWarrant:
    return mint(root.private, holder=HOLDER.public, tools=tools, ttl_s=ttl_s)


def chain(*, on=True, check=None, clock=None):
    policy = Policy(rate=FREE_RATE, warrants_required=on)
    parts = ChainParts(
        audit=MemoryAudit(), warrants=check or TenuoWarrants([ROOT.public]), clock=clock
    )
    return a_chain(parts, policy=policy if on else policy.without(Stage.WARRANT))


async def passes(chain, params, headers) -> bool:
    try:
        await chain.unary(a_call(params=params, headers=headers), answering(an_answer()))
    except WireFault as fault:
        if fault.metadata.get("check") != "warrant":
            raise
        return False
    return True


GOOD = a_request({"path": "/data/mine/x"})


async def stopped(params, headers, **more) -> bool:
    """Tell that an attack is stopped, and that nothing else would have stopped it."""
    assert await passes(chain(on=False), params, headers), "without the stage it goes through"
    return not await passes(chain(**more), params, headers)


async def test_the_honest_call_passes():
    assert await passes(chain(), GOOD, shown(held_by_holder(), GOOD))


@pytest.mark.parametrize(
    "path",
    [
        "/data/mine/../yours/secret",
        "/data/mine/./../../etc/shadow",
        "/data/mine/%2e%2e/yours",
        "/data/mine/..%2fyours",
        "/data/mine\\..\\yours",
        "/data/mine/\0/x",
        "/data/minefield",
        "data/mine/x",
        "/etc/shadow",
    ],
)
async def test_path_traversal(path):
    params = a_request({"path": path})
    assert await stopped(params, shown(held_by_holder(), params))


async def test_a_glob_minted_by_another_tool_is_not_trusted_with_paths():
    engine = tenuo_core.Warrant.issue(
        tenuo_core.SigningKey.from_bytes(ROOT.private),
        {
            "a2a.SendMessage": {
                **{
                    name: T.Wildcard() for name in ("agent", "method", "skill", "tenant", "context")
                },
                **{name: T.Wildcard() for name in ("task", "parts", "text_bytes", "file_bytes")},
                "data.path": T.Pattern("/data/mine/*"),
                "data.topic": T.Pattern("*"),
            }
        },
        60,
        holder=tenuo_core.PublicKey.from_bytes(HOLDER.public),
    )
    glob = T.Pattern("/data/mine/*")
    assert glob.matches("/data/mine/../../etc/shadow"), "the hole of the engine"
    held = HeldWarrant((engine,))
    params = a_request({"path": "/data/mine/../../etc/shadow", "topic": "x"})
    assert await stopped(params, shown(held, params))


async def test_a_loose_matcher_does_not_judge_what_looks_like_a_place():
    held = held_by_holder(tools={"a2a.SendMessage": {"data.topic": T.Pattern("*")}})
    fine, place = a_request({"topic": "cats"}), a_request({"topic": "/etc/shadow"})
    assert await passes(chain(), fine, shown(held, fine))
    assert await stopped(place, shown(held, place))


async def test_an_argument_that_the_warrant_does_not_name():
    params = a_request({"path": "/data/mine/x", "also": "rm"})
    assert await stopped(params, shown(held_by_holder(), params))


async def test_a_warrant_without_constraints_does_not_allow_everything():
    issue = tenuo_core.Warrant.issue(
        tenuo_core.SigningKey.from_bytes(ROOT.private),
        {"a2a.SendMessage": {}},
        60,
        holder=tenuo_core.PublicKey.from_bytes(HOLDER.public),
    )
    held = HeldWarrant((issue,))
    assert await stopped(GOOD, shown(held, GOOD))


async def test_a_widened_warrant():
    narrow = attenuate_for(
        NEXT.public, held_by_holder(), holder_private=HOLDER.private, ttl_s=60,
        tools={"a2a.SendMessage": {"data.path": T.Subpath("/data/mine/x")}},
    )  # fmt: skip
    for wider in (T.Subpath("/data/mine"), T.Subpath("/"), T.Wildcard()):
        with pytest.raises(WarrantError):
            attenuate_for(
                MALLORY.public, narrow, holder_private=NEXT.private, ttl_s=60,
                tools={"a2a.SendMessage": {"data.path": wider}},
            )  # fmt: skip
    with pytest.raises(WarrantError, match="cannot be widened"):
        attenuate_for(
            MALLORY.public, narrow, holder_private=NEXT.private, ttl_s=60,
            tools={"a2a.CancelTask": {}},
        )  # fmt: skip
    with pytest.raises(WarrantError):
        attenuate_for(MALLORY.public, narrow, holder_private=MALLORY.private, ttl_s=60)
    # A child that its holder minted as a root, put behind the real parent.
    forged = mint(NEXT.private, holder=MALLORY.public, tools={"a2a.SendMessage": {}}, ttl_s=60)
    spliced = HeldWarrant((*narrow.chain, forged.leaf))
    params = a_request("all", {"path": "/etc/shadow"})
    assert await stopped(params, shown(spliced, params, key=MALLORY))


async def test_a_delegate_does_not_outlive_its_parent():
    child = attenuate_for(
        NEXT.public, held_by_holder(ttl_s=30), holder_private=HOLDER.private, ttl_s=86_400
    )
    params = GOOD
    clock = SetClock(MachineClock().now())
    check = TenuoWarrants([ROOT.public], clock=clock)
    assert await passes(chain(check=check), params, shown(child, params, key=NEXT))
    clock.move(31)
    assert await stopped(params, shown(child, params, key=NEXT), check=check)


async def test_a_foreign_root():
    held = held_by_holder(root=MALLORY)
    assert await stopped(GOOD, shown(held, GOOD))


async def test_a_leaf_without_its_chain():
    child = attenuate_for(NEXT.public, held_by_holder(), holder_private=HOLDER.private, ttl_s=60)
    assert await stopped(GOOD, shown(HeldWarrant((child.leaf,)), GOOD, key=NEXT))


async def test_a_stolen_warrant_without_the_key():
    assert await stopped(GOOD, shown(held_by_holder(), GOOD, key=MALLORY))
    assert await stopped(GOOD, {"a2a-warrant": held_by_holder().header()})


async def test_a_replayed_proof():
    headers = shown(held_by_holder(), GOOD)
    server = chain()
    assert await passes(server, GOOD, headers)
    assert not await passes(server, GOOD, headers)
    off = chain(on=False)
    assert await passes(off, GOOD, headers)
    assert await passes(off, GOOD, headers), "without the stage a replay goes through"


async def test_a_proof_moved_to_another_request():
    held = held_by_holder()
    headers = shown(held, GOOD)
    for other in (
        a_request({"path": "/data/mine/y"}),
        a_request("words", {"path": "/data/mine/x"}),
        a_request({"path": "/data/mine/x"}, task="t"),
    ):
        assert await stopped(other, headers)
    assert await stopped(GOOD, shown(held, GOOD, method="GetTask"))


async def test_a_proof_moved_to_another_tenant():
    headers = shown(held_by_holder(), GOOD)
    call = a_call(params=GOOD, headers=headers, tenant="other")
    assert await chain(on=False).unary(call, answering(an_answer()))
    with pytest.raises(WireFault):
        await chain().unary(call, answering(an_answer()))


async def test_a_proof_for_another_audience():
    assert await stopped(GOOD, shown(held_by_holder(), GOOD, audience="https://other.example/"))


@pytest.mark.parametrize("seconds", [-120, 120])
async def test_a_proof_of_another_time(seconds):
    clock = SetClock(MachineClock().now())
    clock.move(seconds)
    assert await stopped(GOOD, shown(held_by_holder(), GOOD, clock=clock))


async def test_a_proof_whose_time_was_moved():
    clock = SetClock(MachineClock().now())
    clock.move(-300)
    old = shown(held_by_holder(), GOOD, clock=clock)
    new = shown(held_by_holder(), GOOD)
    moved = old["a2a-warrant-proof"][:13] + new["a2a-warrant-proof"][13:]
    assert await stopped(GOOD, new | {"a2a-warrant-proof": moved})


@pytest.mark.parametrize("which", [0, 1])
async def test_a_revoked_warrant_and_all_that_was_made_of_it(which):
    child = attenuate_for(NEXT.public, held_by_holder(), holder_private=HOLDER.private, ttl_s=60)
    check = TenuoWarrants([ROOT.public])
    assert await passes(chain(check=check), GOOD, shown(child, GOOD, key=NEXT))
    check.revoke(revocation_list(ROOT.private, [str(child.chain[which].id)], version=1))
    assert await stopped(GOOD, shown(child, GOOD, key=NEXT), check=check)


async def test_a_skill_with_the_name_of_a_method():
    held = held_by_holder(tools={"a2a.GetTask": {name: T.Wildcard() for name in
                                 ("parts", "text_bytes", "file_bytes")}})  # fmt: skip
    params = a_request("not a read")
    headers = proof_headers(
        held, holder_private=HOLDER.private, method="GetTask", params=params, audience=URL,
        nonce=secrets.token_bytes(16),
    )  # fmt: skip
    call = a_call(params=params, headers=headers, skill="a2a.GetTask")
    with pytest.raises(WireFault) as refused:
        await chain().unary(call, answering(an_answer()))
    assert "name of a method" in refused.value.message


async def test_flipped_bits():
    header = shown(held_by_holder(), GOOD)
    server = chain()
    for name in header:
        for at in range(0, len(header[name]), 7):
            text = header[name]
            flipped = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
            assert not await passes(server, GOOD, header | {name: flipped})
