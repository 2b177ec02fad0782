"""Asks a server as fast as it answers, over kept connections; a process of its own, so that it costs the server nothing.

    python sdk_load.py '{"port": 8000, "pid": 4711, "seal": true, "connections": 16, "calls": 3000, ...}'

All requests are made, sealed and proved before the clock starts, and all answers are opened and looked at after
it stopped: what is measured is the server. Prints one JSON object.
"""

import asyncio
import json
import os
import secrets
import ssl
import statistics
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import uvloop

if __package__ is None:  # run as a script
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.official_echo_server import SKILL
from benchmarks.secure_echo_server import DATA, TOKEN

WARM_UP: Final = 200
CLIENT: Final = b"accept: */*\r\naccept-encoding: gzip, deflate\r\nuser-agent: load/1\r\n"
Prepared: TypeAlias = tuple[bytes, Callable[[bytes], bytes]]
"""A request, and what opens its answer."""
Seen: TypeAlias = tuple[float, bytes, Callable[[bytes], bytes]]


@dataclass(frozen=True, kw_only=True)
class LoadOrder:
    """What to ask. `root` is a private key (hex) that the server trusts to mint warrants."""

    port: int
    pid: int
    connections: int
    calls: int
    reply: str = "task"
    seal: bool = False
    root: str = ""
    tls: bool = False

    @property
    def url(self) -> str:
        """Return the agent's URL."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/"


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What was seen; `cpu_us` is what the server's process used for a call."""

    per_s: float
    cpu_us: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


class KeptConnection(asyncio.Protocol):
    """Sends the next request when the answer to the last is whole."""

    def __init__(self, waiting: deque[Prepared], seen: list[Seen]) -> None:
        self._waiting = waiting
        self._seen = seen
        self._received = b""
        self._missing = 0
        self._began = 0.0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to send."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Say so, if more was to be asked."""
        if not self.over.done():
            self.over.set_exception(exc or ConnectionResetError("The server hung up."))

    def begin(self) -> None:
        """Send the next request, or be done."""
        if not self._waiting:
            self.over.set_result(None)
            return
        request, self._opened = self._waiting.popleft()
        self._began = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take a piece of an answer."""
        self._received = self._received + data if self._received else data
        if not self._missing:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._received[:end].lower()
            start = head.index(b"content-length:") + 15
            self._missing = end + 4 + int(head[start:].split(b"\r\n", 1)[0])
        if len(self._received) >= self._missing:
            taken = time.perf_counter() - self._began
            self._seen.append((taken, self._received, self._opened))
            self._received, self._missing = b"", 0
            self.begin()


def message(number: int) -> dict[str, Any]:
    """Return a message with a text and a data part."""
    return {
        "messageId": f"4cc0e5ea-7a5a-4c0f-9c3d-{number:012d}",
        "role": "ROLE_USER",
        "parts": [{"text": "What is the weather like?"}, {"data": DATA}],
        "metadata": {"skillId": SKILL},
    }


def body_of(number: int) -> bytes:
    """Return a call of JSON-RPC."""
    params = {"message": message(number)}
    call = {"jsonrpc": "2.0", "id": number, "method": "SendMessage", "params": params}
    return json.dumps(call).encode()


def request_of(port: int, body: bytes, kind: bytes, extra: bytes = b"") -> bytes:
    """Return a whole HTTP request."""
    return b"".join(
        (
            b"POST / HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n" % port,
            CLIENT,
            b"content-type: %b\r\na2a-version: 1.0\r\ncontent-length: %d\r\n" % (kind, len(body)),
            extra,
            b"\r\n",
            body,
        )
    )


class PlainCalls:
    """Requests as the standard has them, with a bearer token."""

    def __init__(self, order: LoadOrder) -> None:
        self._order = order

    async def make(self, count: int) -> deque[Prepared]:
        """Make requests."""
        shown = b"authorization: Bearer %b\r\n" % TOKEN.encode()
        return deque(
            (request_of(self._order.port, body_of(number), b"application/json", shown), bytes)
            for number in range(count)
        )


class SealedCalls:
    """Requests sealed by Noise, with a warrant and its proof where there is a root to mint from."""

    def __init__(self, order: LoadOrder) -> None:
        from a2a.types import AgentCard
        from google.protobuf.json_format import Parse

        from hive_a2a.crypto import new_exchange_pair, new_signing_pair
        from hive_a2a.sealed.pins import PinnedPeers

        self._order = order
        card_url = f"{order.url}.well-known/agent-card.json"
        with urllib.request.urlopen(card_url, timeout=10) as answer:  # noqa: S310
            self._card = Parse(answer.read(), AgentCard(), ignore_unknown_fields=True)
        self._peers = PinnedPeers(static=new_exchange_pair())
        self._made = 0
        self._key = new_signing_pair()
        self._held = self._warrant(bytes.fromhex(order.root)) if order.root else None

    def _warrant(self, root: bytes) -> Any:
        import tenuo_core  # type: ignore[import-untyped]

        from hive_a2a.crypto import new_signing_pair
        from hive_a2a.stages.tenuo_warrants import attenuate_for, mint

        between = new_signing_pair()
        allowed = {
            "data.place": tenuo_core.Pattern("*"),
            "data.days": tenuo_core.Range(0, 14),
            "text_bytes": tenuo_core.Range(0, 1000),
        }
        held = mint(root, holder=between.public, tools={SKILL: allowed}, ttl_s=3600)
        return attenuate_for(self._key.public, held, holder_private=between.private, ttl_s=3600)

    async def make(self, count: int) -> deque[Prepared]:
        """Make requests, and shake hands before the first."""
        from hive_a2a.cards.noise_params import NOISE_URI
        from hive_a2a.sealed.binding import InnerRequest, RequestBinding
        from hive_a2a.sealed.extension import SEALED_TYPE

        if not self._made:
            await self._peers.pin(self._card)
        peer = self._peers.find(self._order.url)[1]
        if peer is None:
            raise RuntimeError("The server offers no Noise.")
        initiator = self._peers.initiator(peer, self._exchange)
        outside = b"a2a-extensions: %b\r\n" % NOISE_URI.encode()
        bound = RequestBinding(
            method=b"POST", target=b"/", version=b"1.0", extensions=NOISE_URI.encode()
        )
        made: deque[Prepared] = deque()
        for number in range(self._made, self._made + count):
            inner = InnerRequest(body=body_of(number), headers=tuple(self._headers(number)))
            sealed = await initiator.seal(inner, bound)
            kind = SEALED_TYPE.encode()
            request = request_of(self._order.port, sealed.frame, kind, outside)
            made.append((request, partial(_opened, sealed.opener)))
        self._made += count
        return made

    def _headers(self, number: int) -> list[tuple[bytes, bytes]]:
        found = [
            (b"content-type", b"application/json"),
            (b"a2a-version", b"1.0"),
            (b"accept", b"*/*"),
            (b"user-agent", b"load/1"),
        ]
        if self._held is None:
            return found
        from a2a.types import SendMessageRequest
        from google.protobuf.json_format import ParseDict

        from hive_a2a.stages.tenuo_warrants import proof_headers

        proof = proof_headers(
            self._held,
            holder_private=self._key.private,
            method="SendMessage",
            params=ParseDict({"message": message(number)}, SendMessageRequest()),
            audience=self._order.url,
            nonce=secrets.token_bytes(16),
            skill=SKILL,
        )
        return found + [(name.encode(), value.encode()) for name, value in proof.items()]

    async def _exchange(self, sent: bytes) -> bytes:
        from hive_a2a.cards.noise_params import HANDSHAKE_PATH
        from hive_a2a.sealed.extension import HANDSHAKE_TYPE

        asked = urllib.request.Request(  # noqa: S310
            self._order.url.rstrip("/") + HANDSHAKE_PATH,
            data=sent,
            headers={"content-type": HANDSHAKE_TYPE},
        )
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310, ASYNC210
            return bytes(answer.read())


def _opened(opener: Any, body: bytes) -> bytes:
    from hive_a2a.sealed.binding import read_inner_head

    head = read_inner_head(opener.open(body))
    opener.end()
    if head.status != 200:
        raise RuntimeError(f"{head.status}: {head.body!r}")
    return head.body


def cpu_s(pid: int) -> float:
    """Return what a process has used, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def asked(order: LoadOrder, waiting: deque[Prepared]) -> list[Seen]:
    """Send everything; return how long each took and its answer."""
    context = ssl._create_unverified_context() if order.tls else None  # noqa: S323, SLF001 - this machine
    seen: list[Seen] = []
    loop = asyncio.get_running_loop()
    kept = [
        (
            await loop.create_connection(
                lambda: KeptConnection(waiting, seen), "127.0.0.1", order.port, ssl=context
            )
        )
        for _ in range(order.connections)
    ]
    for _, connection in kept:
        connection.begin()
    for transport, connection in kept:
        await connection.over
        transport.close()
    return seen


async def measured(order: LoadOrder) -> LoadResult:
    """Warm up, measure, look at every answer."""
    calls = (SealedCalls if order.seal else PlainCalls)(order)
    first = await asked(order, await calls.make(WARM_UP))
    waiting = await calls.make(order.calls)
    used, began = cpu_s(order.pid), time.perf_counter()
    seen = await asked(order, waiting)
    took, used = time.perf_counter() - began, cpu_s(order.pid) - used
    for _, answer, opened in first + seen:
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer[:500].decode(errors="replace"))
        said = opened(body)
        wanted = b"TASK_STATE_COMPLETED" if order.reply == "task" else b"ROLE_AGENT"
        if wanted not in said or b'"place"' not in said:
            raise RuntimeError(said[:500].decode(errors="replace"))
    cuts = statistics.quantiles([taken for taken, _, _ in seen], n=100)
    return LoadResult(
        per_s=len(seen) / took,
        cpu_us=used / len(seen) * 1e6,
        p50_ms=cuts[49] * 1e3,
        p95_ms=cuts[94] * 1e3,
        p99_ms=cuts[98] * 1e3,
    )


if __name__ == "__main__":
    found = uvloop.run(measured(LoadOrder(**json.loads(sys.argv[1]))))
    sys.stdout.write(json.dumps(asdict(found)) + "\n")
