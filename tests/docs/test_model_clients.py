"""The page of model clients says what the kept result says, failures included, of the versions that are run."""

import importlib.util
import json
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from tests.frameworks.client_matrix import FEATURES, PROGRAMS, all_rows

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    loader = SourceFileLoader("model_clients", str(ROOT / "scripts" / "model_clients"))
    spec = importlib.util.spec_from_loader("model_clients", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def kept(script):
    return json.loads(script.KEPT.read_text())


def test_the_page_is_what_the_kept_result_says(script, kept):
    assert script.PAGE.read_text() == script.page(kept)


def test_the_result_has_every_client_on_every_wire_with_every_feature(script, kept):
    own = [row for row in kept["rows"] if row["upstream"] == row["wire"]]
    assert sorted((row["client"], row["wire"]) for row in own) == sorted(all_rows())
    assert tuple(script.FEATURES) == FEATURES
    for row in kept["rows"]:
        assert tuple(row["features"]) == FEATURES


def test_the_result_is_of_the_versions_that_the_tests_require(kept):
    for row in kept["rows"]:
        for line in PROGRAMS[row["client"]].requires:
            name, _, number = line.partition("==")
            shown = row["versions"].get(name.partition("[")[0])
            assert shown in (None, number), f"{row['client']} showed {name} {shown}"


def test_a_failure_is_printed_as_one_with_what_was_told_of_it(script, kept):
    row = kept["rows"][0]
    row["features"]["tool"] = {"outcome": "failed", "told": "the tool never ran"}
    row["features"]["structured"] = {"outcome": "not offered", "told": "it has none"}
    text = script.page(kept)
    assert "| FAILED |" in text
    assert "Tool: the tool never ran" in text
    assert text != script.PAGE.read_text()
