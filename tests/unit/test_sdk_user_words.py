"""What a user of the SDK is told: a missing extra, a taken port, a folder in use, a card that leads elsewhere."""

import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager

import anyio
import pytest

from hive_a2a.application import serve_until_stopped
from hive_a2a.cards.describe import card_json
from hive_a2a.command.serve import _other_ports, make_server
from hive_a2a.errors import needs_extra
from hive_a2a.policy import Policy
from hive_a2a.server import SecureA2AServer
from tests.server_rig import SECURE, card_for, free_port, secure
from tests.wire_rig import EchoAgent

ASKED = {
    "serve": (
        "uvicorn",
        "import anyio\nasync def go():\n    async with server().serving(): pass\nanyio.run(go)",
    ),
    "grpc": (
        "grpc",
        "import anyio\nasync def go():\n    async with server().grpc(): pass\nanyio.run(go)",
    ),
    "warrants": ("tenuo_core", "import hive_a2a.stages.tenuo_warrants"),
    "spiffe": ("spiffe", "from hive_a2a.identity.svid import WorkloadSvids; WorkloadSvids()"),
}
WITHOUT = """
import sys
sys.modules[{package!r}] = None
from hive_a2a.errors import A2AError
def server():
    from hive_a2a.server import SecureA2AServer
    from tests.server_rig_card import card, agent
    return SecureA2AServer(card, agent)
try:
{code}
except A2AError as error:
    print(error.what, error.fix)
"""


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HIVE_A2A_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("extra", list(ASKED))
def test_a_missing_extra_is_named_with_what_installs_it(extra, tmp_path):
    package, code = ASKED[extra]
    (tmp_path / "agent.py").write_text(
        "from a2a.server.agent_execution import AgentExecutor\n"
        "from a2a.types import a2a_pb2 as pb\n"
        "class Agent(AgentExecutor):\n"
        "    async def execute(self, context, queue): ...\n"
        "    async def cancel(self, context, queue): ...\n"
        "from hive_a2a.cards.resolve import read_card\n"
        f"card = read_card({card_json(card_for(1, 2))!r})\n"
        "agent = Agent()\n"
    )
    lines = "\n".join(f"    {line}" for line in code.splitlines())
    script = WITHOUT.format(package=package, code=lines).replace("tests.server_rig_card", "agent")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert package in done.stdout
    assert f"pip install 'hive-a2a-sdk[{extra}]'" in done.stdout


def test_another_missing_module_is_not_taken_for_an_extra():
    with pytest.raises(ModuleNotFoundError), needs_extra("serve", "uvicorn"):
        raise ModuleNotFoundError(name="my_own_module")


def served_at(folder, **places):
    port = free_port()
    card = card_for(port, free_port())
    return port, SecureA2AServer(card, EchoAgent(), policy=SECURE, folder=folder, **places)


def test_a_taken_port_ends_the_run_with_what_why_and_fix(tmp_path, capsys):
    _, server = served_at(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            server.run(port=port)
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert f"The port {port}" in told
    assert "Fix:" in told
    assert "Traceback" not in told


def test_a_folder_in_use_is_named_and_a_taken_port_comes_before_it(tmp_path, capsys):
    async def meanwhile(port):
        async with first.serving(port=first_port):
            await anyio.to_thread.run_sync(start, port)

    def start(port):
        with pytest.raises(SystemExit):
            second.run(port=port)

    first_port, first = served_at(tmp_path)
    _, second = served_at(tmp_path)
    anyio.run(meanwhile, free_port())
    told = capsys.readouterr().err
    assert "The record is in use." in told
    assert str(tmp_path) in told
    anyio.run(meanwhile, first_port)
    told = capsys.readouterr().err
    assert f"The port {first_port}" in told
    assert "record" not in told


def test_an_error_from_within_a_group_is_told_like_any_other(tmp_path, capsys):
    _, server = served_at(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(SystemExit):
            server.run(port=free_port(), grpc_port=other.getsockname()[1])
    assert "gRPC address" in capsys.readouterr().err


def test_a_run_says_in_one_line_where_it_serves(tmp_path, capsys):
    @asynccontextmanager
    async def interrupted_soon():
        async with anyio.create_task_group() as group:
            group.start_soon(interrupt_once_ready)
            yield 4711

    async def interrupt_once_ready():
        signal.raise_signal(signal.SIGINT)

    _, server = served_at(tmp_path)
    serve_until_stopped(server, interrupted_soon(), scheme="http", host="127.0.0.1")
    told = capsys.readouterr().err.splitlines()
    assert told == [
        f"echo   http://127.0.0.1:4711   sealed required   record {server.audit_folder}"
    ]


@pytest.mark.anyio
async def test_without_limits_grpc_serves_all_the_same(tmp_path):
    from hive_a2a.ports import Stage

    async with secure(tmp_path, policy=Policy().without(Stage.LIMITS)) as ours:
        assert ours.grpc_port


def test_serve_warns_of_a_card_that_leads_to_another_port(tmp_path, monkeypatch):
    (tmp_path / "led_by_test.py").write_text(
        "from tests.wire_rig import EchoAgent as Executor\n"
        "from tests.server_rig import card_for\n"
        "card = card_for(8001, 9001)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    given = {"port": 8000, "grpc_port": None, "public_url": None}
    server = make_server("led_by_test:Executor", scheme="http", host="127.0.0.1", port=8000)
    told = list(dict.fromkeys(_other_ports(server, given)))
    assert any("JSONRPC to http://127.0.0.1:8001/, but --port is 8000" in one for one in told)
    assert any("GRPC" in one and "without --grpc" in one for one in told)
    assert not list(_other_ports(server, {"port": 8001, "grpc_port": 9001, "public_url": None}))
    assert not list(_other_ports(server, {**given, "public_url": "https://a.example"}))
