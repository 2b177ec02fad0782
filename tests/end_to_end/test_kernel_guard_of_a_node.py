"""The kernel's guard through the whole product: a policy under a living agent, the evidence, and what follows."""

import json

import pytest

from hive.execution.enforcement.ladder import described, take_step
from hive.testing.node_process import node_process

AGENT = """
import socket
import subprocess
import urllib.request


def agent(text):
    word, _, rest = text.partition(" ")
    if word == "run":
        return subprocess.run(["/bin/cat", rest], capture_output=True).stdout.decode()
    if word == "fetch":
        try:
            return urllib.request.urlopen(rest, timeout=5).read().decode()
        except OSError as error:
            return str(error)
    with open(rest) as file:
        return file.read()
"""
POLICY = """\
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: keep}
spec:
  podSelector: {matchLabels: {app.kubernetes.io/name: clerk}}
  kprobes:
  - call: fd_install
    syscall: false
    args: [{index: 1, type: file}]
    selectors:
    - matchArgs: [{index: 1, operator: Equal, values: [/data/salaries]}]
      matchActions: [{action: Sigkill}]
  - call: tcp_connect
    syscall: false
    args: [{index: 0, type: sock}]
    selectors:
    - matchArgs: [{index: 0, operator: DAddr, values: [127.0.0.0/8]}]
      matchActions: [{action: Sigkill}]
"""


@pytest.fixture(scope="module", autouse=True)
def guarded():
    held, steps = take_step("auto")
    if held is None:
        pytest.skip(described(steps))
    held.__exit__()


@pytest.fixture
def node(tmp_path):
    with node_process(tmp_path / "state") as node:
        yield node


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "agents"
    (place / "data").mkdir(parents=True)
    (place / "agent.py").write_text(AGENT)
    (place / "data" / "salaries").write_text("5,000 bees")
    (place / "data" / "menu").write_text("honey")
    (place / "keep.yaml").write_text(POLICY)
    return place


def run(node, folder, name, *more):
    mount = f"{folder / 'data'}:/data:rw"
    node.hive(
        "run", f"{folder / 'agent.py'}:agent", "--yes", "--name", name, "--mount", mount, *more
    )


def tried(node, *words):
    """Return what a command printed, also where it failed."""
    try:
        return node.hive(*words)
    except RuntimeError as error:
        return str(error)


def refusals(node):
    lines = map(json.loads, node.hive("audit", "tail", "--json", "-n", "400").splitlines())
    return [json.loads(line["body"]) for line in lines if line["name"] == "kernel.refused"]


def test_a_policy_holds_for_a_living_agent_and_is_told(node, folder):
    run(node, folder, "clerk")
    run(node, folder, "other")
    assert "5,000 bees" in node.hive("call", "clerk", "read /data/salaries")
    node.hive("enforce", "load", str(folder / "keep.yaml"))
    said = tried(node, "call", "clerk", "read /data/salaries")
    assert "bees" not in said
    assert "TracingPolicy/keep" in said
    # Where a child is killed, the agent may have answered before its sandbox is.
    assert "bees" not in tried(node, "call", "clerk", "run /data/salaries")
    assert "honey" in node.hive("call", "clerk", "read /data/menu")
    assert "5,000 bees" in node.hive("call", "other", "read /data/salaries")
    found = refusals(node)
    assert [(one["rule"], one["answer"]) for one in found] == [("TracingPolicy/keep", "kill")] * 2
    assert found[1]["program"] == "cat"
    assert found[0]["task"]
    rules = [
        json.loads(line) for line in node.hive("enforce", "explain", "clerk", "--json").splitlines()
    ]
    assert {"/data/salaries"} <= {one["what"] for one in rules}
    assert any(one["what"].endswith("/master.key") for one in rules)
    assert any(one["what"].endswith("/operator.token") for one in rules)


def test_it_stands_again_after_the_node_was_killed(node, folder):
    node.hive("enforce", "load", str(folder / "keep.yaml"))
    run(node, folder, "clerk")
    node.kill()
    node.start()
    said = tried(node, "call", "clerk", "read /data/salaries")
    assert "bees" not in said
    assert "TracingPolicy/keep" in said
    node.hive("enforce", "unload", "keep")
    assert "5,000 bees" in node.hive("call", "clerk", "read /data/salaries")


def test_who_does_it_again_and_again_is_shut_in(node, folder):
    node.hive("enforce", "load", str(folder / "keep.yaml"))
    run(node, folder, "clerk")
    for _ in range(3):
        tried(node, "call", "clerk", "read /data/salaries")
    said = tried(node, "call", "clerk", "read /data/menu")
    assert "quarantine" in said


def test_a_network_is_refused_at_the_door_too(node, folder):
    node.hive("enforce", "load", str(folder / "keep.yaml"))
    run(node, folder, "clerk", "--host-allow", "127.0.0.1:9")
    said = tried(node, "call", "clerk", "fetch http://127.0.0.1:9/")
    assert "TracingPolicy/keep" in said
    assert refusals(node)[0]["what"] == "tcp 127.0.0.1:9"


def test_the_trial_shows_a_kill(node):
    found = json.loads(node.hive("enforce", "test", "--json"))
    assert found["killed"]
    assert found["told"]
    assert found["printed"] == ""
    assert json.loads(node.hive("enforce", "status", "--json"))["lost"] == 0
