"""Clients of MCP that know nothing of Hive, behind the walls: they see what they were granted, and no more."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from hive.testing.node_process import NodeProcess, node_process

ROOT: Final = Path(__file__).parents[2]
CLIENTS: Final = Path(__file__).parent / "agents" / "tool_clients"
BUILD_TIMEOUT_S: Final = 220.0
PROGRAMS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "mcp": ("use_mcp.py", ("mcp==2.3.0",)),
    "mcp-before": ("use_mcp_before.py", ("mcp==1.30.0",)),
    "fastmcp": ("use_fastmcp.py", ("fastmcp==4.1.2",)),
    "langchain-tools": ("use_langchain_mcp.py", ("langchain-mcp-adapters==0.3.2",)),
    "pydantic-ai-tools": ("use_pydantic_ai_mcp.py", ("pydantic-ai-slim[mcp]==2.68.0",)),
    "openai-agents-tools": ("use_openai_agents_mcp.py", ("openai-agents==0.24.0",)),
    "google-adk-tools": ("use_google_adk_mcp.py", ("google-adk[mcp]==2.13.0",)),
}
ASKED: Final = [
    ["plain", "shop__add", {"a": 2, "b": 40}],
    ["structured", "shop__price", {"name": "pear"}],
    ["wrong", "shop__add", {"a": "two", "b": 40}],
    ["held", "shop__refund", {"cents": 5}],
    ["hidden", "shop__till", {}],
]


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.frameworks.tool_shop"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.fixture(scope="module")
def node(shop, tmp_path_factory) -> Iterator[NodeProcess]:
    given = {"HIVE_MODELS": "scripted:", "HIVE_APPROVAL_HOLD_S": "0"}
    with node_process(tmp_path_factory.mktemp("tools") / "state", given) as running:
        running.hive("tool", "add", "shop", "--url", shop, "--yes")
        running.hive("approve", "rules", "add", "refunds", "shop.refund")
        yield running


@pytest.fixture(scope="module")
def deployed(node, tmp_path_factory) -> Callable[[str], str]:
    folder = tmp_path_factory.mktemp("tool-clients")

    def deploy(name: str) -> str:
        file, requires = PROGRAMS[name]
        place = folder / name
        place.mkdir()
        shutil.copy(CLIENTS / file, place)
        (place / "requirements.txt").write_text("".join(f"{line}\n" for line in requires))
        tools = [word for one in ("add", "price", "refund") for word in ("--tool", f"shop.{one}")]
        source = f"{place / file}:answer"
        try:
            node.hive("run", source, "--yes", "--name", name, *tools, timeout_s=BUILD_TIMEOUT_S)
        except RuntimeError as error:
            if "HIVE-E051" in str(error) and "index does not answer" in str(error):
                pytest.skip("no package index answers")
            raise
        return name

    return deploy


def said(node: NodeProcess, name: str) -> dict[str, Any]:
    task = node.send(name, json.dumps(ASKED))
    parts = [part for one in task.wire.get("artifacts") or [] for part in one["parts"]]
    text = "".join(part.get("text", "") for part in parts)
    assert text, f"{name} said nothing: {task.state} {task.said}"
    return json.loads(text)


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_unmodified_client_uses_the_tools_it_was_granted(node, deployed, name):
    shown = said(node, deployed(name))
    assert sorted(shown["listed"]) == ["shop__add", "shop__price", "shop__refund"]
    assert not shown["plain"]["error"], shown
    assert "42" in shown["plain"]["text"]
    assert not shown["structured"]["error"], shown
    found = shown["structured"].get("data") or json.loads(shown["structured"]["text"])
    assert found == {"name": "pear", "cents": 400}
    assert shown["wrong"]["error"], shown
    assert shown["held"]["error"], shown
    assert "person" in shown["held"]["text"]
    assert shown["hidden"]["error"], shown
    assert "nknown tool" in shown["hidden"]["text"]


def test_the_ledger_has_each_call_under_its_agent(node, deployed, tmp_path):
    del tmp_path
    name = deployed("mcp") if "mcp" not in node.hive("ps") else "mcp"
    task = node.send(name, json.dumps(ASKED[:1]))
    told = node.hive("journal", task.id)
    assert "shop.add" in told
