"""The trial of a bundle: a process of its own compiles it, runs its tests and asks it made-up questions.

A circle of rules ends the evaluator's process, a rule may take all memory there is: so that process is not the node's.
It gets the bundle on its standard input and tells a report on its standard output; it has no environment, few open
files, a ceiling of memory and of processor time, and dies with who started it.
"""

import ctypes
import resource
import signal
import sys
from typing import Final

import anyio
import msgspec

from hive.core.errors import PolicyError
from hive.core.ids import plain_text
from hive.security.policy.ports import Explanation, TestOutcome, TrialReport

TRIAL_TIMEOUT_S: Final = 60.0
TRIAL_CPU_S: Final = 30
TRIAL_MEMORY_BYTES: Final = 2 << 30  # of addresses; the evaluator alone reserves over one of these
TRIAL_FILES_MAX: Final = 64
REPORT_MAX_BYTES: Final = 8 << 20
_PR_SET_PDEATHSIG: Final = 1


class TrialOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What is tried. With a `question`, only that is answered and explained."""

    modules: list[tuple[str, str]]
    data: str
    question: str = ""


class OutcomeLine(msgspec.Struct, frozen=True, kw_only=True):
    """A test's end as the process tells it."""

    name: str
    file: str
    problem: str = ""


class TrialTold(msgspec.Struct, frozen=True, kw_only=True):
    """What the process tells."""

    problems: list[str] = []
    notes: list[str] = []
    tests: list[OutcomeLine] = []
    rules: int = 0
    answer: str = ""
    lines: dict[str, list[tuple[int, str]]] = {}


async def run_trial(module: str, order: TrialOrder) -> tuple[TrialReport, Explanation | None]:
    """Run a trial in a process of its own; a process that dies is a bundle that may not stand.

    Raises:
        PolicyError: the process cannot be started.

    """
    command = [sys.executable, "-I", "-m", module]
    try:
        with anyio.fail_after(TRIAL_TIMEOUT_S):
            done = await anyio.run_process(
                command, input=msgspec.json.encode(order), check=False, env={"LANG": "C.UTF-8"}
            )
    except TimeoutError:
        return TrialReport(
            problems=(f"It was not done after {TRIAL_TIMEOUT_S:.0f} seconds.",)
        ), None
    except OSError as error:
        raise PolicyError("The bundle cannot be tried.", why=str(error)) from error
    if done.returncode != 0:
        return TrialReport(problems=(_death(done.returncode, done.stderr),)), None
    told = msgspec.json.decode(done.stdout[:REPORT_MAX_BYTES], type=TrialTold)
    report = TrialReport(
        problems=tuple(plain_text(one) for one in told.problems),
        notes=tuple(plain_text(one) for one in told.notes),
        tests=tuple(
            TestOutcome(name=one.name, file=one.file, problem=plain_text(one.problem))
            for one in told.tests
        ),
        rules=told.rules,
    )
    if not told.answer:
        return report, None
    lines = {file: tuple(found) for file, found in told.lines.items()}
    return report, Explanation(document=told.answer.encode(), lines=lines)


def confine() -> None:
    """Lower this process's ceilings, and die with the parent; called first in the process of a trial."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CPU, (TRIAL_CPU_S, TRIAL_CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (TRIAL_MEMORY_BYTES, TRIAL_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (TRIAL_FILES_MAX, TRIAL_FILES_MAX))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _death(code: int, stderr: bytes) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        hints = {
            "SIGSEGV": "rules that call each other in a circle?",
            "SIGKILL": "it took too much processor time or memory",
            "SIGXCPU": "it took too much processor time",
            "SIGABRT": "it took too much memory?",
        }
        return (
            f"The evaluator died of {name} while it tried the bundle: {hints.get(name, 'unknown')}"
        )
    last = plain_text(stderr.decode("utf-8", "replace").strip().rpartition("\n")[2])
    return f"The evaluator failed while it tried the bundle: {last[:300]}"
