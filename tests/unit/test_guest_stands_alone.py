"""The guest runs beside any agent's packages, so it may need none of its own."""

import ast
import sys
from pathlib import Path

import pytest

import hive_guest
from hive_guest import environment

FOLDER = Path(hive_guest.__file__).parent
MODULES = sorted(FOLDER.rglob("*.py"))


def _imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_module_imports_the_standard_library_and_the_guest_only(module):
    roots = {name.partition(".")[0] for name in _imported(ast.parse(module.read_text()))}

    assert roots <= sys.stdlib_module_names | {"hive_guest"}


def test_the_walk_sees_every_module_and_every_kind_of_import():
    assert len(MODULES) > 20
    tree = ast.parse("import a.b\ndef f():\n    from c import d\n    from . import e\n")
    assert set(_imported(tree)) == {"a.b", "c", "."}


def test_the_node_finds_the_guest_and_switches_reports_off():
    assert Path(environment.MAIN_PATH).is_file()
    assert Path(environment.FOLDER) == FOLDER
    assert environment.TELEMETRY_OFF["OPENAI_AGENTS_DISABLE_TRACING"] == "1"
    assert all(isinstance(value, str) for value in environment.TELEMETRY_OFF.values())
