"""The process in which a Rego bundle is tried: `python -I -m hive.security.policy.drivers.regorus_trial`."""

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
import regorus  # type: ignore[import-untyped]

from hive.core.errors import PolicyError
from hive.security.policy.corpus import questions
from hive.security.policy.drivers.regorus import (
    ENTRY,
    UNDEFINED,
    TargetedMachines,
    guarded,
    interpret,
    interpreter_of,
    looked_through,
    machine_of,
    run_machine,
)
from hive.security.policy.question import DecisionDocument, encoded
from hive.security.policy.rego_check import ALL, Findings, examine, is_test
from hive.security.policy.trial import OutcomeLine, TrialOrder, TrialTold, confine

ORDER_MAX_BYTES: Final = 32 << 20
PROBLEMS_MAX: Final = 20
SLOW_S: Final = 0.25
STEPS: Final = "maximum instruction limit"
_TEST: Final = "test_"


def main() -> int:
    """Read an order, try, tell."""
    confine()
    order = msgspec.json.decode(sys.stdin.buffer.read(ORDER_MAX_BYTES), type=TrialOrder)
    try:
        told = explained(order) if order.question else tried(order)
    except PolicyError as error:
        told = TrialTold(problems=[error.why or error.what])
    sys.stdout.buffer.write(msgspec.json.encode(told))
    return 0


def tried(order: TrialOrder) -> TrialTold:
    """Compile, test and question a bundle. Raises PolicyError."""
    engine = interpreter_of(order.modules, order.data)
    findings = examine(msgspec.json.decode(engine.get_ast_as_json()))
    problems, notes = list(findings.problems), list[str]()
    rules = [(path, text) for path, text in order.modules if not is_test(path)]
    if not problems:
        problems += questioned(rules, order.data, findings, notes)
    untested = [
        path
        for path, _ in rules
        if f"{path.removesuffix('.rego')}_test.rego" not in dict(order.modules)
    ]
    if untested:
        notes.append(f"no test beside: {', '.join(untested)}")
    return TrialTold(
        problems=problems[:PROBLEMS_MAX],
        notes=list(dict.fromkeys(notes))[:PROBLEMS_MAX],
        tests=[] if problems else tests_of(engine),
        rules=findings.rules,
    )


def questioned(
    rules: list[tuple[str, str]], data: str, findings: Findings, notes: list[str]
) -> list[str]:
    """Ask both evaluators the same made-up questions; they have to agree, give decisions, and be quick."""
    machines = TargetedMachines(rules, data, looked_through(rules)[1])
    strict = interpreter_of(rules, data)
    problems: list[str] = []
    for question in questions(findings.words, findings.keys):
        document = encoded(question).decode()
        began = time.process_time()
        one = _answer(partial(machines.run, question.target, document))
        if time.process_time() - began > SLOW_S:
            problems.append(f"one question took over {SLOW_S:g} s of processor time")
        other = _answer(partial(interpret, strict, document))
        asked_again = not findings.fallible.isdisjoint((question.verb, ALL))
        if isinstance(one, str):
            # What only an overlong question brings about refuses that call; it harms nobody else.
            (notes if STEPS in one else problems).append(f"{question.verb}: {one}")
        elif one != other and not (asked_again and isinstance(other, str)):
            problems.append(
                f"{question.verb} {question.target[:40]}: the two evaluators disagree: {one} and {other}"
            )
        if len(problems) >= PROBLEMS_MAX:
            break
    return list(dict.fromkeys(problems))


def tests_of(engine: regorus.Engine) -> list[OutcomeLine]:
    """Run every rule whose name begins with `test_`, in modules of tests."""
    outcomes: dict[str, OutcomeLine] = {}
    for module in msgspec.json.decode(engine.get_ast_as_json()):
        file = module["source"]["file"]
        if not is_test(file):
            continue
        package = _path(module["ast"]["package"]["refr"])
        for rule in module["ast"]["rules"]:
            shape: dict[str, object] = next(iter(rule.get("Spec", {}).get("head", {}).values()), {})
            name = _path(shape.get("refr")) if shape else ""
            if not name.startswith(_TEST):
                continue
            full = f"data.{package}.{name}"
            outcomes[full] = OutcomeLine(name=full, file=file, problem=_test(engine, full))
    return list(outcomes.values())


def explained(order: TrialOrder) -> TrialTold:
    """Answer one question and tell the lines that took part. Raises PolicyError."""
    rules = [(path, text) for path, text in order.modules if not is_test(path)]
    run_machine(machine_of(rules, order.data), order.question)
    engine = interpreter_of(rules, order.data)
    engine.set_enable_coverage(True)
    answer = interpret(engine, order.question)
    if answer == UNDEFINED:
        raise PolicyError("The policy has no answer.", why=f"{ENTRY} is undefined.")
    report = msgspec.json.decode(engine.get_coverage_report_as_json())
    lines: dict[str, list[tuple[int, str]]] = {}
    for file in report["files"]:
        text = file["code"].splitlines()
        covered = [number for number in file["covered"] if 0 < number <= len(text)]
        if covered:
            lines[file["path"]] = [(number, text[number - 1]) for number in covered]
    return TrialTold(answer=answer, lines=lines)


def _answer(ask: Callable[[], str]) -> DecisionDocument | str:
    try:
        text = ask()
        if text == UNDEFINED:
            return f"{ENTRY} is undefined"
        found = msgspec.json.decode(text, type=DecisionDocument)
    except PolicyError as error:
        return error.why
    except msgspec.MsgspecError as error:
        return f"the decision is no decision: {error}"
    return DecisionDocument(
        allow=found.allow,
        reasons=sorted(found.reasons),
        obligations=sorted(found.obligations, key=lambda one: (one.kind, one.detail)),
    )


def _test(engine: regorus.Engine, rule: str) -> str:
    try:
        answer = guarded(engine.eval_rule_as_json, rule)
    except PolicyError as error:
        return error.why
    if answer == "true":
        return ""
    return (
        "it is undefined: some line of it is not true"
        if answer == UNDEFINED
        else f"it is {answer[:200]}"
    )


def _path(node: object) -> str:
    names: list[str] = []
    while isinstance(node, dict):
        if "Var" in node:
            names.append(node["Var"]["value"])
            break
        inner = node.get("RefDot") or {}
        names.append(str((inner.get("field") or [""])[-1]))
        node = inner.get("refr")
    return ".".join(reversed(names))


if __name__ == "__main__":
    sys.exit(main())
