"""A tool server's package is signed on one node and taken in on another, which compares what it has built itself."""

import json

import pytest

from hive.execution.environment_node import host_node
from hive.testing.node_process import node_process
from hive.testing.npm_registry import NpmRegistry
from tests.witness_rig import served

pytestmark = pytest.mark.peers
ADD = ("tool", "add", "weather", "--npm", "weather@1.0.0", "--yes")


@pytest.fixture
def registry():
    if host_node() is None:
        pytest.skip("needs Node.js")
    found = NpmRegistry()
    found.add("weather", {"server.js": "console.log('x')\n"}, bin={"weather": "server.js"})
    with served(found) as url:
        yield found, {"HIVE_NPM_REGISTRY_URL": url}


def events(node) -> set[str]:
    text = node.hive("audit", "tail", "-n", "300", "--json")
    return {json.loads(one).get("name") for one in text.splitlines() if one.startswith("{")}


def test_signed_on_one_node_and_compared_on_another(tmp_path, registry):
    found, environment = registry
    key, bundle = tmp_path / "release.key", tmp_path / "weather.json"
    with node_process(tmp_path / "there", environment) as there:
        there.hive("trust", "key", str(key))
        with pytest.raises(RuntimeError):  # It speaks no MCP; built and kept it is all the same.
            there.hive(*ADD)
        told = there.hive("tool", "sign", "weather", "--key", str(key), "--out", str(bundle))
        assert "npm:weather 1.0.0 is signed" in told
    with node_process(tmp_path / "here", environment) as here:
        with pytest.raises(RuntimeError, match="No key that is trusted"):
            here.hive(*ADD, "--bundle", str(bundle))
        here.hive("trust", "add", f"{key}.pub")
        with pytest.raises(RuntimeError):
            here.hive(*ADD, "--bundle", str(bundle))
        assert "weather" in here.hive("tool", "list")
        assert "tool.package.verified" in events(here)
    found.add("weather", {"server.js": "console.log('evil')\n"}, bin={"weather": "server.js"})
    with node_process(tmp_path / "later", environment) as later:
        later.hive("trust", "add", f"{key}.pub")
        with pytest.raises(RuntimeError, match="something else"):
            later.hive(*ADD, "--bundle", str(bundle))
        assert "weather" not in later.hive("tool", "list")
