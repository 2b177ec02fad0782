"""A whole node that programs log in at, and that logs in elsewhere: what a token opens, and what it never does."""

import json
import subprocess
import sys
from pathlib import Path

import anyio
import httpx
import httpx2
import pytest

from hive.testing.node_process import free_port, node_process
from tests.end_to_end.browser import browser_tab, chromium
from tests.mcp_login_rig import BACK, KeptTokens, SdkVisitor, fields_of_url, say_yes

ROOT = Path(__file__).parents[2]
SERVERS = Path(__file__).parents[1] / "interop" / "mcp_servers"
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "app", "version": "1"},
    },
}
ACCEPT = {"accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def official():
    yield from _served("official.py")


@pytest.fixture(scope="module")
def locked():
    yield from _served("wants_login.py")


def _served(name):
    port = free_port()
    process = subprocess.Popen([sys.executable, str(SERVERS / name), str(port)])
    try:
        anyio.run(_answering, port)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()


async def _answering(port):
    with anyio.fail_after(60):
        while True:
            try:
                async with await anyio.connect_tcp("127.0.0.1", port):
                    return
            except OSError:
                await anyio.sleep(0.05)


@pytest.fixture(scope="module")
def node(tmp_path_factory, official):
    environment = {"HIVE_OAUTH_REGISTRATION": "true"}
    with node_process(tmp_path_factory.mktemp("node"), environment) as found:
        found.hive("tool", "add", "official", "--url", official, "--yes")
        found.hive("run", str(ROOT / "examples" / "hello.py") + ":agent")
        yield found


def visitor(node, path, **changes):
    return SdkVisitor(f"{node.url}{path}", lambda url: say_yes(url, node.token()), **changes)


@pytest.fixture(scope="module")
def of_tools(node):
    """A program that is logged in at the tools."""
    program = visitor(node, "/mcp/tools")
    assert "official__echo" in anyio.run(program.use, names)
    return program


async def names(client):
    return {tool.name for tool in (await client.list_tools()).tools}


async def echo(client):
    return (await client.call_tool("official__echo", {"text": "over"})).content[0].text


def knock(node, path, token, **more):
    headers = {"authorization": f"Bearer {token}", **ACCEPT}
    return httpx.post(f"{node.url}{path}", headers=headers, json=HELLO, timeout=60, **more)


def test_the_official_client_logs_in_and_calls_and_comes_back_without_asking(node, of_tools):
    assert of_tools.sent_away == 1
    assert anyio.run(of_tools.use, echo) == "over"
    again = visitor(node, "/mcp/tools", kept=of_tools.kept)
    assert anyio.run(again.use, echo) == "over"
    assert again.sent_away == 0


def test_a_token_of_one_endpoint_opens_no_other_and_no_other_door(node, of_tools):
    token = of_tools.kept.tokens.access_token
    assert knock(node, "/mcp/tools", token).status_code == 200
    for path in (
        "/mcp",
        "/mcp/servers/official",
        "/mcp/agents/hello",
        "/mcp/tools/../agents/hello",
    ):
        answer = knock(node, path, token)
        assert answer.status_code in (401, 404), (path, answer.text)
    task = node.send("hello", "Ada")
    refused = node.rpc("hello", "SendMessage", {"message": {}}, token=token)
    assert refused["status"] == 401, refused
    assert node.rpc("hello", "GetTask", {"id": task.id}, token=token)["status"] == 401
    for path in ("/api/agents", "/api/tasks", "/api/status", "/api/tools", "/"):
        answer = httpx.get(
            f"{node.url}{path}", headers={"authorization": f"Bearer {token}"}, timeout=60
        )
        assert answer.status_code in (401, 403, 404), (path, answer.text)
    body = {"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"taskId": task.id}}
    headers = {"authorization": f"Bearer {token}", "mcp-protocol-version": "2025-11-25", **ACCEPT}
    answer = httpx.post(f"{node.url}/mcp/tools", headers=headers, json=body, timeout=60)
    assert "Ada" not in answer.text
    assert '"result"' not in answer.text, answer.text


def test_a_token_for_an_agent_opens_that_agent_alone(node):
    program = visitor(node, "/mcp/agents/hello")
    assert anyio.run(program.use, names)
    token = program.kept.tokens.access_token
    assert program.kept.tokens.scope == "agents"
    assert knock(node, "/mcp/agents/hello", token).status_code == 200
    for path in ("/mcp", "/mcp/tools", "/mcp/servers/official", "/mcp/agents/other"):
        assert knock(node, path, token).status_code == 401, path


def test_one_who_only_looks_is_told_which_scope_he_lacks_and_steps_up(node):
    program = visitor(node, "/mcp")
    program.decide = lambda url: say_yes(_with_scope(url, "observe"), node.token())
    listed = anyio.run(program.use, names)
    assert "list_agents" in listed
    assert program.kept.tokens.scope == "observe"
    token = program.kept.tokens.access_token
    call = {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "tools/call",
        "params": {"name": "call_agent", "arguments": {"agent": "hello"}},
    }
    headers = {"authorization": f"Bearer {token}", "mcp-protocol-version": "2025-11-25", **ACCEPT}
    answer = httpx.post(f"{node.url}/mcp", headers=headers, json=call, timeout=60)
    assert answer.status_code == 403, answer.text
    told = answer.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in told
    assert 'scope="observe operate"' in told
    assert f'resource_metadata="{node.url}/.well-known/oauth-protected-resource/mcp"' in told
    assert node.send("hello", "Ada").answer
    wider = visitor(node, "/mcp")
    wider.decide = lambda url: say_yes(_with_scope(url, "observe operate"), node.token())
    assert anyio.run(wider.use, names) >= listed
    assert set(wider.kept.tokens.scope.split()) == {"observe", "operate"}


def test_a_revoked_login_opens_nothing_and_a_stranger_is_told_where_to_log_in(node):
    program = visitor(node, "/mcp/tools", kept=KeptTokens())
    anyio.run(program.use, names)
    tokens, client = program.kept.tokens, program.kept.client
    form = {"token": tokens.refresh_token, "client_id": client.client_id}
    assert httpx.post(f"{node.url}/oauth/revoke", data=form, timeout=60).status_code == 200
    answer = knock(node, "/mcp/tools", tokens.access_token)
    assert answer.status_code == 401
    told = answer.headers["www-authenticate"]
    assert 'error="invalid_token"' in told
    metadata = f"{node.url}/.well-known/oauth-protected-resource/mcp/tools"
    assert f'resource_metadata="{metadata}"' in told
    described = httpx.get(metadata, timeout=60).json()
    assert described["resource"] == f"{node.url}/mcp/tools"
    assert described["authorization_servers"] == [node.url]
    nobody = httpx.post(f"{node.url}/mcp/tools", json=HELLO, headers=ACCEPT, timeout=60)
    assert metadata in nobody.headers["www-authenticate"]


def test_the_operator_takes_a_login_back_and_a_call_that_waits_for_a_yes_ends_with_it(node):
    node.hive("approve", "rules", "add", "echoes", "official.echo", "--hold", "90")
    program = visitor(node, "/mcp/tools")
    anyio.run(program.use, names)
    token = program.kept.tokens.access_token
    newest = json.loads(node.hive("mcp", "grants", "--json").splitlines()[0])
    assert newest["client"] == program.kept.client.client_id
    assert newest["resource"] == f"{node.url}/mcp/tools"
    answers = anyio.run(_held_and_taken_back, node, token, newest["id"])
    # It had not begun to answer, or had become a stream that ends without a result.
    assert '"result"' not in answers["said"], answers
    assert answers["stream"] == "ended"
    assert knock(node, "/mcp/tools", token).status_code == 401
    form = {
        "grant_type": "refresh_token",
        "refresh_token": program.kept.tokens.refresh_token,
        "client_id": program.kept.client.client_id,
    }
    assert httpx.post(f"{node.url}/oauth/token", data=form, timeout=60).status_code == 400
    assert newest["id"] not in node.hive("mcp", "grants", "--json")
    told = [
        json.loads(one) for one in node.hive("audit", "tail", "-n", "50", "--json").splitlines()
    ]
    ours = [one for one in told if newest["id"] in json.dumps(one)]
    said = json.dumps(ours)
    assert "oauth.granted" in said
    assert "oauth.revoked" in said
    node.hive("approve", "rules", "rm", "echoes")


async def _held_and_taken_back(node, token, grant):
    """Hold a call and a stream open, take the grant back, and return how both ended."""
    found = {}
    headers = {"authorization": f"Bearer {token}", "mcp-protocol-version": "2025-11-25", **ACCEPT}
    url = f"{node.url}/mcp/tools"
    async with httpx.AsyncClient(headers=headers, timeout=120, trust_env=False) as http:
        begun = await http.post(url, json=HELLO)
        http.headers["mcp-session-id"] = begun.headers["mcp-session-id"]
        call = {"name": "official__echo", "arguments": {"text": "over"}}
        body = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}

        async def hold():
            answer = await http.post(url, json=body)
            found["call"] = answer.status_code
            found["said"] = answer.text

        with anyio.fail_after(80):
            async with anyio.create_task_group() as tasks, http.stream("GET", url) as stream:
                assert stream.status_code == 200
                tasks.start_soon(hold)
                # Each look is a command of its own, so this loop does not run hot.
                while "official.echo" not in await _hive(node, "approve", "list", "--json"):
                    assert "call" not in found, found
                await _hive(node, "mcp", "revoke", grant)
                try:
                    async for _ in stream.aiter_raw():
                        pass
                except (httpx.RemoteProtocolError, httpx.ReadError):
                    pass
                found["stream"] = "ended"
    return found


async def _hive(node, *words):
    return await anyio.to_thread.run_sync(lambda: node.hive(*words))


def test_a_login_survives_a_kill_of_the_node(node):
    program = visitor(node, "/mcp/tools")
    anyio.run(program.use, names)
    node.kill()
    node.start()
    assert anyio.run(program.use, echo) == "over"
    assert program.sent_away == 1


@pytest.mark.skipif(chromium() is None, reason="there is no Chromium")
def test_an_operator_says_yes_on_the_page_in_a_real_browser(node, tmp_path):
    with browser_tab(tmp_path) as tab:

        def decide(url):
            tab.open(url)
            tab.until("document.querySelector('input[name=token]') !== null")
            assert "App" in tab.value("document.body.innerText")
            token = json.dumps(node.token())
            tab.value(f"document.querySelector('input[name=token]').value = {token}")
            tab.value("document.querySelector('button[value=yes]').click()")
            # Nobody listens there: what counts is where the browser was sent.
            tab.until("location.href.startsWith('chrome-error') || location.pathname === '/back'")
            return next(one for one in reversed(tab.requests) if one.startswith(BACK))

        program = SdkVisitor(f"{node.url}/mcp/tools", decide)
        assert anyio.run(program.use, echo) == "over"


def test_the_node_logs_in_at_a_server_elsewhere_and_shows_it_no_callers_token(node, locked):
    node.hive("tool", "add", "locked", "--url", locked, "--oauth", "--yes")
    printed = node.hive("tool", "login", "locked", "--json")
    url = json.loads(printed)["url"]
    asked = fields_of_url(url)
    assert asked["resource"] == locked
    assert asked["code_challenge_method"] == "S256"
    sent = httpx.get(url, timeout=60)
    assert sent.status_code == 302, sent.text
    done = httpx.get(sent.headers["location"], timeout=60)
    assert done.status_code == 200, done.text
    assert "Logged in at locked" in done.text
    assert httpx.get(sent.headers["location"], timeout=60).status_code == 400
    anyio.run(_listed, node, "locked")
    assert "sesame" in node.hive("tool", "call", "locked.secret_word")
    site = locked.removesuffix("/mcp")
    before = httpx.get(f"{site}/seen", timeout=60).json()
    httpx.post(f"{site}/forget", timeout=60)
    program = visitor(node, "/mcp/servers/locked")
    assert anyio.run(program.use, _secret_word) == "sesame"
    after = httpx.get(f"{site}/seen", timeout=60).json()
    assert after["renewed"] > before["renewed"]
    shown = " ".join(after["seen"])
    assert node.token() not in shown
    assert program.kept.tokens.access_token not in shown
    assert "oauth-login." in node.hive("secret", "list")


async def _secret_word(client):
    return (await client.call_tool("secret_word", {})).content[0].text


async def _listed(node, server):
    """Wait until the hub has asked a server for its tools, which it does by itself after a login."""
    headers = {"authorization": f"Bearer {node.token()}"}
    with anyio.fail_after(60):
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            while True:
                answer = await http.get(f"{node.url}/api/tools?tools=1")
                if f"{server}.secret_word" in answer.text:
                    return
                assert answer.status_code == 200
                await anyio.sleep(0.2)


def _with_scope(url, scope):
    """Ask for other scopes than the client did."""
    from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

    parts = urlsplit(url)
    fields = {**dict(parse_qsl(parts.query)), "scope": scope}
    return urlunsplit(parts._replace(query=urlencode(fields)))
