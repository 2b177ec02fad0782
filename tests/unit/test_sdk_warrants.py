"""Warrants: minted, handed on, proved and verified, on the real engine."""

import secrets

import pytest
import tenuo_core
from a2a.types import GetTaskRequest, ListTasksRequest, Part

from hive_a2a.clock import MachineClock
from hive_a2a.crypto import new_signing_pair
from hive_a2a.faults import WireFault
from hive_a2a.stages.counters import MemoryCounters
from hive_a2a.stages.digest import request_digest
from hive_a2a.stages.tenuo_warrants import (
    CHAIN_MAX,
    CHAINS_KEPT_MAX,
    HeldWarrant,
    TenuoWarrants,
    WarrantError,
    attenuate_for,
    mint,
    proof_headers,
    revocation_list,
)
from hive_a2a.stages.warrant import (
    ARGUMENTS_MAX,
    FACT,
    MemoryNonces,
    SharedNonces,
    WarrantStage,
    arguments_of,
    read_proof,
    tool_of,
)
from tests.stages_rig import URL, SetClock, a_call, a_part, a_request, set_value

pytestmark = pytest.mark.anyio
ROOT, HOLDER, NEXT = (new_signing_pair() for _ in range(3))
T = tenuo_core


def headers(held, params, *, key=HOLDER, method="SendMessage", skill="", audience=URL, **more):
    return proof_headers(
        held,
        holder_private=key.private,
        method=method,
        params=params,
        audience=audience,
        nonce=more.pop("nonce", None) or secrets.token_bytes(16),
        skill=skill,
        **more,
    )


def a_stage(**more) -> WarrantStage:
    given = {"check": TenuoWarrants([ROOT.public]), "clock": MachineClock()} | more
    return WarrantStage(audience=URL, **given)


def root_warrant(tools=None, **more) -> HeldWarrant:
    return mint(
        ROOT.private,
        holder=HOLDER.public,
        tools=tools or {"a2a.SendMessage": {}},
        ttl_s=60,
        **more,
    )


async def told(stage, call) -> str:
    with pytest.raises(WireFault) as refused:
        await stage.admit(call)
    assert refused.value.metadata == {"check": "warrant"}
    return refused.value.message


async def test_a_call_with_warrant_and_proof_passes_and_leaves_what_was_shown():
    params = a_request("hello")
    call = a_call(params=params, headers=headers(root_warrant(), params))
    await a_stage(required=True).admit(call)
    shown = call.facts[FACT]
    assert shown.root == ROOT.public.hex()
    assert shown.holder == HOLDER.public.hex()
    assert len(shown.ids) == 1


async def test_without_a_warrant_a_call_passes_where_none_is_required():
    await a_stage().admit(a_call())
    assert await told(a_stage(required=True), a_call()) == (
        "This agent answers only calls with a warrant."
    )
    lonely = a_call(headers={"a2a-warrant-proof": "v1.x"})
    assert "only calls with a warrant" in await told(a_stage(), lonely)


async def test_a_shown_warrant_is_refused_where_nobody_can_verify_it():
    params = a_request("hello")
    call = a_call(params=params, headers=headers(root_warrant(), params))
    assert "trusts nobody's warrants" in await told(a_stage(check=None), call)


async def test_the_next_agent_holds_the_same_or_less():
    tools = {
        "a2a.SendMessage": {"text_bytes": T.Range(0, 100), "data.path": T.Subpath("/data")},
        "a2a.GetTask": {},
    }
    held = root_warrant(tools)
    same = attenuate_for(NEXT.public, held, holder_private=HOLDER.private, ttl_s=3600)
    assert set(same.leaf.capabilities) == set(tools)
    assert same.leaf.expires_at() == held.leaf.expires_at(), "its time is cut to the parent's"
    narrower = attenuate_for(
        NEXT.public,
        held,
        holder_private=HOLDER.private,
        ttl_s=30,
        tools={"a2a.SendMessage": {"data.path": T.Subpath("/data/mine")}},
    )
    stage = a_stage()
    for path, passes in (("/data/mine/x", True), ("/data/yours", False)):
        params = a_request({"path": path})
        call = a_call(params=params, headers=headers(narrower, params, key=NEXT))
        if passes:
            await stage.admit(call)
        else:
            assert "does not allow" in await told(stage, call)
    params = GetTaskRequest(id="t")
    shown = headers(narrower, params, key=NEXT, method="GetTask")
    gone = a_call(method="GetTask", params=params, headers=shown)
    assert "does not name" in await told(stage, gone)


async def test_a_warrant_for_a_skill_and_for_methods_without_a_message():
    held = root_warrant({"search": {}, "a2a.GetTask": {}, "a2a.ListTasks": {"tenant": T.Exact("")}})
    stage = a_stage()
    params = a_request("hello")
    await stage.admit(
        a_call(params=params, skill="search", headers=headers(held, params, skill="search"))
    )
    for method, request in (("GetTask", GetTaskRequest(id="t")), ("ListTasks", ListTasksRequest())):
        shown = headers(held, request, method=method)
        await stage.admit(a_call(method=method, params=request, headers=shown))


async def test_a_header_survives_being_written_and_read():
    held = root_warrant()
    again = HeldWarrant.read(held.header())
    assert again.id == held.id
    for text in ("", "!", held.header()[:-9], "A" * 40):
        with pytest.raises(WarrantError):
            HeldWarrant.read(text)


async def test_a_chain_has_an_end():
    held = root_warrant()
    key, keys = HOLDER, [new_signing_pair() for _ in range(CHAIN_MAX)]
    for follower in keys[: CHAIN_MAX - 1]:
        held = attenuate_for(follower.public, held, holder_private=key.private, ttl_s=60)
        key = follower
    with pytest.raises(WarrantError, match="has an end"):
        attenuate_for(keys[-1].public, held, holder_private=key.private, ttl_s=60)
    longer = T.encode_warrant_stack([*held.chain, held.leaf])
    with pytest.raises(WarrantError):
        HeldWarrant.read(longer.replace("+", "-").replace("/", "_").rstrip("="))


@pytest.mark.parametrize(
    ("name", "constraint"),
    [
        ("data.path", T.Pattern("/data/*")),
        ("data.source_file", T.Regex("^/data/.*$")),
        ("url", T.Pattern("https://a.example/*")),
        ("data.callback", T.AnyOf([T.Pattern("*")])),
        ("data.where", T.Pattern("/data/*")),
        ("data.page", T.Pattern("x*")),
    ],
)
async def test_a_glob_over_a_path_or_url_is_refused_when_minted(name, constraint):
    with pytest.raises(WarrantError, match="path or a URL"):
        root_warrant(
            {"a2a.SendMessage": {name: constraint}}, paths=["data.where"], urls=["data.page"]
        )
    root_warrant({"a2a.SendMessage": {"data.topic": constraint}})


async def test_what_cannot_be_minted_says_so():
    with pytest.raises(WarrantError, match="cannot be minted"):
        mint(ROOT.private, holder=HOLDER.public, tools={"a": {}}, ttl_s=10**9)
    with pytest.raises(WarrantError, match="root that is trusted"):
        TenuoWarrants([])
    with pytest.raises(WarrantError, match="16 bytes"):
        headers(root_warrant(), a_request(), nonce=b"short")


async def test_urls_have_matchers_that_know_urls():
    held = root_warrant({"a2a.SendMessage": {"url": T.UrlSafe(allow_domains=["a.example"])}})
    stage = a_stage()
    for url, passes in (
        ("https://a.example/x", True),
        ("https://a.example@evil.example/", False),
        ("http://169.254.169.254/", False),
    ):
        params = a_request(Part(url=url))
        call = a_call(params=params, headers=headers(held, params))
        if passes:
            await stage.admit(call)
        else:
            assert "does not allow" in await told(stage, call)
    two = a_request(Part(url="https://a.example/"), Part(url="https://a.example/"))
    assert "does not allow" in await told(stage, a_call(params=two, headers=headers(held, two)))


async def test_a_call_becomes_the_arguments_that_a_warrant_names():
    call = a_call(
        "hällo",
        Part(raw=b"12345"),
        Part(url="https://a.example/"),
        Part(),
        {"a": {"b": 1, "c": [1, "x", None, True]}, "d": [{"e": False}, [2]], "f": {}},
        skill="s",
        tenant="t",
    )
    assert arguments_of(call, "me") == {
        "agent": "me",
        "method": "SendMessage",
        "skill": "s",
        "tenant": "t",
        "context": "",
        "task": "",
        "parts": 5,
        "url": "https://a.example/",
        "data.a.b": 1.0,
        "data.a.c": [1.0, "x", None, True],
        "data.d.0.e": False,
        "data.d.1": [2.0],
        "data.f": None,
        "text_bytes": 6,
        "file_bytes": 5,
    }


async def test_more_arguments_than_a_warrant_can_name_are_refused():
    deep: object = 1
    for _ in range(20):
        deep = {"a": deep}
    for params in (
        a_request({f"k{number}": 1 for number in range(ARGUMENTS_MAX)}),
        a_request({"a": 1}, {"a": 2}),
        a_request(deep),
    ):
        with pytest.raises(WireFault) as refused:
            arguments_of(a_call(params=params), "me")
        assert refused.value.kind.code == -32602
    with pytest.raises(WireFault):
        tool_of("SendMessage", "a2a.GetTask")


async def test_the_digest_tells_every_difference():
    deep: object = 1
    for _ in range(80):
        deep = {"a": deep}
    digests = [
        request_digest(method, params, tenant="t")
        for method, params in (
            ("SendMessage", a_request("ab", "c")),
            ("SendMessage", a_request("a", "bc")),
            ("SendStreamingMessage", a_request("ab", "c")),
            ("SendMessage", a_request("ab", Part(raw=b"c"))),
            ("SendMessage", a_request("ab", Part(url="c"))),
            ("SendMessage", a_request("ab", "c", task="t")),
            ("SendMessage", a_request("ab", "c", context="t")),
            ("SendMessage", a_request({"a": 1, "b": [True, None]})),
            ("SendMessage", a_request({"a": 1, "b": [False, None]})),
            ("SendMessage", a_request({"a": 1}, {"b": [True, None]})),
            ("SendMessage", a_request(Part())),
            ("GetTask", GetTaskRequest(id="a")),
            ("GetTask", GetTaskRequest(id="b")),
            ("GetExtendedAgentCard", None),
        )
    ]
    assert len(set(digests)) == len(digests)
    reordered = a_request({"b": [True, None], "a": 1})
    assert request_digest("SendMessage", reordered, tenant="t") == digests[7]
    assert len(digests[0]) == 32
    assert request_digest("SendMessage", a_request("ab", "c"), tenant="") not in digests
    params = a_request()
    set_value(params.message.parts.add().data, deep)
    with pytest.raises(WireFault):
        headers(root_warrant(), params)


async def test_nonces_are_remembered_as_long_as_a_proof_may_be_shown():
    clock = SetClock()
    now = clock.now().timestamp()
    for store in (
        MemoryNonces(clock, nonces_max=2),
        SharedNonces(MemoryCounters(clock, entries_max=2), clock),
    ):
        assert await store.claim(b"a", until=now + 10)
        assert not await store.claim(b"a", until=now + 10)
        assert await store.claim(b"b", until=now + 20)
        assert not await store.claim(b"c", until=now + 20), "full of fresh ones, it takes no more"
    memory = MemoryNonces(clock, nonces_max=2)
    await memory.claim(b"a", until=now + 10)
    clock.move(11)
    assert await memory.claim(b"b", until=now + 30)
    assert len(memory) == 1


async def test_a_proof_is_read_as_it_is_written_and_in_no_other_way():
    good = headers(root_warrant(), a_request())["a2a-warrant-proof"]
    assert read_proof(good).header() == good
    for bad in ("", good[1:], good + "=", good + "!", good[:-2], "v1.ä", "v2." + good[3:]):
        with pytest.raises(WireFault) as refused:
            read_proof(bad)
        assert refused.value.kind.status == 403


async def test_a_warrant_that_is_too_long_is_not_read():
    shown = headers(root_warrant(), a_request())
    call = a_call(headers=shown | {"a2a-warrant": "A" * 40_000})
    assert "too long" in await told(a_stage(), call)


async def test_revocation_lists_are_signed_and_only_newer_ones_are_taken():
    check = TenuoWarrants([ROOT.public])
    check.revoke(revocation_list(ROOT.private, ["tnu_wrt_x"], version=2))
    for stale in (1, 2):
        with pytest.raises(WarrantError, match="not newer"):
            check.revoke(revocation_list(ROOT.private, [], version=stale))
    for bad in (b"x", revocation_list(HOLDER.private, ["a"], version=3)):
        with pytest.raises(WarrantError, match="is refused"):
            check.revoke(bad)


async def test_parsed_chains_are_kept_in_a_bounded_number():
    check = TenuoWarrants([ROOT.public])
    header = root_warrant().header()
    first = check._chain(header)
    assert check._chain(header) is first
    for number in range(CHAINS_KEPT_MAX):
        check._parsed[str(number)] = first
    check._chain(root_warrant().header())
    assert len(check._parsed) <= CHAINS_KEPT_MAX + 1


async def test_parts_of_the_rig_are_what_they_seem():
    assert a_part({"a": [1, "b", None, True, {"c": {}}]}).WhichOneof("content") == "data"
