"""Agents of real frameworks, unchanged, behind the real walls: built, run, called and traced by one node."""

import shutil
import time
from pathlib import Path

import pytest

from hive.testing.node_process import NodeProcess, node_process
from tests.end_to_end.official_client import official_client, tell

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

AGENTS = Path(__file__).parent.parent / "frameworks" / "agents"
EXAMPLES = Path(__file__).parent.parent.parent / "examples"
BUILD_TIMEOUT_S = 600.0
OTHERS = {
    "google-adk": (("google-adk>=2,<3",), "google_adk_agent.py", "root_agent"),
    "agno": (("agno>=3,<4", "openai>=3,<4"), "agno_agent.py", "agent"),
    "strands": (("strands-agents>=1,<2",), "strands_agent.py", "agent"),
    "agent-framework": (("agent-framework-core>=1,<2",), "agent_framework_agent.py", "agent"),
    "autogen": (
        ("autogen-agentchat>=0.7,<0.8", "autogen-ext>=0.7,<0.8"),
        "autogen_agent.py",
        "agent",
    ),
    "crewai": (("crewai>=1.15,<2",), "crewai_agent.py", "crew"),
}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with node_process(tmp_path_factory.mktemp("node") / "state") as running:
        yield running


def deploy(node: NodeProcess, source: object, *more: str) -> str:
    """Deploy, or skip where no package index answers."""
    try:
        return node.hive("run", str(source), "--yes", *more, timeout_s=BUILD_TIMEOUT_S)
    except RuntimeError as error:
        if "HIVE-E051" in str(error) and "index does not answer" in str(error):
            pytest.skip("no package index answers")
        raise


def folder_of(tmp_path: Path, file: str, *requirements: str) -> Path:
    """Make a folder as its author would hand it out: the agent and what it requires."""
    folder = tmp_path / "source"
    folder.mkdir()
    shutil.copy(AGENTS / file, folder / "agent.py")
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in requirements))
    return folder


@pytest.fixture(scope="module")
def langgraph(node, tmp_path_factory):
    """Deploy three graphs of one file; they share one environment."""
    folder = folder_of(
        tmp_path_factory.mktemp("langgraph"), "langgraph_agent.py", "langgraph>=1,<2"
    )
    took_s = {}
    for attribute in ("agent", "remembering", "careful"):
        began = time.monotonic()
        deploy(node, f"{folder}/agent.py:{attribute}", "--name", f"graph-{attribute}")
        took_s[attribute] = time.monotonic() - began
    return took_s


async def test_a_graph_streams_its_answer_to_the_official_client(node, langgraph):
    async with official_client(node, "graph-agent") as client:
        told = await tell(client, "hello")
    assert told.completed
    assert told.answer == "echo: hello | heard 1"
    assert len(told.pieces) > 3


@pytest.mark.parametrize("name", ["graph-agent", "graph-remembering"])
async def test_a_graph_knows_what_was_said_before_in_its_context_and_nothing_else(
    node, langgraph, name
):
    async with official_client(node, name, streaming=False) as client:
        first = await tell(client, "hello")
        later = await tell(client, "again", after=first)
        fresh = await tell(client, "new")
    assert later.context_id == first.context_id
    assert later.answer == "echo: again | heard 2"
    assert fresh.answer == "echo: new | heard 1"


async def test_an_interrupt_of_a_graph_asks_the_client_and_goes_on_with_its_answer(node, langgraph):
    async with official_client(node, "graph-careful") as client:
        asked = await tell(client, "do it")
        done = await tell(client, "yes, do", after=asked)
    assert asked.asks
    assert asked.said == "May I go on?"
    assert done.task_id == asked.task_id
    assert done.answer == "you said yes, do"


async def test_the_second_agent_of_the_same_requirements_finds_its_environment_built(
    node, langgraph
):
    assert langgraph["remembering"] < langgraph["agent"] / 2


async def test_pydantic_ai_asks_the_model_through_the_door_and_its_tool_runs(node, tmp_path):
    folder = tmp_path / "source"
    shutil.copytree(EXAMPLES / "pydantic_ai_agent", folder)
    requirements = (folder / "requirements.txt").read_text().splitlines()
    (folder / "requirements.txt").unlink()
    quoted = ", ".join(f'"{line}"' for line in requirements)
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "adder"\nversion = "1"\ndependencies = [{quoted}]\n'
    )
    deploy(node, folder)
    async with official_client(node, "pydantic-ai-agent") as client:
        told = await tell(client, "hello")
    assert told.answer == "scripted answer to: hello"
    assert len(told.pieces) > 1
    assert "pydantic-ai" in node.hive("ps")
    model_calls_stand_below_the_turn(node, told.task_id, "gpt-4o-mini")


async def test_openai_agents_runs_from_one_file_that_names_its_requirements(node, tmp_path):
    script = tmp_path / "assistant.py"
    block = '# /// script\n# dependencies = ["openai-agents>=0.24,<1"]\n# ///\n'
    script.write_text(block + (AGENTS / "openai_agents_agent.py").read_text())
    deploy(node, script)
    async with official_client(node, "assistant") as client:
        told = await tell(client, "hello")
        later = await tell(client, "again", after=told)
    assert told.answer == "scripted answer to: hello"
    assert later.answer == "scripted answer to: again"
    assert "openai-agents" in node.hive("agent", "show", "assistant")
    explained = node.hive("agent", "explain", "assistant")
    assert "asks ANY MODEL" in explained
    assert "reaches" not in explained
    model_calls_stand_below_the_turn(node, told.task_id, "stub")


@pytest.mark.parametrize("framework", OTHERS)
async def test_other_frameworks_answer_behind_the_walls(node, tmp_path, framework):
    requirements, file, attribute = OTHERS[framework]
    folder = folder_of(tmp_path, file, *requirements)
    deploy(node, f"{folder}/agent.py:{attribute}", "--name", framework)
    async with official_client(node, framework) as client:
        first = await tell(client, "hello bees")
        second = await tell(client, "and birds", after=first)
    assert first.completed
    assert "hello bees" in first.answer
    assert "and birds" in second.answer
    assert framework in node.hive("agent", "show", framework)


def model_calls_stand_below_the_turn(node: NodeProcess, task: str, model: str) -> None:
    lines = node.hive("trace", task).splitlines()
    turn = next(line for line in lines if "invoke_agent" in line)
    asked = next(line for line in lines if f"chat {model}" in line)
    depth = [len(line) - len(line.lstrip(" ├└│")) for line in (turn, asked)]
    assert depth[0] < depth[1]
