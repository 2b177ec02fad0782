"""Run the official conformance suites of MCP against a server or a client, and say which checks failed.

    result = await run_server_suite("http://127.0.0.1:4000/mcp", "2025-11-25")
    result = await run_client_suite("python client.py", "2026-07-28", suite="auth")

The suites are npm packages with pinned versions, and need a newer Node.js than many machines have: it is one
of the packages. All are installed once below the cache folder of this user.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import pytest

OLD: Final = "2025-11-25"
NEW: Final = "2026-07-28"
_HERE: Final = Path(__file__).parent / "js"
_FOLDER: Final = "mcp-conformance-0.1.16-0.2.0-alpha.12"
_TIMEOUT_S: Final = 220
_STAMP: Final = re.compile(r"-\d{4}-\d\d-\d\dT[\w-]+$")
_SCORED: Final = ("FAILURE",)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteResult:
    """What a suite found: checks that passed, and those that did not, with why."""

    passed: int
    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    scenarios: tuple[str, ...]
    output: str


def conformance_programs() -> Path:
    """Return the folder of the installed suites; skip the test where npm cannot install them."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")  # noqa: TID251
    folder = cache / "hive-tests" / _FOLDER
    if (folder / "node_modules").is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(_HERE / name, fresh)
        made = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund"],
            cwd=fresh,
            capture_output=True,
            timeout=200,
            check=False,
        )
        if made.returncode != 0:
            pytest.skip("npm could not install the conformance suites")
        shutil.copytree(fresh, folder, dirs_exist_ok=True, symlinks=True)
    return folder


async def run_server_suite(
    url: str,
    revision: str,
    *,
    scenarios: Sequence[str] = (),
    all_pending: bool = True,
    edition: str = "",
) -> SuiteResult:
    """Run the server suite of a revision: all scenarios of its requirements, or the named ones.

    With `all_pending` those count as well that the suite runs without scoring them. `edition` is the
    revision with which the suite came out, where that is a later one.
    """
    what = ["server", "--url", url]
    edition = edition or revision
    return await _run(what, revision, scenarios, all_pending=all_pending, edition=edition)


async def run_client_suite(
    command: str,
    revision: str,
    *,
    suite: str = "",
    scenarios: Sequence[str] = (),
    edition: str = "",
) -> SuiteResult:
    """Run the client suite of a revision against a program that takes the server's URL last."""
    what = ["client", "--command", command]
    if suite:
        return await _one(what, edition or revision, ["--suite", suite], all_pending=True)
    edition = edition or revision
    return await _run(what, revision, scenarios, all_pending=False, edition=edition)


async def _run(
    what: list[str], revision: str, scenarios: Sequence[str], *, all_pending: bool, edition: str
) -> SuiteResult:
    if not scenarios:
        scope = ["--requirements", revision] if edition == NEW else _old_scope(what)
        return await _one(what, edition, scope, all_pending=all_pending)
    which = ["--spec-version", revision] if edition != revision else []
    results = [
        await _one(what, edition, ["--scenario", name, *which], all_pending=True)
        for name in scenarios
    ]
    return SuiteResult(
        passed=sum(one.passed for one in results),
        failures=tuple(failure for one in results for failure in one.failures),
        warnings=tuple(warning for one in results for warning in one.warnings),
        scenarios=tuple(name for one in results for name in one.scenarios),
        output="\n".join(one.output for one in results),
    )


def _old_scope(what: list[str]) -> list[str]:
    return ["--suite", "all"] if what[0] == "client" else ["--suite", "active"]


async def _one(
    what: list[str], edition: str, scope: list[str], *, all_pending: bool
) -> SuiteResult:
    programs = conformance_programs() / "node_modules"
    suite = programs / f"conformance-{edition}" / "dist" / "index.js"
    with tempfile.TemporaryDirectory() as folder:
        with anyio.fail_after(_TIMEOUT_S):
            done = await anyio.run_process(
                [
                    str(programs / "node" / "bin" / "node"),
                    str(suite),
                    *what,
                    *scope,
                    "--output-dir",
                    folder,
                ],
                check=False,
                cwd=folder,
            )
        output = done.stdout.decode() + done.stderr.decode()
        return _read(Path(folder), output, all_pending=all_pending)


def _read(folder: Path, output: str, *, all_pending: bool) -> SuiteResult:
    passed, found, names = 0, [], []
    _, _, unscored = output.partition("Not scored for")
    for file in sorted(folder.glob("**/checks.json")):
        name = _STAMP.sub("", str(file.parent.relative_to(folder)).removeprefix("server-"))
        if not all_pending and f" {name} (" in unscored:
            continue
        names.append(name)
        checks = json.loads(file.read_text())
        if not checks:
            # The suite itself calls a scenario in which nothing happened passed.
            found.append(("FAILURE", f"{name}: no check ran"))
        for check in checks:
            passed += check["status"] == "SUCCESS"
            if check["status"] in ("FAILURE", "WARNING"):
                said = f"{name}: {check['id']}: {check.get('errorMessage')}"
                found.append((check["status"], said))
    return SuiteResult(
        passed=passed,
        failures=tuple(said for status, said in found if status in _SCORED),
        warnings=tuple(said for status, said in found if status not in _SCORED),
        scenarios=tuple(names),
        output=output,
    )
