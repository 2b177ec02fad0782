"""SVIDs issued through the Workload API on the record, and what a rotation of a thousand agents costs them.

Clients, server, authority and ledger writer share one process and one event loop; each agent has its own socket, and
each issue is a durable line of a real ledger before it is handed out. During the rotations agents call a port that
wants their SVID, with whatever they hold at that moment.
"""

import os
import ssl
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod

from hive.core.clock import SystemClock
from hive.core.ids import AgentId, NodeId, SandboxId
from hive.core.json import Json
from hive.core.randomness import SystemRandomness
from hive.engines import load_migrations
from hive.kernel.record import event
from hive.node.http import bind_path, bind_port
from hive.node.http_mutual import MutualServer
from hive.node.run import spare_collector
from hive.security.identity import DenyList, IdentityService, IssueQuota, MasterSealed
from hive.security.identity.drivers import IDENTITIES
from hive.security.identity.mutual import NodeSvids, PeerJudge, tls_svid
from hive.security.identity.ports import IssuerOpening, SpiffeId, TrustBundle, X509Svid
from hive.security.identity.workload.listener import WorkloadListener
from hive.security.identity.workload.messages import WORKLOAD
from hive.testing.engines import open_database
from hive.testing.ledger import open_ledger
from hive_a2a.identity.spiffe_transport import SpiffeTransport
from hive_a2a.identity.svid import GivenSvids, Svid

NAME: Final = "svid_issue"
VALUE: Final = "x509_per_s"
UNIT: Final = "per second"
AGENTS: Final = 1000
AT_ONCE: Final = 64
TOKENS: Final = 2000
ROTATIONS: Final = 3
CALLERS: Final = 8
LOOK_EVERY_S: Final = 0.01
METADATA: Final = {"workload.spiffe.io": "true"}
DOMAIN: Final = "bench.example"


@dataclass(slots=True)
class HeldSvid:
    """What one agent holds at this moment."""

    channel: Channel
    svid: X509Svid | None = None
    updates: int = 0
    changed: anyio.Event = field(default_factory=anyio.Event)


def run() -> dict[str, float]:
    """Measure on an embedded PostgreSQL of its own."""
    return anyio.run(_measure, backend_options={"use_uvloop": True})


async def _measure() -> dict[str, float]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hive-")))
        (service,) = await identity_services(stack, folder)
        agents = [
            await agent_with_socket(stack, service, folder, number) for number in range(AGENTS)
        ]
        spare_collector()
        tasks = await stack.enter_async_context(anyio.create_task_group())
        began, cpu = time.perf_counter(), time.process_time()
        for agent in agents:
            tasks.start_soon(follow, agent)
        await all_updated(agents, 1)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        tokens = await _tokens(agents)
        rotated = await rotations(stack, service, agents)
        tasks.cancel_scope.cancel()
    return {
        "x509_per_s": AGENTS / took,
        "x509_cpu_us": cpu / AGENTS * 1e6,
        "jwt_per_s": tokens,
        **rotated,
    }


async def identity_services(
    stack: AsyncExitStack, folder: Path, *, nodes: int = 1
) -> list[IdentityService]:
    """Open the services of so many nodes on one database with one authority."""
    clock = SystemClock()
    steps = [*load_migrations("hive.ledger"), *load_migrations("hive.security")]
    database = await stack.enter_async_context(open_database(folder, steps))
    writer = await stack.enter_async_context(open_ledger(database))

    async def emit(name: str, body: dict[str, Json], *, agent: str = "") -> None:
        await writer.append(event(name, body, clock=clock, agent=agent))

    opening = IssuerOpening(
        url="local-ca:",
        trust_domain=DOMAIN,
        database=database,
        sealed=MasterSealed(bytes(32)),
        clock=clock,
        randomness=SystemRandomness(),
    )
    issuer = await stack.enter_async_context(IDENTITIES.load(opening.url).open(opening))
    return [
        IdentityService(
            issuer=issuer,
            denied=DenyList(database=database, clock=clock),
            quota=IssueQuota(clock),
            clock=clock,
            randomness=SystemRandomness(),
            emit=emit,
        )
        for _ in range(nodes)
    ]


async def agent_with_socket(
    stack: AsyncExitStack, service: IdentityService, folder: Path, number: int
) -> HeldSvid:
    """Enrol one agent and open the socket of its sandbox."""
    name = f"agent-{number}"
    enrolment = service.enrol(SandboxId(name), AgentId(name))
    listener = WorkloadListener(service, enrolment, first_process=os.getpid)
    path = folder / f"{number}.sock"
    await stack.enter_async_context(listener.listen(bind_path(path, mode=0o600)))
    channel = Channel(path=str(path))
    stack.callback(channel.close)
    return HeldSvid(channel)


async def follow(agent: HeldSvid) -> None:
    """Hold whatever the stream of SVIDs sends, until it ends."""
    method: UnaryStreamMethod[Any, Any] = UnaryStreamMethod(
        agent.channel,
        "/SpiffeWorkloadAPI/FetchX509SVID",
        WORKLOAD["X509SVIDRequest"],
        WORKLOAD["X509SVIDResponse"],
    )
    async with method.open(metadata=METADATA) as stream:
        await stream.send_message(WORKLOAD["X509SVIDRequest"](), end=True)
        async for message in stream:
            one, now = message.svids[0], SystemClock().now()
            agent.svid = X509Svid(
                spiffe_id=SpiffeId(one.spiffe_id),
                chain=(one.x509_svid, one.bundle),
                key=one.x509_svid_key,
                serial="",
                starts_at=now,
                ends_at=now,
            )
            agent.updates += 1
            agent.changed.set()
            agent.changed = anyio.Event()


async def all_updated(agents: list[HeldSvid], updates: int) -> None:
    """Wait until each has got so many SVIDs."""
    with anyio.fail_after(120):
        for agent in agents:
            while agent.updates < updates:
                await agent.changed.wait()


async def _tokens(agents: list[HeldSvid]) -> float:
    request = WORKLOAD["JWTSVIDRequest"](audience=["billing"])

    async def ask(first: int) -> None:
        for number in range(first, TOKENS, AT_ONCE):
            method: UnaryUnaryMethod[Any, Any] = UnaryUnaryMethod(
                agents[number % AGENTS].channel,
                "/SpiffeWorkloadAPI/FetchJWTSVID",
                WORKLOAD["JWTSVIDRequest"],
                WORKLOAD["JWTSVIDResponse"],
            )
            await method(request, metadata=METADATA)

    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for first in range(AT_ONCE):
            tasks.start_soon(ask, first)
    return TOKENS / (time.perf_counter() - began)


async def rotations(
    stack: AsyncExitStack,
    service: IdentityService,
    agents: list[HeldSvid],
    *,
    calls_min: int = 0,
) -> dict[str, float]:
    """Rotate root and intermediate in turn while the agents call; count the calls that failed.

    With `calls_min` so many are made in all, spread over the rotations, by each agent in turn.
    """
    own = NodeSvids(service, NodeId("n-1"))
    await own.renew()
    server = MutualServer(answer, PeerJudge(service))
    sock = bind_port("127.0.0.1", 0)
    url = f"https://127.0.0.1:{sock.getsockname()[1]}"
    await stack.enter_async_context(server.serving(sock, own.server_context()))
    node_id, calls, failed = own.current().spiffe_id, 0, 0
    done = anyio.Event()

    async def call(first: int) -> None:
        nonlocal calls, failed
        number = first
        while not done.is_set():
            agent = agents[number % len(agents)]
            number += CALLERS
            calls += 1
            try:
                transport = SpiffeTransport(GivenSvids(held_svid(agent)), node_id)
                async with httpx.AsyncClient(transport=transport) as client:
                    failed += (await client.get(url)).status_code != httpx.codes.OK
            except (httpx.HTTPError, ssl.SSLError, OSError):
                failed += 1

    took = []
    async with anyio.create_task_group() as keeping:
        keeping.start_soon(own.keep)
        # Whoever calls when it is over finishes the call: a broken one would not be the rotation's doing.
        async with anyio.create_task_group() as tasks:
            for first in range(CALLERS):
                tasks.start_soon(call, first)
            for number in range(ROTATIONS):
                began = time.perf_counter()
                await service.rotate(root=number % 2 == 0)
                await all_updated(agents, number + 2)
                took.append(time.perf_counter() - began)
                while calls * ROTATIONS < calls_min * (number + 1):  # noqa: ASYNC110 - it is counted, not told
                    await anyio.sleep(LOOK_EVERY_S)
            done.set()
        keeping.cancel_scope.cancel()
    return {
        "rotation_of_all_s": max(took),
        "calls_during_rotation": float(calls),
        "failed_calls": float(failed),
    }


def held_svid(agent: HeldSvid) -> Svid:
    """Return what an agent holds in the form that TLS takes."""
    assert agent.svid is not None  # noqa: S101
    from cryptography import x509

    chain, roots = (_split(data) for data in agent.svid.chain)
    bundle = TrustBundle(trust_domain=DOMAIN, roots=roots, jwks=b"")
    held = X509Svid(
        spiffe_id=agent.svid.spiffe_id,
        chain=chain,
        key=agent.svid.key,
        serial="",
        starts_at=agent.svid.starts_at,
        ends_at=x509.load_der_x509_certificate(chain[0]).not_valid_after_utc,
    )
    return tls_svid(held, bundle)


def _split(data: bytes) -> tuple[bytes, ...]:
    found, at = [], 0
    while at < len(data):
        size = 4 + int.from_bytes(data[at + 2 : at + 4], "big")
        found.append(data[at : at + size])
        at += size
    return tuple(found)


async def answer(_scope: Any, _receive: Any, send: Any) -> None:
    """Answer two bytes."""
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})
