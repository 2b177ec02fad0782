"""How soon a revoked identity counts nowhere, and whether a rotation under a thousand agents that call costs one call.

Two nodes on one PostgreSQL: the id is revoked on the first, the second hears of it through the database. On each node
four walls are watched from the attacker's side: the stream of the Workload API ends, a JWT-SVID is refused, an open
connection to the port for peers is cut, the gate with its whole chain of checks refuses the agent's call. The clock runs
from the moment before the order to revoke, which writes a durable line of the ledger on its way.
"""

import asyncio
import os
import ssl
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from benchmarks import svid_issue
from benchmarks.gate_decision import WholeGate, all_guards, hundred_rules
from benchmarks.svid_issue import HeldSvid, follow
from hive.core.call import Refused
from hive.core.clock import SystemClock
from hive.core.errors import IdentityError
from hive.core.ids import AgentId, NodeId, SandboxId
from hive.core.settings import Settings
from hive.node.guard import opened_scanner
from hive.node.http import bind_path, bind_port
from hive.node.http_mutual import MutualServer
from hive.node.identity import NodeIdentity
from hive.node.run import spare_collector
from hive.security.identity import IdentityService
from hive.security.identity.enrolments import Enrolment
from hive.security.identity.mutual import NodeSvids, PeerJudge
from hive.security.identity.workload.listener import WorkloadListener
from hive_a2a.identity.svid import GivenSvids
from hive_a2a.identity.tls import client_context

NAME: Final = "identity_rotation"
SUMMARY: Final = (
    "The longest that a revoked identity still counted anywhere, on two nodes at four walls"
)
UNIT: Final = "ms"
AGENTS: Final = 1000
CALLS: Final = 1200
ROUNDS: Final = 50
LOOK_EVERY_S: Final = 0.001
AGENT: Final = "a2"
AUDIENCE: Final = "billing"
REQUEST: Final = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@dataclass(frozen=True, slots=True)
class WatchedNode:
    """One node with its walls."""

    name: str
    service: IdentityService
    folder: Path
    port: int
    gate: WholeGate


def run() -> dict[str, Any]:
    """Measure on an embedded PostgreSQL of its own."""
    return anyio.run(_run, backend_options={"use_uvloop": True})


def run_rotations() -> dict[str, float]:
    """Rotate under a thousand agents that call; tell how many calls failed."""
    return anyio.run(_rotation_of_all, backend_options={"use_uvloop": True})


def run_revocations() -> dict[str, list[float]]:
    """Revoke again and again; tell by wall and node how many milliseconds it took."""
    return anyio.run(_revocations, backend_options={"use_uvloop": True})


async def _run() -> dict[str, Any]:
    took = await _revocations()
    everywhere = took.pop("everywhere")
    return {
        "value": max(everywhere),
        "percentiles": _percentiles(everywhere),
        "details": {wall: _percentiles(times) for wall, times in took.items()}
        | await _rotation_of_all(),
    }


async def _rotation_of_all() -> dict[str, float]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hive-")))
        (service,) = await svid_issue.identity_services(stack, folder)
        agents = [
            await svid_issue.agent_with_socket(stack, service, folder, number)
            for number in range(AGENTS)
        ]
        spare_collector()
        tasks = await stack.enter_async_context(anyio.create_task_group())
        for agent in agents:
            tasks.start_soon(follow, agent)
        await svid_issue.all_updated(agents, 1)
        found = await svid_issue.rotations(stack, service, agents, calls_min=CALLS)
        tasks.cancel_scope.cancel()
    return {"agents": float(AGENTS), **found}


async def _revocations() -> dict[str, list[float]]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hive-")))
        here, there = await svid_issue.identity_services(stack, folder, nodes=2)
        nodes = [
            await _node(stack, service, folder, name)
            for name, service in (("here", here), ("there", there))
        ]
        tasks = await stack.enter_async_context(anyio.create_task_group())
        for service in (here, there):
            tasks.start_soon(service.denied.watch)
        spiffe_id = here.id_of(AgentId(AGENT)).text
        await _listens(here, there, spiffe_id)
        took: dict[str, list[float]] = {}
        for number in range(ROUNDS):
            found = await _round(nodes, number, spiffe_id)
            for wall, ms in {**found, "everywhere": max(found.values())}.items():
                took.setdefault(wall, []).append(ms)
            await here.allow(spiffe_id)
            await _until(lambda: not any(one.service.denies(spiffe_id) for one in nodes))
        tasks.cancel_scope.cancel()
    return took


async def _node(
    stack: AsyncExitStack, service: IdentityService, folder: Path, name: str
) -> WatchedNode:
    own = NodeSvids(service, NodeId(f"n-{name}"))
    await own.renew()
    sock = bind_port("127.0.0.1", 0)
    port = sock.getsockname()[1]
    server = MutualServer(svid_issue.answer, PeerJudge(service))
    await stack.enter_async_context(server.serving(sock, own.server_context()))
    settings = Settings(state_dir=str(folder / name), requests_per_s=10_000_000)
    scanner = await stack.enter_async_context(opened_scanner(settings, SystemClock()))
    policy = await hundred_rules(settings)
    stack.push_async_callback(policy.aclose)
    guards = all_guards(settings, policy, scanner)
    identity = NodeIdentity(service=service, issuer=service.issuer, url="", node=NodeId(name))
    guards.wardens.revoked = identity.is_revoked
    return WatchedNode(name, service, folder, port, WholeGate(settings, guards))


async def _listens(here: IdentityService, there: IdentityService, spiffe_id: str) -> None:
    """Wait until the second node hears what the first one denies."""
    with anyio.fail_after(60):
        while not there.denies(spiffe_id):
            await here.revoke(spiffe_id)
            await anyio.sleep(0.05)
        await here.allow(spiffe_id)
        await _until(lambda: not there.denies(spiffe_id))


async def _until(done: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not done():  # noqa: ASYNC110 - a wall is tried, it tells nobody
            await anyio.sleep(LOOK_EVERY_S)


async def _round(nodes: list[WatchedNode], number: int, spiffe_id: str) -> dict[str, float]:
    """Revoke once; return how long each wall of each node took to refuse."""
    ends: dict[str, float] = {}

    async def watch(wall: str, refused: Awaitable[None]) -> None:
        await refused
        ends[wall] = time.perf_counter()

    async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
        for node in nodes:
            enrolment = node.service.enrol(SandboxId(f"s-{number}"), AgentId(AGENT))
            stack.callback(node.service.leave, enrolment)
            for wall, refused in (await _walls(stack, node, enrolment)).items():
                tasks.start_soon(watch, f"{wall}_{node.name}", refused)
        # Every watcher stands at its wall before the order is given.
        await anyio.sleep(LOOK_EVERY_S * 5)
        if ends:
            raise RuntimeError(f"refused before anything was revoked: {sorted(ends)}")
        began = time.perf_counter()
        with anyio.fail_after(60):
            await nodes[0].service.revoke(spiffe_id, reason="benchmark")
            await _until(lambda: len(ends) == len(nodes) * 4)
    return {wall: (at - began) * 1000 for wall, at in ends.items()}


async def _walls(
    stack: AsyncExitStack, node: WatchedNode, enrolment: Enrolment
) -> dict[str, Awaitable[None]]:
    service = node.service
    listener = WorkloadListener(service, enrolment, first_process=os.getpid)
    path = node.folder / f"{node.name}-{enrolment.sandbox}.sock"
    await stack.enter_async_context(listener.listen(bind_path(path, mode=0o600)))
    channel = Channel(path=str(path))
    stack.callback(channel.close)
    agent = HeldSvid(channel)
    got, token = agent.changed, (await service.jwt(enrolment, [AUDIENCE])).token
    streams = asyncio.ensure_future(_stream_ends(agent))
    await got.wait()
    context = client_context(GivenSvids(svid_issue.held_svid(agent)))
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port, ssl=context)
    stack.callback(writer.close)
    writer.write(REQUEST)
    await reader.readuntil(b"ok")
    return {
        "workload_stream": streams,
        "jwt": _token_refused(service, token),
        "peer_port": _connection_cut(reader),
        "gate": _call_refused(node.gate),
    }


async def _stream_ends(agent: HeldSvid) -> None:
    try:
        await follow(agent)
    except GRPCError as error:
        if error.status is not Status.PERMISSION_DENIED:
            raise


async def _token_refused(service: IdentityService, token: str) -> None:
    while True:
        try:
            await service.check_jwt(AUDIENCE, token)
        except IdentityError:
            return
        await anyio.sleep(LOOK_EVERY_S)


async def _connection_cut(reader: asyncio.StreamReader) -> None:
    try:
        await reader.read(1)
    except (ssl.SSLError, ConnectionError):
        return


async def _call_refused(gate: WholeGate) -> None:
    while True:
        decision = await gate.decide()
        if isinstance(decision, Refused) and decision.check == "identity":
            return
        await anyio.sleep(LOOK_EVERY_S)


def _percentiles(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        "p50": statistics.median(ordered),
        "p95": ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))],
        "max": ordered[-1],
    }
