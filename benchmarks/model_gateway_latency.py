"""What the model gateway adds to a call: the same client, the same provider, with and without it, turn by turn.

The client is httpx. One leg goes straight to a provider on this machine; one through a real node: the relay that a
sandbox has in front of the node's socket, the handle of a turn that runs in a sandbox, the gate, the ledger in
PostgreSQL, and on to the same provider; one through litellm's proxy in an environment of its own, on to the same
provider. The legs take turns call by call, so what else the machine does falls on all three alike.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

import hive_guest
from benchmarks.ground import RunningNode, free_port, node, pss_mib, tree_of

NAME: Final = "model_gateway_latency"
SUMMARY: Final = "What the model gateway adds to a call of a model, one client, p50"
UNIT: Final = "ms"
WARM_UP: Final = 40
CALLS: Final = 400
STREAMS: Final = 300
CLIENTS: Final = 32
CALLS_EACH: Final = 60
PEER_CALLS_EACH: Final = 12
PEER: Final = "litellm[proxy]>=1.90"
PEER_KEY: Final = "sk-benchmark"
PEER_START_MAX_S: Final = 180.0
BODY: Final = (
    b'{"model":"small","max_tokens":64,'
    b'"messages":[{"role":"user","content":"Tell me of a town by the sea."}]}'
)
STREAM_BODY: Final = BODY[:-1] + b',"stream":true}'
AGENT: Final = '''
import os, sys, threading


def agent(text):
    """Tell the handle and stay in the turn."""
    sys.stdout.write("handle=" + os.environ["HIVE_HANDLE"] + "\\n")
    sys.stdout.flush()
    threading.Event().wait()
'''
SPEC: Final = """
name = "wait"
entry = "wait.py:agent"
requirements = []

[limits]
model_calls_max = 1000000
turn_timeout_s = 900
"""
RELAY: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from hive_guest import forward; "
    "forward.serve({int(sys.argv[2]): sys.argv[3]}, ready=lambda: print(flush=True), "
    "watch=(0, lambda: False))"
)


@dataclass(frozen=True, slots=True)
class Leg:
    """One way to the provider."""

    port: int
    key: str

    @property
    def headers(self) -> dict[str, str]:
        """Return what a client of it sends."""
        return {"authorization": f"Bearer {self.key}", "content-type": "application/json"}


def run() -> dict[str, Any]:
    """Measure all legs."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(_upstream())
        running, through = stack.enter_context(_gateway(folder, upstream))
        peer_pid, peer = stack.enter_context(_peer(folder, upstream))
        legs = {"direct": Leg(upstream, "none"), "gateway": through, "peer": peer}
        whole = _in_turns(legs, _ask_whole, CALLS)
        first = _in_turns(legs, _ask_stream, STREAMS)
        rates = {
            name: _rate(leg, PEER_CALLS_EACH if name == "peer" else CALLS_EACH)
            for name, leg in legs.items()
        }
        memory = {
            "node_mib": pss_mib([running.process.pid]),
            "node_with_engines_mib": pss_mib(tree_of(running.process.pid)),
            "peer_mib": pss_mib(tree_of(peer_pid)),
        }
    return _told(whole, first, rates, memory)


def _told(
    whole: Mapping[str, list[float]],
    first: Mapping[str, list[float]],
    rates: Mapping[str, float],
    memory: Mapping[str, float],
) -> dict[str, Any]:
    """Return the result: what each leg takes more than the direct one, at the same percentile."""
    gateway, peer = _added(whole, "gateway"), _added(whole, "peer")
    return {
        "value": gateway["p50"],
        "percentiles": gateway,
        "peer": peer["p50"],
        "peer_is": "litellm's proxy, one worker",
        "details": {
            "direct_ms": _cuts(whole["direct"]),
            "peer_added_ms": peer,
            "first_token_added_ms": _added(first, "gateway"),
            "peer_first_token_added_ms": _added(first, "peer"),
            "direct_first_token_ms": _cuts(first["direct"]),
            f"requests_per_s_{CLIENTS}_clients": rates["gateway"],
            "peer_requests_per_s": rates["peer"],
            "direct_requests_per_s": rates["direct"],
            **memory,
        },
    }


def _cuts(taken: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(taken, n=100)
    return {"p50": cuts[49] * 1000, "p95": cuts[94] * 1000, "p99": cuts[98] * 1000}


def _added(taken: Mapping[str, list[float]], leg: str) -> dict[str, float]:
    direct, other = _cuts(taken["direct"]), _cuts(taken[leg])
    return {name: other[name] - direct[name] for name in direct}


def _in_turns(
    legs: Mapping[str, Leg], ask: Callable[[httpx.Client, Leg], float], calls: int
) -> dict[str, list[float]]:
    """Ask over every leg in turn, one kept connection each."""
    taken: dict[str, list[float]] = {name: [] for name in legs}
    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(
                httpx.Client(base_url=f"http://127.0.0.1:{leg.port}", trust_env=False, timeout=60)
            )
            for name, leg in legs.items()
        }
        for number in range(calls + WARM_UP):
            for name, leg in legs.items():
                seconds = ask(clients[name], leg)
                if number >= WARM_UP:
                    taken[name].append(seconds)
    return taken


def _ask_whole(client: httpx.Client, leg: Leg) -> float:
    began = time.perf_counter()
    answer = client.post("/v1/chat/completions", content=BODY, headers=leg.headers)
    seconds = time.perf_counter() - began
    if answer.status_code != 200 or b"small town" not in answer.content:
        raise RuntimeError(answer.text)
    return seconds


def _ask_stream(client: httpx.Client, leg: Leg) -> float:
    """Return the seconds until the first words came; read the stream to its end."""
    began = time.perf_counter()
    first = 0.0
    read = b""
    with client.stream(
        "POST", "/v1/chat/completions", content=STREAM_BODY, headers=leg.headers
    ) as answer:
        for data in answer.iter_bytes():
            read += data
            if not first and b"Once" in read:
                first = time.perf_counter() - began
    if not first or b"[DONE]" not in read:
        raise RuntimeError(read.decode())
    return first


def _rate(leg: Leg, calls: int) -> float:
    """Return whole answers a second with many clients; the client is a lean one, for it shares the cores."""

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", leg.port)
        head = "".join(f"{key}: {value}\r\n" for key, value in leg.headers.items())
        data = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n{head}"
            f"content-length: {len(BODY)}\r\n\r\n"
        ).encode() + BODY
        for _ in range(calls):
            writer.write(data)
            lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
            size = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
            body = await reader.readexactly(size)
            if b"small town" not in body:
                raise RuntimeError(body.decode())
        writer.close()

    async def all_of_them() -> None:
        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    began = time.perf_counter()
    asyncio.run(all_of_them())
    return CLIENTS * calls / (time.perf_counter() - began)


@contextmanager
def _process(command: list[str], port: int, max_s: float, log: Path) -> Iterator[int]:
    """Run a server until it answers on its port; yield its pid."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        began = time.perf_counter()
        while not _listens(port):
            if process.poll() is not None or time.perf_counter() - began > max_s:
                raise RuntimeError(log.read_text()[-4000:])
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def _listens(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/health/liveliness", trust_env=False, timeout=2)
    except httpx.HTTPError:
        return False
    return True


@contextmanager
def _upstream() -> Iterator[int]:
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("model_upstream.py")), str(port)]
    with (
        tempfile.TemporaryDirectory() as folder,
        _process(command, port, 30, Path(folder, "log")),
    ):
        yield port


@contextmanager
def _gateway(folder: Path, upstream: int) -> Iterator[tuple[RunningNode, Leg]]:
    """Run a node with an agent in its turn, and the relay of a sandbox in front of that agent's socket."""
    source = folder / "source"
    source.mkdir()
    (source / "wait.py").write_text(AGENT)
    (source / "hive-agent.toml").write_text(SPEC)
    environment = {
        "HIVE_MODELS": f"openai:http://127.0.0.1:{upstream}/v1",
        "HIVE_MODEL_KEY": "sk-benchmark-upstream",
        "HIVE_MODEL_CALLS_PER_TASK": "1000000",
    }
    with node(folder / "state", environment) as (running, _):
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
            yield running, Leg(port, handle)
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
    answer = httpx.post(url, json=call, headers=headers, trust_env=False)
    answer.raise_for_status()
    for _ in range(100):
        printed = _hive(running, "logs", "wait")
        words = [word for word in printed.split() if word.startswith("handle=")]
        if words:
            return words[-1].removeprefix("handle=")
    raise RuntimeError(f"the agent told no handle: {answer.text}")


def _hive(running: RunningNode, *words: str) -> str:
    command = [sys.executable, "-m", "hive", *words, "--state", str(running.folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    return done.stdout


@contextmanager
def _peer(folder: Path, upstream: int) -> Iterator[tuple[int, Leg]]:
    """Build the peer's environment where it is missing, and run it."""
    program = _peer_environment() / "bin" / "litellm"
    port = free_port()
    config = folder / "peer.yaml"
    config.write_text(
        "model_list:\n"
        "  - model_name: small\n"
        "    litellm_params:\n"
        "      model: openai/small\n"
        f"      api_base: http://127.0.0.1:{upstream}/v1\n"
        "      api_key: sk-benchmark-upstream\n"
        "general_settings:\n"
        f"  master_key: {PEER_KEY}\n"
        "litellm_settings:\n"
        "  telemetry: false\n"
    )
    command = [str(program), "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
    with _process(
        [*command, "--num_workers", "1"], port, PEER_START_MAX_S, folder / "peer.log"
    ) as pid:
        yield pid, Leg(port, PEER_KEY)


def _peer_environment() -> Path:
    place = Path(tempfile.gettempdir(), "hive-benchmarks", "litellm")
    if not (place / "bin" / "litellm").is_file():
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "-q", "--clear", "-p", sys.executable, place], check=True)
        python = place / "bin" / "python"
        subprocess.run([uv, "pip", "install", "-q", "-p", python, PEER, "uvloop"], check=True)
    return place
