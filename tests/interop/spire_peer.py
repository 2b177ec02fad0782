"""A real SPIRE server and agent, built from their Go module, for the length of a test.

go mod download github.com/spiffe/spire@v1.13.3
cp -r "$(go env GOMODCACHE)/github.com/spiffe/spire@v1.13.3" spire && chmod -R u+w spire && cd spire
go build -o ~/.cache/hive-peers/bin/spire-server ./cmd/spire-server     # needs a C compiler (sqlite)
go build -o ~/.cache/hive-peers/bin/spire-agent ./cmd/spire-agent
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hive.testing.node_process import free_port

PEERS = Path.home() / ".cache" / "hive-peers" / "bin"
DOMAIN = "spire.example"
HOST = f"spiffe://{DOMAIN}/host"
NODE = f"spiffe://{DOMAIN}/hive/node"
WAIT_S = 60.0

SERVER = """
server {{
  bind_address = "127.0.0.1"
  bind_port = "{port}"
  socket_path = "{folder}/server.sock"
  trust_domain = "{domain}"
  data_dir = "{folder}/server"
  log_level = "WARN"
  default_x509_svid_ttl = "{ttl}"
}}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "{folder}/entries.sqlite3" }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "memory" {{ plugin_data {{}} }}
}}
"""
AGENT = """
agent {{
  data_dir = "{folder}/agent"
  log_level = "WARN"
  server_address = "127.0.0.1"
  server_port = "{port}"
  socket_path = "{folder}/public/agent.sock"
  admin_socket_path = "{folder}/admin/admin.sock"
  trust_domain = "{domain}"
  insecure_bootstrap = true
  authorized_delegates = ["{node}"]
}}
plugins {{
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "memory" {{ plugin_data {{}} }}
  WorkloadAttestor "unix" {{ plugin_data {{}} }}
}}
"""


def program(name: str) -> str:
    """Return where a peer's program lies, or skip and say how it is built."""
    found = PEERS / name if (PEERS / name).exists() else shutil.which(name)
    if not found:
        pytest.skip(f"{name} is missing; see the head of {__name__}")
    return str(found)


class Spire:
    """The running pair."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"spire:{folder}/public/agent.sock?admin={folder}/admin/admin.sock"

    def server(self, *words: str) -> str:
        done = subprocess.run(
            [program("spire-server"), *words, "-socketPath", str(self.folder / "server.sock")],
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def entry(self, spiffe_id: str, selector: str, *more: str) -> str:
        """Register an entry; return its id."""
        said = self.server(
            "entry",
            "create",
            "-parentID",
            HOST,
            "-spiffeID",
            spiffe_id,
            "-selector",
            selector,
            *more,
        )
        return next(line.split(":")[1].strip() for line in said.splitlines() if "Entry ID" in line)


@contextmanager
def running_spire(folder: Path, *, ttl: str = "1h") -> Iterator[Spire]:
    """Run server and agent, with an entry for this user's processes as the node."""
    port = free_port()
    values = {"folder": folder, "port": port, "domain": DOMAIN, "node": NODE, "ttl": ttl}
    (folder / "server.conf").write_text(SERVER.format(**values))
    (folder / "agent.conf").write_text(AGENT.format(**values))
    spire = Spire(folder)
    with (folder / "spire.log").open("wb") as log:
        server = subprocess.Popen(
            [program("spire-server"), "run", "-config", str(folder / "server.conf")],
            stdout=log,
            stderr=log,
        )
        agent = None
        try:
            _until(lambda: (folder / "server.sock").exists() and spire.server("healthcheck"))
            token = spire.server("token", "generate", "-spiffeID", HOST).split()[-1]
            spire.entry(NODE, f"unix:uid:{os.getuid()}")
            agent = subprocess.Popen(
                [program("spire-agent"), "run", "-config", str(folder / "agent.conf"),
                 "-joinToken", token],
                stdout=log,
                stderr=log,
            )  # fmt: skip
            _until(lambda: (folder / "public" / "agent.sock").exists())
            yield spire
        finally:
            for one in (agent, server):
                if one is not None:
                    one.kill()
                    one.wait()


def _until(holds) -> None:
    ends_at = time.monotonic() + WAIT_S
    while True:
        try:
            if holds():
                return
        except AssertionError:
            pass
        assert time.monotonic() < ends_at, "SPIRE did not get ready"
        time.sleep(0.1)
