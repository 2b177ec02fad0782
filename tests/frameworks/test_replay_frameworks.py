"""Agents of real frameworks run once and are replayed: three tools, two of them at once, ids drawn anew."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from hive.core.task import TaskState
from hive.testing.node_process import HIVE, NodeProcess, node_process

AGENTS = Path(__file__).parent / "replayed"
BUILD_TIMEOUT_S = 600.0
FRAMEWORKS = {
    "langgraph": ("langchain>=1,<2", "langgraph>=1,<2", "langchain-openai>=1,<2"),
    "pydantic_ai": ("pydantic-ai-slim[openai]>=2,<3",),
    "openai_agents": ("openai-agents>=0.24,<1",),
}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    models = {"HIVE_MODELS": f"scripted:{AGENTS / 'rules.toml'}"}
    with node_process(tmp_path_factory.mktemp("node") / "state", models) as running:
        yield running


def deploy(node: NodeProcess, source: Path, name: str) -> None:
    """Deploy, or skip where no package index answers."""
    try:
        node.hive("run", str(source), "--name", name, "--yes", timeout_s=BUILD_TIMEOUT_S)
    except RuntimeError as error:
        if "HIVE-E051" in str(error) and "index does not answer" in str(error):
            pytest.skip("no package index answers")
        raise


def replay(node: NodeProcess, run: str) -> tuple[int, dict]:
    done = subprocess.run(
        [*HIVE, "replay", run, "--json", "--state", str(node.state)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines, done.stderr
    return done.returncode, lines[-1]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_run_with_three_tools_is_replayed_and_a_changed_tool_is_found(node, framework, tmp_path):
    folder = tmp_path / framework.replace("_", "-")
    folder.mkdir()
    shutil.copy(AGENTS / f"{framework}_agent.py", folder / "agent.py")
    shutil.copy(AGENTS / "tools.py", folder / "tools.py")
    (folder / "requirements.txt").write_text("".join(f"{one}\n" for one in FRAMEWORKS[framework]))
    name = f"shop-{framework.replace('_', '-')}"
    deploy(node, folder, name)

    task = node.send(name, "Buy honey")
    assert task.state is TaskState.COMPLETED, task.said
    assert task.answer.startswith("Done: shipped honey as ")

    code, end = replay(node, task.id)
    assert (code, end["identical"], end["step"]) == (0, True, 3), end
    assert end["masks"]["uuid"] >= 1
    assert end["masks"]["hex"] >= 1

    tools = folder / "tools.py"
    tools.write_text(tools.read_text().replace("7 pieces", "8 pieces"))
    code, end = replay(node, task.id)
    assert (code, end["identical"]) == (1, False)
    assert end["divergence"]["step"] == 2
    assert "7 pieces" in end["divergence"]["expected"]
    assert "8 pieces" in end["divergence"]["actual"]
