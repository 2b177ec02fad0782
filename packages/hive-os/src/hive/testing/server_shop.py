"""Tool servers for a test: the real walls, the real egress door, real packages; the gate asks the grant alone."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias, cast

from hive.core.call import Principal, Refused
from hive.core.clock import SystemClock
from hive.core.ids import OwnerId
from hive.core.randomness import SystemRandomness
from hive.core.settings import Settings, load_settings
from hive.execution.drivers import DRIVERS
from hive.execution.environment import Environments
from hive.execution.ports import SandboxDriver
from hive.kernel.ports import Attempt
from hive.kernel.turns import TurnBook
from hive.node.placement import ToolDoors
from hive.protocols.egress.door import EgressDoor
from hive.protocols.mcp.launch import ServerLauncher, open_launcher
from hive.testing.builder_doors import RehearsalBuilderDoors
from hive.testing.rehearsal_gate import RehearsalGate

OpeningTier: TypeAlias = AbstractAsyncContextManager[SandboxDriver]
ALICE: Final = OwnerId("alice")


class ServerShop:
    """A launcher, what its servers reached, and what they were refused."""

    def __init__(self, folder: Path, driver: SandboxDriver, settings: Settings) -> None:
        self.folder = folder
        self.lines: list[tuple[str, str]] = []
        self.reached: list[tuple[Principal, str]] = []
        self.refused: list[tuple[Principal, str]] = []
        self.turns = TurnBook(SystemRandomness())
        self.builders = RehearsalBuilderDoors()
        egress = EgressDoor(
            gate=RehearsalGate(judge=self._judge),
            principal_for=self.turns.principal_without_turn,
            grant_for=self.turns.grant_in,
            is_builder=self.turns.builds_in,
            clock=SystemClock(),
        )
        run = folder / "run"
        run.mkdir(parents=True, exist_ok=True)
        self.environments = Environments(
            settings=settings, driver=driver, doors=self.builders, clock=SystemClock()
        )
        self.launcher: ServerLauncher = open_launcher(
            settings=settings,
            environments=self.environments,
            doors=ToolDoors(
                egress=egress,
                turns=self.turns,
                clock=SystemClock(),
                randomness=SystemRandomness(),
                run_directory=run,
            ),
            on_line=lambda server, text: self.lines.append((server, text)),
        )

    def _judge(self, attempt: Attempt) -> Refused | None:
        grant = self.turns.grant_of(attempt.principal)
        host, _, port = attempt.target.rpartition(":")
        if grant is not None and grant.allows_host(host, int(port)):
            self.reached.append((attempt.principal, attempt.target))
            return None
        self.refused.append((attempt.principal, attempt.target))
        return Refused(check="grant", reason="its grant does not name this host")


@asynccontextmanager
async def open_server_shop(
    folder: Path,
    *,
    state: Path | None = None,
    settings: Settings | None = None,
    driver: OpeningTier | None = None,
) -> AsyncIterator[ServerShop]:
    """Start a tier; `state` keeps environments between tests."""
    if settings is None:
        settings = load_settings({"HOME": str(folder)}, state_dir=str(state or folder / "state"))
    opened = driver or cast("Callable[[], OpeningTier]", DRIVERS.load("process:"))()
    async with opened as tier:
        yield ServerShop(folder, tier, settings)
