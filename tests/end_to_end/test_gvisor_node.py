"""A node with the gvisor tier: an agent that asks for it runs there, with its doors, and the others stay where they were."""

import json

import pytest

from hive.testing.node_process import node_process
from tests.gvisor_rig import gvisor_runs

__all__ = ["gvisor_runs"]
AGENT = '''
import json, os, urllib.request


def agent(text):
    """Say on which kernel it runs, and what a model answers."""
    asked = {"model": "scripted", "messages": [{"role": "user", "content": text}]}
    request = urllib.request.Request(
        os.environ["OPENAI_BASE_URL"] + "/chat/completions",
        data=json.dumps(asked).encode(),
        headers={"content-type": "application/json", "authorization": "Bearer " + os.environ["OPENAI_API_KEY"]},
    )
    answer = json.loads(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).read())
    return os.uname().release + " " + answer["choices"][0]["message"]["content"]
'''


@pytest.fixture(scope="module")
def node(tmp_path_factory, gvisor_runs):
    folder = tmp_path_factory.mktemp("node")
    for name, more in (("strong", 'tier = "gvisor"\n'), ("plain", "")):
        (folder / name).mkdir()
        (folder / name / "agent.py").write_text(AGENT)
        spec = f'name = "{name}"\nentry = "agent.py:agent"\n{more}'
        (folder / name / "hive-agent.toml").write_text(spec)
    with node_process(folder / "state", environment={"HIVE_TIERS": "process:,gvisor:"}) as node:
        for name in ("strong", "plain"):
            node.hive("run", str(folder / name), "--yes")
        yield node


def test_an_agent_that_wants_it_runs_on_a_kernel_of_its_own_and_reaches_its_doors(node):
    strong, plain = (node.hive("call", name, "hello") for name in ("strong", "plain"))
    assert strong.split()[0] == "4.4.0"
    assert plain.split()[0] != "4.4.0"
    assert strong.split(maxsplit=1)[1] == plain.split(maxsplit=1)[1]
    told = {
        one["name"]: one["tier"] for one in map(json.loads, node.hive("ps", "--json").splitlines())
    }
    assert told == {"strong": "gvisor", "plain": "process"}


def test_it_is_explained_and_examined(node):
    assert "least isolation" not in node.hive("agent", "explain", "plain")
    assert "process: below the least isolation that is demanded, gvisor" in node.hive(
        "agent", "explain", "strong"
    )
    found = map(json.loads, node.hive("doctor", "--json").splitlines())
    states = {one["name"]: one["state"] for one in found if one["section"] == "walls"}
    assert states["gvisor"] == "ok"
    assert states["gvisor.seccomp"] == "ok"
    assert states["process"] == "ok"


def test_it_goes_on_after_the_node_was_killed(node):
    node.kill()
    node.start()
    assert node.hive("call", "strong", "again").startswith("4.4.0")


def test_a_tier_that_is_not_there_is_refused_and_never_replaced_by_a_weaker_one(tmp_path):
    (tmp_path / "agent.py").write_text("def agent(text):\n    return text\n")
    (tmp_path / "hive-agent.toml").write_text('entry = "agent.py:agent"\ntier = "microvm"\n')
    with node_process(tmp_path / "state") as node:
        with pytest.raises(RuntimeError, match="No tier of this machine"):
            node.hive("run", str(tmp_path), "--yes", "--name", "vm")
        assert node.hive("ps", "--json") == ""
