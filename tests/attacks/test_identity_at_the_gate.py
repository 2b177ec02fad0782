"""An agent whose identity was revoked goes on asking from its sandbox, with the key of a turn that runs; and so does a peer."""

from datetime import timedelta

import pytest

from hive.core.call import Call, EffectClass, Principal, PrincipalKind, Refused, TraceContext, Verb
from hive.core.clock import SystemClock
from hive.core.ids import AgentId, CallId, NodeId, OwnerId, SandboxId, SpanId, TraceId
from hive.kernel.ports import CallFacts
from hive.kernel.wardens import Wardens
from hive.node.identity import NodeIdentity
from tests.workload_rig import DOMAIN, opened_service

pytestmark = pytest.mark.anyio
READER = f"spiffe://{DOMAIN}/agent/reader"


def principal(kind, name, agent=None):
    return Principal(kind=kind, name=name, owner=OwnerId("o"), agent=agent and AgentId(agent))


AGENT = principal(PrincipalKind.AGENT, "reader", "reader")
PEER = principal(PrincipalKind.CLIENT, READER)
OTHERS = (
    principal(PrincipalKind.AGENT, "writer", "writer"),
    principal(PrincipalKind.CLIENT, f"spiffe://{DOMAIN}/agent/writer"),
    principal(PrincipalKind.CLIENT, "reader"),  # a token's name is nobody's id
    principal(PrincipalKind.OPERATOR, "operator"),
)


def asked(wardens, who):
    """Ask the check about one call."""
    now = SystemClock().now()
    call = Call(
        id=CallId("019a0000-0000-7000-8000-000000000000"),
        principal=who,
        verb=Verb.INVOKE,
        target="mail.send",
        effect=EffectClass.ONCE,
        argument_hash="",
        at=now,
        deadline=now + timedelta(minutes=1),
        trace=TraceContext(trace_id=TraceId("ab" * 16), span_id=SpanId("cd" * 8)),
    )
    return wardens.examine(call, CallFacts())


async def test_a_revoked_agent_is_refused_at_the_gate_until_it_is_allowed_again():
    async with opened_service() as service:
        identity = NodeIdentity(
            service=service, issuer=service.issuer, url="local-ca:", node=NodeId("n")
        )
        wardens = Wardens(SystemClock())
        service.enrol(SandboxId("s"), AgentId("reader"))
        await service.revoke(READER, reason="odd")
        assert asked(wardens, AGENT) is None, "without the guard nothing holds it"
        wardens.revoked = identity.is_revoked
        for who in (AGENT, PEER):
            found = asked(wardens, who)
            assert isinstance(found, Refused)
            assert (found.check, "revoked" in found.reason) == ("identity", True)
        for who in OTHERS:
            assert asked(wardens, who) is None
        await service.allow(READER)
        assert asked(wardens, AGENT) is None
        assert asked(wardens, PEER) is None
