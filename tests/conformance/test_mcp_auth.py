"""The official suites of authorization: against the node's authorization server, and against its logins elsewhere."""

import json
import sys
import tempfile
from pathlib import Path

import anyio
import httpx
import pytest
from anyio.streams.text import TextReceiveStream
from tests.conformance.suites import NEW, OLD, conformance_programs, run_client_suite
from tests.mcp_login_rig import say_yes

from hive.testing.node_process import free_port, node_process

pytestmark = [pytest.mark.anyio, pytest.mark.peers]
HERE = Path(__file__)
COMMAND = f"env PYTHONPATH={HERE.parents[2]} {sys.executable} {HERE.with_name('client_auth.py')}"
OFFERED = [
    "metadata-default",
    "metadata-var1",
    "metadata-var2",
    "metadata-var3",
    "basic-cimd",
    "scope-from-www-authenticate",
    "scope-from-scopes-supported",
    "scope-omitted-when-undefined",
    "scope-step-up",
    "scope-retry-limit",
    "token-endpoint-auth-basic",
    "token-endpoint-auth-post",
    "token-endpoint-auth-none",
    "pre-registration",
]
NEWER = [
    "resource-mismatch",
    "offline-access-scope",
    "offline-access-not-supported",
    "authorization-server-migration",
    "iss-supported",
    "iss-not-advertised",
    "iss-supported-missing",
    "iss-wrong-issuer",
    "iss-unexpected",
    "iss-normalized",
    "metadata-issuer-mismatch",
]
MACHINES = ["client-credentials-jwt", "client-credentials-basic"]
BOUND = ["dpop", "dpop-nonce"]
SCENARIOS = {
    (OLD, OLD): [*OFFERED, *MACHINES],
    (OLD, NEW): OFFERED,
    (NEW, NEW): [*OFFERED, *NEWER],
}


@pytest.mark.parametrize(("revision", "edition"), SCENARIOS)
async def test_no_check_of_a_login_elsewhere_fails(revision, edition):
    names = [f"auth/{name}" for name in SCENARIOS[revision, edition]]
    result = await run_client_suite(COMMAND, revision, scenarios=names, edition=edition)
    assert result.failures == (), result.output
    assert set(result.scenarios) == set(names)


async def test_no_check_of_the_extensions_fails():
    names = [f"auth/{name}" for name in (*MACHINES, *BOUND)]
    result = await run_client_suite(COMMAND, NEW, scenarios=names)
    assert result.failures == (), result.output
    assert set(result.scenarios) == set(names)


async def test_no_check_of_the_authorization_server_fails(tmp_path):
    port = free_port()
    back = f"http://127.0.0.1:{port}/callback"
    with node_process(tmp_path / "state", {"HIVE_OAUTH_REGISTRATION": "true"}) as node:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            asked = {"client_name": "Suite", "redirect_uris": [back]}
            made = (await http.post(f"{node.url}/oauth/register", json=asked)).json()
        told, checks = await _authorized(node, made["client_id"], port)
    found = {check["id"]: (check["status"], check.get("errorMessage")) for check in checks}
    assert len(found) >= 3, told
    assert {status for status, _ in found.values()} == {"SUCCESS"}, found


async def _authorized(node, client_id, port):
    """Run the suite, and play the user that it sends to the page."""
    programs = conformance_programs() / "node_modules"
    suite = programs / f"conformance-{NEW}" / "dist" / "index.js"
    with tempfile.TemporaryDirectory() as folder:
        words = ["authorization", "--url", node.url, "--client-id", client_id, "--port", str(port)]
        words += ["--resource", f"{node.url}/mcp/tools", "--output-dir", folder]
        command = [str(programs / "node" / "bin" / "node"), str(suite), *words]
        told = ""
        with anyio.fail_after(150):
            async with await anyio.open_process(command, stderr=None, cwd=folder) as process:
                answered = False
                async for text in TextReceiveStream(process.stdout):
                    told += text
                    line = next(
                        (one for one in told.splitlines(keepends=True) if _is_address(node, one)),
                        "",
                    )
                    if line.endswith("\n") and not answered:
                        answered = True
                        await anyio.to_thread.run_sync(_play, line.strip(), node.token())
                await process.wait()
        files = sorted(Path(folder).glob("**/checks.json"))
        return told, [check for file in files for check in json.loads(file.read_text())]


def _is_address(node, line):
    return line.startswith(f"{node.url}/oauth/authorize?")


def _play(url, token):
    httpx.get(say_yes(url, token), timeout=60, trust_env=False)
