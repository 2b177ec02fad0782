"""Agents as components on a real node: built from Python and JavaScript, run, called, refused, killed, moved to a process."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from hive.testing.node_process import node_process
from tests.wasm_rig import needs_wasmtime

pytestmark = needs_wasmtime
EXAMPLES = Path(__file__).parents[2] / "examples" / "components"
TOOL = "@bytecodealliance/componentize-js@0.23.0"
FILES = '''
import os


def agent(text):
    """Read what was granted, and try what was not."""
    told = [open("/data/text").read()]
    for path in ("/etc/passwd", "/data/../etc/passwd"):
        try:
            told.append(open(path).read()[:4])
        except OSError as error:
            told.append(type(error).__name__)
    return " ".join(told)
'''


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    with node_process(folder / "state", environment={"HIVE_TIERS": "process:,wasm:"}) as node:
        yield node


@pytest.fixture(scope="module")
def python(node, tmp_path_factory):
    folder = tmp_path_factory.mktemp("python")
    shutil.copy(EXAMPLES / "greeter.py", folder)
    told = node.hive(
        "build", str(folder / "greeter.py:agent"), "-o", str(folder / "greeter.wasm"), "--json"
    )
    assert json.loads(told)["language"] == "Python"
    node.hive("run", str(folder / "greeter.wasm"), "--yes", "--name", "greeter")
    return folder


def javascript_tools() -> Path:
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    cache = Path.home() / ".cache" / "hive-tests" / TOOL.rpartition("/")[2]
    if not (cache / "node_modules" / ".package-lock.json").is_file():
        cache.mkdir(parents=True, exist_ok=True)
        made = subprocess.run(
            [
                "npm",
                "install",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--prefix",
                str(cache),
                TOOL,
            ],
            capture_output=True,
            timeout=300,
            check=False,
        )
        if made.returncode != 0:
            pytest.skip(f"npm could not install {TOOL}")
    return cache


def test_a_python_agent_runs_as_a_component(node, python):
    assert node.hive("call", "greeter", "Ada") == "Hello, Ada.\n"
    assert node.hive("call", "greeter", "count") == "1 2 3 \n"
    assert "stranger" in node.hive("call", "greeter", " ")
    (one,) = map(json.loads, node.hive("ps", "--json").splitlines())
    assert one["tier"] == "wasm"
    assert "greeting" in node.hive("logs", "greeter")
    assert "a component without ambient needs" in node.hive("agent", "explain", "greeter")


def test_what_it_asks_for_passes_the_gate_and_is_on_record(node, python):
    assert "hello" in node.hive("call", "greeter", "model hello")
    with pytest.raises(RuntimeError, match="does not name the host"):
        node.hive("call", "greeter", "fetch https://example.org/")
    with pytest.raises(RuntimeError, match="could not be asked"):
        node.hive("call", "greeter", "agent nobody")
    assert node.hive("call", "greeter", "tools") == "none\n"
    steps = node.hive("audit", "tail", "-n", "60")
    assert "example.org:443" in steps
    assert "ask" in steps


def test_it_asks_back_and_goes_on(node, python):
    assert "Who are you?" in node.hive("call", "greeter", "who")
    waits = map(json.loads, node.hive("task", "list", "--json").splitlines())
    task = next(one["id"] for one in waits if one["state"] == "input_required")
    assert node.hive("call", "greeter", "--task", task, "Bob") == "Hello, Bob.\n"


def test_its_host_may_be_killed_and_so_may_the_node(node, python):
    hosts = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"hive.execution.component.host" in _read(path)
    ]
    assert hosts
    for pid in hosts:
        os.kill(pid, signal.SIGKILL)
    assert node.hive("call", "greeter", "Ada") == "Hello, Ada.\n"
    node.kill()
    node.start()
    assert node.hive("call", "greeter", "Ada") == "Hello, Ada.\n"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_component_that_needs_files_runs_a_tier_higher_and_sees_only_those(node, tmp_path):
    (tmp_path / "reader.py").write_text(FILES)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "text").write_text("granted")
    target = tmp_path / "reader.wasm"
    node.hive("build", str(tmp_path / "reader.py:agent"), "--files", "-o", str(target))
    node.hive("run", str(target), "--yes", "--mount", f"{tmp_path / 'data'}:/data")
    told = node.hive("call", "reader", "read").split()
    assert told[0] == "granted"
    assert not any("root" in word for word in told[1:])
    assert "wasm: it has no files" in node.hive("agent", "explain", "reader")
    found = {
        one["name"]: one["tier"] for one in map(json.loads, node.hive("ps", "--json").splitlines())
    }
    assert found["reader"] == "process"


def test_a_javascript_agent_runs_as_a_component(node, tmp_path):
    shutil.copy(EXAMPLES / "greeter.js", tmp_path)
    target = tmp_path / "js-greeter.wasm"
    tools = javascript_tools()
    node.hive("build", str(tmp_path / "greeter.js"), "--toolchain", str(tools), "-o", str(target))
    node.hive("run", str(target), "--yes")
    assert node.hive("call", "js-greeter", "Ada") == "Hello, Ada.\n"
    assert "hello" in node.hive("call", "js-greeter", "model hello")
    assert "Who are you?" in node.hive("call", "js-greeter", "who")


def test_what_cannot_be_built_is_told(node, tmp_path):
    (tmp_path / "bad.py").write_text("import threading\nraise RuntimeError('at import')\n")
    with pytest.raises(RuntimeError, match="was not built"):
        node.hive("build", str(tmp_path / "bad.py:agent"), "-o", str(tmp_path / "bad.wasm"))
    assert not list(tmp_path.glob("*.wasm*"))
    assert not list(tmp_path.glob(".bad*"))
    (tmp_path / "other.js").write_text("export function agent() {}\n")
    with pytest.raises(RuntimeError, match="npm install"):
        node.hive("build", str(tmp_path / "other.js"))


def test_without_the_tier_a_component_runs_in_a_process_of_its_own(tmp_path, python):
    with node_process(tmp_path / "state") as plain:
        plain.hive("run", str(python / "greeter.wasm"), "--yes", "--name", "greeter")
        assert plain.hive("call", "greeter", "Ada") == "Hello, Ada.\n"
        assert plain.hive("call", "greeter", "count") == "1 2 3 \n"
        assert "hello" in plain.hive("call", "greeter", "model hello")
        (one,) = map(json.loads, plain.hive("ps", "--json").splitlines())
        assert one["tier"] == "process"
