"""Real servers of relationships for the length of a test, with nothing kept.

GOBIN=~/.cache/hive-peers/bin go install github.com/openfga/openfga/cmd/openfga@v1.22.1

SpiceDB's module cannot be installed as it is, because its go.mod replaces others:

go mod download github.com/authzed/spicedb@v1.56.1-0.20260807003957-bb9e61b5f956
cp -r "$(go env GOMODCACHE)/github.com/authzed/spicedb@v1.56.1-0.20260807003957-bb9e61b5f956" spicedb
chmod -R u+w spicedb && cd spicedb && go build -o ~/.cache/hive-peers/bin/spicedb ./cmd/spicedb
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from hive.testing.node_process import free_port

PEERS = Path.home() / ".cache" / "hive-peers" / "bin"
WAIT_S = 60
TOKEN = "a-token-of-the-tests"


def program(name: str) -> str:
    found = PEERS / name if (PEERS / name).exists() else shutil.which(name)
    if not found:
        pytest.skip(f"{name} is missing; see the head of {__name__}")
    return str(found)


@contextmanager
def running_openfga() -> Iterator[str]:
    port = free_port()
    command = [program("openfga"), "run", f"--http-addr=127.0.0.1:{port}"]
    command += [f"--grpc-addr=127.0.0.1:{free_port()}", "--playground-enabled=false"]
    command += ["--metrics-enabled=false", "--log-level=error", "--max-checks-per-batch-check=50"]
    with _kept(command):
        yield f"openfga:http://127.0.0.1:{port}"


@contextmanager
def running_spicedb(folder: Path) -> Iterator[str]:
    port = free_port()
    (folder / "token").write_text(TOKEN)
    command = [program("spicedb"), "serve", f"--grpc-preshared-key={TOKEN}"]
    command += ["--datastore-engine=memory", "--http-enabled", f"--http-addr=127.0.0.1:{port}"]
    command += [f"--grpc-addr=127.0.0.1:{free_port()}", "--metrics-enabled=false"]
    command += ["--telemetry-endpoint=", "--skip-release-check", "--log-level=error"]
    with _kept(command):
        yield f"spicedb:http://127.0.0.1:{port}?token={folder / 'token'}"


@contextmanager
def _kept(command: list[str]) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            yield
        finally:
            server.kill()


async def answers(url: str, path: str = "/healthz") -> None:
    """Wait until a server does."""
    address = url.partition(":")[2].partition("?")[0]
    async with httpx.AsyncClient() as http:
        with anyio.fail_after(WAIT_S):
            while True:
                try:
                    if (await http.get(f"{address}{path}")).status_code < 500:
                        return
                except httpx.TransportError:
                    pass
                await anyio.sleep(0.05)
