"""What the engines say of themselves, for status, `/api/ready` and the doctor."""

from typing import Final

from hive.core.settings import Settings
from hive.engines.open import Engines
from hive.engines.ports import EngineReport
from hive.execution.ports import Probe
from hive.web.values import (
    EngineStatus,
)


async def engine_statuses(engines: Engines) -> list[EngineStatus]:
    """Ask both engines what they are."""
    database = await engines.database.report()
    bus = await engines.messaging.bus.report()
    return [engine_status("database", database), engine_status("bus", bus)]


def engine_status(port: str, report: EngineReport) -> EngineStatus:
    """Show what one engine says of itself."""
    return EngineStatus(
        port=port,
        engine=report.engine,
        version=report.version,
        embedded=report.embedded,
        detail=report.detail,
    )


NO_MODEL: Final = "no model provider: answers are scripted (hive llm add openai --key-from-stdin)"


def lasting_degradations(settings: Settings, probes: tuple[Probe, ...]) -> list[str]:
    """Say what is weaker here than production would allow, or not there at all."""
    found = []
    for probe in probes:
        if not probe.available:
            found.append(f"{probe.tier.name.lower()} tier: {probe.reason}")
        missing = sorted(wall.name for wall in probe.walls if not wall.stands)
        if missing:
            found.append(f"walls that do not stand: {', '.join(missing)}")
    if settings.models.startswith("scripted:"):
        found.append(NO_MODEL)
    return found
