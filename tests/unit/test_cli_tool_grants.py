"""`hive run --tool` and `needs.tools`: names are read strictly, said plainly, and missing servers are told."""

import pytest

from hive.core.clock import SystemClock
from hive.core.errors import SpecError
from hive.core.grant import Grant
from hive.core.settings import load_settings
from hive.execution.confirm import grant_lines
from hive.execution.spec_file import tool_name
from hive.node.deploying import Deployer
from hive.web.values import DeployOrder

pytestmark = pytest.mark.anyio


class NoDeployments:
    """A registry without agents."""

    async def all(self):
        return []


@pytest.fixture
def deployer(tmp_path):
    return Deployer(
        settings=load_settings({}, state_dir=str(tmp_path / "state")),
        registry=NoDeployments(),
        supervisor=None,
        stage=lambda _: None,
        explain=lambda _: "",
        clock=SystemClock(),
        base_url="http://127.0.0.1",
        tool_servers=lambda: ["files"],
    )


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "agent"
    folder.mkdir()
    (folder / "agent.py").write_text("def agent(text):\n    return text\n")
    (folder / "hive-agent.toml").write_text(
        'name = "it"\nentry = "agent.py:agent"\nrequirements = []\n[needs]\ntools = ["search"]\n'
    )
    return folder


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("files", "files.*"),
        ("files.*", "files.*"),
        ("*", "*"),
        ("files.read_file", "files.read_file"),
        ("my-server.a.b", "my-server.a.b"),
        ("my_server.Read-It", "my_server.Read-It"),
    ],
)
def test_a_server_alone_means_all_of_its_tools(text, name):
    assert tool_name(text) == name


@pytest.mark.parametrize(
    "text", ["", ".", "*.read", "files.", ".read", "Files.read", "files.re*", "a b", "a\n", "**"]
)
def test_what_is_no_tool_is_refused(text):
    with pytest.raises(SpecError):
        tool_name(text)


def test_a_grant_of_tools_is_said_plainly():
    lines = grant_lines(Grant(tools=("files.*", "search.find", "*")))
    assert lines == [
        "uses all tools of the server files",
        "uses the tool search.find",
        "uses ANY TOOL",
    ]


async def test_what_an_operator_types_stands_beside_what_a_source_asks_for(deployer, source):
    order = DeployOrder(source=str(source), folder="/", tools=["files.read", "files.read"])
    plan = await deployer.plan(order)
    assert "uses the tool files.read" in plan.lines
    assert "uses all tools of the server search" in plan.lines
    assert plan.safe_lines.count("uses the tool files.read") == 1
    assert "uses all tools of the server search" not in plan.safe_lines


async def test_a_server_that_is_not_there_yet_is_a_warning(deployer, source):
    plan = await deployer.plan(DeployOrder(source=str(source), folder="/", tools=["files"]))
    assert plan.warnings == ["there is no tool server search yet: hive tool add search"]


async def test_no_tool_is_granted_without_a_yes(deployer, source):
    with pytest.raises(SpecError, match="not confirmed"):
        async for _ in deployer.deploy(DeployOrder(source=str(source), folder="/")):
            pass
