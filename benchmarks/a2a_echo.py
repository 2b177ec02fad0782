"""Requests a second and server CPU a request: our door with a gate in memory, and the official echo server.

Both run as one uvicorn worker in a process of their own and answer the same SendMessage with a completed
task and one artifact; the same client, made of plain sockets, asks both in turn, several times.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec

NAME: Final = "a2a_echo"
SUMMARY: Final = "A2A messages a second at the door alone, with a gate in memory, eight clients"
UNIT: Final = "requests/s"
TOKEN: Final = "operator-token-for-tests"  # noqa: S105 - it opens nothing but this door
ROUNDS: Final = 3
WARM: Final = 50
ASK: Final = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "SendMessage",
    "params": {
        "message": {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": "hello there"}]}
    },
}


def run(*, requests: int = 400, clients: int = 8) -> dict[str, Any]:
    """Measure both servers and return medians over the rounds."""
    found: dict[str, list[dict[str, float]]] = {"door": [], "official": []}
    servers = {kind: _Server(kind) for kind in found}
    try:
        for _ in range(ROUNDS):
            for kind, server in servers.items():
                found[kind].append(anyio.run(_measure, server, requests, clients))
    finally:
        for server in servers.values():
            server.close()
    medians = {
        kind: {key: round(statistics.median(one[key] for one in runs), 3) for key in runs[0]}
        for kind, runs in found.items()
    }
    return {
        "value": medians["door"]["requests_per_s"],
        "peer": medians["official"]["requests_per_s"],
        "peer_is": "the official SDK's echo server",
        "details": medians,
    }


class _Server:
    def __init__(self, kind: str) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), "serve", kind]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self._process.stdout.readline()) if self._process.stdout else 0
        self.path = "/a2a/echo" if kind == "door" else "/"

    def cpu_s(self) -> float:
        """Return user and system time that the server has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


async def _measure(server: _Server, requests: int, clients: int) -> dict[str, float]:
    await _ask(server, WARM, [])
    times: list[float] = []
    cpu, began = server.cpu_s(), time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(clients):
            tasks.start_soon(_ask, server, requests // clients, times)
    elapsed = time.perf_counter() - began
    used = server.cpu_s() - cpu
    times.sort()
    return {
        "requests_per_s": len(times) / elapsed,
        "cpu_ms": used * 1000 / len(times),
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[int(len(times) * 0.99)] * 1000,
    }


async def _ask(server: _Server, count: int, times: list[float]) -> None:
    body = msgspec.json.encode(ASK)
    head = (
        f"POST {server.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"A2A-Version: 1.0\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
        for _ in range(count):
            began = time.perf_counter()
            await stream.send(head.encode() + body)
            answer = await stream.receive()
            while b"\r\n\r\n" not in answer:
                answer += await stream.receive()
            start, _, rest = answer.partition(b"\r\n\r\n")
            length = int(start.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            while len(rest) < length:
                rest += await stream.receive()
            times.append(time.perf_counter() - began)
            if b"TASK_STATE_COMPLETED" not in rest:
                raise RuntimeError(rest[:500].decode(errors="replace"))


class _NoRows:
    """A database in which nothing was ever written."""

    async def execute(self, _sql: str, *_values: object) -> str:
        """Do nothing."""
        return "DELETE 0"

    async def fetch(self, _sql: str, *_values: object) -> Sequence[dict[str, object]]:
        """Find nothing."""
        return []


@asynccontextmanager
async def _door() -> AsyncIterator[str]:
    from hive.testing.a2a_door import open_door

    async with open_door(_NoRows()) as door:  # type: ignore[arg-type]
        yield door.url


@asynccontextmanager
async def _official() -> AsyncIterator[str]:
    from a2a.helpers.proto_helpers import new_task_from_user_message
    from a2a.server.agent_execution import AgentExecutor, RequestContext
    from a2a.server.events import EventQueue
    from a2a.server.request_handlers import DefaultRequestHandler
    from a2a.server.routes import create_jsonrpc_routes
    from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
    from a2a.types import AgentCapabilities, AgentCard
    from starlette.applications import Starlette

    from hive.testing.loopback import serve_app

    class Echo(AgentExecutor):
        async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
            message = context.message
            if message is None:
                return
            task = new_task_from_user_message(message)
            task.id, task.context_id = context.task_id, context.context_id
            await event_queue.enqueue_event(task)
            updater = TaskUpdater(event_queue, task.id, task.context_id)
            await updater.add_artifact(list(message.parts), name="echo")
            await updater.complete()

        async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
            raise NotImplementedError

    card = AgentCard(name="echo", description="echo", version="1", capabilities=AgentCapabilities())
    handler = DefaultRequestHandler(
        agent_executor=Echo(), task_store=InMemoryTaskStore(), agent_card=card
    )
    routes = create_jsonrpc_routes(request_handler=handler, rpc_url="/")
    async with serve_app(Starlette(routes=list(routes))) as url:
        yield url


async def _serve(kind: str) -> None:
    async with _door() if kind == "door" else _official() as url:
        sys.stdout.write(url.rpartition(":")[2] + "\n")
        sys.stdout.flush()
        await anyio.sleep_forever()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        anyio.run(_serve, sys.argv[2], backend_options={"use_uvloop": True})
    else:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(run())).decode() + "\n")
