"""The way out of a build, as the node opens it: the real egress door, passing what the builder's grant names."""

import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hive.core.call import Principal, PrincipalKind, Refused
from hive.core.clock import SystemClock
from hive.core.grant import Grant
from hive.core.ids import OwnerId, SandboxId
from hive.execution.ports import Opening
from hive.kernel.ports import Attempt
from hive.protocols.egress.door import EgressDoor
from hive.testing.rehearsal_gate import RehearsalGate


class RehearsalBuilderDoors:
    """Satisfy the port `BuilderDoors`; keep which hosts were reached and which refused."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        self.refused: list[str] = []

    @asynccontextmanager
    async def open(self, owner: OwnerId, grant: Grant) -> AsyncIterator[Opening]:
        """Serve a builder's sockets."""

        def judge(attempt: Attempt) -> Refused | None:
            host, port = attempt.facts["host"], attempt.facts["port"]
            if isinstance(host, str) and isinstance(port, int) and grant.allows_host(host, port):
                self.reached.append(attempt.target)
                return None
            self.refused.append(attempt.target)
            return Refused(check="grant", reason="its grant does not name this host")

        sandbox = SandboxId(f"builder-{secrets.token_hex(4)}")
        who = Principal(kind=PrincipalKind.AGENT, name="builder", owner=owner, sandbox=sandbox)
        door = EgressDoor(
            gate=RehearsalGate(judge=judge),
            principal_for=lambda _sandbox: who,
            clock=SystemClock(),
            grant_for=lambda _sandbox: grant,
            is_builder=lambda _sandbox: True,
        )
        # In a folder of the system's: the path of a socket has at most 107 bytes, that of a test has more.
        with tempfile.TemporaryDirectory(prefix="hive-doors-") as place:
            async with door.serve_unix(Path(place, "egress.sock"), sandbox):
                yield Opening(sandbox_id=sandbox, gate_directory=place, environment={})
