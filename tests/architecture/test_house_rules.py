"""The rules of the house that no linter holds: sizes, names, what may import what."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "packages"
MODULE_MAX_LINES = 400
FUNCTION_MAX_LINES = 50
BANNED_NAMES = ("manager", "helper", "utils", "common", "base", "impl", "v2", "new")


def sources() -> list[Path]:
    return sorted(PACKAGES.glob("*/src/**/*.py"))


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text()))


def test_no_module_is_longer_than_a_reader_can_hold():
    long = [
        p.relative_to(ROOT) for p in sources() if len(p.read_text().splitlines()) > MODULE_MAX_LINES
    ]
    assert not long


def test_no_function_is_longer_than_a_screen():
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sources()
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_MAX_LINES
    ]
    assert not long


def test_a_class_name_means_one_thing():
    homes: dict[str, list[str]] = defaultdict(list)
    for path in sources():
        if "component/python" in path.as_posix():
            continue  # inside a component `hive_guest` has the names that it has in a process
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(path.relative_to(ROOT)))
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def test_no_module_hides_behind_an_empty_word():
    bad = [
        path.relative_to(ROOT)
        for path in sources()
        if any(word in path.stem.split("_") for word in BANNED_NAMES)
    ]
    assert not bad


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(PACKAGES)))
def test_a_module_opens_with_what_it_is_for(path):
    if path.name == "__init__.py" and not path.read_text().strip():
        pytest.fail("a package opens with the layer's page")
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_the_guest_is_standard_library_only():
    allowed = set(sys.stdlib_module_names) | {"hive_guest"}
    foreign = {
        f"{path.name}: {name}"
        for path in (PACKAGES / "hive-guest").glob("src/**/*.py")
        for node in nodes(path)
        for name in imported(node)
        if name.partition(".")[0] not in allowed
    }
    assert not foreign


def imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.module or ""


def test_help_imports_no_engine_and_no_server():
    code = (
        "import sys; sys.argv = ['hive', '--help']\n"
        "try:\n    import hive.cli; hive.cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'asyncpg', 'nats', 'uvicorn', 'starlette', 'a2a', 'asyncio', 'pydantic',"
        " 'httpx', 'anyio', 'rich', 'cryptography'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip().endswith("HEAVY []")


def test_every_error_has_a_code_of_its_own_and_a_page():
    from hive.core.errors import all_errors

    codes = [error.code for error in all_errors()]
    assert len(codes) == len(set(codes))
    assert all(len((error.__doc__ or "").split("\n")) > 2 for error in all_errors())


def test_the_locks_hold_hashes_and_no_address():
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text


def locked(lock: str) -> set[str]:
    return {
        one.lower().replace("_", "-")
        for one in re.findall(r"^([A-Za-z0-9._-]+)==", (ROOT / lock).read_text(), re.MULTILINE)
    }


def distributions_of(paths: list[Path]) -> dict[str, str]:
    """Return which installed package each foreign import comes from."""
    homes = metadata.packages_distributions()
    ours = {"hive", "hive_a2a", "hive_guest", "tests", "benchmarks"}
    found = {}
    for path in paths:
        for node in nodes(path):
            for name in imported(node):
                top = name.partition(".")[0]
                if top and top not in ours and top not in sys.stdlib_module_names and top in homes:
                    found[top] = homes[top][0].lower().replace("_", "-")
    return found


def test_what_the_packages_import_is_in_the_lock():
    found = distributions_of(sources())
    assert {"anyio", "asyncpg", "nats"} <= set(found)
    missing = {top: name for top, name in found.items() if name not in locked("requirements.lock")}
    extras = {
        "cedarpy",
        "dcap_qvl",
        "grpc",
        "google",
        "jsonschema_rs",
        "keyring",
        "opentelemetry",
        "sigstore",
        "sigstore_models",
        "spiffe",
        "tenuo",
        "tenuo_core",
        "wasmtime",
    }
    assert set(missing) <= extras
    assert set(missing.values()) <= locked("requirements-dev.lock")


def test_what_the_tests_import_is_in_the_lock_of_the_tests():
    agents = ROOT / "tests" / "frameworks" / "agents"
    paths = [
        path
        for folder in ("tests", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if agents not in path.parents and not {"agents", "clients"} & set(path.parts)
    ]
    found = distributions_of(paths)
    assert {"pytest", "httpx"} <= set(found)
    dev = locked("requirements-dev.lock")
    assert {top: name for top, name in found.items() if name not in dev} == {}
