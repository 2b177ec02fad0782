"""The SDK wraps the official one: public names only, a pinned minor version, nothing of Hive."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SDK = ROOT / "packages" / "hive-a2a-sdk"
MODULES = sorted((SDK / "src" / "hive_a2a").rglob("*.py"))


def imports_of(path):
    """Yield (module, name) of every import; name is empty where a module is imported."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


def test_there_is_something_to_look_at():
    assert len(MODULES) > 100
    assert any(module.startswith("a2a.") for path in MODULES for module, _ in imports_of(path))


def test_nothing_private_of_the_official_sdk_is_imported():
    private = [
        f"{path.relative_to(SDK)}: {module}.{name}"
        for path in MODULES
        for module, name in imports_of(path)
        if module.partition(".")[0] == "a2a"
        and any(word.startswith("_") for word in (*module.split("."), name))
    ]
    assert not private


def test_no_official_class_is_patched():
    # An attribute set on something imported from the official package would be a fork by the back door.
    patched = [
        f"{path.relative_to(SDK)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Attribute)
        and isinstance(target.value, ast.Name)
        and target.value.id
        in {name for module, name in imports_of(path) if module.partition(".")[0] == "a2a"}
    ]
    assert not patched


def test_a_minor_version_of_the_official_sdk_is_pinned():
    wanted = tomllib.loads((SDK / "pyproject.toml").read_text())["project"]["dependencies"]
    [pin] = [one for one in wanted if one.startswith("a2a-sdk")]
    low, high = re.findall(r"[<>]=?(\d+)\.(\d+)", pin)
    assert low[0] == high[0]
    assert int(high[1]) == int(low[1]) + 1
