"""The official JavaScript and Go SDKs against a real node with walled agents.

JavaScript speaks 1.0 over both HTTP bindings; the Go SDK that its module proxy has speaks 0.3.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from hive.testing.node_process import node_process

HERE = Path(__file__).parent
AGENTS = HERE / "agents" / "talking.py"
# The names that the JavaScript program asks for, and the functions that do it.
NAMES = {
    "echo": "echo",
    "counting": "counting",
    "streamer": "counting",
    "asking": "asking",
    "asker": "asking",
}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with node_process(tmp_path_factory.mktemp("node")) as running:
        for name, attribute in NAMES.items():
            running.hive("run", f"{AGENTS}:{attribute}", "--name", name, "--yes")
        yield running


def cache(name):
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")  # noqa: TID251
    folder = home / "hive-tests" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def javascript():
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    folder = cache("a2a-js-1.3.0")
    if not (folder / "node_modules").is_dir():
        with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
            shutil.copy(HERE / "js" / "package.json", fresh)
            made = run(["npm", "install", "--no-audit", "--no-fund"], cwd=fresh)
            if made.returncode != 0:
                pytest.skip("npm could not install @a2a-js/sdk")
            shutil.copytree(fresh, folder, dirs_exist_ok=True, symlinks=True)
    shutil.copy(HERE / "js" / "client.mjs", folder)
    return folder / "client.mjs"


@pytest.fixture(scope="module")
def go():
    compiler = shutil.which("go")
    if compiler is None:
        pytest.skip("go is not installed")
    folder = cache("a2a-go-0.3.3")
    folder.mkdir(exist_ok=True)
    program = folder / "client"
    built = run([compiler, "build", "-o", str(program), "."], cwd=HERE / "go")
    if built.returncode != 0 and "client.go" in built.stderr:
        pytest.fail(built.stderr)
    if built.returncode != 0:
        pytest.skip(f"go could not fetch the SDK: {built.stderr.strip()[-200:]}")
    return program


def run(command, *, cwd=None, timeout_s=200):
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
def test_a_javascript_program_talks_with_walled_agents(node, javascript, binding):
    done = run(["node", javascript, node.url, node.token(), binding, "3"], timeout_s=60)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["echo"]["artifacts"][0]["parts"][0]["content"]["value"] == "hello"
    kinds = [event["payload"]["$case"] for event in seen["events"]]
    assert kinds[0] == "task"
    assert kinds.count("artifactUpdate") >= 2
    assert seen["events"][-1]["payload"]["value"]["status"]["state"] == 3
    answer = seen["second"]["artifacts"][0]["parts"][0]["content"]["value"]
    assert answer == "Hello Ada, you began with start"
    assert len(seen["got"]["history"]) == 1
    assert seen["cancel"] == "TaskNotCancelableError"
    assert seen["missing"] == "TaskNotFoundError"


def test_a_go_program_talks_with_walled_agents(node, go):
    done = run([go, node.url, node.token()], timeout_s=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "echo": "hello",
        "pieces": "0 1 2 ",
        "last": "completed",
        "question": "What is your name?",
        "answer": "Hello Ada, you began with good day",
        "got": "completed",
        "not_cancelable": True,
        "not_found": True,
    }
