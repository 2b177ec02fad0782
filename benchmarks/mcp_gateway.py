"""What the tool gateway adds to a call of a tool: one client, one server, with and without a gateway between.

Client and server are the official Python SDK's; the server has one tool that says a text again, over streamable
HTTP, stateless, with JSON answers. One leg goes straight to it; one through a real node: the public endpoint with
the operator's token, the gate, the ledger in PostgreSQL, and on; one through ContextForge in an environment of its
own. Calls take turns, so what else the machine does falls on all alike. The CPU of a leg is that of all processes
that work for it, client and server included, measured in blocks of calls with nothing beside them.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from benchmarks.contextforge import contextforge, release
from benchmarks.ground import RunningNode, free_port, node, percentiles_ms, pss_mib, tree_of
from hive.cli.client import OperatorClient
from hive.web.tools import ToolServerOrder, ToolServerPlan, ToolServerStep

NAME: Final = "mcp_gateway_latency"
SUMMARY: Final = "What the tool gateway adds to a call of a tool, one client of the SDK, p50"
UNIT: Final = "ms"
WARM_UP: Final = 40
CALLS: Final = 500
BLOCK: Final = 150
ROUNDS: Final = 5
PEER_BLOCK: Final = 15
COLD: Final = 5
QUIET: Final = 20
QUIET_S: Final = 0.25
CLIENTS: Final = 16
CALLS_EACH: Final = 25
PEER_CALLS_EACH: Final = 4
PEER_CALLS: Final = 100
START_MAX_S: Final = 30.0
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to the tool, and the processes that stand on it beside the client."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    pids: Callable[[], list[int]] = list
    calls: int = CALLS
    calls_each: int = CALLS_EACH
    block: int = BLOCK


def run() -> dict[str, Any]:
    """Measure all ways."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream, server = stack.enter_context(echo_server())
        running, _ = stack.enter_context(node(folder / "state"))
        add_server(running, "echo", upstream)
        ways = {
            "direct": Way(url=upstream, pids=lambda: [server]),
            "gateway": Way(
                url=f"http://127.0.0.1:{running.port}/mcp/servers/echo",
                headers={"authorization": f"Bearer {running.token}"},
                pids=lambda: [server, *tree_of(running.process.pid)],
            ),
        }
        about = "none: BENCHMARK_PEERS=0"
        if os.environ.get("BENCHMARK_PEERS", "1") != "0":
            pid, url, headers = stack.enter_context(contextforge(folder, upstream))
            ways["peer"] = Way(
                url=url,
                headers=headers,
                pids=lambda: [server, *tree_of(pid)],
                calls=PEER_CALLS,
                calls_each=PEER_CALLS_EACH,
                block=PEER_BLOCK,
            )
            about = f"ContextForge {release()}, one worker, SQLite, its defaults"
        found = anyio.run(measure, ways)
        found["memory_mib"] = {
            "node": pss_mib([running.process.pid]),
            "node_with_engines": pss_mib(tree_of(running.process.pid)),
        }
    return told(found, about)


async def measure(ways: Mapping[str, Way]) -> dict[str, Any]:
    """Measure cold, quiet, warm, with many clients, and the CPU."""
    cold = {name: [await _first_call(way) for _ in range(COLD)] for name, way in ways.items()}
    async with AsyncExitStack() as stack:
        clients = {name: await stack.enter_async_context(opened(way)) for name, way in ways.items()}
        warm = await _in_turns(ways, clients)
        quiet: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(QUIET):
            for name, (client, tool) in clients.items():
                await anyio.sleep(QUIET_S)
                quiet[name].append(await _timed(client, tool))
        cpu = await _cpu_in_turns(ways, clients)
    busy = {name: await _rate(way) for name, way in ways.items()}
    return {"cold": cold, "warm": warm, "quiet": quiet, "cpu_ms": cpu, "busy": busy}


def told(found: Mapping[str, Any], about: str) -> dict[str, Any]:
    """Return the result: what each way takes more than the direct one, at the same percentile."""
    warm = {name: percentiles_ms(taken) for name, taken in found["warm"].items()}
    added = {
        name: {cut: value - warm["direct"][cut] for cut, value in cuts.items()}
        for name, cuts in warm.items()
        if name != "direct"
    }
    cpu = found["cpu_ms"]
    busy = {name: parts for name, (_, parts) in found["busy"].items()}
    return {
        "value": added["gateway"]["p50"],
        "percentiles": added["gateway"],
        "peer": added.get("peer", {}).get("p50"),
        "peer_is": about,
        "details": {
            "direct_ms": warm["direct"],
            "peer_added_ms": added.get("peer"),
            "quiet_p50_ms": {name: _median_ms(one) for name, one in found["quiet"].items()},
            "cold_first_call_ms": {name: _median_ms(one) for name, one in found["cold"].items()},
            f"calls_per_s_{CLIENTS}_clients": {
                name: rate for name, (rate, _) in found["busy"].items()
            },
            "cpu_ms_per_call": cpu,
            "cpu_ratio_to_direct": _ratios(cpu),
            f"cpu_ms_per_call_{CLIENTS}_clients": busy,
            f"cpu_ratio_to_direct_{CLIENTS}_clients": _ratios(busy),
            "memory_mib": found["memory_mib"],
        },
    }


def _ratios(cpu: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {name: parts["all"] / cpu["direct"]["all"] for name, parts in cpu.items()}


@contextmanager
def echo_server() -> Iterator[tuple[str, int]]:
    """Run the echo server; yield its address and its pid."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("mcp_echo_server.py")), str(port)]
    process = subprocess.Popen(command)
    try:
        wait_for(port, process)
        yield f"http://127.0.0.1:{port}/mcp", process.pid
    finally:
        process.terminate()
        process.wait(30)


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a server takes connections."""
    import socket

    began = time.perf_counter()
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.perf_counter() - began > START_MAX_S:
            raise RuntimeError("the server did not start")
        time.sleep(0.05)


def add_server(running: RunningNode, name: str, url: str) -> None:
    """Add a server to a node, as the command does."""
    client = OperatorClient(running.folder)
    order = ToolServerOrder(name=name, transport="http", url=url, sharing="node")
    plan = client.post("tools/plan", ToolServerPlan, order)
    agreed = ToolServerOrder(
        name=name, transport="http", url=url, sharing="node", confirmed=plan.digest
    )
    steps = list(client.lines("POST", "tools", ToolServerStep, body=agreed))
    if not steps or steps[-1].stage != "ready":
        raise RuntimeError(f"{name} was not added: {steps}")


@asynccontextmanager
async def opened(way: Way) -> AsyncIterator[tuple[Client, str]]:
    """Open a client of the SDK, and find the tool."""
    async with (
        httpx2.AsyncClient(headers=dict(way.headers), timeout=60, trust_env=False) as http,
        Client(streamable_http_client(way.url, http_client=http)) as client,
    ):
        tools = (await client.list_tools()).tools
        yield client, next(one.name for one in tools if one.name.endswith("echo"))


async def _timed(client: Client, tool: str) -> float:
    began = time.perf_counter()
    result = await client.call_tool(tool, {"text": "hello"})
    seconds = time.perf_counter() - began
    if result.is_error or "hello" not in str(result.content):
        raise RuntimeError(str(result))
    return seconds


async def _first_call(way: Way) -> float:
    """Return the seconds from nothing to the first answer: connect, agree, list, call."""
    began = time.perf_counter()
    async with opened(way) as (client, tool):
        await _timed(client, tool)
        return time.perf_counter() - began


async def _in_turns(
    ways: Mapping[str, Way], clients: Mapping[str, tuple[Client, str]]
) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(CALLS + WARM_UP):
        for name, (client, tool) in clients.items():
            if number >= ways[name].calls + WARM_UP:
                continue
            seconds = await _timed(client, tool)
            if number >= WARM_UP:
                taken[name].append(seconds)
    return taken


async def _cpu_in_turns(
    ways: Mapping[str, Way], clients: Mapping[str, tuple[Client, str]]
) -> dict[str, dict[str, float]]:
    """Return the CPU of one call on each way: blocks take turns, for a machine is not always as fast."""
    spent: dict[str, dict[str, float]] = {name: {} for name in ways}
    for _ in range(ROUNDS):
        for name, (client, tool) in clients.items():
            for part, seconds in (await _cpu_s_of(ways[name], client, tool)).items():
                spent[name][part] = spent[name].get(part, 0.0) + seconds
    found = {}
    for name, parts in spent.items():
        calls = ROUNDS * ways[name].block
        per_call = {part: seconds * 1000 / calls for part, seconds in parts.items() if seconds > 0}
        found[name] = {**per_call, "all": sum(per_call.values())}
    return found


async def _cpu_s_of(way: Way, client: Client, tool: str) -> dict[str, float]:
    """Return the CPU of a block of calls, in seconds: the client's, and that of each sort of process."""
    before, own = {pid: _cpu_s(pid) for pid in way.pids()}, time.process_time()
    for _ in range(way.block):
        await _timed(client, tool)
    found: dict[str, float] = {}
    _add_up(found, way, before, time.process_time() - own)
    return found


async def _rate(way: Way) -> tuple[float, dict[str, float]]:
    """Return calls a second with many clients at once, and the CPU of one such call in milliseconds."""
    waiting, all_ready, go = [CLIENTS], anyio.Event(), anyio.Event()
    spent: dict[str, float] = {}

    async def one() -> None:
        async with opened(way) as (client, tool):
            waiting[0] -= 1
            if not waiting[0]:
                all_ready.set()
            await go.wait()
            for _ in range(way.calls_each):
                await _timed(client, tool)

    before: dict[int, float] = {}
    own, began = 0.0, 0.0
    async with anyio.create_task_group() as tasks:
        for _ in range(CLIENTS):
            tasks.start_soon(one)
        await all_ready.wait()
        before = {pid: _cpu_s(pid) for pid in way.pids()}
        own, began = time.process_time(), time.perf_counter()
        go.set()
    calls, seconds = CLIENTS * way.calls_each, time.perf_counter() - began
    _add_up(spent, way, before, time.process_time() - own)
    per_call = {part: one * 1000 / calls for part, one in spent.items() if one > 0}
    return calls / seconds, {**per_call, "all": sum(per_call.values())}


def _add_up(spent: dict[str, float], way: Way, before: Mapping[int, float], own: float) -> None:
    """Add what each sort of process used since `before`, in seconds."""
    spent["client"] = spent.get("client", 0.0) + own
    for pid in way.pids():
        name = _name_of(pid)
        spent[name] = spent.get(name, 0.0) + _cpu_s(pid) - before.get(pid, 0.0)


def _cpu_s(pid: int) -> float:
    """Return the CPU that a process has used, its ended children not counted."""
    try:
        fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:  # it ended meanwhile
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _name_of(pid: int) -> str:
    try:
        words = Path("/proc", str(pid), "cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return "ended"
    for mark, name in (
        ("mcp_echo_server", "server"),
        ("mcpgateway", "peer"),
        ("postgres", "postgres"),
        ("nats-server", "nats"),
    ):
        if mark in words:
            return name
    return "node"


def _median_ms(taken: list[float]) -> float:
    return statistics.median(taken) * 1000
