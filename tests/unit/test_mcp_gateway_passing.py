"""What a server offers besides its tools, between clients and servers of different eras."""

from dataclasses import dataclass

import pytest

from hive.protocols.mcp.ports import NEWEST, McpError
from hive.testing.rehearsal_gate import RehearsalGate
from tests.mcp_gateway_rig import OLD, PaperHub, QuietClient, call, gateways_on, tool, visitor

pytestmark = pytest.mark.anyio
LEVEL_KEY = "io.modelcontextprotocol/logLevel"
FORM = {"message": "Which?", "requestedSchema": {"type": "object", "properties": {}}}
YES = {"action": "accept", "content": {"which": "b"}}
ASKS = {"elicitation": {}}
PROMPT = ("prompts/get", {"name": "p"})


@dataclass
class ListeningClient(QuietClient):
    level: str = "warning"


async def asking(method, params, courier):
    """Ask by the result, those who said that they can be asked."""
    if "elicitation" not in courier.client:
        raise McpError(-32021, "The client cannot be asked.")
    if "inputResponses" not in params:
        question = {"method": "elicitation/create", "params": FORM}
        return {"resultType": "input_required", "inputRequests": {"q": question}}
    return {"resultType": "complete", "messages": [params["inputResponses"]["q"]]}


async def missing(method, params, courier):
    raise McpError(-32002, "Resource not found", {"uri": params["uri"]})


async def plain(method, params, courier):
    return {"content": [{"type": "text", "text": "done"}]}


def opened(respond, revision=NEWEST):
    hub = PaperHub()
    offered = {"prompts": {}, "resources": {}, "logging": {}}
    hub.add("files", tool("read"), respond=respond, revision=revision, capabilities=offered)
    return hub, gateways_on(hub, RehearsalGate(), "*").of("files")


async def test_a_new_server_may_ask_a_new_client_for_what_a_prompt_needs():
    _, service = opened(asking)
    client = QuietClient(client=ASKS)
    method, params = PROMPT
    first = await service.answer(visitor(), method, dict(params), client)
    assert first["inputRequests"] == {"q": {"method": "elicitation/create", "params": FORM}}
    again = {**params, "requestState": first["requestState"], "inputResponses": {"q": YES}}
    second = await service.answer(visitor(), method, again, client)
    assert second["messages"] == [YES]
    assert client.asked == []


async def test_a_new_servers_question_about_a_prompt_is_put_to_an_older_client_on_its_stream():
    _, service = opened(asking)
    client = QuietClient(revision=OLD, client=ASKS, answers={"elicitation/create": YES})
    result = await service.answer(visitor(), *PROMPT, client)
    assert result == {"messages": [YES]}
    assert client.asked == [("elicitation/create", FORM)]


@pytest.mark.parametrize(("revision", "code"), [(NEWEST, -32602), (OLD, -32002)])
async def test_a_missing_resource_of_an_older_server_is_told_in_the_clients_words(revision, code):
    _, service = opened(missing, OLD)
    client = QuietClient(revision=revision)
    with pytest.raises(McpError) as told:
        await service.answer(visitor(), "resources/read", {"uri": "file:///x"}, client)
    assert (told.value.code, told.value.data) == (code, {"uri": "file:///x"})


async def test_a_new_server_is_told_the_level_of_log_lines_with_each_call_and_never_asked_to_keep_it():
    hub, service = opened(plain)
    client = ListeningClient(revision=OLD)
    assert await service.answer(visitor(), "logging/setLevel", {"level": "warning"}, client) == {}
    await call(service, "read", client=client)
    [(method, params)] = hub.asked
    assert (method, params["_meta"][LEVEL_KEY]) == ("tools/call", "warning")


@pytest.mark.parametrize("level", ["", "loud", {"a": 1}, "x" * 9000])
async def test_what_is_no_level_goes_nowhere(level):
    hub, service = opened(plain)
    await call(service, "read", client=ListeningClient(level=level))
    assert LEVEL_KEY not in hub.asked[0][1]["_meta"]
