"""ARCHITECTURE.md says which way a message takes; here one takes it, and the two are compared."""

import ast
import re
import tomllib

import pytest

from hive.core.clock import SystemClock
from hive.core.settings import load_settings
from hive.kernel.admission import Admission
from hive.kernel.budgets import Budgets
from hive.kernel.claims import ClaimBook
from hive.kernel.flows import Flows
from hive.kernel.policies import Policies
from hive.kernel.ports import CallFacts
from hive.kernel.scans import Scans
from hive.kernel.wardens import Wardens
from hive.kernel.warrants import TaskWarrants
from hive.node.kernel_parts import Guards
from tests.architecture.journeys import HIVE, ROOT, Step, first_missing, place_of, record, steps_of

DEPLOYING = "The journey of a deployment"
MESSAGE = "The journey of a message"
INNER = "The journey of an agent's own call"
TOOL = "The journey of a tool call"
STEPS_MIN = 10


@pytest.fixture(scope="module")
def recording():
    return record()


@pytest.mark.parametrize("heading", [DEPLOYING, MESSAGE, INNER, TOOL])
def test_every_step_names_a_function_that_exists(heading):
    steps = steps_of(heading)
    assert len(steps) >= (STEPS_MIN if heading != INNER else 5)
    for step in steps:
        assert step.function in functions_of(step.file), f"{heading}: no {step}"


def functions_of(file: str) -> set[str]:
    found = set()

    def walk(node: ast.AST, above: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(above + child.name)
                walk(child, f"{above}{child.name}.")

    walk(ast.parse(place_of(file).read_text()), "")
    return found


def test_a_deployment_takes_the_way_that_the_map_shows(recording):
    missing = first_missing(steps_of(DEPLOYING), recording.deploying)
    assert missing is None, f"not visited in this order: {missing}"


def test_a_message_takes_the_way_that_the_map_shows(recording):
    missing = first_missing(steps_of(MESSAGE), recording.message)
    assert missing is None, f"not visited in this order: {missing}"


def test_an_agents_own_call_takes_the_way_that_the_map_shows(recording):
    missing = first_missing(steps_of(INNER), recording.message)
    assert missing is None, f"not visited in this order: {missing}"


def test_a_tool_call_takes_the_way_that_the_map_shows(recording):
    missing = first_missing(steps_of(TOOL), recording.tool)
    assert missing is None, f"not visited in this order: {missing}"


def test_a_wrong_map_would_be_noticed(recording):
    steps = steps_of(MESSAGE)
    swapped = [*steps[5:], *steps[:5]]
    assert first_missing(swapped, recording.message) is not None
    renamed = [*steps[:3], Step(steps[3].file, "renamed"), *steps[4:]]
    assert first_missing(renamed, recording.message) == renamed[3]


def test_the_checks_are_asked_in_the_order_that_the_map_lists():
    settings, clock = load_settings({}, state_dir="/nowhere"), SystemClock()
    admission = Admission(
        settings=settings,
        clock=clock,
        claims=ClaimBook(clock),
        budgets=Budgets(),
        facts=lambda _call, _arguments: CallFacts(),
        inquiries=Guards(
            wardens=Wardens, warrants=TaskWarrants, policies=Policies, flows=Flows, scans=Scans
        ).inquiries,
    )
    section = text_of("The checks").partition("\n\n|")[2]
    rows = re.findall(r"^\| `(\w+)` \| `([\w/.]+)` ", "|" + section, re.MULTILINE)
    assert [name for name, _ in rows] == [check.name for check in admission.checks]
    for (name, file), check in zip(rows, admission.checks, strict=True):
        asked = check if isinstance(check, type) else type(check)
        assert file == asked.__module__.removeprefix("hive.").replace(".", "/") + ".py", name


def test_the_rows_are_those_that_the_linter_holds():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    held = next(one for one in contracts["contracts"] if one["type"] == "layers")["layers"]
    drawn = text_of("The rows").partition("```text\n")[2].partition("```")[0].splitlines()
    rows = [set(line.partition("  ")[0].split()) for line in drawn if not line.startswith(" ")]
    missing = {
        name for row in held for name in re.findall(r"\w+", row) if not (HIVE / name).is_dir()
    }
    expected = [set(re.findall(r"\w+", row)) - missing for row in held]
    assert rows == [row for row in expected if row]


def test_the_rows_that_are_still_missing_are_named():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    held = next(one for one in contracts["contracts"] if one["type"] == "layers")["layers"]
    missing = {
        name for row in held for name in re.findall(r"\w+", row) if not (HIVE / name).is_dir()
    }
    told = text_of("The rows").partition("Not written yet:")[2].partition(".")[0]
    assert set(re.findall(r"`(\w+)`", told)) == missing


def text_of(heading: str) -> str:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    return text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
