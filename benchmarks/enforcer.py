"""What the kernel's guard costs a program in a sandbox, and how fast it stops one.

A program in C opens and closes a file six folders deep, in a sandbox with the guard and in one where nothing is loaded into
the kernel; the two take turns. The value is the guarded cost over the bare one; the bar is 1.6. Then sandboxes open a
kept file, and each is killed: the time from the hook to the signal, by the kernel's clock; the bar is a median of 50 us.
Needs a C compiler and what `hive enforce status` asks for.
"""

import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import anyio

from hive.core.grant import Limits, PathRule
from hive.core.kernel_rules import KernelAct, KernelRule
from hive.execution.drivers.process import ProcessDriver
from hive.execution.enforcement import KernelEvent, KernelGuards
from hive.execution.enforcement.ladder import described, take_step
from hive.testing.sandbox_suite import make_opening

NAME: Final = "enforcer"
SUMMARY: Final = "open and close of a file in a sandbox under the kernel's guard, over the same without it (details: hook to signal of a kill)"
UNIT: Final = "times"
ROUNDS: Final = 7
PAIRS: Final = 100_000
KILLS: Final = 40
MEMORY_BYTES: Final = 64 << 20
DEEP: Final = "a/b/c/d/e/f"
PROGRAM: Final = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int main(int count, char **given)
{
	struct timespec began, ended;
	long pairs = atol(given[2]);
	clock_gettime(CLOCK_MONOTONIC, &began);
	for (long at = 0; at < pairs; at++) {
		int file = open(given[1], O_RDONLY);
		if (file < 0)
			return 1;
		close(file);
	}
	clock_gettime(CLOCK_MONOTONIC, &ended);
	printf("%f\n", ((ended.tv_sec - began.tv_sec) * 1e9 + (ended.tv_nsec - began.tv_nsec)) / pairs);
	return 0;
}
"""


def run() -> dict[str, Any]:
    """Measure both."""
    with tempfile.TemporaryDirectory(prefix="hive-enforcer-") as folder:
        place = Path(folder)
        place.chmod(0o755)
        (place / DEEP).mkdir(parents=True)
        (place / DEEP / "file").write_text("open")
        (place / "bait").write_text("kept")
        (place / "pairs.c").write_text(PROGRAM)
        subprocess.run(["/usr/bin/cc", "-O2", "-o", place / "pairs", place / "pairs.c"], check=True)
        return anyio.run(_measure, place)


async def _measure(place: Path) -> dict[str, Any]:
    bare: list[float] = []
    guarded: list[float] = []
    for _ in range(ROUNDS):
        async with ProcessDriver() as driver:
            bare.append(await _pairs(driver, place))
        with enforced() as (driver_guards, _events):
            async with ProcessDriver() as driver:
                driver.guarding = driver_guards
                guarded.append(await _pairs(driver, place))
    kills = await _kills(place)
    return {
        "value": statistics.median(guarded) / statistics.median(bare),
        "details": {
            "bare_ns": _spread(bare),
            "guarded_ns": _spread(guarded),
            "pairs_a_round": PAIRS,
            "hook_to_signal_us": _spread(kills),
            "kills": len(kills),
        },
    }


@contextmanager
def enforced() -> Iterator[tuple[KernelGuards, list[KernelEvent]]]:
    """Load the strongest guard of this machine, with a rule that another file is kept."""
    held, steps = take_step("auto")
    if held is None:
        raise SystemExit(described(steps))
    met: list[KernelEvent] = []
    rule = KernelRule(name="bait", act=KernelAct.OPEN, path="/data/bait")
    try:
        yield KernelGuards(held, rules_of=lambda _agent: (rule,), met=met.append), met
    finally:
        held.__exit__()


async def _pairs(driver: ProcessDriver, place: Path) -> float:
    printed = await _printed(driver, place, ("/data/pairs", f"/data/{DEEP}/file", str(PAIRS)))
    return float(printed)


async def _kills(place: Path) -> list[float]:
    with enforced() as (guards, met):
        async with ProcessDriver() as driver:
            driver.guarding = guards
            for _ in range(KILLS):
                if await _printed(driver, place, ("/bin/cat", "/data/bait")):
                    raise SystemExit("a kept file was read")
    return [one.taken_us for one in met]


async def _printed(driver: ProcessDriver, place: Path, argv: Sequence[str]) -> str:
    with tempfile.TemporaryDirectory(prefix="hive-gate-") as gate:
        printed = b""
        async with driver.open(
            argv,
            mounts=[PathRule(host=str(place), inside="/data")],
            opening=make_opening(Path(gate)),
            limits=Limits(memory_bytes=MEMORY_BYTES),
            on_line=lambda _line: None,
        ) as streams:
            try:
                while True:
                    printed += await streams.receive()
            except anyio.EndOfStream:
                return printed.decode()


def _spread(figures: Sequence[float]) -> dict[str, float]:
    ordered = sorted(figures)
    return {
        "p50": statistics.median(ordered),
        "p90": ordered[int(len(ordered) * 0.9)],
        "min": ordered[0],
        "max": ordered[-1],
    }
