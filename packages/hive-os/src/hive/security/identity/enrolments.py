"""Who has an identity now, and what was issued to whom."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

import anyio

from hive.core.clock import Clock
from hive.core.ids import AgentId, SandboxId
from hive.core.json import Json
from hive.security.identity.ports import SpiffeId, X509Svid

ISSUED_MAX: Final = 10_000


class IdentityEvents(Protocol):
    """Where the events of identities are written."""

    async def __call__(self, name: str, body: dict[str, Json], *, agent: str = "") -> None:
        """Write one event durably."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedLine:
    """One SVID that was issued, as it may be told."""

    kind: str
    serial: str
    spiffe_id: str
    sandbox: str
    at: datetime
    ends_at: datetime
    denied: bool = False


@dataclass(slots=True, kw_only=True)
class Enrolment:
    """One sandbox and its identity; `changed` is replaced whenever its streams have to look again."""

    sandbox: SandboxId
    agent: AgentId
    spiffe_id: SpiffeId
    session: str
    ended: bool = False
    changed: anyio.Event = field(default_factory=anyio.Event)
    current: X509Svid | None = None
    renewing: anyio.Lock = field(default_factory=anyio.Lock)
    serials: OrderedDict[str, datetime] = field(default_factory=OrderedDict)

    def stir(self) -> None:
        """Let every stream of it look again."""
        before, self.changed = self.changed, anyio.Event()
        before.set()


class IssuedBook:
    """What was issued, on the record first, and then here for as long as it counts."""

    def __init__(self, clock: Clock, emit: IdentityEvents) -> None:
        self._clock = clock
        self._emit = emit
        self._issued: OrderedDict[str, IssuedLine] = OrderedDict()

    async def record(self, kind: str, serial: str, to: Enrolment, ends_at: datetime) -> None:
        """Write that an SVID is issued; it may be handed out when this returns."""
        line = IssuedLine(
            kind=kind,
            serial=serial,
            spiffe_id=to.spiffe_id.text,
            sandbox=to.sandbox,
            at=self._clock.now(),
            ends_at=ends_at,
        )
        body: dict[str, Json] = {
            "kind": kind,
            "serial": serial,
            "subject": line.spiffe_id,
            "sandbox": line.sandbox,
            "ends_at": ends_at.isoformat(),
        }
        await self._emit("svid.issued", body, agent=to.agent)
        self._issued[f"{kind}:{serial}"] = line
        while len(self._issued) > ISSUED_MAX:
            self._issued.popitem(last=False)

    def get(self, kind: str, serial: str) -> IssuedLine | None:
        """Return one line."""
        return self._issued.get(f"{kind}:{serial}")

    def lines(self) -> Iterator[IssuedLine]:
        """Yield what has not ended, newest first."""
        now = self._clock.now()
        return (one for one in reversed(self._issued.values()) if one.ends_at > now)
