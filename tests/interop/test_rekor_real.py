"""A real Rekor log (v2, on tiles in a folder) as the witness of our checkpoints.

    GOBIN=DIR go install github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix@v2.3.0

and the program `posix` moved to ~/.cache/hive-peers/bin/rekor-server, which the test does where `go` is there.
"""

import base64
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import anyio
import httpcore
import pytest
from tests.witness_rig import GrowingLog, served

from hive.core.clock import SystemClock
from hive.core.errors import ConfigError, LedgerError, WitnessAwayError
from hive.core.json import decode, encode
from hive.core.randomness import SystemRandomness
from hive.ledger.drivers.rekor import RekorWitness, check_receipt
from hive.ledger.notes import NoteKey, NoteSigner, parse_checkpoint

pytestmark = [pytest.mark.anyio, pytest.mark.peers]
PROGRAM = Path.home() / ".cache" / "hive-peers" / "bin" / "rekor-server"
SOURCE = "github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix@v2.3.0"
HOST = "rekor.test"
SEED = b"r" * 32
_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> str:
    if PROGRAM.exists():
        return str(PROGRAM)
    compiler = shutil.which("go")
    if compiler is None:
        pytest.skip(f"go is not installed: go install {SOURCE}")
    folder = tmp_path_factory.mktemp("go")
    environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-p=2"}  # noqa: TID251
    words = [compiler, "install", SOURCE]
    done = subprocess.run(words, env=environment, capture_output=True, timeout=900, check=False)
    if done.returncode:
        pytest.skip(f"go install {SOURCE} does not work here: {done.stderr[-200:].decode()}")
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folder / "posix", PROGRAM)
    return str(PROGRAM)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Rekor:
    """A running log: its address and the key that signs its roots."""

    def __init__(self, program: str, folder: Path) -> None:
        pem = folder / "log.pem"
        coded = base64.b64encode(_PKCS8 + SEED).decode()
        pem.write_text(f"-----BEGIN PRIVATE KEY-----\n{coded}\n-----END PRIVATE KEY-----\n")
        http, grpc, metrics = free_ports(3)
        self.address = f"http://127.0.0.1:{http}"
        self.key = NoteSigner(HOST, SEED).key
        options = {
            "http-port": http,
            "grpc-port": grpc,
            "http-metrics-port": metrics,
            "hostname": HOST,
            "signer-filepath": pem,
            "storage-dir": folder / "log",
            "checkpoint-interval": "1s",
            "batch-max-age": "50ms",
        }
        words = [program, "serve", *(f"--{name}={value}" for name, value in options.items())]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def ready(self) -> None:
        with anyio.fail_after(60):
            while True:
                try:
                    async with httpcore.AsyncConnectionPool() as pool:
                        answer = await pool.request("GET", f"{self.address}/healthz")
                        if answer.status == 200:
                            return
                except httpcore.NetworkError:
                    pass
                await anyio.sleep(0.1)

    def driver(self, folder: Path, *, address: str = "", key: NoteKey | None = None):
        named = quote((key or self.key).text, safe="")
        url = f"rekor:{address or self.address}?key={named}&node=node-1&folder={folder}"
        return RekorWitness.open(url, clock=SystemClock(), randomness=SystemRandomness())


@pytest.fixture
def rekor(program, tmp_path) -> Iterator[Rekor]:
    log = Rekor(program, tmp_path)
    yield log
    log.process.kill()
    log.process.wait()


async def test_a_real_log_takes_checkpoints_and_its_receipts_are_kept(rekor, tmp_path):
    await rekor.ready()
    log = GrowingLog()
    for count in (3, 20):
        async with rekor.driver(tmp_path / "receipts") as driver:
            checkpoint = log.grow(count)
            lines = await driver.countersign(checkpoint, log.prove)
            assert parse_checkpoint(checkpoint.note + lines).witnessed_by(driver.key)
    async with rekor.driver(tmp_path / "receipts") as driver:
        (latest,) = await driver.latest()
        assert (latest.size, latest.root) == (23, log.checkpoint().root)
        forged = GrowingLog()
        with pytest.raises(LedgerError, match="another history"):
            await driver.countersign(forged.grow(40, "forged"), forged.prove)


async def test_receipts_of_another_log_or_another_checkpoint_count_for_nothing(rekor, tmp_path):
    await rekor.ready()
    log = GrowingLog()
    folder = tmp_path / "receipts"
    async with rekor.driver(folder) as driver:
        checkpoint = log.grow(3)
        await driver.countersign(checkpoint, log.prove)
        public = driver._public()
    kept = decode((folder / "receipts.jsonl").read_bytes())
    receipt = kept["receipt"]
    check_receipt(receipt, checkpoint, public, rekor.key)
    for other in (log.grow(1), GrowingLog("node-2", b"y" * 32).grow(3)):
        with pytest.raises(LedgerError, match="not accepted"):
            check_receipt(receipt, other, public, rekor.key)
    for key in (NoteSigner(HOST, b"z" * 32).key, NoteSigner("else.test", SEED).key):
        with pytest.raises(LedgerError, match="not accepted"):
            check_receipt(receipt, checkpoint, public, key)
    with pytest.raises(LedgerError, match="not accepted"):
        check_receipt(receipt, checkpoint, public[:-1] + b"x", rekor.key)
    receipt["inclusionProof"]["hashes"] = [base64.b64encode(b"h" * 32).decode()]
    (folder / "receipts.jsonl").write_bytes(encode(kept) + b"\n")
    async with rekor.driver(folder) as driver:
        with pytest.raises(LedgerError, match="not accepted"):
            await driver.latest()


async def test_a_log_that_lies_or_is_gone_is_not_believed(rekor, tmp_path):
    await rekor.ready()
    log = GrowingLog()
    stranger = NoteSigner(HOST, b"z" * 32).key
    async with rekor.driver(tmp_path / "a", key=stranger) as driver:
        with pytest.raises(LedgerError, match="not accepted"):
            await driver.countersign(log.grow(2), log.prove)
        assert await driver.latest() == []

    async def rubbish(scope, receive, send):
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    with served(rubbish) as address:
        async with rekor.driver(tmp_path / "b", address=address) as driver:
            with pytest.raises(LedgerError, match="not accepted"):
                await driver.countersign(log.checkpoint(), log.prove)
    rekor.process.kill()
    rekor.process.wait()
    async with rekor.driver(tmp_path / "c") as driver:
        with pytest.raises(WitnessAwayError):
            await driver.countersign(log.checkpoint(), log.prove)


@pytest.mark.parametrize("url", ["rekor:", "rekor:https://a", "rekor:ftp://a?key=x"])
async def test_a_log_without_its_key_is_no_setting(url):
    with pytest.raises(ConfigError):
        async with RekorWitness.open(url, clock=SystemClock(), randomness=SystemRandomness()):
            pass
