"""From the command to `/api/ready` with the A2A door open: the first time, and with a state folder."""

import statistics
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.ground import node

NAME: Final = "start"
SUMMARY: Final = "From `hive up` to ready, on a state folder that exists (details: the first time)"
UNIT: Final = "s"
WARM_STARTS: Final = 7


def run() -> dict[str, Any]:
    """Start once on an empty folder, then several times on what it left."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder, "state")
        with node(state) as (_, cold):
            pass
        warm = []
        for _ in range(WARM_STARTS):
            with node(state) as (_, took):
                warm.append(took)
    return {
        "value": statistics.median(warm),
        "percentiles": {"min": min(warm), "p50": statistics.median(warm), "max": max(warm)},
        "details": {"first_s": cold, "warm_starts": WARM_STARTS},
    }
