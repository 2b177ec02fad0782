"""A node as a witness on a real port, and logs that ask it; the log's hashes are a list that a test may change."""

import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import quote

import uvicorn

from hive.core.clock import SystemClock
from hive.core.randomness import SystemRandomness
from hive.ledger.drivers.file import FileWitness
from hive.ledger.drivers.hive import HiveWitness
from hive.ledger.merkle import consistency_proof, root_of
from hive.ledger.notes import Checkpoint, NoteKey, NoteSigner, parse_checkpoint
from hive.ledger.witnessing import LogWitness
from hive.protocols.witness import WitnessDoor

NODE = "node-1"


class GrowingLog:
    """One chain of a node: leaves, its signer, and what it would prove."""

    def __init__(self, node: str = NODE, seed: bytes = b"s" * 32) -> None:
        self.signer = NoteSigner(node, seed)
        self.leaves: list[bytes] = []
        self.chain = f"{node}.1"

    def grow(self, count: int, salt: str = "") -> Checkpoint:
        start = len(self.leaves)
        self.leaves += [f"{salt}{number}".encode() for number in range(start, start + count)]
        return self.checkpoint()

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        leaves = self.leaves[:size]
        return parse_checkpoint(self.signer.checkpoint(self.chain, len(leaves), root_of(leaves)))

    async def prove(self, old_size: int) -> list[bytes]:
        return consistency_proof(old_size, self.leaves)


@contextmanager
def served(app: Callable[..., object]) -> Iterator[str]:
    """Serve an application on a free port of this machine."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, lifespan="off", access_log=False, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@asynccontextmanager
async def witness_node(folder: Path, *keys: NoteKey) -> AsyncIterator[tuple[str, LogWitness]]:
    """Run a node's witness door; yields its address and the witness behind it."""
    async with FileWitness.open(f"file:{folder}?name=other-node") as memory:
        witness = LogWitness(memory, keys)
        with served(WitnessDoor(witness)) as address:
            yield f"{address}/witness", witness


@asynccontextmanager
async def asking(address: str, key: NoteKey, node: str = NODE) -> AsyncIterator[HiveWitness]:
    """Open the driver of a node that asks."""
    url = f"hive:{address}?key={quote(key.cosigner_text, safe='')}&node={node}"
    async with HiveWitness.open(url, clock=SystemClock(), randomness=SystemRandomness()) as driver:
        yield driver
