"""A client for the conformance suites' scenarios of `auth/*`: logs in with the code that the hub's connections use.

Run by the suite as `python client_auth.py URL`; the browser is played by following the redirect once.
"""

import json
import sys
from urllib.parse import parse_qsl, urlsplit

import anyio
import httpx

from hive.core.clock import SystemClock
from hive.core.errors import NotFoundError, StateError
from hive.core.ids import OwnerId
from hive.core.randomness import SystemRandomness
from hive.core.secret import Secret
from hive.core.settings import variable
from hive.protocols.mcp.drivers.calls import HttpCaller, read_all
from hive.protocols.mcp.hub.ports import WireOpening
from hive.protocols.mcp.oauth.login import UpstreamLogin
from hive.protocols.mcp.ports import McpObject, ServerSpec, TransportKind

LOGINS_MAX = 3
OWNER = OwnerId("operator")
CLIENT_ID = "https://conformance-test.local/client-metadata.json"


class MemoryVault:
    """The vault's three words, in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Secret] = {}

    async def put(self, name: str, secret: Secret) -> None:
        self.kept[name] = secret

    async def get(self, name: str) -> Secret:
        if name not in self.kept:
            raise NotFoundError("There is no such secret.")
        return self.kept[name]

    async def remove(self, name: str) -> None:
        await self.get(name)
        del self.kept[name]


class DeafEars:
    """Hears nothing: these scenarios say nothing aside."""

    async def note(self, method: str, params: McpObject) -> None:
        del method, params

    async def question(self, method: str, params: McpObject) -> McpObject:
        del method, params
        return {}


def given_by_suite(what: str) -> str:
    """Return what the suite tells its client."""
    return variable(f"MCP_CONFORMANCE_{what}")


async def _visit(login: UpstreamLogin, spec: ServerSpec) -> None:
    url = await login.begin(spec, OWNER)
    if not url:
        return
    async with httpx.AsyncClient(trust_env=False) as browser:
        answer = await browser.get(url)
    await login.finish(dict(parse_qsl(urlsplit(answer.headers["location"]).query)))


async def _ask(caller: HttpCaller, method: str, params: dict[str, object]) -> dict[str, object]:
    version = given_by_suite("PROTOCOL_VERSION") or "2025-11-25"
    lines = "content-type: application/json\r\naccept: application/json, text/event-stream\r\n"
    if version == "2026-07-28":
        about = {"name": "hive", "version": "1"}
        key = "io.modelcontextprotocol"
        meta = {f"{key}/protocolVersion": version, f"{key}/clientInfo": about}
        params = {**params, "_meta": {**meta, f"{key}/clientCapabilities": {}}}
        lines += f"mcp-method: {method}\r\n"
        if isinstance(params.get("name"), str):
            lines += f"mcp-name: {params['name']}\r\n"
    if method != "initialize":
        lines += f"mcp-protocol-version: {version}\r\n"
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    response = await caller.send("POST", lines, body)
    try:
        data = (await read_all(response, 1 << 20)).decode()
    finally:
        response.close()
    if data.lstrip().startswith("{"):
        return dict(json.loads(data))
    for line in data.splitlines():
        if line.startswith("data:") and line[5:].strip():
            return dict(json.loads(line[5:]))
    return {}


async def _with_login(
    login: UpstreamLogin,
    spec: ServerSpec,
    caller: HttpCaller,
    method: str,
    params: dict[str, object],
) -> dict[str, object]:
    for _ in range(LOGINS_MAX):
        try:
            return await _ask(caller, method, params)
        except StateError:
            await _visit(login, spec)
    return await _ask(caller, method, params)


def _given(context: dict[str, object]) -> str:
    """Return the client that a scenario gives, as an operator would write it into the vault."""
    if "client_id" not in context:
        return ""
    scenario = given_by_suite("SCENARIO")
    fields = {"client_id": context["client_id"], "method": ""}
    if "client_secret" in context:
        fields["client_secret"] = context["client_secret"]
    if "private_key_pem" in context:
        fields |= {"private_key": context["private_key_pem"], "method": "private_key_jwt"}
    if "client-credentials" in scenario:
        fields["grant"] = "client_credentials"
    return json.dumps(fields)


async def run(url: str) -> None:
    """Log in where that is asked, list the tools, and call the first."""
    vault = MemoryVault()
    given = _given(json.loads(given_by_suite("CONTEXT") or "{}"))
    if given:
        vault.kept["oauth-client.test"] = Secret(given)
    login = UpstreamLogin(
        vault=vault,
        clock=SystemClock(),
        randomness=SystemRandomness(),
        origin=lambda: "http://127.0.0.1:8700",
        client_id=CLIENT_ID,
    )
    spec = ServerSpec(name="test", transport=TransportKind.HTTP, url=url, oauth=True)
    opening = WireOpening(
        spec=spec,
        owner=OWNER,
        instance="",
        clock=SystemClock(),
        hearer=DeafEars(),
        auth=login.auth_for(spec, OWNER),
    )
    caller = HttpCaller(opening)
    if given_by_suite("PROTOCOL_VERSION") != "2026-07-28":
        hello: dict[str, object] = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "hive", "version": "1"},
        }
        await _with_login(login, spec, caller, "initialize", hello)
    listed = await _with_login(login, spec, caller, "tools/list", {})
    tools = dict(listed.get("result") or {}).get("tools") or []  # type: ignore[call-overload]
    for tool in tools[:1]:
        params = {"name": tool["name"], "arguments": {}}
        await _with_login(login, spec, caller, "tools/call", params)
    caller.close()


if __name__ == "__main__":
    anyio.run(run, sys.argv[-1])
