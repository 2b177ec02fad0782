"""Wheels of this tree, and environments that hold nothing else."""

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from uv import find_uv_bin

ROOT = Path(__file__).parents[2]
INSTALL_TIMEOUT_S = 600


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("install")


def run(*command: str | Path, cwd: Path = ROOT, timeout_s: float = INSTALL_TIMEOUT_S) -> str:
    """Run a command; return what it printed, fail with it where it failed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def wheels(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    run(find_uv_bin(), "build", "--quiet", "--all-packages", "--out-dir", folder)
    return folder


@pytest.fixture
def install(tmp_path, wheels) -> Callable[..., Path]:
    """Make an environment with some requirements, taken from our wheels first; return its `bin`."""

    def make(*requirements: str, resolution: str = "highest") -> Path:
        place = tmp_path / "environment"
        run(find_uv_bin(), "venv", "--quiet", "--python", sys.executable, place)
        run(
            find_uv_bin(),
            "pip",
            "install",
            "--quiet",
            "--python",
            place / "bin" / "python",
            "--find-links",
            wheels,
            "--resolution",
            resolution,
            *requirements,
            cwd=tmp_path,
        )
        return place / "bin"

    return make


def project(name: str) -> dict[str, object]:
    """Return the `[project]` table of one of our distributions."""
    return tomllib.loads((ROOT / "packages" / name / "pyproject.toml").read_text())["project"]


def direct_requirements() -> list[str]:
    """Return everything that our distributions ask for by themselves, extras included."""
    found: list[str] = []
    for name in ("hive-os", "hive-a2a-sdk", "hive-guest"):
        table = project(name)
        lists = [table["dependencies"], *table.get("optional-dependencies", {}).values()]
        found += [one for asked in lists for one in asked if not one.startswith("hive-")]
    return found
