"""What `import hive_a2a` gives, and what it costs."""

import ast
import inspect
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import hive_a2a

IMPORT_MS_MAX = 5.0
HOUSE = Path(inspect.getfile(hive_a2a)).parent


@pytest.mark.parametrize("name", hive_a2a.__all__)
def test_every_name_at_the_front_leads_to_its_home(name):
    found = getattr(hive_a2a, name)
    assert found.__name__ == name
    assert found.__module__.startswith("hive_a2a.")


def test_type_checkers_are_told_the_same_names_and_homes():
    tree = ast.parse(inspect.getsource(hive_a2a))
    told = {
        (alias.name, str(node.module).removeprefix("hive_a2a."))
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("hive_a2a.")
        for alias in node.names
    }
    assert told == set(hive_a2a._HOME_OF.items())
    assert set(hive_a2a.__all__) <= set(dir(hive_a2a))


def test_a_name_that_is_not_there_is_not_found():
    with pytest.raises(AttributeError, match="no attribute 'SecureA2AClown'"):
        hive_a2a.SecureA2AClown  # noqa: B018


def test_importing_the_package_costs_nothing():
    program = (
        "import sys, time; began = time.perf_counter(); import hive_a2a;"
        "taken = time.perf_counter() - began;"
        "print(taken * 1000, sum(one.startswith(('hive_a2a.', 'a2a')) for one in sys.modules))"
    )
    runs = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        )
        ms, imported = done.stdout.split()
        assert int(imported) == 0
        runs.append(float(ms))
    assert statistics.median(runs) < IMPORT_MS_MAX


@pytest.mark.parametrize(
    "package", sorted(one.parent for one in HOUSE.rglob("__init__.py")), ids=lambda one: one.name
)
def test_every_package_says_a_line_about_each_of_its_modules(package):
    told = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    modules = {one.stem for one in package.glob("*.py")} - {"__init__"}
    packages = {one.parent.name for one in package.glob("*/__init__.py")}
    assert {one for one in modules | packages if not re.search(rf"\b{one}\b", told)} == set()
