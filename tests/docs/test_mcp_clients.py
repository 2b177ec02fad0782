"""The page of MCP clients and servers says what the tests' own tables have, in these versions, failures included."""

import importlib.util
import json
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from tests.mcp_seen import missing_tests, rows

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    loader = SourceFileLoader("mcp_clients", str(ROOT / "scripts" / "mcp_clients"))
    spec = importlib.util.spec_from_loader("mcp_clients", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def kept(script):
    return json.loads(script.KEPT.read_text())


def test_the_page_is_what_was_kept(script, kept):
    assert script.PAGE.read_text() == script.page(kept)


def test_what_was_kept_is_what_the_tests_have_now(kept):
    shown = [{name: row[name] for name in row if name != "outcome"} for row in kept["rows"]]
    assert shown == rows()


def test_every_row_names_a_test_that_is_there(kept):
    assert missing_tests(kept["rows"]) == []
    assert missing_tests([{"test": "tests/mcp_seen.py::test_of_nobody[x]"}])


def test_a_failure_and_a_skip_are_printed_as_such(script, kept):
    assert "FAILED" not in script.PAGE.read_text()
    kept["rows"][0]["outcome"], kept["rows"][1]["outcome"] = "failed", "skipped"
    text = script.page(kept)
    assert text.count("| FAILED |") == 1
    assert "| not run |" in text


def test_how_a_test_ended_is_read_from_the_report(script, tmp_path):
    report = tmp_path / "report.xml"
    cases = "".join(
        f'<testcase classname="tests.a.test_b" name="test_c[{inside or "passed"}]">{tag}</testcase>'
        for inside in ("", "failure", "error", "skipped")
        for tag in [f"<{inside}/>" if inside else ""]
    )
    report.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    assert script.outcomes(report) == {
        "tests/a/test_b.py::test_c[passed]": "passed",
        "tests/a/test_b.py::test_c[failure]": "failed",
        "tests/a/test_b.py::test_c[error]": "failed",
        "tests/a/test_b.py::test_c[skipped]": "skipped",
    }
