"""How long the SDK takes to import, and how much it installs, beside the official one."""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from uv import find_uv_bin

from benchmarks.install_size import bytes_below

NAME: Final = "sdk_import"
SUMMARY: Final = (
    "Importing the server and the client of the SDK, in a fresh interpreter (details: install)"
)
UNIT: Final = "ms"
PEER_IS: Final = "importing the same from the official SDK"
RUNS: Final = 15
ROOT: Final = Path(__file__).parents[1]
OURS: Final = "import hive_a2a.server, hive_a2a.client"
OFFICIAL: Final = """
import a2a.types, a2a.client, a2a.server.agent_execution, a2a.server.tasks, a2a.server.events
import a2a.server.request_handlers, a2a.server.routes, starlette.applications
"""


def run() -> dict[str, Any]:
    """Measure imports in turns, the interpreter's own start left out, and install both into fresh environments."""
    programs = {"ours": OURS, "official": OFFICIAL}
    taken: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(RUNS):
        for name, program in programs.items():
            taken[name].append(imported_ms(program))
    ms = {name: statistics.median(times[2:]) for name, times in taken.items()}
    sizes = {
        "official_mib": installed_mib("a2a-sdk[http-server]>=1.3,<1.4"),
        "ours_mib": installed_mib(f"{ROOT / 'packages' / 'hive-a2a-sdk'}"),
        "ours_serve_warrants_mib": installed_mib(
            f"{ROOT / 'packages' / 'hive-a2a-sdk'}[serve,warrants]"
        ),
    }
    over = sizes["ours_serve_warrants_mib"] - sizes["official_mib"]
    return {
        "value": ms["ours"],
        "peer": ms["official"],
        "details": {
            "more_installed_mib": over,
            **sizes,
        },
    }


def imported_ms(program: str) -> float:
    """Return how long a fresh interpreter took over a program."""
    timed = (
        f"import time; began = time.perf_counter()\n{program}\nprint(time.perf_counter() - began)"
    )
    done = subprocess.run([sys.executable, "-c", timed], check=True, capture_output=True, text=True)
    return float(done.stdout) * 1000


def installed_mib(wanted: str) -> float:
    """Install into a fresh environment; return its size, as it was before any module was compiled."""
    uv = find_uv_bin()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "venv")
        for arguments in (
            ["venv", "--python", sys.executable, str(place)],
            ["pip", "install", "--python", str(place / "bin" / "python"), wanted],
        ):
            subprocess.run([uv, *arguments], check=True, capture_output=True)
        return bytes_below(place) / 2**20
