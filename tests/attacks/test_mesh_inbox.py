"""The inbox door on a real bus: what a known node sealed reaches its agent once; all else reaches nobody."""

import contextlib
import tempfile
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest
from anyio import fail_after

from hive.core.call import PrincipalKind, Refused, sha256_hex
from hive.core.clock import SystemClock
from hive.core.errors import EngineTimeoutError, IdentityError, NoResponderError
from hive.core.ids import AgentId, CallId, MessageId, NodeId
from hive.core.randomness import SystemRandomness
from hive.core.task import Message, Part, Role, TaskState
from hive.mesh import (
    Envelope,
    NodeKeys,
    Sender,
    StaticPeers,
    agent_inbox,
    agent_status,
    open_notice,
    seal,
    task_queue,
)
from hive.mesh.envelope import lifetime
from hive.protocols.inbox import (
    BUCKET,
    InboxDoor,
    InboxLimits,
    read_reply,
    request_agent,
    write_call,
)
from hive.protocols.inbox.callers import principal_of
from hive.testing.engines import open_messaging
from hive.testing.rehearsal_agents import RehearsalAgents
from hive.testing.rehearsal_gate import CALLER, RehearsalGate
from hive_a2a.crypto import new_key

pytestmark = pytest.mark.anyio
CLOCK, RANDOMNESS = SystemClock(), SystemRandomness()
INBOX = agent_inbox(AgentId("reader"))
PLANNER = Sender(kind="agent", name="planner", owner="alice", agent="planner")


def node(name):
    return NodeKeys(node=NodeId(name), signing=new_key(), sealing=new_key())


HERE, THERE, STRANGER = node("here"), node("there"), node("stranger")
PEERS = StaticPeers([HERE.public, THERE.public])


def message(text="read this"):
    return Message(id=MessageId("m-1"), role=Role.USER, parts=(Part(text=text),))


@contextlib.asynccontextmanager
async def hive(*, gate=None, agents=None):
    gate = gate or RehearsalGate()
    with tempfile.TemporaryDirectory(prefix="hi-") as folder:
        async with open_messaging(Path(folder)) as messaging:
            door = InboxDoor(
                bus=messaging.bus,
                nonces=await messaging.key_value(BUCKET),
                gate=gate,
                agents=agents or RehearsalAgents(["reader"], skills=["reading"]),
                keys=HERE,
                peers=PEERS,
                clock=CLOCK,
                randomness=RANDOMNESS,
                limits=InboxLimits(reconcile_s=30),
            )
            with fail_after(20):
                async with door.serve():
                    yield messaging.bus, door, gate


def ask(bus, *, keys=THERE, subject=INBOX, call="call-1", **change):
    given = {
        "sender": PLANNER,
        "keys": keys,
        "audience": HERE.public,
        "clock": CLOCK,
        "randomness": RANDOMNESS,
        "timeout_s": 5.0,
        **change,
    }
    return request_agent(bus, subject, message(), call_id=CallId(call), **given)


def sealed(*, keys=THERE, audience=HERE, nonce="n-1", claimed=None, **change):
    body = write_call(message())
    issued_ms, expires_ms = lifetime(CLOCK.now(), seconds=60)
    envelope = Envelope(
        **{
            "call_id": "call-9",
            "sender": claimed or keys.node,
            "audience": audience.node,
            "subject": INBOX,
            "principal": PLANNER,
            "issued_ms": issued_ms,
            "expires_ms": expires_ms,
            "body_hash": sha256_hex(body),
            "nonce": nonce,
            **change,
        }
    )
    signer = NodeKeys(node=NodeId(envelope.sender), signing=keys.signing, sealing=keys.sealing)
    return seal(envelope, body, keys=signer, audience=audience.public)


async def test_a_message_reaches_the_agent_and_its_end_comes_back():
    async with hive() as (bus, _door, gate):
        reply = await ask(bus)
    [(attempt, agent, got)] = gate.sent
    assert (reply.task, reply.state) == ("task-1", "completed")
    assert (agent, got.text) == ("reader", "read this")
    assert attempt.principal.name == "planner@there"
    assert attempt.facts["call"] == "call-1"


async def test_a_task_for_a_capability_reaches_an_agent_that_has_it():
    async with hive() as (bus, _door, gate):
        reply = await ask(bus, subject=task_queue("reading"))
        with pytest.raises(NoResponderError):
            await ask(bus, subject=task_queue("writing"))
    assert reply.state == "completed"
    assert [agent for _, agent, _ in gate.sent] == ["reader"]


async def test_every_change_of_a_task_is_told_on_the_agents_status_subject():
    subject = agent_status(AgentId("reader"))
    async with hive() as (bus, _door, _gate), bus.subscribe(subject) as heard:
        await ask(bus)
        notices = []
        async for one in heard:
            notices.append(open_notice(one.data, subject=subject, peers=PEERS))
            if len(notices) == 2:
                break
    assert [one.state for one in notices] == ["submitted", "completed"]
    assert b"read this" not in one.data


async def test_a_refusal_of_the_gate_comes_back_as_one():
    gate = RehearsalGate(judge=lambda _: Refused(check="grant", reason="no", retry_after_s=2.0))
    async with hive(gate=gate) as (bus, _door, _gate):
        reply = await ask(bus)
    assert (reply.refused, reply.reason, reply.retry_after_s) == ("grant", "no", 2.0)


async def test_another_nodes_operator_and_owner_are_never_ours():
    async with hive() as (bus, _door, gate):
        boss = Sender(kind="operator", name="operator", owner=CALLER.owner)
        await ask(bus, sender=boss)
        await ask(bus, keys=HERE, call="call-2")
    foreign, own = (attempt.principal for attempt, _, _ in gate.sent)
    assert (foreign.kind, foreign.owner) == (PrincipalKind.CLIENT, "alice@there")
    assert (own.kind, own.owner) == (PrincipalKind.AGENT, "alice")


@pytest.mark.parametrize("name", ["", "a@here", "a\x1b[31m", "x" * 300])
async def test_a_name_that_could_pass_for_another_is_refused(name):
    async with hive() as (bus, door, gate):
        with pytest.raises(EngineTimeoutError):
            await ask(bus, sender=Sender(kind="agent", name=name, owner="alice"), timeout_s=0.5)
    assert gate.sent == []
    assert door.refused == {"failed": 1}


FORGED = {
    "noise": b"\x00\xff",
    "a plain message": b'{"text": "do it"}',
    "a stranger's own name": sealed(keys=STRANGER),
    "a stranger in a known node's name": sealed(keys=STRANGER, claimed="there"),
    "for another node": sealed(audience=THERE),
    "for another agent": sealed(subject="hive.agents.treasurer.inbox"),
    "a reply": sealed(purpose="reply"),
    "expired": sealed(issued_ms=1, expires_ms=2),
    "tampered": sealed()[:-1] + b"\x00",
    "oversized": b"\x83" + b"x" * ((1 << 20) + 1),
}


@pytest.mark.parametrize("name", FORGED)
async def test_what_no_known_node_sealed_for_this_place_reaches_nobody(name):
    async with hive() as (bus, door, gate), bus.subscribe("attacker.waits") as answers:
        try:
            await bus.publish(INBOX, FORGED[name], reply="attacker.waits")
            expected = {"stranger": 1}
        except Exception as error:  # noqa: BLE001
            assert type(error).__name__ == "TooLargeError"  # noqa: PT017
            expected = {}
        # A good call behind it proves that the bad one has been read.
        await ask(bus)
        async with anyio.create_task_group() as tasks:

            async def listen():
                async for _ in answers:
                    raise AssertionError

            tasks.start_soon(listen)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert len(gate.sent) == 1
    assert door.refused == expected


async def test_an_envelope_that_is_played_again_does_nothing():
    async with hive() as (bus, door, gate):
        data = sealed()
        first = await bus.request(INBOX, data, timeout_s=5)
        with pytest.raises(EngineTimeoutError):
            await bus.request(INBOX, data, timeout_s=0.5)
    assert first.data
    assert len(gate.sent) == 1
    assert door.refused == {"replayed": 1}


async def test_an_envelope_is_not_played_again_after_the_door_was_opened_anew():
    gate, data = RehearsalGate(), sealed()
    with tempfile.TemporaryDirectory(prefix="hi-") as folder:
        async with open_messaging(Path(folder)) as messaging:
            for expected in ({}, {"replayed": 1}):
                door = InboxDoor(
                    bus=messaging.bus,
                    nonces=await messaging.key_value(BUCKET),
                    gate=gate,
                    agents=RehearsalAgents(["reader"]),
                    keys=HERE,
                    peers=PEERS,
                    clock=CLOCK,
                    randomness=RANDOMNESS,
                )
                async with door.serve():
                    with contextlib.suppress(EngineTimeoutError):
                        await messaging.bus.request(INBOX, data, timeout_s=0.5)
                assert door.refused == expected
    assert len(gate.sent) == 1


async def test_a_second_attempt_of_a_call_gets_the_task_of_the_first():
    async with hive() as (bus, _door, gate):
        first = await ask(bus, attempt=1)
        second = await ask(bus, attempt=2)
    assert first == second
    assert len(gate.sent) == 1


async def test_another_node_cannot_claim_a_known_call():
    async with hive() as (bus, _door, gate):
        await ask(bus, keys=HERE)
        other = await ask(bus, keys=THERE)
    assert other.task == "task-2"
    assert len(gate.sent) == 2


async def test_an_answer_made_by_somebody_else_is_not_believed():
    with tempfile.TemporaryDirectory(prefix="hi-") as folder:
        async with open_messaging(Path(folder)) as messaging:
            bus = messaging.bus

            async def impostor(*, task_status):
                async with bus.subscribe(INBOX) as heard:
                    task_status.started()
                    async for one in heard:
                        fake = sealed(
                            keys=STRANGER, claimed="here", audience=THERE, purpose="reply"
                        )
                        await bus.publish(one.reply, fake)
                        return

            with fail_after(30):
                async with anyio.create_task_group() as tasks:
                    await tasks.start(impostor)
                    with pytest.raises(IdentityError):
                        await ask(bus)


async def test_an_accepted_task_is_told_at_once_when_that_is_asked():
    gate = RehearsalGate(settle_at_once=False)
    async with hive(gate=gate) as (bus, _door, _gate):
        reply = await ask(bus, answer="accepted")
        assert reply.state == TaskState.SUBMITTED.value


async def test_agents_that_come_and_go_are_heard_and_no_longer():
    agents = RehearsalAgents(["reader"])
    async with hive(agents=agents) as (bus, door, gate):
        spec = RehearsalAgents(["writer"]).all()[0]
        await agents.deploy(CALLER, spec.spec, spec.grant)
        await agents.remove(CALLER, AgentId("reader"))
        door.agents_changed()
        await door.reconciled()
        assert door.listening == {agent_inbox(AgentId("writer"))}
        reply = await ask(bus, subject=agent_inbox(AgentId("writer")))
        with pytest.raises(NoResponderError):
            await ask(bus)
    assert reply.state == "completed"
    assert len(gate.sent) == 1


def test_a_reply_is_read_strictly():
    with pytest.raises(Exception, match="cannot be read"):
        read_reply(b"\x80")


@pytest.mark.parametrize("claimed", ["operator", "node"])
def test_another_node_cannot_speak_as_this_nodes_operator_nor_as_this_node(claimed):
    """This node's own kind may read every run, so nobody from elsewhere may have it."""
    said = SimpleNamespace(kind=claimed, name="hive", owner="operator", agent="")
    envelope = SimpleNamespace(principal=said, sender=NodeId("elsewhere"))
    assert principal_of(envelope, own=NodeId("here")).kind is PrincipalKind.CLIENT
    assert principal_of(envelope, own=NodeId("elsewhere")).kind is PrincipalKind(claimed)
