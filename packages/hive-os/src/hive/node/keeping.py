"""What a node keeps in order while it runs: its own log, and copies and environments nobody uses."""

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from hive.core.errors import EngineError
from hive.core.settings import Settings
from hive.execution.environment import Environments
from hive.execution.source_copy import trim_sources
from hive.kernel.registry import AgentRegistry
from hive.kernel.supervisor import Supervisor

LOG_MAX_BYTES: Final = 4 << 20
LOG_FILES_MAX: Final = 3
TRIM_EVERY_S: Final = 3600.0
SETTLE_S: Final = 30.0
_TALKATIVE: Final = ("httpcore", "httpx", "hpack", "h11")
log: Final = logging.getLogger(__name__)


def open_log(folder: Path, settings: Settings) -> logging.Handler:
    """Write what the node's parts log to `node.log`; nothing of it goes to the terminal."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = RotatingFileHandler(
        folder / "node.log", maxBytes=LOG_MAX_BYTES, backupCount=LOG_FILES_MAX, delay=True
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(settings.log_level.upper())
    for name in _TALKATIVE:
        # At its finest these tell headers and broken lines of a provider, which may repeat the real key.
        logging.getLogger(name).setLevel(logging.WARNING)
    return handler


def close_log(handler: logging.Handler) -> None:
    """End what `open_log` began."""
    logging.getLogger().removeHandler(handler)
    handler.close()


async def trim_copies(
    settings: Settings,
    environments: Environments,
    supervisor: Supervisor,
    registry: AgentRegistry,
) -> None:
    """Remove staged sources and environments that were used longest ago and belong to no agent."""
    while True:
        await anyio.sleep(SETTLE_S)
        built = frozenset(one.placed.prepared.digest for one in supervisor.hosted())
        try:
            deployed = frozenset(one.spec.digest for one in await registry.all())
            await to_thread.run_sync(trim_sources, settings.state, deployed)
            await environments.trim(built)
        except (OSError, EngineError):
            log.warning("keeping.trim_failed", exc_info=True)
        await anyio.sleep(TRIM_EVERY_S)
