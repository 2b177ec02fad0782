"""Two nodes: one becomes known to the other by the command line, and is forgotten again; what happened is on record."""

import json

import pytest

from hive.testing.node_process import node_process


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    with (
        node_process(folder / "a", {"HIVE_NODE_WORK_BITS": "16"}) as here,
        node_process(folder / "b", {}) as there,
    ):
        yield here, there


def asked(node, *words):
    return json.loads(node.hive("identity", "node", *words, "--json"))


def test_a_node_becomes_known_by_its_answer_and_is_forgotten(pair):
    here, there = pair
    name = json.loads(there.hive("status", "--json"))["node_id"]
    challenge = asked(here, "challenge", name)
    assert (challenge["bits"], challenge["tpm"]) == (16, False)
    answer = asked(there, "answer", challenge["challenge"])["answer"]
    made = asked(here, "add", answer)
    assert (made["node"], made["bits"], made["machine"]) == (name, 16, "")
    assert asked(here, "list")["node"] == name
    assert asked(here, "rm", name) == {"removed": name}
    assert here.hive("identity", "node", "list").strip() == "No foreign node is known."
    lines = here.hive("audit", "tail", "-n", "50", "--json").splitlines()
    told = [one for one in map(json.loads, lines) if one["name"].startswith("node.")]
    assert {"node.registered", "node.removed"} <= {one["name"] for one in told}
    assert name in json.dumps(told)
