"""Policy at the gate of a real kernel: what it refuses and demands, what the line of a call keeps, and what is asked again."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import anyio
import pytest
from tests.kernel_rig import (
    Stage,
    StagedSandbox,
    ask,
    deploy,
    running_kernel,
    said,
    send,
)
from tests.policy_rig import named, rego

from hive.core.call import Refused
from hive.core.clock import SystemClock
from hive.core.errors import BadInputError, NotFoundError, StateError
from hive.core.settings import Settings
from hive.engines import Migration, load_migrations
from hive.execution.ports import GuestEvent, Turn, TurnDone
from hive.kernel.approvals import ApprovalState
from hive.node.approvals import approvals_of
from hive.node.build import SCHEMAS
from hive.node.policy import AskedRecord, NodePolicy
from hive.security.policy.again import answer_again, changed
from hive.testing.ledger import contents_in
from hive.web.approvals import ApprovalDecision
from hive.web.policy import PolicyDiffOrder, PolicyOrder

pytestmark = pytest.mark.anyio
MAIN = """package hive.policy
decision := {"allow": allow, "reasons": deny, "obligations": owe}
default allow := false
allow if count(deny) == 0
deny contains r if { input.verb == "ask"; some r in data.hive.rules.ask.deny }
owe contains d if { input.verb == "ask"; some d in data.hive.rules.ask.owe }
"""


@pytest.fixture
def migrations() -> Sequence[Migration]:
    return [one for schema in SCHEMAS for one in load_migrations(schema)]


def bundle(rules: str, version: int):
    made = rego(rules, package="hive.rules.ask")
    return named(replace(made, files={**made.files, "main.rego": MAIN.encode()}), version)


async def done(delivery) -> None:
    assert not isinstance(delivery, Refused), delivery
    with anyio.fail_after(60):
        await delivery.settled()


class Asker:
    """Plays a turn that asks a model for each line of its message."""

    def __init__(self) -> None:
        self.kernel = None
        self.answers: list[str] = []

    async def play(self, sandbox: StagedSandbox, turn: Turn) -> AsyncIterator[GuestEvent]:
        principal = self.kernel.dispatcher.resolve_handle(sandbox.id, sandbox.handle)
        for line in turn.message.text.splitlines():
            self.answers.append(await self.ask(principal, {"prompt": line}))
        yield TurnDone(message=said("done"))

    async def ask(self, principal, body) -> str:
        async def act() -> AsyncIterator[bytes]:
            yield b"{}"

        attempt = replace(ask(principal), arguments=json.dumps(body).encode())
        async with self.kernel.dispatcher.deliver(attempt, act) as passage:
            if isinstance(passage, Refused):
                return f"{passage.check}: {passage.reason}"
            async for _ in passage:
                pass
        return "ok"


async def bodies(database) -> list[dict]:
    rows = await database.fetch(
        "SELECT body FROM entry WHERE kind = 'intent' AND body LIKE '%\"verb\":\"ask\"%'"
        " ORDER BY sequence"
    )
    return [json.loads(row["body"]) for row in rows]


async def test_what_a_rule_denies_is_refused_with_its_reason_and_on_record(database, tmp_path):
    asker = Asker()
    async with running_kernel(database, tmp_path, Stage(play=asker.play)) as kernel:
        asker.kernel = kernel
        rules = 'deny contains "no secrets" if contains(input.arguments.prompt, "secret")'
        await kernel.guards.policies._policy.load(bundle(rules, 1).archive(), by="test")
        await deploy(kernel)
        await done(await send(kernel, "the weather\nthe secret"))
    assert asker.answers == ["ok", "policy: no secrets"]
    first, second = await bodies(database)
    assert (first["decision"], second["decision"]) == ("admitted", "refused")
    assert first["policy"]["version"].startswith("house@1+")
    assert (first["policy"]["allow"], second["policy"]["allow"]) == (True, False)
    assert len(first["policy"]["grant"]) == 64
    assert first["policy"]["warrant"]["task"]
    assert first["policy"]["owner"] == "alice"
    assert "weather" not in json.dumps(first)


async def test_what_was_asked_is_asked_again_of_another_bundle(database, tmp_path):
    asker = Asker()
    async with running_kernel(database, tmp_path, Stage(play=asker.play)) as kernel:
        asker.kernel = kernel
        await deploy(kernel)
        await done(await send(kernel, "the weather\nthe secret\nthe news"))
        rules = 'deny contains "no secrets" if contains(input.arguments.prompt, "secret")\n'
        rules += (
            'owe contains {"kind": "limit", "detail": ""} if input.arguments.prompt == "the news"'
        )
        other = await kernel.guards.policies._policy.answers(bundle(rules, 1))
        record = AskedRecord(database, contents_in(database))
        since = SystemClock().now() - timedelta(days=1)
        found = {}
        async for call, asked in record.since(since, 1000):
            now = await answer_again(other, asked)
            change = changed(asked, now)
            if asked.question.verb == "ask":
                found[asked.question.arguments["prompt"]] = change and (change.before, change.after)
            assert call
        assert found == {
            "the weather": None,
            "the secret": ("allowed", "refused"),
            "the news": ("allowed", "allowed, owing limit"),
        }
        # The bundle that was compared does not stand.
        assert kernel.guards.policies._policy.version.startswith("hive-default")


async def test_without_arguments_on_record_it_is_said_that_it_cannot_be_told(database, tmp_path):
    asker = Asker()
    async with running_kernel(
        database, tmp_path, Stage(play=asker.play), journal="results"
    ) as kernel:
        asker.kernel = kernel
        await deploy(kernel)
        await done(await send(kernel, "the secret"))
        record = AskedRecord(database, contents_in(database))
        since = SystemClock().now() - timedelta(days=1)
        asked = [one async for _, one in record.since(since, 1000) if one.question.verb == "ask"]
        policy = kernel.guards.policies._policy
        by_arguments = await policy.answers(
            bundle('deny contains "x" if contains(input.arguments.prompt, "secret")', 1)
        )
        by_target = await policy.answers(bundle('deny contains "x" if input.target == "gpt"', 1))
        assert await answer_again(by_arguments, asked[0]) is None
        assert (await answer_again(by_target, asked[0])).allow is False


async def test_a_recorded_question_is_the_one_that_was_asked(database, tmp_path):
    asker, seen = Asker(), []
    async with running_kernel(database, tmp_path, Stage(play=asker.play)) as kernel:
        asker.kernel = kernel
        policy = kernel.guards.policies._policy
        rules = 'deny contains "x" if input.arguments.prompt == "never"'
        await policy.load(bundle(rules, 1).archive(), by="test")
        decide = policy.decide

        async def watched(question):
            seen.append(question)
            return await decide(question)

        policy.decide = watched
        await deploy(kernel)
        await done(await send(kernel, "the weather"))
    record = AskedRecord(database, contents_in(database))
    since = SystemClock().now() - timedelta(days=1)
    again = [one.question async for _, one in record.since(since, 1000)]
    asked = [one for one in seen if one.verb == "ask"]
    assert [one for one in again if one.verb == "ask"] == asked
    assert asked[0].arguments == {"prompt": "the weather"}


async def test_a_demanded_yes_is_waited_for(database, tmp_path):
    asker = Asker()
    async with running_kernel(
        database, tmp_path, Stage(play=asker.play), approval_hold_s=0.05
    ) as kernel:
        asker.kernel = kernel
        rules = (
            'owe contains {"kind": "approval", "detail": "costs money"} if input.target == "gpt"'
        )
        await kernel.guards.policies._policy.load(bundle(rules, 1).archive(), by="test")
        await deploy(kernel)
        await done(await send(kernel, "the weather"))
        waiting = kernel.approvals.open()
        desk = approvals_of(SimpleNamespace(kernel=kernel))
        with pytest.raises(StateError, match="is over"):
            await desk.decide(waiting[0].id, ApprovalDecision(allow=True))
        assert kernel.approvals.open() == waiting
        await desk.decide(waiting[0].id, ApprovalDecision(allow=False))
        assert [one.state for one in kernel.approvals.open()] == [ApprovalState.DENIED]
    assert asker.answers[0].startswith("approval: a person has to say yes")
    assert [one.note for one in waiting] == ["costs money"]
    assert waiting[0].rule.startswith("policy house@1+")


async def test_a_yes_under_one_version_is_none_under_the_next(database, tmp_path):
    asker = Asker()
    async with running_kernel(
        database, tmp_path, Stage(play=asker.play), approval_hold_s=0.05
    ) as kernel:
        asker.kernel = kernel
        rules = (
            'owe contains {"kind": "approval", "detail": "costs money"} if input.target == "gpt"'
        )
        policy, keys = kernel.guards.policies._policy, set()
        for version in (1, 2):
            await policy.load(bundle(f"{rules}\n# {version}", version).archive(), by="test")
            if version == 1:
                await deploy(kernel)
            await done(await send(kernel, "the weather"))
            keys |= {one.rule for one in kernel.approvals.open()}
    assert len(keys) == 2


async def test_without_a_policy_nothing_happens(database, tmp_path):
    asker = Asker()
    async with running_kernel(
        database, tmp_path, Stage(play=asker.play), policy_bundle=str(tmp_path / "nowhere")
    ) as kernel:
        asker.kernel = kernel
        await deploy(kernel)
        answer = await send(kernel, "the weather")
    assert isinstance(answer, Refused)
    assert answer.check == "policy"
    assert asker.answers == []


async def answers_under(database, tmp_path, rules: str, text: str, **settings) -> list[str]:
    asker = Asker()
    async with running_kernel(database, tmp_path, Stage(play=asker.play), **settings) as kernel:
        asker.kernel = kernel
        await kernel.guards.policies._policy.load(bundle(rules, 1).archive(), by="test")
        await deploy(kernel)
        await done(await send(kernel, text))
    return asker.answers


async def test_walls_that_are_too_weak_refuse(database, tmp_path):
    rules = 'owe contains {"kind": "raise_tier", "detail": "microvm"} if input.target == "gpt"'
    answers = await answers_under(database, tmp_path, rules, "hello")
    assert answers == ["policy: this call needs the walls of the tier microvm"]


async def test_walls_that_are_strong_enough_do_not(database, tmp_path):
    rules = 'owe contains {"kind": "raise_tier", "detail": "process"} if input.target == "gpt"'
    assert await answers_under(database, tmp_path, rules, "hello") == ["ok"]


async def test_a_limit_is_kept(database, tmp_path):
    rules = 'owe contains {"kind": "limit", "detail": "2"} if input.target == "gpt"'
    answers = await answers_under(database, tmp_path, rules, "\n".join("abcdefgh"))
    assert answers[:2] == ["ok", "ok"]
    assert "rate: too many calls at once" in answers


async def test_a_limit_that_is_none_refuses(database, tmp_path):
    rules = 'owe contains {"kind": "limit", "detail": "some"} if input.target == "gpt"'
    answers = await answers_under(database, tmp_path, rules, "hello")
    assert answers == ["policy: the policy set a limit that is no number"]


async def test_what_is_to_be_recorded_in_full_is(database, tmp_path):
    rules = 'owe contains {"kind": "record_full", "detail": ""} if contains(input.arguments.prompt, "b")'
    assert await answers_under(database, tmp_path, rules, "a\nb", journal="results") == ["ok", "ok"]
    rows = await database.fetch(
        "SELECT content_id FROM entry WHERE kind = 'intent' AND body LIKE '%\"verb\":\"ask\"%'"
        " ORDER BY sequence"
    )
    assert [bool(row["content_id"]) for row in rows] == [False, True]


async def test_an_operator_sees_what_another_bundle_would_have_said(database, tmp_path):
    asker = Asker()
    async with running_kernel(database, tmp_path, Stage(play=asker.play)) as kernel:
        asker.kernel = kernel
        policy = kernel.guards.policies._policy
        desk = NodePolicy(
            SimpleNamespace(
                ground=SimpleNamespace(policy=policy),
                engines=SimpleNamespace(database=database),
                ledger=SimpleNamespace(contents=contents_in(database)),
                settings=Settings(),
                clock=SystemClock(),
            )
        )
        await deploy(kernel)
        await done(await send(kernel, "the secret\nthe secret\nthe weather"))
        rules = 'deny contains "no secrets" if contains(input.arguments.prompt, "secret")'
        other = bundle(rules, 1)
        found = await desk.diff(PolicyDiffOrder(archive=other.archive()))
        assert (found.version, found.against) == (other.version, policy.version)
        assert (found.asked, found.same, found.untold) == (4, 2, 0)
        (change,) = found.changes
        assert (change.verb, change.target, change.calls) == ("ask", "gpt", 2)
        assert (change.before, change.after) == ("allowed", "refused")
        assert change.reasons == ("no secrets",)
        asked = await desk.question(change.example)
        assert asked["arguments"] == {"prompt": "the secret"}
        with pytest.raises(NotFoundError):
            await desk.question("019a0000-0000-7000-8000-000000000000")
        assert desk.view().source == "shipped"
        shown = await desk.load(PolicyOrder(archive=other.archive()))
        assert (shown.version, shown.source) == (other.version, "loaded")
        with pytest.raises(BadInputError):
            await desk.diff(PolicyDiffOrder(archive=other.archive(), since_s=-1))
