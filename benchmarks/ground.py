"""What the benchmarks stand on: a node in a process of its own, a lean HTTP client, memory as it is shared."""

import asyncio
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hive.web.values import DeployOrder, DeployStep

START_MAX_S: Final = 60.0
POLL_S: Final = 0.002
ECHO: Final = '''
def agent(text):
    """Say it again."""
    return text
'''


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RunningNode:
    """A node that runs as `hive up`."""

    def __init__(self, folder: Path, port: int, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.port = port
        self.process = process

    @property
    def token(self) -> str:
        """Return the operator's token."""
        return (self.folder / "operator.token").read_text().strip()

    def deploy(self, source: str, folder: Path, *, name: str = "") -> float:
        """Deploy an agent under the safe grant; return how many seconds that took."""
        from hive.cli.client import OperatorClient

        began = time.perf_counter()
        order = DeployOrder(source=source, folder=str(folder), name=name, safe=True)
        steps = list(OperatorClient(self.folder).lines("POST", "agents", DeployStep, body=order))
        if not steps or steps[-1].stage != "ready":
            raise RuntimeError(f"{name or source} was not deployed: {steps}")
        return time.perf_counter() - began


@contextmanager
def node(
    folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[RunningNode, float]]:
    """Start a node; yield it with the seconds until `/api/ready` said yes."""
    port = free_port()
    log = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "hive", "up", "--port", str(port), "--state", str(folder)],
        stdout=log,
        stderr=log,
        env={**os.environ, "HIVE_REQUESTS_PER_S": "1000000", **(environment or {})},
    )
    try:
        while not _ready(port):
            if process.poll() is not None or time.perf_counter() - began > START_MAX_S:
                log.seek(0)
                raise RuntimeError(f"the node did not start: {log.read().decode()}")
            time.sleep(POLL_S)
        yield RunningNode(folder, port, process), time.perf_counter() - began
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        log.close()


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/api/ready")
        answer = connection.getresponse()
        return answer.status == 200 and bool(json.loads(answer.read()).get("ready"))
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def request(path: str, body: bytes, token: str = "") -> bytes:
    """Return a whole HTTP request for a kept connection."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"a2a-version: 1.0\r\ncontent-length: {len(body)}\r\n"
    )
    if token:
        head += f"authorization: Bearer {token}\r\n"
    return head.encode() + b"\r\n" + body


def message(number: int) -> bytes:
    """Return a JSON-RPC call that sends a short message."""
    said = {"messageId": f"m-{number}", "role": "ROLE_USER", "parts": [{"text": "hello"}]}
    call = {"jsonrpc": "2.0", "id": number, "method": "SendMessage", "params": {"message": said}}
    return json.dumps(call).encode()


async def calls_of_one(port: int, path: str, token: str, numbers: Sequence[int]) -> list[float]:
    """Send messages one after the other over one connection; return seconds of each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    taken = []
    try:
        for number in numbers:
            data = request(path, message(number), token)
            began = time.perf_counter()
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            size = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
            body = await reader.readexactly(size)
            taken.append(time.perf_counter() - began)
            if b"COMPLETED" not in body:
                raise RuntimeError(body.decode())
    finally:
        writer.close()
    return taken


def load(
    port: int, path: str, token: str, *, clients: int, calls: int
) -> tuple[float, list[float]]:
    """Send `calls` messages from each of `clients`; return calls a second, and seconds of each."""

    async def all_of_them() -> list[float]:
        parts = [
            calls_of_one(port, path, token, range(one * calls, (one + 1) * calls))
            for one in range(clients)
        ]
        return [taken for part in await asyncio.gather(*parts) for taken in part]

    began = time.perf_counter()
    taken = asyncio.run(all_of_them())
    return len(taken) / (time.perf_counter() - began), taken


def percentiles_ms(taken: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and p99 in milliseconds."""
    cuts = statistics.quantiles(taken, n=100)
    return {"p50": cuts[49] * 1000, "p95": cuts[94] * 1000, "p99": cuts[98] * 1000}


def tree_of(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    found = [pid]
    for one in found:
        for task in Path("/proc", str(one), "task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:  # it ended meanwhile
                continue
    return found


def pss_mib(pids: Sequence[int]) -> float:
    """Return the proportional memory of some processes."""
    total = 0
    for pid in pids:
        try:
            text = Path("/proc", str(pid), "smaps_rollup").read_text()
        except OSError:  # it ended meanwhile
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total / 1024
