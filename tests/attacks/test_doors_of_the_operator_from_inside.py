"""What an agent must not find behind its own socket: the operator's paths, others' agents, other hosts."""

import json
from pathlib import Path

import psutil
import pytest

from tests.attacks.living import living_node

CIRCLE = '[needs]\nagents = ["ping", "pong"]\n'
GRANTED = '[needs]\nagents = ["echo"]\n'


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with living_node(tmp_path_factory.mktemp("inside")) as node:
        yield node


@pytest.mark.parametrize(
    "line",
    [
        "GET /api/status",
        "GET /api/agents",
        "POST /api/shutdown",
        "POST /api/agents/echo/stop",
        "GET /api/audit/tail",
        "GET /api/cost",
        "GET /metrics",
        "GET /",
        "GET /.well-known/hive-mesh.json",
        "GET //api/status",
        "GET /a2a/../api/status",
        "GET /v1/../api/status",
    ],
)
def test_the_operators_paths_do_not_exist_inside(node, line):
    told = json.loads(node.ask(node.deploy("visit"), line))
    status, body = told[line]
    assert status in (400, 401, 404), body
    assert "hive-op-" not in body
    assert node.process.hive("status", "--json")


def test_an_agent_that_was_not_granted_is_not_reached(node):
    node.deploy("echo")
    told = node.ask(node.deploy("ask_agent", name="stranger"), "echo")
    assert told.startswith("refused")
    assert "grant" in told


def test_an_agent_that_was_granted_is_reached(node):
    node.deploy("echo")
    assert node.ask(node.deploy("ask_agent", name="friend", spec=GRANTED), "echo") == "got hello"


def test_agents_that_call_each_other_in_a_circle_are_stopped(node):
    for name in ("ping", "pong"):
        node.deploy("circle", name=name, spec=CIRCLE)
    told = node.ask("ping", "ping pong")
    assert told.startswith("ping got <pong refused")
    assert "already waits" in told


def test_an_agent_that_calls_itself_is_stopped(node):
    node.deploy("circle", name="ping", spec=CIRCLE)
    assert "already waits" in node.ask("ping", "ping ping")


def test_the_ceiling_on_model_calls_holds(node):
    spec = "[limits]\nmodel_calls_max = 3\n"
    statuses = json.loads(node.ask(node.deploy("ask_often", spec=spec), "6"))
    assert statuses[:3] == [200, 200, 200]
    assert all(status in (402, 403, 429) for status in statuses[3:])


def test_no_host_is_reached_that_was_not_granted(node):
    port = listening_ports(node)[0]
    targets = ("192.0.2.1:443", "localhost:80", "169.254.169.254:80", f"127.0.0.1:{port}")
    told = json.loads(node.ask(node.deploy("reach"), " ".join(targets)))
    for target in targets:
        tunnel, fetched, straight = told[target]
        assert " 403" in tunnel, told
        assert " 403" in fetched, told
        assert straight.startswith("refused"), told


def test_the_nodes_own_engines_are_not_reached(node):
    ports = listening_ports(node)
    assert len(ports) >= 2, "the public port and the bus"
    targets = [f"127.0.0.1:{port}" for port in ports]
    told = json.loads(node.ask(node.deploy("reach"), " ".join(targets)))
    assert all(" 403" in one for answers in told.values() for one in answers[:2]), told
    assert all(answers[2].startswith("refused") for answers in told.values()), told


def test_the_nodes_own_sockets_are_not_reached(node):
    sockets = [str(path) for path in unix_sockets(node)]
    assert any("PGSQL" in path for path in sockets)
    assert any("control.sock" in path for path in sockets)
    told = json.loads(node.ask(node.deploy("knock"), "\n".join(sockets)))
    assert all(answer.startswith("refused") for answer in told.values()), told


def listening_ports(node) -> list[int]:
    family = [psutil.Process(node.process.pid), *node.processes()]
    found = set()
    for process in family:
        for link in process.net_connections("tcp"):
            if link.status == psutil.CONN_LISTEN and link.laddr.ip == "127.0.0.1":
                found.add(link.laddr.port)
    return sorted(found - {4100, 4101})


def unix_sockets(node) -> list[Path]:
    return sorted(path for path in node.process.state.rglob("*") if path.is_socket())
