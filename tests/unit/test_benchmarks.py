"""Every benchmark fits the registry, and what is printed has the promised fields."""

import json
from types import SimpleNamespace

import pytest
from benchmarks.__main__ import RESULTS, main, measured, modules

FIELDS = {
    "name", "summary", "value", "unit", "percentiles", "peer", "peer_is", "ratio", "details",
    "machine", "commit",
}  # fmt: skip
ALL = list(modules())


def test_names_are_given_once():
    names = [module.NAME for module in ALL]
    assert len(names) == len(set(names)) >= 6


@pytest.mark.parametrize("module", ALL, ids=lambda module: module.NAME)
def test_a_benchmark_says_what_it_measures_in_which_unit(module):
    assert module.UNIT
    assert getattr(module, "SUMMARY", "") or module.__doc__


def test_figures_become_one_object_with_a_ratio():
    module = SimpleNamespace(
        NAME="x",
        UNIT="ms",
        SUMMARY="made up",
        VALUE="ours_ms",
        PEER="theirs_ms",
        run=lambda: {"ours_ms": 1.0, "theirs_ms": 4.0},
    )
    found = measured(module)
    assert set(found) == FIELDS
    assert (found["value"], found["peer"], found["ratio"]) == (1.0, 4.0, 0.25)
    assert found["details"] == {"ours_ms": 1.0, "theirs_ms": 4.0}


@pytest.mark.parametrize("kept", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_a_kept_result_belongs_to_a_benchmark_and_names_machine_and_commit(kept):
    found = json.loads(kept.read_text())
    assert set(found) == FIELDS
    assert found["name"] == kept.stem
    assert found["name"] in {module.NAME for module in ALL}
    assert found["machine"]["cores"]
    assert found["commit"]


def test_an_unknown_name_is_wrong_usage(capsys):
    assert main(["no-such-benchmark"]) == 2
    assert "list" in capsys.readouterr().err
