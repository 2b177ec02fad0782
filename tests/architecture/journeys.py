"""Follow a deployment, a message, an agent's own call and a tool call through a real node, function by function.

A profiler notes each call of a function of `hive` and of `hive_a2a` in every thread of a process that runs nothing else; what
runs inside the sandbox is another process and is not seen.
"""

import json
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import anyio
import httpx

from hive.core.settings import load_settings
from hive.node import run_node
from hive.web.ports import Console
from hive.web.values import DeployOrder

ROOT = Path(__file__).parents[2]
HIVE = ROOT / "packages" / "hive-os" / "src" / "hive"
SDK = ROOT / "packages" / "hive-a2a-sdk" / "src"
TURN_MAX_S = 60
REVISION = "2026-07-28"
_META = "io.modelcontextprotocol/"
AGENT = '''
import json, os, urllib.request

def mapped(text):
    """Ask the model, then answer."""
    asked = {"model": "scripted", "messages": [{"role": "user", "content": text}]}
    request = urllib.request.Request(
        os.environ["OPENAI_BASE_URL"] + "/chat/completions",
        data=json.dumps(asked).encode(),
        headers={
            "authorization": "Bearer " + os.environ["OPENAI_API_KEY"],
            "content-type": "application/json",
        },
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=20) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]
'''


class Step(NamedTuple):
    """One step of a journey: a file below `hive/`, or `hive_a2a/...` beside it, and a function in it."""

    file: str
    function: str


class Recording(NamedTuple):
    """What was visited while an agent was deployed, while it answered a message, and in a tool call."""

    deploying: tuple[Step, ...]
    message: tuple[Step, ...]
    tool: tuple[Step, ...]


def steps_of(heading: str) -> list[Step]:
    """Read the numbered list below a heading of ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\d+\. `([\w/]+\.py)` `([\w.]+)`", section, re.MULTILINE)
    return [Step(*pair) for pair in found]


def place_of(file: str) -> Path:
    """Return where the file of a step lies."""
    return SDK / file if file.startswith("hive_a2a/") else HIVE / file


def first_missing(steps: Sequence[Step], visited: Sequence[Step]) -> Step | None:
    """Return the first step that was not visited after the one before it."""
    at = 0
    for step in steps:
        try:
            at = visited.index(step, at) + 1
        except ValueError:
            return step
    return None


def record() -> Recording:
    """Run a node in a process of its own, deploy an agent, send it a message over HTTP."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.architecture.journeys"],
        cwd=ROOT,
        capture_output=True,
        timeout=2 * TURN_MAX_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    halves = json.loads(done.stdout)
    return Recording(*(tuple(Step(*step) for step in half) for half in halves))


def record_here() -> Recording:
    """Record in this process."""
    visited: list[Step] = []
    taken: list[tuple[Step, ...]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as source,
        _tool_server() as shop,
        _profiled(visited),
    ):
        Path(source, "mapped.py").write_text(AGENT)
        settings = load_settings({}, state_dir=folder, port=0, disk_floor_bytes=0)

        async def on_ready(console: Console) -> None:
            with anyio.fail_after(TURN_MAX_S):
                visited.clear()
                order = DeployOrder(source="mapped.py:mapped", folder=source, safe=True)
                async for _ in console.deploy(order):
                    pass
                taken.append(tuple(visited))
                visited.clear()
                token = Path(folder, "operator.token").read_text().strip()
                await _send(console.facts().doors["a2a"], token)
                taken.append(tuple(visited))
                await _add_tool(console.facts().doors["a2a"], token, shop)
                visited.clear()
                await _call_tool(console.facts().doors["a2a"], token)
                taken.append(tuple(visited))
            await console.shutdown()

        run = partial(run_node, settings, on_ready=on_ready)
        anyio.run(run, backend_options={"use_uvloop": True})
    return Recording(*taken)


async def _send(address: str, token: str) -> None:
    headers = {"authorization": f"Bearer {token}", "a2a-version": "1.0"}
    message = {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": "hello"}]}
    call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    async with httpx.AsyncClient(headers=headers, timeout=TURN_MAX_S, trust_env=False) as client:
        answer = await client.post(f"{address}/a2a/mapped", json=call)
    state = answer.json()["result"]["task"]["status"]["state"]
    assert state == "TASK_STATE_COMPLETED", answer.text


async def _add_tool(address: str, token: str, url: str) -> None:
    order = {"name": "shop", "transport": "http", "url": url}
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(headers=headers, timeout=TURN_MAX_S, trust_env=False) as client:
        plan = await client.post(f"{address}/api/tools/plan", json=order)
        confirmed = plan.json()["digest"]
        added = await client.post(f"{address}/api/tools", json={**order, "confirmed": confirmed})
    assert "ready" in added.text, added.text


async def _call_tool(address: str, token: str) -> None:
    names = {"mcp-protocol-version": REVISION, "mcp-method": "tools/call", "mcp-name": "shop__echo"}
    headers = {"authorization": f"Bearer {token}", "accept": "application/json", **names}
    meta = {f"{_META}protocolVersion": REVISION, f"{_META}clientCapabilities": {}}
    meta |= {f"{_META}clientInfo": {"name": "mapped", "version": "1"}}
    params = {"name": "shop__echo", "arguments": {"text": "over"}, "_meta": meta}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    async with httpx.AsyncClient(headers=headers, timeout=TURN_MAX_S, trust_env=False) as client:
        answer = await client.post(f"{address}/mcp/tools", json=call)
    assert answer.json()["result"]["content"][0]["text"] == "over", answer.text


@contextmanager
def _tool_server() -> Iterator[str]:
    """Serve one tool without state, in threads of no interest."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Shop)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/mcp"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        schema = {"type": "object", "properties": {"text": {"type": "string"}}}
        tool = {"name": "echo", "description": "Say it again.", "inputSchema": schema}
        info = {"name": "shop", "version": "1"}
        results = {
            "server/discover": {
                "supportedVersions": [REVISION],
                "capabilities": {"tools": {}},
                "serverInfo": info,
                "ttlMs": 0,
                "cacheScope": "public",
            },
            "tools/list": {"tools": [tool], "ttlMs": 60_000, "cacheScope": "public"},
            "tools/call": {"content": [{"type": "text", "text": "over"}]},
        }
        result = {"resultType": "complete", **results.get(asked["method"], {})}
        body = json.dumps({"jsonrpc": "2.0", "id": asked.get("id"), "result": result}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing: the answers are looked at."""


@contextmanager
def _profiled(visited: list[Step]) -> Iterator[None]:
    known: dict[str, str | None] = {}

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event != "call":
            return
        name = frame.f_code.co_filename
        if name not in known:
            path = Path(name)
            root = next((one for one in (HIVE, SDK / "hive_a2a") if path.is_relative_to(one)), None)
            known[name] = None
            if root is not None:
                known[name] = path.relative_to(HIVE if root == HIVE else SDK).as_posix()
        file = known[name]
        if file is not None:
            visited.append(Step(file, frame.f_code.co_qualname))

    before: Callable[..., object] | None = sys.getprofile()
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)
        threading.setprofile(before)  # type: ignore[arg-type]


if __name__ == "__main__":
    json.dump(record_here(), sys.stdout)
