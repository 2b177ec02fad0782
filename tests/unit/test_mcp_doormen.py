"""Doormen know agents by their handle on their own socket, and others by tokens; everybody else is turned away."""

from datetime import timedelta

import pytest

from hive.core.call import Refused
from hive.core.clock import SystemClock
from hive.core.ids import AgentId, OwnerId
from hive.core.randomness import SystemRandomness
from hive.core.secret import Secret
from hive.kernel.host_parts import opened_with
from hive.node.gates import agent_environment
from hive.protocols.mcp.doormen import HandleDoorman, TokenDoorman, split_handle
from hive.protocols.mcp.ports import Turned, Visitor
from hive.security.tokens import Tokens
from hive.testing.rehearsal_gate import CALLER, HANDLE, SANDBOX, RehearsalGate

pytestmark = pytest.mark.anyio


class NoDatabase:
    async def execute(self, *_):
        return "OK 1"


@pytest.fixture
def tokens():
    return Tokens(
        database=NoDatabase(),
        clock=SystemClock(),
        randomness=SystemRandomness(),
        operator=Secret("the-operators-own"),
    )


async def knock(doorman, path, headers=None, sandbox=None):
    scope = {"type": "http", "path": path}
    if sandbox is not None:
        scope["hive.sandbox"] = sandbox
    return await doorman.identify(scope, headers or {})


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/mcp", {"authorization": f"Bearer {HANDLE}"}),
        ("/mcp", {"x-api-key": HANDLE}),
        (f"/mcp/~{HANDLE}", {}),
        (f"/mcp/~{HANDLE}/servers/files", {"authorization": f"bearer {HANDLE}"}),
    ],
)
async def test_a_handle_is_known_wherever_a_client_can_put_it(path, headers):
    trace = f"00-{'a' * 32}-{'b' * 16}-03"
    found = await knock(
        HandleDoorman(gate=RehearsalGate()), path, {**headers, "traceparent": trace}, SANDBOX
    )
    assert found == Visitor(principal=CALLER, traceparent=trace)


@pytest.mark.parametrize(
    ("path", "headers", "sandbox"),
    [
        ("/mcp", {}, SANDBOX),
        ("/mcp", {"authorization": f"Bearer {HANDLE}"}, "box-2"),
        ("/mcp", {"authorization": f"Bearer {HANDLE}"}, None),
        ("/mcp", {"authorization": f"Bearer {HANDLE}", "x-api-key": "other"}, SANDBOX),
        ("/mcp/~other", {"authorization": f"Bearer {HANDLE}"}, SANDBOX),
        ("/mcp", {"authorization": f"Basic {HANDLE}"}, SANDBOX),
        ("/mcp", {"authorization": "Bearer hive-\u2603"}, SANDBOX),
    ],
)
async def test_a_handle_elsewhere_twice_or_wrong_is_nobodys(path, headers, sandbox):
    found = await knock(HandleDoorman(gate=RehearsalGate()), path, headers, sandbox)
    assert isinstance(found, Turned)
    assert found.status == 401
    assert "www-authenticate" in found.headers
    assert HANDLE not in found.message


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("/mcp/~h/servers/x", ("h", "/mcp/servers/x")),
        ("/mcp/~h", ("h", "/mcp")),
        ("/mcp/~h/", ("h", "/mcp")),
        ("/mcp/servers/~h", ("", "/mcp/servers/~h")),
    ],
)
def test_a_handle_is_cut_out_of_a_path(path, split):
    assert split_handle(path) == split


def test_an_agent_finds_address_and_key_in_its_environment():
    environment = opened_with("hive-abc", agent_environment())
    assert environment["HIVE_MCP_URL"] == "http://127.0.0.1:4100/mcp/~hive-abc"
    assert environment["HIVE_MCP_KEY"] == environment["HIVE_HANDLE"] == "hive-abc"


async def test_the_operators_token_opens_all_and_no_token_nothing(tokens):
    doorman = TokenDoorman(tokens=tokens)
    for path in ("/mcp", "/mcp/tools", "/mcp/agents/a"):
        found = await knock(doorman, path, {"authorization": "Bearer the-operators-own"})
        assert isinstance(found, Visitor)
        assert (found.agents, found.scopes) == (None, None)
        assert (await knock(doorman, path)).status == 401
        wrong = await knock(doorman, path, {"authorization": "Bearer hive-client.x.y"})
        assert wrong.status == 401


async def test_a_clients_token_opens_tools_unless_it_names_agents_and_never_the_node(tokens):
    wide = await tokens.issue("wide", owner=OwnerId("carol"))
    narrow = await tokens.issue("narrow", owner=OwnerId("carol"), agents=[AgentId("a")])
    doorman = TokenDoorman(tokens=tokens)
    shown = {"authorization": f"Bearer {wide.reveal()}"}
    assert "tools" in (await knock(doorman, "/mcp/tools", shown)).scopes
    assert (await knock(doorman, "/mcp", shown)).status == 403
    assert (await knock(doorman, "/mcp/toolsx", shown)).status == 403
    found = await knock(doorman, "/mcp/tools", {"authorization": f"Bearer {narrow.reveal()}"})
    assert (found.scopes, found.agents) == (frozenset({"agents"}), frozenset({"a"}))


async def test_an_expired_token_is_nobodys(tokens):
    token = await tokens.issue("brief", owner=OwnerId("c"), lifetime=timedelta(microseconds=1))
    assert isinstance(tokens.recognise(token.reveal()), Refused)
    found = await knock(
        TokenDoorman(tokens=tokens), "/mcp/tools", {"authorization": f"Bearer {token.reveal()}"}
    )
    assert found.status == 401


async def test_strangers_come_in_only_where_they_may_and_never_to_the_node(tokens):
    doorman = TokenDoorman(tokens=tokens, anonymous=True)
    assert (await knock(doorman, "/mcp/agents/a")).scopes == {"agents"}
    for path in ("/mcp/tools", "/mcp/servers/x"):
        assert (await knock(doorman, path)).status == 401
    doorman = TokenDoorman(tokens=tokens, anonymous=True, anonymous_tools=True)
    for path in ("/mcp/tools", "/mcp/servers/x", "/mcp/agents/a"):
        assert isinstance(await knock(doorman, path), Visitor)
        assert (await knock(doorman, path, {"authorization": "Basic x"})).status == 401
    assert (await knock(doorman, "/mcp")).status == 401
    assert (await knock(TokenDoorman(tokens=tokens), "/mcp/tools")).status == 401


async def test_a_token_of_another_kind_is_asked_about_first(tokens):
    async def oauth(scope, headers):
        if headers.get("authorization", "").startswith("Bearer ey"):
            return Turned(status=403, message="insufficient_scope")
        return None

    doorman = TokenDoorman(
        tokens=tokens, recognise_oauth=oauth, challenge=lambda _: 'Bearer resource_metadata="x"'
    )
    assert (await knock(doorman, "/mcp/tools", {"authorization": "Bearer eyJ"})).status == 403
    turned = await knock(doorman, "/mcp/tools")
    assert turned.headers["www-authenticate"] == 'Bearer resource_metadata="x"'
