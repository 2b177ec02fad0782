"""One grant, three places that enforce it: the gate (a tool's arguments), the kernel's walls, the egress door.

The same file and the same host are denied at each of them, and what the grant does name passes at those that have a
way to it. Nobody told the three anything but this one grant.
"""

import http.server
import json
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from hive.testing.node_process import free_port, node_process

HERE = Path(__file__).parent
pytestmark = pytest.mark.peers


class Page(http.server.BaseHTTPRequestHandler):
    """Says hello to everybody."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def pages():
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) for _ in range(2)]
    for server in servers:
        Thread(target=server.serve_forever, daemon=True).start()
    yield [server.server_address[1] for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data" / "open").mkdir(parents=True)
    (tmp_path / "data" / "open" / "note").write_text("note")
    (tmp_path / "data" / "secret").write_text("treasure")
    return tmp_path / "data"


@pytest.fixture
def shelf(data):
    port = free_port()
    command = [sys.executable, str(HERE / "shelf.py"), str(data), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().strip() == "ready"
        yield f"http://127.0.0.1:{port}/mcp"
        process.kill()


def spec(data: Path, port: int, *, ruled: bool) -> str:
    rule = '\n[[needs.tool]]\nname = "shelf.read"\npath = "under:/data/open"\n' if ruled else ""
    return (
        'name = "reaching"\nentry = "reaching.py:reaching"\nrequirements = []\n[needs]\n'
        f'paths = [{{ host = "{data / "open"}", inside = "/data/open" }}]\n'
        f'hosts = ["127.0.0.1:{port}"]\ntools = ["shelf.read"]\n{rule}'
    )


def deployed(node, folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    shutil.copy(HERE / "agents" / "reaching.py", folder)
    (folder / "hive-agent.toml").write_text(text)
    node.hive("run", str(folder), "--yes")


def test_the_same_denial_at_gate_walls_and_egress(pages, data, shelf, tmp_path):
    granted, other = pages
    asked = json.dumps(
        {
            "granted_path": "/data/open/note",
            "other_path": "/data/open/../secret",
            "granted_host": f"127.0.0.1:{granted}",
            "other_host": f"127.0.0.1:{other}",
        }
    )
    with node_process(tmp_path / "state") as node:
        node.hive("tool", "add", "shelf", "--url", shelf, "--yes")
        deployed(node, tmp_path / "agent", spec(data, granted, ruled=False))
        without = json.loads(node.send("reaching", asked).answer)
        deployed(node, tmp_path / "agent", spec(data, granted, ruled=True))
        told = json.loads(node.send("reaching", asked).answer)
        lines = node.hive("audit", "tail", "-n", "400", "--json").splitlines()
    assert without["other path by tool"] == "PASSED treasure", "the tool does it where it may"
    assert told["granted path by tool"] == "PASSED note"
    assert told["granted path by open"] == "PASSED note"
    assert told["granted host by proxy"] == "PASSED hello"
    # The file: at the gate by the warrant, in the kernel because it is not mounted.
    assert told["other path by tool"].startswith("REFUSED")
    assert "warrant" in told["other path by tool"]
    assert told["other path by open"].startswith("REFUSED")
    # The host: at the egress door by the gate, in the kernel because there is no other way out.
    assert told["other host by proxy"].startswith("REFUSED 403")
    assert told["other host by socket"].startswith("REFUSED")
    assert told["granted host by socket"].startswith("REFUSED"), "only through the door"
    refused = [line for line in lines if "its warrant" in line or "its grant" in line]
    assert any("reach 127.0.0.1" in line for line in refused)
    assert any("invoke shelf.read" in line for line in refused)
