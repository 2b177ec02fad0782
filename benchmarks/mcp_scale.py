"""How long an agent waits for the list of its tools when a node knows two hundred servers with five thousand of them.

The agent is one in its turn, in its sandbox; the list is asked for over the relay that a sandbox has in front of the
node's socket, with the agent's handle. Every definition is known already: no server is asked.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

import hive_guest
from benchmarks.ground import RunningNode, free_port, node, percentiles_ms, pss_mib, tree_of
from benchmarks.mcp_gateway import add_server, wait_for
from benchmarks.model_gateway_latency import AGENT, RELAY, SPEC

NAME: Final = "mcp_list_scale"
SUMMARY: Final = (
    "The list of all tools for an agent, 200 servers with 5,000 tools, p50 (details: memory)"
)
UNIT: Final = "ms"
SERVERS: Final = 200
TOOLS_EACH: Final = 25
WARM_UP: Final = 5
LISTS: Final = 100
PAGES_MAX: Final = 1000
TELLS: Final = 100
REVISION: Final = "2026-07-28"
META: Final = {
    "io.modelcontextprotocol/protocolVersion": REVISION,
    "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def run() -> dict[str, Any]:
    """Measure the list, its first page, and the node's memory."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = stack.enter_context(_servers())
        running, _ = stack.enter_context(node(folder / "state"))
        idle = rss_mb(running.process.pid)
        began = time.perf_counter()
        for number in range(SERVERS):
            add_server(running, f"s{number}", f"http://127.0.0.1:{port}/s{number}/mcp")
        added_s = time.perf_counter() - began
        gate, handle = stack.enter_context(_agent(folder, running))
        headers = {"authorization": f"Bearer {handle}"}
        with httpx.Client(trust_env=False, timeout=60, headers=headers) as client:
            url = f"http://127.0.0.1:{gate}/mcp"
            count, size, pages = _whole_list(client, url)[1:]
            if count < SERVERS * TOOLS_EACH:
                raise RuntimeError(f"the list has {count} tools")
            for _ in range(WARM_UP):
                _whole_list(client, url)
            whole = [_whole_list(client, url)[0] for _ in range(LISTS)]
            first = [_page(client, url, "")[0] for _ in range(LISTS)]
        cuts = percentiles_ms(whole)
        return {
            "value": cuts["p50"],
            "percentiles": cuts,
            "details": {
                "tools": count,
                "pages": pages,
                "bytes": size,
                "first_page_ms": percentiles_ms(first),
                "servers_added_in_s": added_s,
                "node_rss_mb": rss_mb(running.process.pid),
                "node_rss_mb_before": idle,
                "node_pss_mib": pss_mib([running.process.pid]),
                "node_with_engines_pss_mib": pss_mib(tree_of(running.process.pid)),
            },
        }


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process, in megabytes."""
    text = Path("/proc", str(pid), "status").read_text()
    line = next(line for line in text.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024 / 1e6


def _whole_list(client: httpx.Client, url: str) -> tuple[float, int, int, int]:
    """Read the list to its end; return seconds, how many tools, bytes and pages."""
    seconds, count, size, cursor = 0.0, 0, 0, ""
    for pages in range(1, PAGES_MAX + 1):
        took, result, length = _page(client, url, cursor)
        seconds, count, size = seconds + took, count + len(result["tools"]), size + length
        cursor = result.get("nextCursor") or ""
        if not cursor:
            return seconds, count, size, pages
    raise RuntimeError("the list has no end")


def _page(client: httpx.Client, url: str, cursor: str) -> tuple[float, dict[str, Any], int]:
    params: dict[str, Any] = {"_meta": META} | ({"cursor": cursor} if cursor else {})
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params})
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": REVISION,
        "mcp-method": "tools/list",
    }
    began = time.perf_counter()
    answer = client.post(url, content=body, headers=headers)
    took = time.perf_counter() - began
    answer.raise_for_status()
    found = answer.json()
    if "result" not in found:
        raise RuntimeError(answer.text[:2000])
    return took, found["result"], len(answer.content)


@contextmanager
def _servers() -> Iterator[int]:
    port = free_port()
    program = str(Path(__file__).with_name("mcp_many_servers.py"))
    process = subprocess.Popen([sys.executable, program, str(port), str(TOOLS_EACH)])
    try:
        wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _agent(folder: Path, running: RunningNode) -> Iterator[tuple[int, str]]:
    """Run an agent that may use every tool, in its turn; yield the relay's port and the handle."""
    source = folder / "source"
    source.mkdir()
    (source / "wait.py").write_text(AGENT)
    (source / "hive-agent.toml").write_text(f'{SPEC}\n[needs]\ntools = ["*"]\n')
    _hive(running, "run", str(source), "--name", "wait", "--yes")
    handle = _begin_turn(running)
    place = Path((running.folder / "run.path").read_text().strip())
    [gate] = place.glob("*/gate.sock")
    port = free_port()
    guest = str(Path(next(iter(hive_guest.__path__))).parent)
    command = [sys.executable, "-I", "-S", "-c", RELAY, guest, str(port), str(gate)]
    relay = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        if relay.stdout is not None:
            relay.stdout.readline()
        yield port, handle
    finally:
        relay.kill()
        relay.wait(30)


def _begin_turn(running: RunningNode) -> str:
    """Send the agent a message that keeps its turn open; return the handle that it tells."""
    said = {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": "go"}]}
    params = {"message": said, "configuration": {"returnImmediately": True}}
    call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params}
    headers = {"authorization": f"Bearer {running.token}", "a2a-version": "1.0"}
    url = f"http://127.0.0.1:{running.port}/a2a/wait"
    httpx.post(url, json=call, headers=headers, trust_env=False).raise_for_status()
    for _ in range(TELLS):
        printed = _hive(running, "logs", "wait")
        words = [word for word in printed.split() if word.startswith("handle=")]
        if words:
            return words[-1].removeprefix("handle=")
    raise RuntimeError("the agent told no handle")


def _hive(running: RunningNode, *words: str) -> str:
    command = [sys.executable, "-m", "hive", *words, "--state", str(running.folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    return done.stdout
