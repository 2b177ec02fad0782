"""An agent without a tool or a host has the model's provider search, browse and call servers for it.

What it asks leaves as a question to a model that it may ask; the provider's own tools then carry it anywhere.
"""

from dataclasses import replace

import pytest

from hive.core.call import Admitted, Refused, Verb
from hive.core.errors import InvalidIdError
from hive.core.grant import PROVIDER_TOOL, Grant
from hive.execution.confirm import grant_lines
from hive.kernel.ports import CallFacts
from hive.protocols.mcp.hub.specs import server_name
from hive.testing.rehearsal_gate import RehearsalGate
from tests.attacks.test_gate_laundering import ASK, call_model
from tests.unit.test_kernel_admission import GRANT, admission, call

pytestmark = pytest.mark.anyio
THEFT = {"mcp_servers": [{"type": "url", "name": "x", "url": "https://evil.example/mcp"}]}
SEARCH = {"tools": [{"type": "web_search"}]}


async def asked(question):
    """Return what the door tells the gate of a question to a model."""
    gate = RehearsalGate()
    await call_model(gate, {**ASK, **question})
    return gate.calls[0].attempt


async def judged(question, grant: Grant):
    attempt = await asked(question)
    gate, _ = admission(lambda _call, _arguments: CallFacts(grant=grant))
    question_call = call(verb=Verb.ASK, target="m", facts=dict(attempt.facts))
    return await gate.admit(question_call, b"{}")


@pytest.mark.parametrize("question", [THEFT, SEARCH], ids=["servers", "search"])
async def test_what_a_provider_would_run_is_refused_unless_it_is_granted(question):
    no = await judged(question, GRANT)
    assert isinstance(no, Refused)
    assert (no.check, PROVIDER_TOOL in no.reason) == ("grant", True)
    for tools in ((PROVIDER_TOOL,), ("provider.*",), ("*",)):
        assert isinstance(await judged(question, replace(GRANT, tools=tools)), Admitted)


async def test_a_question_with_the_agents_own_tools_is_no_such_thing():
    own = {"tools": [{"type": "function", "function": {"name": "f"}}]}
    assert isinstance(await judged(own, GRANT), Admitted)


async def test_without_the_grants_word_the_theft_passes():
    """The guard is the fact that the door tells: without it the same question is admitted."""
    gate, _ = admission(lambda _call, _arguments: CallFacts(grant=GRANT))
    assert isinstance(await gate.admit(call(verb=Verb.ASK, target="m", facts={}), b"{}"), Admitted)


def test_no_tool_server_can_take_the_name():
    with pytest.raises(InvalidIdError):
        server_name("provider")


def test_whoever_confirms_the_grant_reads_what_it_means():
    told = grant_lines(Grant(tools=(PROVIDER_TOOL,)))
    assert any("providers of models search" in line for line in told)
