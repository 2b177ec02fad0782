"""Rego v1 in this process: compiled to a register machine that counts its steps, so that no rule can run on.

The machine takes a function that fails for "no", as Rego does. Where a rule applies functions to what the caller wrote,
a yes is asked for a second time, of the interpreter, which takes it for an error.
"""

import itertools
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

import msgspec
import regorus  # type: ignore[import-untyped]

from hive.core.errors import PolicyError
from hive.core.ids import plain_text
from hive.core.json import Json
from hive.security.policy.bundle import Bundle
from hive.security.policy.ports import CompiledPolicy, Explanation, TrialReport
from hive.security.policy.rego_check import ALL, Findings, examine, is_test
from hive.security.policy.rego_index import TargetIndex
from hive.security.policy.trial import TrialOrder, run_trial

ENTRY: Final = "data.hive.policy.decision"
UNDEFINED: Final = '"<undefined>"'
WHY_MAX_CHARS: Final = 600
Given = ParamSpec("Given")
AnswerT = TypeVar("AnswerT")
_MODULE: Final = "hive.security.policy.drivers.regorus_trial"


class RegorusDriver:
    """Compiles bundles here, after they were tried elsewhere."""

    takes_bundle = True

    def __init__(self, url: str, *, timeout_s: float) -> None:
        del timeout_s  # the machine counts steps
        if url.partition(":")[2]:
            raise PolicyError("HIVE_POLICY_URL=regorus: takes nothing behind the colon.")

    async def trial(self, bundle: Bundle) -> TrialReport:
        """Compile and test in a process of its own."""
        report, _ = await run_trial(_MODULE, order_of(bundle))
        return report

    async def compile(self, bundle: Bundle) -> CompiledPolicy:
        """Compile on this thread. A bundle that calls itself in a circle ends the process: try it first."""
        return RegorusPolicy(bundle.version, rules_of(bundle), bundle.data)

    async def explain(self, bundle: Bundle, question: bytes) -> Explanation:
        """Answer in a process of its own, and tell the lines that were looked at."""
        order = order_of(bundle, question=question.decode())
        report, answered = await run_trial(_MODULE, order)
        if answered is None:
            why = "; ".join(report.problems) or "It gave no answer."
            raise PolicyError("The policy has no answer.", why=why)
        return answered

    async def aclose(self) -> None:
        """Hold nothing."""


class RegorusPolicy:
    """One compiled bundle, for the thread that compiled it.

    The engine's objects may be touched, and let go of, on their own thread only. So they lie in a table of that
    thread, and this holds their number.
    """

    def __init__(self, version: str, modules: Sequence[tuple[str, str]], data: str) -> None:
        self.version = version
        self._findings, trees = looked_through(modules)
        machines = TargetedMachines(modules, data, trees)
        self._number = _OWN.keep(_Evaluators(machines, interpreter_of(modules, data)))
        weakref.finalize(self, _let_go, threading.get_ident(), self._number).atexit = False

    @property
    def evaluators(self) -> "_Evaluators":
        """Return what evaluates this bundle. Raises PolicyError on another thread."""
        found = _OWN.kept.get(self._number)
        if found is None:
            raise PolicyError("The policy was asked on another thread than its own.")
        return found

    def reads_arguments(self, verb: str) -> bool:
        """Tell whether a rule looks at the arguments of such calls."""
        return not self._findings.arguing.isdisjoint((verb, ALL))

    def ask(self, verb: str, question: bytes, target: str = "") -> bytes:
        """Return the decision document. Raises PolicyError."""
        evaluators = self.evaluators
        text = question.decode()
        answer = evaluators.machines.run(target, text)
        if not self._findings.fallible.isdisjoint((verb, ALL)):
            answer = interpret(evaluators.strict, text)
        if answer == UNDEFINED:
            raise PolicyError("The policy has no answer.", why=f"{ENTRY} is undefined.")
        return answer.encode()


@dataclass(slots=True)
class _Evaluators:
    machines: "TargetedMachines"
    strict: regorus.Engine


class _OwnThread(threading.local):
    """What one thread keeps. What another thread let go of is let go of here when something new is kept."""

    def __init__(self) -> None:
        self.kept: dict[int, _Evaluators] = {}

    def keep(self, evaluators: _Evaluators) -> int:
        """Keep something; return its number."""
        own = threading.get_ident()
        for thread, number in [one for one in _LET_GO if one[0] == own]:
            _LET_GO.remove((thread, number))
            self.kept.pop(number, None)
        number = next(_NUMBERS)
        self.kept[number] = evaluators
        return number


_NUMBERS: Final = itertools.count(1)
_LET_GO: Final[list[tuple[int, int]]] = []
_OWN: Final = _OwnThread()


def _let_go(thread: int, number: int) -> None:
    if threading.get_ident() == thread:
        _OWN.kept.pop(number, None)
    else:
        _LET_GO.append((thread, number))


class TargetedMachines:
    """A machine with all rules, and for each target that rules name one with those that may fire for it."""

    def __init__(
        self,
        modules: Sequence[tuple[str, str]],
        data: str,
        trees: Sequence[Mapping[str, Json]],
    ) -> None:
        self._data = data
        self._whole = machine_of(modules, data)
        self._index = TargetIndex(modules, trees)
        self._of: dict[str, regorus.Rvm] = {}

    def run(self, target: str, question: str) -> str:
        """Return the decision as JSON text; an empty target asks all rules. Raises PolicyError."""
        if not target or not self._index.targets:
            return run_machine(self._whole, question)
        place = target if target in self._index.targets else ""
        machine = self._of.get(place)
        if machine is None:
            machine = self._of[place] = machine_of(self._index.rules_for(place), self._data)
        return run_machine(machine, question)


def rules_of(bundle: Bundle) -> list[tuple[str, str]]:
    """Return the modules of a bundle that are no tests."""
    return [(path, text) for path, text in bundle.modules(".rego") if not is_test(path)]


def order_of(bundle: Bundle, *, question: str = "") -> TrialOrder:
    """Return what the trial of a bundle is told."""
    return TrialOrder(modules=list(bundle.modules(".rego")), data=bundle.data, question=question)


def findings_of(modules: Sequence[tuple[str, str]]) -> Findings:
    """Return what can be told of modules without running them. Raises PolicyError."""
    return looked_through(modules)[0]


def looked_through(
    modules: Sequence[tuple[str, str]],
) -> tuple[Findings, Sequence[Mapping[str, Json]]]:
    """Return what can be told of modules, and their syntax trees. Raises PolicyError."""
    engine = regorus.Engine()
    for path, text in modules:
        guarded(engine.add_policy, path, text)
    trees = msgspec.json.decode(engine.get_ast_as_json())
    return examine(trees), trees


def machine_of(modules: Sequence[tuple[str, str]], data: str) -> regorus.Rvm:
    """Return a machine that runs the decision. Raises PolicyError."""
    compiled = guarded(regorus.Program.compile_from_modules, data, list(modules), [ENTRY])
    machine = regorus.Rvm()
    machine.load_program(compiled)
    guarded(machine.set_data_json, data)
    return machine


def interpreter_of(modules: Sequence[tuple[str, str]], data: str) -> regorus.Engine:
    """Return an interpreter that takes failed functions for errors. Raises PolicyError."""
    engine = regorus.Engine()
    for path, text in modules:
        guarded(engine.add_policy, path, text)
    guarded(engine.add_data_json, data)
    return engine


def run_machine(machine: regorus.Rvm, question: str) -> str:
    """Return the decision as JSON text. Raises PolicyError."""
    try:
        machine.set_input_json(question)
        answer: str = machine.execute()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise _failed(error) from error
    return answer


def interpret(engine: regorus.Engine, question: str, rule: str = ENTRY) -> str:
    """Return what a rule says as JSON text. Raises PolicyError."""
    guarded(engine.set_input_json, question)
    answer: str = guarded(engine.eval_rule_as_json, rule)
    return answer


def guarded(
    function: Callable[Given, AnswerT], *given: Given.args, **named: Given.kwargs
) -> AnswerT:
    """Call the engine; whatever it throws is a PolicyError."""
    try:
        return function(*given, **named)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise _failed(error) from error


def _failed(error: BaseException) -> PolicyError:
    told = str(error).partition("Stack backtrace")[0].partition("Caused by")[0]
    lines = [line.strip() for line in plain_text(told, keep="\n").splitlines() if line.strip()]
    place = next((line.removeprefix("-->").strip() for line in lines if line.startswith("-->")), "")
    said = [line for line in lines if not line.startswith(("-->", "|")) and "|" not in line]
    why = " ".join(said)[:WHY_MAX_CHARS]
    return PolicyError("The policy cannot be evaluated.", why=f"{place}: {why}" if place else why)
