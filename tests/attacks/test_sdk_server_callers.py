"""Callers who want what is not theirs, on every way into a real server; each gets it from the plain official one."""

import secrets

import pytest
import tenuo_core

from hive_a2a.clock import MachineClock
from hive_a2a.crypto import new_signing_pair
from hive_a2a.identity.bearer import JwtBearer
from hive_a2a.policy import Policy, Strangers
from hive_a2a.ports import Stage
from hive_a2a.stages.tenuo_warrants import TenuoWarrants, attenuate_for, mint, proof_headers
from tests.identity_rig import AUDIENCE, ISSUER, JWKS, token
from tests.server_rig import (
    FREE,
    NEW,
    OLD,
    PUSH_METHODS,
    SECURE,
    TASK_METHODS,
    both,
    params_of,
    plain,
    secure,
    sending,
)

pytestmark = pytest.mark.anyio
EVERY = pytest.mark.parametrize("binding", [*NEW, *OLD])
ON_NEW = pytest.mark.parametrize("binding", NEW)
NOT_IN = {("HTTP+JSON-0.3", "DeleteTaskPushNotificationConfig")}


@pytest.fixture
def anyio_backend():
    # A loop of uvloop that closes waits at times for what gRPC's other servers in the process left open.
    return ("asyncio", {"use_uvloop": False})


async def a_task(place, name: str, *, push: bool = True) -> str:
    """Begin a task of somebody that stays open, with a webhook."""
    task = (await place.ask("JSONRPC", "SendMessage", sending("wait"), name=name)).task
    if push:
        made = params_of("CreateTaskPushNotificationConfig", task)
        assert (await place.ask("JSONRPC", "CreateTaskPushNotificationConfig", made, name=name)).ok
    return task


@EVERY
async def test_another_callers_task_and_webhooks(tmp_path, binding):
    async with both(tmp_path) as (plainly, ours):
        methods = [
            one for one in (*PUSH_METHODS, "GetTask", "CancelTask") if (binding, one) not in NOT_IN
        ]
        for method in methods:
            task = await a_task(plainly, "ann")
            got = await plainly.ask(binding, method, params_of(method, task), name="bob")
            assert got.ok, (method, got)
            task = await a_task(ours, "ann")
            got = await ours.ask(binding, method, params_of(method, task), name="bob")
            assert not got.ok, (method, got)
            assert got.status in (-32001, 404, "NOT_FOUND"), (method, got)
            for name in ("", "bob"):
                got = await ours.ask(binding, "SubscribeToTask", {"id": task}, name=name)
                assert not got.ok
            still = await ours.ask("JSONRPC", "GetTask", {"id": task}, name="ann")
            assert still.events[0]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"


@EVERY
async def test_another_caller_goes_on_with_a_task(tmp_path, binding):
    async with both(tmp_path) as (plainly, ours):
        for place, taken in ((plainly, True), (ours, False)):
            task = await a_task(place, "ann", push=False)
            seen = len(place.agent.seen)
            await place.ask(binding, "SendMessage", sending("mine", taskId=task), name="bob")
            assert (len(place.agent.seen) > seen) is taken


@ON_NEW
async def test_a_list_of_everybodys_tasks(tmp_path, binding):
    async with both(tmp_path) as (plainly, ours):
        for place, seen in ((plainly, 1), (ours, 0)):
            await a_task(place, "ann", push=False)
            answer = await place.ask(binding, "ListTasks", {}, name="bob")
            assert answer.ok
            assert len(answer.events[0].get("tasks", ())) == seen


@EVERY
async def test_a_stranger_gets_nothing(tmp_path, binding):
    begin = Policy(rate=FREE, strangers=Strangers.BEGIN)
    async with (
        both(tmp_path / "a") as (plainly, ours),
        secure(tmp_path / "b", policy=begin) as some,
    ):
        for method in (*PUSH_METHODS, *TASK_METHODS, "ListTasks", "GetExtendedAgentCard"):
            if (binding, method) in NOT_IN or (method == "ListTasks" and binding in OLD):
                continue
            if method != "SubscribeToTask":  # it would be followed for ever
                task = await a_task(plainly, "ann")
                got = await plainly.ask(binding, method, params_of(method, task))
                assert got.ok, (method, got)
            for place in (ours, some):
                task = await a_task(place, "ann")
                got = await place.ask(binding, method, params_of(method, task))
                assert not got.ok
                assert got.word == "UNAUTHENTICATED", (method, got)
        assert not (await ours.ask(binding, "SendMessage", sending())).ok
        assert (await some.ask(binding, "SendMessage", sending())).ok
        assert ours.audit.counts["authentication"] > 0
        assert some.audit.counts["authentication"] > 0


@EVERY
async def test_a_required_extension_is_not_activated(tmp_path, binding):
    uri = "urn:x:must"
    name = "x-a2a-extensions" if binding in OLD else "a2a-extensions"
    async with both(tmp_path / "a", required=(uri,)) as (plainly, ours):
        assert (await plainly.ask(binding, "SendMessage", sending())).ok
        for method in ("SendMessage", "SendStreamingMessage"):
            got = await ours.ask(binding, method, sending(), name="ann")
            assert not got.ok
            assert got.word == "EXTENSION_SUPPORT_REQUIRED" or got.status in (-32008, -32603)
        assert ours.agent.seen == []
        said = {name: uri}
        assert (await ours.ask(binding, "SendMessage", sending(), name="ann", said=said)).ok
    off = SECURE.without(Stage.EXTENSIONS)
    async with secure(tmp_path / "b", required=(uri,), policy=off) as open_place:
        assert (await open_place.ask(binding, "SendMessage", sending(), name="ann")).ok


@ON_NEW
async def test_a_tenant_that_the_card_does_not_name(tmp_path, binding):
    async with (
        both(tmp_path / "a") as (plainly, ours),
        secure(tmp_path / "b", tenants=("red", "blue")) as two,
    ):
        elsewhere = {**sending("wait"), "tenant": "green"}
        assert (await plainly.ask(binding, "SendMessage", elsewhere)).ok
        for place in (ours, two):
            got = await place.ask(binding, "SendMessage", elsewhere, name="ann")
            assert (got.ok, got.word) == (False, "INVALID_PARAMS")
            assert place.agent.seen == []
        # where every interface names one, none is no tenant either
        assert not (await two.ask(binding, "SendMessage", sending(), name="ann")).ok
        assert two.audit.counts["limits"] == 2


@ON_NEW
async def test_a_task_of_one_tenant_asked_for_in_another(tmp_path, binding):
    async with plain() as plainly, secure(tmp_path, tenants=("red", "blue")) as ours:
        for place, found in ((plainly, True), (ours, False)):
            red = {**sending("wait"), "tenant": "red"}
            task = (await place.ask(binding, "SendMessage", red, name="ann")).task
            for method in ("GetTask", "CreateTaskPushNotificationConfig", "CancelTask"):
                asked = {**params_of(method, task), "tenant": "blue"}
                got = await place.ask(binding, method, asked, name="ann")
                assert got.ok is found, (method, got)
            if not found:
                mine = {"id": task, "tenant": "red"}
                assert (await place.ask(binding, "GetTask", mine, name="ann")).ok
                [other] = (
                    await place.ask(binding, "ListTasks", {"tenant": "blue"}, name="ann")
                ).events
                assert not other.get("tasks")


TOKENS = {
    "another audience": {"aud": "https://another.example"},
    "expired": {"exp": ...},
    "not yet valid": {"nbf": ...},
    "another issuer": {"iss": "https://evil.example"},
}


def token_that_is(kind: str) -> str:
    at = int(MachineClock().now().timestamp())
    times = {"iat": at, "exp": at + 300}
    changed = {
        "expired": {"iat": at - 9000, "exp": at - 4000},
        "not yet valid": {"nbf": at + 4000, "exp": at + 9000},
    }
    return token(**{**times, **changed.get(kind, TOKENS.get(kind, {}))})


def bearer() -> JwtBearer:
    return JwtBearer(ISSUER, AUDIENCE, keys=JWKS)


@EVERY
async def test_a_token_that_is_not_for_now_or_not_for_here(tmp_path, binding):
    off = SECURE.without(Stage.AUTHENTICATION, Stage.NOISE)
    async with (
        secure(tmp_path / "a", authenticators=[bearer()]) as ours,
        secure(tmp_path / "b", authenticators=[bearer()], policy=off) as unguarded,
    ):
        good = {"authorization": f"Bearer {token_that_is('good')}"}
        assert (await ours.ask(binding, "SendMessage", sending(), said=good)).ok
        for kind in TOKENS:
            said = {"authorization": f"Bearer {token_that_is(kind)}"}
            for method in ("SendMessage", "SendStreamingMessage"):
                got = await ours.ask(binding, method, sending(), said=said)
                assert (got.ok, got.word) == (False, "UNAUTHENTICATED"), (kind, got)
                assert (await unguarded.ask(binding, method, sending(), said=said)).ok
        assert len(ours.agent.seen) == 1


ROOT, HOLDER, NEXT, MALLORY = (new_signing_pair() for _ in range(4))


def warrant_words(place, held, key, params, **more) -> dict[str, str]:
    from google.protobuf.json_format import ParseDict

    from hive_a2a.wire.calls import REQUEST_OF

    request = ParseDict(params, REQUEST_OF["SendMessage"]())
    options = {"nonce": secrets.token_bytes(16), "audience": f"{place.url}/", **more}
    return proof_headers(
        held, holder_private=key.private, method="SendMessage", params=request, **options
    )


@ON_NEW
async def test_warrants_that_are_missing_widened_stolen_or_shown_twice(tmp_path, binding):
    policy = Policy(rate=FREE, warrants_required=True)
    off = SECURE.without(Stage.WARRANT)
    check = TenuoWarrants([ROOT.public])
    narrow = {"a2a.SendMessage": {"text_bytes": tenuo_core.Range(0, 5)}}
    held = mint(ROOT.private, holder=HOLDER.public, tools=narrow, ttl_s=60)
    child = attenuate_for(NEXT.public, held, holder_private=HOLDER.private, ttl_s=30)
    wide = mint(MALLORY.private, holder=MALLORY.public, tools={"a2a.SendMessage": {}}, ttl_s=60)
    async with (
        secure(tmp_path / "a", policy=policy, warrants=check) as ours,
        secure(tmp_path / "b", policy=off, warrants=check) as unguarded,
    ):

        async def passes(words: dict[str, str], text: str = "short") -> bool:
            asked = sending(text)
            assert (
                await unguarded.ask(binding, "SendMessage", asked, name="ann", said=words)
            ).ok, "without the stage it goes through"
            return (await ours.ask(binding, "SendMessage", asked, name="ann", said=words)).ok

        good = warrant_words(ours, held, HOLDER, sending("short"))
        assert await passes(good)
        assert not await passes(good), "the proof was used"
        assert not await passes({}), "there is none"
        assert not await passes(
            warrant_words(ours, held, HOLDER, sending("much too long")), "much too long"
        )
        assert await passes(warrant_words(ours, child, NEXT, sending("short")))
        assert not await passes(
            warrant_words(ours, child, NEXT, sending("much too long")), "much too long"
        )
        assert not await passes(warrant_words(ours, wide, MALLORY, sending("short")))
        assert not await passes(warrant_words(ours, held, MALLORY, sending("short")))
        elsewhere = warrant_words(
            ours, held, HOLDER, sending("short"), audience="https://other.example/"
        )
        assert not await passes(elsewhere)
        other_body = warrant_words(ours, held, HOLDER, sending("other"))
        assert not await passes(other_body), "the proof is for another message"
        refused = [one for one in ours.records("refused") if one.stage == "warrant"]
        assert len(refused) == 8
