"""What an agent did weighs against it after the node was killed and began again."""

import json

from hive.testing.node_process import node_process

PROBING = '''
import urllib.request


def agent(text):
    """Try one host after the other; the first is allowed."""
    for number in range(12):
        try:
            urllib.request.urlopen(f"http://host{number}.example/", timeout=5).read()
        except Exception:
            pass
    return "tried"
'''


def asked_of_the_first_host(node):
    told = node.hive("audit", "tail", "-n", "500", "--json").splitlines()
    lines = [json.loads(one) for one in told if one.startswith("{")]
    bodies = [json.loads(one["body"]) for one in lines if one["kind"] == "intent"]
    return [one["policy"] for one in bodies if one.get("target") == "host0.example:80"]


def test_a_killed_node_forgives_nothing(tmp_path):
    (tmp_path / "probing.py").write_text(PROBING)
    state = tmp_path / "state"
    state.mkdir()
    off = '[[rule]]\nid = "looks-for-a-way-out"\ntitle = "off"\n[rule.match]\nkind = "never"\n'
    (state / "watchdog.toml").write_text(off)
    with node_process(state) as node:
        source = f"{tmp_path / 'probing.py'}:agent"
        node.hive("run", source, "--yes", "--name", "probing", "--host-allow=host0.example:80")
        assert node.hive("call", "probing", "go").strip() == "tried"
        assert "reputation" not in asked_of_the_first_host(node)[0], "nothing is held against it"
        node.kill()
        node.start()
        assert node.hive("call", "probing", "go again").strip() == "tried"
        again = asked_of_the_first_host(node)[-1]
        assert again["reputation"] < 0.5
        assert again["counters"]["refusals_last_hour"] >= 10
