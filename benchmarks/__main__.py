"""Run a benchmark by name, print one JSON object, keep it where that is asked for.

    python -m benchmarks list
    python -m benchmarks NAME --json          one object: name, value, unit, percentiles, peer, ratio, machine, commit
    python -m benchmarks NAME --save          and keep it as benchmarks/results/NAME.json
    python -m benchmarks all --save

A benchmark is a module in this folder with `NAME`, `SUMMARY`, `UNIT` and `run()`. What `run` returns has a
`value`; or the module names the figure that counts as `VALUE`, and the one to compare with as `PEER`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "results"


def modules() -> Iterator[ModuleType]:
    """Yield every benchmark of this folder."""
    for path in sorted(HERE.glob("[a-z]*.py")):
        module = import_module(f"benchmarks.{path.stem}")
        if hasattr(module, "NAME") and hasattr(module, "run"):
            yield module


def measured(module: ModuleType) -> dict[str, Any]:
    """Run one benchmark; return its object."""
    found: dict[str, Any] = dict(module.run())
    if "value" not in found:
        found = {
            "value": found[module.VALUE],
            "peer": found.get(getattr(module, "PEER", "")),
            "details": found,
        }
    peer = found.get("peer")
    ratio = found.get("ratio", found["value"] / peer if peer else None)
    return rounded(
        {
            "name": module.NAME,
            "summary": summary_of(module),
            "value": found["value"],
            "unit": found.get("unit", getattr(module, "UNIT", "")),
            "percentiles": found.get("percentiles", {}),
            "peer": peer,
            "peer_is": found.get("peer_is", getattr(module, "PEER_IS", "")),
            "ratio": ratio,
            "details": found.get("details", {}),
            "machine": machine(),
            "commit": commit(),
        }
    )


def rounded(value: Any) -> Any:
    """Cut numbers to what can be believed."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def summary_of(module: ModuleType) -> str:
    """Return what a benchmark measures, in one line."""
    written = getattr(module, "SUMMARY", "") or (module.__doc__ or "").strip().splitlines()[0]
    return str(written).rstrip(".")


def machine() -> dict[str, object]:
    """Describe the machine, without a name of it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "processor": _processor(),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def commit() -> str:
    """Return the commit that was measured, with `+` where the tree differs from it."""
    changed = _git("status", "--porcelain", "packages")
    return _git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(HERE.parent), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def line_of(result: dict[str, Any]) -> str:
    """Return a result as a person reads it."""
    told = f"{result['name']:<18} {result['value']:g} {result['unit']}"
    if result["ratio"] is not None:
        told += f"   {result['ratio']:g} of {result['peer_is'] or 'its peer'} ({result['peer']:g})"
    return told


def main(arguments: list[str]) -> int:
    """List, or run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("name", help="a benchmark, `all`, or `list`")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("--save", action="store_true", help="keep it in benchmarks/results")
    given = parser.parse_args(arguments)
    known = {module.NAME: module for module in modules()}
    if given.name == "list":
        for name, module in known.items():
            sys.stdout.write(f"{name:<18} {summary_of(module)}\n")
        return 0
    if given.name != "all" and given.name not in known:
        sys.stderr.write(f"No benchmark {given.name!r}. See `python -m benchmarks list`.\n")
        return 2
    for name in known if given.name == "all" else [given.name]:
        result = measured(known[name])
        sys.stdout.write((json.dumps(result) if given.json else line_of(result)) + "\n")
        sys.stdout.flush()
        if given.save:
            RESULTS.mkdir(exist_ok=True)
            text = json.dumps(result, indent=2, ensure_ascii=False)
            (RESULTS / f"{name}.json").write_text(text + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
