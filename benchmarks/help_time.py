"""How long `hive --help` takes, the whole process."""

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

NAME: Final = "help_time"
SUMMARY: Final = "`hive --help`, the whole process"
UNIT: Final = "ms"
RUNS: Final = 30


def run() -> dict[str, Any]:
    """Run it again and again; the peer is an interpreter that does nothing."""
    hive = _timed([str(Path(sys.executable).with_name("hive")), "--help"])
    bare = _timed([sys.executable, "-c", "pass"])
    return {
        "value": statistics.median(hive),
        "percentiles": {"min": min(hive), "p50": statistics.median(hive), "max": max(hive)},
        "peer": statistics.median(bare),
        "peer_is": "an interpreter that does nothing",
    }


def _timed(command: list[str]) -> list[float]:
    taken = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append((time.perf_counter() - began) * 1000)
    return taken[2:]
