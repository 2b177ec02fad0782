"""The official JavaScript SDK's client against the door, over both HTTP bindings; needs node and npm."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import anyio
import pytest

from hive.engines import load_migrations
from hive.testing.a2a_door import OPERATOR_TOKEN, open_door

pytestmark = pytest.mark.anyio
HERE = Path(__file__).parent / "js"


@pytest.fixture
def migrations():
    return [*load_migrations("hive.security"), *load_migrations("hive.protocols.a2a")]


@pytest.fixture(scope="module")
def program():
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")  # noqa: TID251
    folder = cache / "hive-tests" / "a2a-js-1.3.0"
    if not (folder / "node_modules").is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
            shutil.copy(HERE / "package.json", fresh)
            made = subprocess.run(
                ["npm", "install", "--no-audit", "--no-fund"],
                cwd=fresh,
                capture_output=True,
                timeout=120,
                check=False,
            )
            if made.returncode != 0:
                pytest.skip("npm could not install @a2a-js/sdk")
            shutil.copytree(fresh, folder, dirs_exist_ok=True, symlinks=True)
    shutil.copy(HERE / "client.mjs", folder)
    return folder / "client.mjs"


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
async def test_a_javascript_program_talks_with_an_agent(database, program, binding):
    async with open_door(database) as door:
        with anyio.fail_after(60):
            done = await anyio.run_process(
                ["node", str(program), door.url, OPERATOR_TOKEN, binding], check=False
            )
    assert done.returncode == 0, done.stderr.decode()
    seen = json.loads(done.stdout)
    assert seen["echo"]["artifacts"][0]["parts"][0]["content"]["value"] == "hello"
    kinds = [event["payload"]["$case"] for event in seen["events"]]
    assert kinds[0] == "task"
    assert kinds.count("artifactUpdate") == 3
    assert seen["events"][-1]["payload"]["value"]["status"]["state"] == 3
    greeting = seen["second"]["status"]["message"]["parts"][0]["content"]["value"]
    assert greeting == "Hello Ada"
    assert len(seen["got"]["history"]) == 1
    assert seen["cancel"] == "TaskNotCancelableError"
    assert seen["missing"] == "TaskNotFoundError"
