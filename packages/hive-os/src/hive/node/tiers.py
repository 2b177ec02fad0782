"""The tiers that the settings name: opened, tried, and looked at again by the doctor."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Protocol, cast

from hive.core.errors import ConfigError, TierUnavailableError
from hive.core.grant import Tier
from hive.core.ids import SandboxId
from hive.core.settings import Settings
from hive.execution.drivers import DRIVERS as SANDBOXES
from hive.execution.enforcement import Guarding
from hive.execution.ports import LogLine, Probe, SandboxDriver

LogSink = Callable[[SandboxId, LogLine], None]


class TierDriver(SandboxDriver, Protocol):
    """A tier's driver as the node opens it."""

    async def __aenter__(self) -> "TierDriver":
        """Start what it needs."""
        ...

    async def __aexit__(self, *exception: object) -> None:
        """Stop it and every sandbox."""
        ...


class Tiers:
    """The open drivers, by tier, with what their probes found when the node started."""

    def __init__(
        self, drivers: Mapping[Tier, SandboxDriver], probes: tuple[Probe, ...], floor: Tier
    ) -> None:
        self.drivers: Final = dict(drivers)
        self.probes: Final = probes
        self.floor: Final = floor

    @property
    def builder(self) -> SandboxDriver:
        """Return the tier in which environments are built and tool servers run."""
        return self.drivers[Tier.PROCESS]

    def guard(self, guarding: Guarding) -> None:
        """Let every sandbox from now on start under the kernel's guard."""
        for driver in self.drivers.values():
            driver.guarding = guarding

    def first_process(self, sandbox: SandboxId) -> int:
        """Return the host pid of a live sandbox's first process, 0 where there is none."""
        found = (driver.first_process(sandbox) for driver in self.drivers.values())
        return next((pid for pid in found if pid), 0)

    async def probed_again(self) -> tuple[Probe, ...]:
        """Try every tier once more."""
        return tuple([await driver.probe() for driver in self.drivers.values()])


@asynccontextmanager
async def opened_tiers(settings: Settings, on_log: LogSink | None = None) -> AsyncIterator[Tiers]:
    """Open the tiers that `HIVE_TIERS` names and try each.

    Raises:
        ConfigError: the process tier is not among them, or the floor is no tier.
        TierUnavailableError: in production, a tier or a demanded wall is missing.

    """
    floor = _floor(settings)
    async with AsyncExitStack() as stack:
        drivers: dict[Tier, SandboxDriver] = {}
        for url in settings.tiers.split(","):
            make = cast("Callable[..., TierDriver]", SANDBOXES.load(url.strip()))
            driver = await stack.enter_async_context(
                make(walls_min=settings.walls_min, on_log=on_log)
            )
            drivers[driver.tier] = driver
        if Tier.PROCESS not in drivers:
            raise ConfigError(
                "HIVE_TIERS does not name the process tier.",
                why="Environments are built in it, and tool servers run in it.",
                fix="Write it first: HIVE_TIERS=process:,gvisor:",
            )
        probes = tuple([await _probe(driver, settings) for driver in drivers.values()])
        yield Tiers(drivers, probes, floor)


def _floor(settings: Settings) -> Tier:
    try:
        return Tier[settings.tier_min.upper()]
    except KeyError:
        known = ", ".join(tier.name.lower() for tier in Tier)
        raise ConfigError(
            f"HIVE_TIER_MIN={settings.tier_min} is no tier.", why=f"Known: {known}."
        ) from None


async def _probe(driver: SandboxDriver, settings: Settings) -> Probe:
    probe = await driver.probe()
    missing = sorted(set(settings.walls_min) - probe.standing)
    if settings.production and (missing or not probe.available):
        raise TierUnavailableError(
            "This machine cannot give the walls that are demanded.",
            why=f"{probe.scheme}: "
            + (probe.reason or f"these do not stand: {', '.join(missing)}."),
            fix="Run `hive doctor`, then change the machine, HIVE_TIERS or HIVE_WALLS_MIN.",
        )
    return probe
