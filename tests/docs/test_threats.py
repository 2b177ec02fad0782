"""The list of threats is true: guards exist, every attack test serves a threat, no threat is without a test."""

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ATTACKS = ROOT / "tests" / "attacks"
TABLE = tomllib.loads((ATTACKS / "threats.toml").read_text("utf-8"))
THREATS = TABLE["threat"]


def test_the_page_is_fresh():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "threats"), "--check"], check=False
    )
    assert done.returncode == 0, "run scripts/threats"


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat["id"])
def test_what_stands_against_a_threat_is_there(threat):
    assert threat["guards"]
    assert threat["tests"]
    for guard in threat["guards"]:
        module, _, path = guard.partition(":")
        found = import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    for test in threat["tests"]:
        assert (ATTACKS / f"{test}.py").exists(), test


def test_every_attack_test_serves_a_threat():
    named = {test for threat in THREATS for test in threat["tests"]}
    there = {path.stem for path in ATTACKS.glob("test_*.py")}
    assert there - named == set()


@pytest.mark.parametrize("attack", TABLE["attack"], ids=lambda attack: attack["name"])
def test_each_attack_with_a_name_is_tried(attack):
    assert attack["tests"]
    for test in attack["tests"]:
        file, _, name = test.partition("::")
        assert f"def {name}(" in (ATTACKS / f"{file}.py").read_text("utf-8"), test


def test_both_lists_are_whole():
    ids = [threat["id"] for threat in THREATS]
    assert ids == [f"ASI{number:02}" for number in range(1, 11)] + [f"MESH{n}" for n in range(1, 8)]
