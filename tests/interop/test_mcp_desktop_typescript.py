"""The official TypeScript clients, both lines of them, over HTTP and through `hive mcp`; needs node and npm."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import anyio
import pytest
from tests.interop.test_mcp_desktop_agents import Doorman, House

from hive.core.clock import SystemClock
from hive.core.settings import Settings
from hive.execution.ports import TurnDone
from hive.protocols.mcp.front.app import McpFront
from hive.testing.a2a_door import streamer
from hive.testing.loopback import serve_app

pytestmark = pytest.mark.anyio
HERE = Path(__file__).parent / "js_mcp"
CLIENTS = ("v1", "v2-legacy", "v2-auto")
WAYS = ("http", "stdio")


@pytest.fixture(scope="module")
def program():
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")  # noqa: TID251
    folder = cache / "hive-tests" / "mcp-js-1.32.2-2.4.0"
    if not (folder / "node_modules").is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
            shutil.copy(HERE / "package.json", fresh)
            made = subprocess.run(
                ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"],
                cwd=fresh,
                capture_output=True,
                timeout=120,
                check=False,
            )
            if made.returncode != 0:
                pytest.skip("npm could not install the clients")
            shutil.copytree(fresh, folder, dirs_exist_ok=True, symlinks=True)
    shutil.copy(HERE / "desktop.mjs", folder)
    return folder / "desktop.mjs"


@pytest.fixture
async def house(anyio_backend, tmp_path):
    heard = anyio.Path(tmp_path / "heard")

    async def until_heard(turn):
        """Answer only after the program has heard of progress: what comes in one piece with the answer, v1 drops."""
        async for event in streamer(turn):
            tries = 2000 if isinstance(event, TurnDone) else 0
            while tries > 0 and not await heard.exists():
                tries -= 1
                await anyio.sleep(0.01)
            yield event

    house = House()
    house.heard = heard
    house.gate.functions["streamer"] = until_heard
    front = McpFront(
        service_for=house.service_for, doorman=Doorman(), settings=Settings(), clock=SystemClock()
    )
    async with house.gate.running(), front, serve_app(front) as house.url:
        yield house


async def run(program, house, client, way, agent, more):
    target = f"{house.url}/mcp/agents/{agent}"
    if way == "stdio":
        argv = [sys.executable, "-m", "hive", "mcp", "--url", house.url, "agent", agent]
        target = json.dumps(argv)
    arguments = json.dumps({"message": "hello"})
    with anyio.fail_after(60):
        done = await anyio.run_process(
            [
                "node",
                str(program),
                client,
                way,
                target,
                "alice",
                "ask",
                arguments,
                more,
                str(house.heard),
            ],
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_typescript_program_uses_an_agent(house, program, client, way):
    seen = await run(program, house, client, way, "streamer", "ask")
    assert seen["server"]["name"] == "streamer"
    assert seen["tools"][0]["name"] == "ask"
    assert "piece 0 piece 1 piece 2" in seen["result"]["content"][0]["text"]
    assert seen["result"]["structuredContent"]["state"] == "completed"
    assert seen["progress"]
    assert "streamer" in seen["read"]["contents"][0]["text"]
    assert seen["error"] == -32602


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_typescript_program_answers_an_agents_question(house, program, client, way):
    seen = await run(program, house, client, way, "asker", "prompts")
    assert seen["questions"] == ["What is your name?"]
    assert seen["result"]["content"][0]["text"] == "Hello Ada"
    assert "Hi" in json.dumps(seen["prompt"])
