"""Quarantine on a whole node: by a person, by a rule, over a restart, and out again."""

import json

import pytest

from hive.testing.node_process import node_process

QUIET = """
def agent(text):
    return "heard " + text
"""
PROBING = '''
import urllib.request


def agent(text):
    """Try one host after the other."""
    for number in range(40):
        try:
            urllib.request.urlopen(f"http://host{number}.example/", timeout=5).read()
        except Exception:
            pass
    return "tried"
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "quiet.py").write_text(QUIET)
    (tmp_path / "probing.py").write_text(PROBING)
    return tmp_path


def lines(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_a_person_shuts_an_agent_in_and_lets_it_out(folder):
    state = folder / "state"
    with node_process(state) as node:
        node.hive("run", f"{folder / 'quiet.py'}:agent", "--yes", "--name", "quiet")
        assert node.send("quiet", "one").answer == "heard one"
        node.hive("quarantine", "quiet", "--reason", "to look at it")
        assert [one["agent"] for one in lines(node.hive("quarantine", "--json"))] == ["quiet"]
        assert [one["state"] for one in lines(node.hive("ps", "--json"))] == ["quarantined"]
        with pytest.raises(RuntimeError, match="hive release quiet"):
            node.hive("call", "quiet", "two")
    with node_process(state) as node:
        with pytest.raises(RuntimeError, match="quarantine"):
            node.hive("call", "quiet", "three")
        node.hive("release", "quiet")
    with node_process(state) as node:
        with pytest.raises(RuntimeError, match="quiet"):
            node.hive("call", "quiet", "nobody has started it")
        node.hive("start", "quiet")
        assert node.hive("call", "quiet", "four").strip() == "heard four"
        told = {one.get("name") for one in lines(node.hive("audit", "tail", "-n", "300", "--json"))}
        assert {"watchdog.quarantined", "watchdog.released"} <= told


def test_an_agent_that_looks_for_a_way_out_is_shut_in_by_a_rule(folder):
    with node_process(folder / "state") as node:
        node.hive("run", f"{folder / 'probing.py'}:agent", "--yes", "--name", "probing")
        with pytest.raises(RuntimeError, match="quarantine"):
            node.hive("call", "probing", "go")
        shut = lines(node.hive("quarantine", "--json"))
        assert [(one["agent"], one["by"]) for one in shut] == [
            ("probing", "rule:looks-for-a-way-out")
        ]
        assert lines(node.hive("watchdog", "alarms", "--json"))[0]["rule"] == "looks-for-a-way-out"


def test_without_the_rule_it_goes_on_looking(folder):
    state = folder / "state"
    state.mkdir()
    own = '[[rule]]\nid = "looks-for-a-way-out"\ntitle = "off"\n[rule.match]\nkind = "never"\n'
    (state / "watchdog.toml").write_text(own)
    with node_process(state) as node:
        probing = f"{folder / 'probing.py'}:agent"
        allowed = "--host-allow=host39.example:80"
        node.hive("run", probing, "--yes", "--name", "probing", allowed)
        assert node.hive("call", "probing", "go").strip() == "tried"
        assert not lines(node.hive("quarantine", "--json"))
        # What it did before is what policy sees of it at the one host that it may reach.
        told = lines(node.hive("audit", "tail", "-n", "300", "--json"))
        bodies = [json.loads(one["body"]) for one in told if one["kind"] == "intent"]
        asked = [one["policy"] for one in bodies if one.get("target") == "host39.example:80"]
        assert asked[0]["reputation"] < 0.5
        assert asked[0]["counters"]["refusals_last_hour"] >= 5
