"""A component that asks for more than its tier has: begun again one tier up, told what it was told before; or refused."""

import json

import pytest

from hive.testing.node_process import node_process
from tests.wasm_rig import needs_wasmtime

pytestmark = needs_wasmtime
AGENT = '''
import socket

import hive_guest
from hive_guest import values


def agent(text):
    """Keep count, ask a model, and read a file where that is asked for."""
    word, _, rest = text.partition(" ")
    if word == "count":
        seen = int(values.get("seen") or b"0") + 1
        values.put("seen", str(seen))
        return f"seen {seen}"
    if word == "keys":
        return " ".join(values.keys()) or "none"
    if word == "forget":
        values.forget("seen")
        return "forgotten"
    if word == "big":
        values.put("big", b"x" * (300 << 10))
    if word == "outside":
        told = []
        for path in ("/data/text", "/etc/passwd", "/"):
            try:
                open(path).read()
                told.append(path)
            except OSError as error:
                told.append(type(error).__name__)
        try:
            socket.socket(socket.AF_INET).connect(("127.0.0.1", 80))
            told.append("connected")
        except (OSError, LookupError) as error:
            told.append("refused")
        return " ".join(told)
    said = hive_guest.ask("what is told once")
    try:
        values.need(rest or "files")
    except values.TierError as error:
        return f"refused: {error}"
    return f"{open('/data/text').read()} after {len(said)} signs"
'''


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    with node_process(folder / "state", environment={"HIVE_TIERS": "process:,wasm:"}) as node:
        yield node


@pytest.fixture(scope="module")
def component(node, tmp_path_factory):
    folder = tmp_path_factory.mktemp("component")
    (folder / "climber.py").write_text(AGENT)
    (folder / "data").mkdir()
    (folder / "data" / "text").write_text("granted")
    node.hive(
        "build", str(folder / "climber.py:agent"), "--files", "-o", str(folder / "climber.wasm")
    )
    return folder


@pytest.fixture(scope="module")
def climber(node, component):
    run(node, component, "climber", "--allow", "tier process")
    return "climber"


def run(node, component, name, *more):
    mount = f"{component / 'data'}:/data"
    source = str(component / "climber.wasm")
    node.hive("run", source, "--yes", "--name", name, "--mount", mount, *more)


def tier_of(node, name):
    rows = map(json.loads, node.hive("ps", "--json").splitlines())
    return next(row["tier"] for row in rows if row["name"] == name)


def called(node, name):
    lines = node.hive("call", name, "read", "--json")
    return json.loads(lines.splitlines()[0])["task_id"], lines


def steps_of(node, task):
    lines = map(json.loads, node.hive("audit", "tail", "-n", "200", "--json").splitlines())
    return [line for line in lines if line.get("task") == task]


def test_what_it_keeps_outlives_its_sandbox_and_its_node(node, climber):
    assert node.hive("call", climber, "count") == "seen 1\n"
    assert node.hive("call", climber, "count") == "seen 2\n"
    node.kill()
    node.start()
    assert node.hive("call", climber, "count") == "seen 3\n"
    assert node.hive("call", climber, "keys") == "seen\n"
    assert node.hive("call", climber, "forget") == "forgotten\n"
    assert node.hive("call", climber, "keys") == "none\n"
    with pytest.raises(RuntimeError, match="300|262144|at most"):
        node.hive("call", climber, "big")


def test_in_its_own_tier_it_has_no_file_and_no_socket_although_it_imports_them(node, climber):
    assert tier_of(node, climber) == "wasm"
    told = node.hive("call", climber, "outside").split()
    assert not [one for one in told if one.startswith("/") or one == "connected"]


def test_it_moves_up_for_its_files_and_the_model_is_asked_once(node, climber):
    task, told = called(node, climber)
    assert "granted after" in told
    steps = steps_of(node, task)
    begun = [one["name"] for one in steps if one["kind"] == "intent"]
    assert len([name for name in begun if name.startswith("ask ")]) == 1
    assert [name for name in begun if name.startswith("spawn ")] == ["spawn process"]
    assert "may move up to process" in node.hive("agent", "explain", climber)
    assert tier_of(node, climber) == "wasm"


def test_such_a_run_can_be_replayed(node, climber):
    task, _ = called(node, climber)
    told = node.hive("replay", task)
    assert "diverge" not in told.lower() or "no diverg" in told.lower()


def test_a_tier_that_nobody_granted_is_refused_and_on_record(node, component):
    run(node, component, "sitter", "--allow", "tier gvisor")
    assert "does not name the tier process" in node.hive("call", "sitter", "read")
    assert "does not name the tier process" in node.hive("audit", "tail", "-n", "20")


def test_a_tier_that_this_machine_has_not_is_refused(node, component):
    run(node, component, "hoper", "--allow", "tier microvm", "--allow", "tier process")
    assert "cannot move up" in node.hive("call", "hoper", "read machine")
    assert "one of files, kernel, machine" in node.hive("call", "hoper", "read wings")
