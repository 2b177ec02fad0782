"""Clients of MCP that know nothing of Hive, behind the walls: they see what they were granted, and no more."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from mcp import Client

from hive.testing.node_process import NodeProcess, node_process
from tests.frameworks.shop_rig import RunningShop, running_shop

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
PASSED_ON: Final = [["add", {"a": 2, "b": 40}], ["price", {"name": "pear"}]]


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Iterator[RunningShop]:
    with running_shop(tmp_path_factory.mktemp("shop") / "asked") as running:
        yield running


@pytest.fixture(scope="module")
def node(shop, tmp_path_factory) -> Iterator[NodeProcess]:
    given = {"HIVE_MODELS": "scripted:", "HIVE_APPROVAL_HOLD_S": "0"}
    with node_process(tmp_path_factory.mktemp("tools") / "state", given) as running:
        running.hive("tool", "add", "shop", "--url", shop.url, "--yes")
        running.hive("approve", "rules", "add", "refunds", "shop.refund")
        yield running


@pytest.fixture(scope="module")
def deployed(node, tmp_path_factory) -> Callable[[str], str]:
    folder = tmp_path_factory.mktemp("tool-clients")
    known: set[str] = set()

    def deploy(name: str) -> str:
        if name in known:
            return name
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
        known.add(name)
        return name

    return deploy


def said(node: NodeProcess, name: str) -> dict[str, Any]:
    task = node.send(name, json.dumps(ASKED))
    assert task.answer, f"{name} said nothing: {task.state} {task.said}"
    return json.loads(task.answer)


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_unmodified_client_uses_the_tools_it_was_granted(node, shop, deployed, name):
    deployed(name)
    shop.heard()
    shown = said(node, name)
    assert sorted(shown["listed"]) == ["shop__add", "shop__price", "shop__refund"]
    assert not shown["plain"]["error"], shown
    assert "42" in shown["plain"]["text"]
    assert not shown["structured"]["error"], shown
    found = shown["structured"].get("data") or json.loads(shown["structured"]["text"])
    assert found == {"name": "pear", "cents": 400}
    assert shown["wrong"]["error"], shown
    assert "The arguments do not fit the tool shop__add: a: " in shown["wrong"]["text"]
    assert shown["held"]["error"], shown
    assert "waits for a person's approval" in shown["held"]["text"]
    assert shown["hidden"]["error"], shown
    assert "Unknown tool: shop__till" in shown["hidden"]["text"]
    assert shop.heard() == PASSED_ON


def test_what_no_client_was_granted_is_there_for_who_may_use_it(node, shop):
    shop.heard()
    assert "the till is open" in node.hive("tool", "call", "shop.till")
    assert shop.heard() == [["till", {}]]


def test_the_server_takes_wrong_arguments_from_who_asks_it_directly(shop):
    async def ask() -> str:
        async with Client(shop.url) as client:
            result = await client.call_tool("add", {"a": "two", "b": 40})
        return str(result.content[0].text) if result.is_error else ""

    shop.heard()
    assert "do not fit the tool" not in (told := anyio.run(ask))
    assert told
    assert shop.heard() == [["add", {"a": "two", "b": 40}]]


def test_the_ledger_has_each_call_under_its_agent(node, deployed):
    task = node.send(deployed("mcp"), json.dumps(ASKED[:1]))
    told = json.loads(node.hive("journal", task.id, "--json"))
    assert told["agent"] == "mcp"
    steps = [(one["verb"], one["target"], one["outcome"]) for one in told["steps"]]
    assert steps == [("invoke", "shop.add", "ok")]
