"""How long `stop` takes while ten agents flood every door: the control call of a warm client, and the deaths.

The value is the slowest of ten stops, from the first byte of the request to the last of the answer.
"""

import http.client
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.ground import RunningNode, message, node, request, tree_of

NAME: Final = "stop_under_flood"
SUMMARY: Final = "stopping an agent while ten of them flood every door"
UNIT: Final = "ms"
AGENTS: Final = 10
FLOOD_S: Final = 3.0
FLOOD: Final = '''
import contextlib, json, os, socket, sys, threading, urllib.request

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def speak(path, key, body):
    request = urllib.request.Request(
        os.environ["HIVE_URL"] + path,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Authorization": "Bearer " + key},
    )
    OPENER.open(request, timeout=10).read()


def connect():
    with socket.create_connection(("127.0.0.1", 4101), timeout=5) as link:
        link.sendall(b"CONNECT 192.0.2.1:443 HTTP/1.1\\r\\n\\r\\n")
        link.recv(100)


def flood():
    """Knock at every door at once, for as long as nobody stops it."""
    import hive_guest

    key = os.environ["HIVE_HANDLE"]
    asked = {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]}
    doors = (
        lambda: speak("/v1/chat/completions", key, asked),
        lambda: speak("/v1/chat/completions", "wrong", asked),
        lambda: speak("/a2a/nobody", key, {"jsonrpc": "2.0", "id": 1, "method": "GetTask"}),
        connect,
        lambda: sys.stdout.write("x" * 500 + "\\n"),
        lambda: hive_guest.artifact("piece", artifact_id="a", append=True, last=False),
    )

    def forever(door):
        while True:
            with contextlib.suppress(Exception):
                door()

    for door in doors * 2:
        threading.Thread(target=forever, args=(door,), daemon=True).start()
    threading.Event().wait()
    return ""
'''


class WarmClient(http.client.HTTPConnection):
    """A kept connection to the operator's socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("hive", timeout=30)
        self.path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))

    def ask(self, method: str, path: str) -> float:
        """Ask; return the seconds until the whole answer was here."""
        began = time.perf_counter()
        self.request(method, path)
        answer = self.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(body.decode())
        return time.perf_counter() - began


def run() -> dict[str, Any]:
    """Flood, stop one after the other, measure."""
    with tempfile.TemporaryDirectory(prefix="hive-flood-", ignore_cleanup_errors=True) as folder:
        source = Path(folder) / "agents" / "flood.py"
        source.parent.mkdir()
        one = "\n\ndef flood_{0}(text):\n    return flood()\n"
        source.write_text(FLOOD + "".join(one.format(number) for number in range(AGENTS)))
        with node(Path(folder) / "state") as (running, _):
            names = [f"flood-{number}" for number in range(AGENTS)]
            for name in names:
                attribute = name.replace("-", "_")
                running.deploy(f"flood.py:{attribute}", source.parent, name=name)
            return _measure(running, names)


def _measure(running: RunningNode, names: list[str]) -> dict[str, Any]:
    client = WarmClient(running.folder / "control.sock")
    calm = [client.ask("GET", "/api/agents") for _ in range(10)]
    links = [begin(running, name) for name in names]
    time.sleep(FLOOD_S)
    listing = [client.ask("GET", "/api/agents") for _ in range(5)]
    stops, deaths = [], []
    for name in names:
        before = _walled(running, name)
        began = time.perf_counter()
        stops.append(client.ask("POST", f"/api/agents/{name}/stop"))
        while before & _walled(running, name) and time.perf_counter() - began < 10:
            time.sleep(0.002)
        deaths.append(time.perf_counter() - began)
    for link in links:
        link.close()
    return {
        "value": max(stops) * 1000,
        "percentiles": {"p50": statistics.median(stops) * 1000},
        "details": {
            "processes_gone_ms_max": max(deaths) * 1000,
            "list_ms_max": max(listing) * 1000,
            "list_calm_ms_median": statistics.median(calm) * 1000,
            "stops_ms": [round(one * 1000, 2) for one in stops],
        },
    }


def begin(running: RunningNode, name: str) -> socket.socket:
    """Send a message whose answer nobody waits for; return the connection."""
    link = socket.create_connection(("127.0.0.1", running.port))
    link.sendall(request(f"/a2a/{name}", message(1), running.token))
    return link


def _walled(running: RunningNode, name: str) -> set[int]:
    """Return the processes of an agent: those below the node that were told to load its function."""
    found = set()
    for pid in tree_of(running.process.pid):
        try:
            words = Path("/proc", str(pid), "cmdline").read_bytes()
        except OSError:
            continue
        if words.rstrip(b"\0").endswith(name.replace("-", "_").encode()):
            found.add(pid)
    return found
