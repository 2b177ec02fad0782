"""A place to build environments for a test: the real walls and the real egress door, an index of its own."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, cast

import anyio

from hive.core.clock import SystemClock
from hive.core.grant import Limits
from hive.core.ids import OwnerId
from hive.core.settings import load_settings
from hive.execution.drivers import DRIVERS
from hive.execution.environment import Environments
from hive.execution.environment_builder import BuildLimits, EnvironmentPlan
from hive.execution.environment_python import own_interpreter
from hive.execution.ports import SandboxDriver
from hive.testing.builder_doors import RehearsalBuilderDoors
from hive.testing.loopback import serve_app
from hive.testing.sandbox_suite import make_opening
from hive.testing.wheel_index import WheelIndex

ALICE: Final = OwnerId("alice")


class Workshop:
    """A driver, an index and environments in one state folder."""

    def __init__(self, folder: Path, driver: SandboxDriver, index: WheelIndex, url: str) -> None:
        self.folder = folder
        self.driver = driver
        self.index = index
        self.url = url
        self.lines: list[str] = []
        self.doors = RehearsalBuilderDoors()
        self.environments = self.another()

    def another(self, limits: BuildLimits | None = None, *, age_days: int = 0) -> Environments:
        """Return environments of the same folder, as a second node would have them."""
        return Environments(
            settings=load_settings(
                {"HOME": str(self.folder)},
                state_dir=str(self.folder / "state"),
                index_url=f"{self.url}/simple",
                package_age_days=age_days,
            ),
            driver=self.driver,
            doors=self.doors,
            clock=SystemClock(),
            limits=limits,
        )

    def plan(
        self, *requirements: str, owner: OwnerId = ALICE, allow_build: bool = False
    ) -> EnvironmentPlan:
        """Return a plan on the node's own interpreter."""
        return EnvironmentPlan(
            owner=owner,
            requirements=requirements,
            interpreter=own_interpreter(),
            allow_build=allow_build,
        )

    async def ensure(self, plan: EnvironmentPlan) -> Path:
        """Build a plan's environment; return where it lies."""
        with anyio.fail_after(60):
            made = await self.environments.ensure(plan, on_line=self.lines.append)
        return self.environments.place(made.digest)


async def inside(shop: Workshop, place: Path, script: str) -> list[str]:
    """Run a script on an environment, behind the walls; return what it printed."""
    lines: list[str] = []
    await shop.driver.run(
        (str(place / "bin" / "python"), "-I", "-c", script),
        mounts=(),
        opening=make_opening(shop.folder / "run"),
        limits=Limits(),
        timeout_s=20,
        on_line=lines.append,
    )
    return lines


@asynccontextmanager
async def open_workshop(folder: Path) -> AsyncIterator[Workshop]:
    """Serve an empty index and start the launcher."""
    index = WheelIndex()
    process = cast(
        "Callable[[], AbstractAsyncContextManager[SandboxDriver]]", DRIVERS.load("process:")
    )
    async with serve_app(index) as url, process() as driver:
        yield Workshop(folder, driver, index, url)
