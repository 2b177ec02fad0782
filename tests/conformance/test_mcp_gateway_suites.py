"""The official server suites of both revisions through a whole node: its gateway, its agents and the node itself.

What fails for a reason is named here with the reason, and has to fail: an entry that passes is out of date.
"""

import pytest
from tests.conformance.bearer_proxy import bearer_proxy
from tests.conformance.gateway_node import SERVERS, gateway_node
from tests.conformance.suites import NEW, OLD, run_server_suite

pytestmark = [pytest.mark.anyio, pytest.mark.peers]
EDITIONS = [(OLD, OLD), (OLD, NEW), (NEW, NEW)]
CHECKS = {(OLD, OLD): 39, (OLD, NEW): 82, (NEW, NEW): 145}
SEVERAL = "server-sse-multiple-streams"
ROUNDS = "input-required-result-"
STATELESS = "server-stateless"
UNTESTABLE = "Not testable: "

# The gateway has tasks of its own, for calls that wait for a person, and hands none of a server on (extension).
TASKS = {"tasks-"}
# It answers what nobody asked, without the state of a question: the gateway hands no such answer on.
UNASKED = {f"{ROUNDS}ignore-extra-params: sep-2322-ignore-unexpected-params"}
# The suite waits some seconds for a change of a list: a machine under load may be later, and that is no failure.
LATE = (f"{STATELESS}: sep-2575-server-sends-",)
# A server of the older revisions asks in the middle of a call, and says that these tools are not for it.
ROUNDS_OF_OLDER = {
    *(f"{ROUNDS}basic-{kind}: " for kind in ("elicitation", "list-roots", "sampling")),
    f"{ROUNDS}capability-check: ",
    f"{ROUNDS}multi-round: ",
    f"{ROUNDS}multiple-input-requests: ",
    f"{ROUNDS}non-tool-request: ",
    f"{ROUNDS}request-state: ",
    f"{ROUNDS}result-type: ",
    f"{ROUNDS}tampered-state: ",
    f"{ROUNDS}missing-input-response: ",
    f"{STATELESS}: sep-2575-http-server-no-independent-requests-on-stream: {UNTESTABLE}",
}
EXPECTED = {
    **{(server, OLD): set() for server in SERVERS},
    ("newest", NEW): TASKS | UNASKED,
    ("walled", NEW): TASKS | UNASKED,
    ("older", NEW): TASKS | UNASKED | ROUNDS_OF_OLDER,
}

AGENT, NODE = "/mcp/agents/hello", "/mcp"
OF_SESSIONS = ["server-initialize", "ping", "tools-list", "resources-list"]
OF_REQUESTS = [
    STATELESS,
    "tools-list",
    "resources-list",
    "sep-2164-resource-not-found",
    "dns-rebinding-protection",
    "caching",
    "http-header-validation",
    SEVERAL,
    f"{ROUNDS}unsupported-methods",
    f"{ROUNDS}validate-input",
]
SCENARIOS = {
    (OLD, OLD): [*OF_SESSIONS, "dns-rebinding-protection", SEVERAL],
    (OLD, NEW): [*OF_SESSIONS, "dns-rebinding-protection", SEVERAL, "server-session-lifecycle"],
    (NEW, NEW): OF_REQUESTS,
}
# These checks need tools of the suite, which an agent and a node do not have.
NO_SUCH_TOOLS = {
    f"{STATELESS}: sep-2575-server-rejects-undeclared-capability: {UNTESTABLE}",
    f"{STATELESS}: sep-2575-missing-capability-http-400: {UNTESTABLE}",
    f"{STATELESS}: sep-2575-http-server-no-independent-requests-on-stream: {UNTESTABLE}",
    f"{STATELESS}: sep-2575-server-no-log-without-loglevel: {UNTESTABLE}",
}
# The node offers no prompts, and says so in its capabilities.
NO_PROMPTS = {"caching: sep-2549-prompts-list-caching-hints: "}
EXPECTED_OF_OWN = {AGENT: NO_SUCH_TOOLS, NODE: NO_SUCH_TOOLS | NO_PROMPTS}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with gateway_node(tmp_path_factory.mktemp("node")) as found:
        yield found


def only_expected(result, expected):
    """Check that what failed was expected, and that what was expected failed."""
    late = [one for one in result.warnings if one.startswith(LATE)]
    found = [*result.failures, *(one for one in result.warnings if one not in late)]
    assert [one for one in found if not one.startswith(tuple(expected))] == []
    assert {one for one in expected if not any(said.startswith(one) for said in found)} == set()


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(("revision", "edition"), EDITIONS)
async def test_no_check_fails_through_the_gateway(node, server, revision, edition):
    url = f"{node.url}/mcp/servers/{server}"
    result = await run_server_suite(url, revision, edition=edition)
    only_expected(result, EXPECTED[server, revision])
    assert result.passed >= CHECKS[revision, edition], result.output


@pytest.mark.parametrize("path", [AGENT, NODE])
@pytest.mark.parametrize(("revision", "edition"), EDITIONS)
async def test_no_check_fails_at_an_agent_and_at_the_node_itself(node, path, revision, edition):
    names = SCENARIOS[revision, edition] + (["prompts-list"] if path == AGENT else [])
    async with bearer_proxy(node.url, node.token()) as proxied:
        url = (node.url if path == AGENT else proxied) + path
        result = await run_server_suite(url, revision, edition=edition, scenarios=names)
    only_expected(result, EXPECTED_OF_OWN[path] if revision == NEW else set())
    assert set(result.scenarios) == set(names), result.output
