"""What the tests of the Workload API share: a service with its own authority, and a socket that it serves.

The database is a few tables in memory that know the statements of the identity package and no other.
"""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from hive.core.clock import SystemClock
from hive.core.ids import AgentId, SandboxId
from hive.core.randomness import SystemRandomness
from hive.node.http import bind_path
from hive.security.identity import DenyList, IdentityService, IssueQuota, MasterSealed
from hive.security.identity.drivers import IDENTITIES
from hive.security.identity.ports import IssuerOpening
from hive.security.identity.workload.listener import WorkloadListener

DOMAIN = "hive.example"
MASTER = bytes(range(32))


class Tables:
    """The identity package's tables, in memory."""

    def __init__(self) -> None:
        self.authorities: list[dict[str, object]] = []
        self.denied: dict[tuple[str, str], dict[str, object]] = {}

    async def execute(self, sql: str, *values: object) -> str:
        words = sql.split()
        if words[0] in ("SELECT", "NOTIFY"):
            return words[0]
        if "INTO identity_authority" in sql:
            names = (
                "kind",
                "generation",
                "certificate",
                "above",
                "sealed_key",
                "made_at",
                "ends_at",
            )
            self.authorities.append(dict(zip(names, values, strict=True)))
            return "INSERT 0 1"
        if "FROM identity_authority" in sql:
            self.authorities = [
                one
                for one in self.authorities
                if one["kind"] != values[0] or one["generation"] > values[1]
            ]
            return "DELETE 1"
        if "UPDATE identity_authority" in sql:
            for one in self.authorities:
                if (one["kind"], one["generation"]) == values:
                    one["sealed_key"] = None
            return "UPDATE 1"
        if "INTO identity_denied" in sql:
            names = ("kind", "value", "at", "ends_at", "reason", "by")
            self.denied[values[0], values[1]] = dict(zip(names, values, strict=True))
            return "INSERT 0 1"
        if "FROM identity_denied" in sql:
            return f"DELETE {int(self.denied.pop(values, None) is not None)}"
        raise AssertionError(sql)

    async def fetch(self, sql: str, *values: object) -> Sequence[dict[str, object]]:
        if "identity_authority" in sql:
            return sorted(
                (dict(one) for one in self.authorities),
                key=lambda one: (one["kind"], one["generation"]),
            )
        if "identity_denied" in sql:
            return [dict(one) for one in self.denied.values() if one["ends_at"] > values[0]]
        raise AssertionError(sql)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Tables"]:
        yield self


class Events:
    """The events that were written."""

    def __init__(self) -> None:
        self.all: list[tuple[str, dict[str, object], str]] = []

    async def __call__(self, name: str, body: dict[str, object], *, agent: str = "") -> None:
        self.all.append((name, body, agent))

    def named(self, name: str) -> list[dict[str, object]]:
        return [body for one, body, _ in self.all if one == name]


@asynccontextmanager
async def opened_issuer(
    tables: Tables,
    *,
    domain: str = DOMAIN,
    clock=None,
    url: str = "local-ca:",
    master: bytes = MASTER,
    demanded: bool = False,
):
    opening = IssuerOpening(
        url=url,
        trust_domain=domain,
        demanded=demanded,
        database=tables,
        sealed=MasterSealed(master),
        clock=clock or SystemClock(),
        randomness=SystemRandomness(),
    )
    async with IDENTITIES.load(url).open(opening) as issuer:
        yield issuer


@asynccontextmanager
async def opened_service(
    *,
    tables: Tables | None = None,
    domain: str = DOMAIN,
    clock=None,
    ttl_s: float = 3600.0,
    quota: IssueQuota | None = None,
    url: str = "local-ca:",
    demanded: bool = False,
) -> AsyncIterator[IdentityService]:
    tables = tables or Tables()
    clock = clock or SystemClock()
    async with opened_issuer(
        tables, domain=domain, clock=clock, url=url, demanded=demanded
    ) as issuer:
        service = IdentityService(
            issuer=issuer,
            denied=DenyList(database=tables, clock=clock),
            quota=quota or IssueQuota(clock),
            clock=clock,
            randomness=SystemRandomness(),
            emit=Events(),
            ttl_s=ttl_s,
        )
        service.events = service._emit
        yield service


@asynccontextmanager
async def served(
    service: IdentityService,
    folder: Path,
    *,
    agent: str = "reader",
    sandbox: str = "",
    first_process=os.getpid,
) -> AsyncIterator[WorkloadListener]:
    """Serve one sandbox's socket, whose first process is the test's own unless it says another."""
    name = SandboxId(sandbox or f"sandbox-{agent}")
    listener = WorkloadListener(
        service, service.enrol(name, AgentId(agent)), first_process=first_process
    )
    path = folder / f"{name}.sock"
    listener.url = f"unix://{path}"
    async with listener.listen(bind_path(path, mode=0o666)):
        yield listener


class MovedClock(SystemClock):
    """The machine's clock, moved."""

    moved_s = 0.0

    def now(self):
        return super().now() + timedelta(seconds=self.moved_s)

    def monotonic(self):
        return super().monotonic() + self.moved_s
