"""Agents of two frameworks whose model decides to call a tool: the whole loop behind the walls, under one task."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from hive.core.task import TaskState
from hive.testing.node_process import NodeProcess, node_process
from tests.frameworks.shop_rig import RunningShop, running_shop

AGENTS: Final = Path(__file__).parent / "agents" / "tool_agents"
BUILD_TIMEOUT_S: Final = 220.0
PROGRAMS: Final = {
    "langgraph": (
        "buyer_langgraph.py:answer",
        (
            "langgraph==1.2.22",
            "langchain==1.4.7",
            "langchain-openai==1.7.3",
            "langchain-mcp-adapters==0.3.2",
        ),
    ),
    "pydantic-ai": ("buyer_pydantic_ai.py:agent", ("pydantic-ai-slim[openai,mcp]==2.68.0",)),
}
QUESTION: Final = "What does a pear cost?"
MODEL: Final = ("ask", "gpt-4o-mini", "ok")


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Iterator[RunningShop]:
    with running_shop(tmp_path_factory.mktemp("shop") / "asked") as running:
        yield running


@pytest.fixture(scope="module")
def node(shop, tmp_path_factory) -> Iterator[NodeProcess]:
    given = {"HIVE_MODELS": f"scripted:{AGENTS / 'rules.toml'}"}
    with node_process(tmp_path_factory.mktemp("tool-agents") / "state", given) as running:
        running.hive("tool", "add", "shop", "--url", shop.url, "--yes")
        yield running


@pytest.fixture(scope="module")
def deployed(node, tmp_path_factory) -> Callable[..., str]:
    folder = tmp_path_factory.mktemp("buyers")

    def deploy(framework: str, name: str, *more: str) -> str:
        entry, requires = PROGRAMS[framework]
        place = folder / name
        place.mkdir()
        shutil.copy(AGENTS / entry.partition(":")[0], place)
        (place / "requirements.txt").write_text("".join(f"{line}\n" for line in requires))
        words = ["run", f"{place / entry}", "--yes", "--name", name, *more]
        try:
            node.hive(*words, timeout_s=BUILD_TIMEOUT_S)
        except RuntimeError as error:
            if "HIVE-E051" in str(error) and "index does not answer" in str(error):
                pytest.skip("no package index answers")
            raise
        return name

    return deploy


def journal(node: NodeProcess, task: str) -> list[tuple[str, str, str]]:
    steps = json.loads(node.hive("journal", task, "--json"))["steps"]
    return [(one["verb"], one["target"], one["outcome"]) for one in steps]


@pytest.mark.parametrize("framework", PROGRAMS)
def test_a_model_decides_for_a_tool_and_answers_with_what_it_said(node, shop, deployed, framework):
    name = deployed(framework, f"buyer-{framework}", "--tool", "shop.price")
    shop.heard()
    task = node.send(name, QUESTION)
    assert (task.state, task.answer) == (TaskState.COMPLETED, "It costs 400 cents."), task.said
    assert shop.heard() == [["price", {"name": "pear"}]]
    assert journal(node, task.id) == [MODEL, ("invoke", "shop.price", "ok"), MODEL]


@pytest.mark.parametrize("framework", PROGRAMS)
def test_the_same_agent_without_the_grant_learns_nothing(node, shop, deployed, framework):
    name = deployed(framework, f"visitor-{framework}")
    shop.heard()
    task = node.send(name, QUESTION)
    assert "400" not in task.answer
    steps = journal(node, task.id)
    assert MODEL in steps
    assert [one for one in steps if one[0] == "invoke"] == []
    assert shop.heard() == []
