"""What `SecureA2AServer` answers a second beside the plain official server: one worker, the same agent, one run.

Each server is a process of its own, and so is what asks (`sdk_load`). The rounds go through all servers in turn, so
that whatever else the machine does falls on all of them.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from benchmarks.ground import free_port

NAME: Final = "sdk_rate"
SUMMARY: Final = (
    "Task replies a second with everything on (Noise, warrant, schema, record on disk), "
    "beside the plain official server"
)
UNIT: Final = "replies/s"
PEER_IS: Final = "the official SDK's server, plain HTTP and no check"
HERE: Final = Path(__file__).parent
ROUNDS: Final = int(os.environ.get("HIVE_BENCH_ROUNDS", "3"))
CALLS: Final = 3000
PEER_CALLS: Final = 900
CLIENTS: Final = 16
START_MAX_S: Final = 30.0
REPLIES: Final = ("task", "message")
CHAINS: Final = ("official", "official_tls", "tls", "noise", "full")


@dataclass(frozen=True, kw_only=True)
class EchoServer:
    """A server that runs: which it is, where, and what its load needs."""

    chain: str
    reply: str
    port: int
    pid: int
    root: str = ""

    @property
    def name(self) -> str:
        """Return what the results call it."""
        return f"{self.chain}_{self.reply}"

    def load(self, clients: int) -> dict[str, float]:
        """Ask it; return what was seen."""
        official = self.chain.startswith("official")
        order = {
            "port": self.port,
            "pid": self.pid,
            "connections": clients,
            "calls": (PEER_CALLS if official else CALLS) // (1 if clients > 1 else 3),
            "reply": self.reply,
            "seal": self.chain in ("noise", "full"),
            "root": self.root if self.chain == "full" else "",
            "tls": self.chain in ("official_tls", "tls"),
        }
        command = [sys.executable, str(HERE / "sdk_load.py"), json.dumps(order)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found: dict[str, float] = json.loads(done.stdout)
        return found


def run() -> dict[str, Any]:
    """Measure all of them in turns; medians over the rounds."""
    seen: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="hive-") as folder, ExitStack() as stack:
        servers = [
            stack.enter_context(running(chain, reply, Path(folder)))
            for chain in CHAINS
            for reply in REPLIES
        ]
        for _ in range(ROUNDS):
            for server in servers:
                for clients in (CLIENTS, 1):
                    name = server.name if clients > 1 else f"{server.name}_alone"
                    seen.setdefault(name, []).append(server.load(clients))
    found = {
        name: {key: statistics.median(one[key] for one in runs) for key in runs[0]}
        for name, runs in seen.items()
    }
    return {
        "value": found["full_task"]["per_s"],
        "peer": found["official_task"]["per_s"],
        "percentiles": {key: found["full_task"][f"{key}_ms"] for key in ("p50", "p95", "p99")},
        "details": {"ratios": ratios(found), **found},
    }


def ratios(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return our rates over the official one's, and its CPU a call over ours, sixteen clients."""
    pairs = {
        "full": "official",
        "noise": "official",
        "tls": "official",
        "tls_over_tls": "official_tls",
    }
    made: dict[str, float] = {}
    for name, peer in pairs.items():
        ours = name.partition("_")[0]
        for reply in REPLIES:
            one, other = found[f"{ours}_{reply}"], found[f"{peer}_{reply}"]
            made[f"{name}_{reply}"] = one["per_s"] / other["per_s"]
            made[f"{name}_{reply}_by_cpu"] = other["cpu_us"] / one["cpu_us"]
    return made


@contextmanager
def running(chain: str, reply: str, folder: Path) -> Iterator[EchoServer]:
    """Run one server."""
    port = free_port()
    certificate, key = certificate_of(folder) if "tls" in chain else ("", "")
    private, public = root_of()
    if chain.startswith("official"):
        arguments = ["official_echo_server.py", str(port), reply]
        arguments += [certificate, key] if certificate else []
    else:
        served = {
            "port": port,
            "reply": reply,
            "chain": chain,
            "folder": str(folder / f"{chain}-{reply}"),
            "root": public,
            "certificate": certificate,
            "key": key,
        }
        arguments = ["secure_echo_server.py", json.dumps(served)]
    command = [sys.executable, str(HERE / arguments[0]), *arguments[1:]]
    process = subprocess.Popen(command)
    try:
        await_port(port, process)
        yield EchoServer(chain=chain, reply=reply, port=port, pid=process.pid, root=private)
    finally:
        process.terminate()
        process.wait(30)


def await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a server listens."""
    import socket

    began = time.perf_counter()
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.perf_counter() - began > START_MAX_S:
                raise
            time.sleep(0.05)
        else:
            return


def root_of() -> tuple[str, str]:
    """Make a key that warrants come from: the private and the public half."""
    from hive_a2a.crypto import new_signing_pair

    pair = new_signing_pair()
    return pair.private.hex(), pair.public.hex()


def certificate_of(folder: Path) -> tuple[str, str]:
    """Make a certificate for this machine; return where it and its key lie."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    paths = folder / "server.pem", folder / "server.key"
    paths[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(paths[0]), str(paths[1])
