"""What an agent keeps: other owners', other agents', more than there is room for, and after its turn."""

import json
import shutil
import time
from pathlib import Path

import pytest

from tests.attacks.living import living_node

KEEPER = Path(__file__).parent / "agents" / "keeper.py"


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with living_node(tmp_path_factory.mktemp("values")) as node:
        yield node


@pytest.fixture(scope="module")
def owners(node):
    return {name: node.token(name)[0] for name in ("alice", "bob")}


def deploy(node, attribute, name=""):
    name = name or attribute
    place = node.folder / name
    place.mkdir(parents=True)
    shutil.copy(KEEPER, place / "keeper.py")
    head = f'name = "{name}"\nentry = "keeper.py:{attribute}"\nrequirements = []\n'
    (place / "hive-agent.toml").write_text(head)
    node.process.hive("run", str(place), "--yes")
    return name


def test_one_owners_values_are_not_there_for_another(node, owners):
    agent = deploy(node, "keep")
    assert json.loads(node.ask(agent, "of alice", token=owners["alice"])) == [None, ["note"]]
    assert json.loads(node.ask(agent, "of bob", token=owners["bob"])) == [None, ["note"]]
    # Without the owner in the key bob would have read this:
    assert json.loads(node.ask(agent, "again", token=owners["alice"])) == ["of alice", ["note"]]
    assert json.loads(node.ask(agent, "again", token=owners["bob"])) == ["of bob", ["note"]]


def test_one_agents_values_are_not_there_for_another(node, owners):
    first, second = deploy(node, "keep", "first"), deploy(node, "keep", "second")
    node.ask(first, "of the first", token=owners["alice"])
    assert json.loads(node.ask(second, "mine", token=owners["alice"]))[0] is None


def test_its_values_go_with_the_agent(node):
    agent = deploy(node, "keep", "leaving")
    node.ask(agent, "kept")
    assert json.loads(node.ask(agent, "kept"))[0] == "kept"
    node.process.hive("agent", "rm", agent, "--yes")
    shutil.rmtree(node.folder / agent)
    deploy(node, "keep", "leaving")
    assert json.loads(node.ask(agent, "kept"))[0] is None


def test_names_and_sizes_that_no_value_has_are_refused(node):
    told = json.loads(node.ask(deploy(node, "climb")))
    kept = told.pop("keys")
    assert told["large"] == 413
    assert told["/own/values/a/b"] == 404
    assert told["/own/elsewhere"] == 404
    # A key may hold signs of a path: it leads nowhere but into its own row.
    assert kept == ["../../note"]
    assert {status for path, status in told.items() if "%2F" not in path} <= {400, 403, 404, 413}


def test_a_shelf_has_an_end_however_many_fill_it_at_once(node):
    kept, refused, why = json.loads(node.ask(deploy(node, "hoard")))
    assert kept == 64
    assert refused == 8 * 12 - 64
    assert "keeps too much" in why[0]


def test_nothing_is_kept_after_the_turn(node):
    agent = deploy(node, "later")
    node.ask(agent)
    time.sleep(1.0)
    assert node.ask(agent) == "nothing"


def test_a_tier_is_refused_that_no_grant_names_and_bodies_that_ask_for_nothing(node):
    plain, *others = json.loads(node.ask(deploy(node, "move")))
    assert plain[0] == 403
    assert "does not name the tier gvisor" in plain[1]
    assert [status for status, _ in others] == [400, 400, 400, 400, 413]
    refused = [one for one in node.entries() if "does not name the tier gvisor" in str(one)]
    assert refused
