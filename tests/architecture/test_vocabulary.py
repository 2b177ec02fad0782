"""One word for each thing: GLOSSARY.md against the code, both ways."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "packages").glob("*/src/**/*.py"))


class Word(NamedTuple):
    """One line of the glossary."""

    word: str
    in_code: tuple[str, ...]
    banned: tuple[str, ...]


def words() -> list[Word]:
    found = []
    for line in (ROOT / "GLOSSARY.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" |")]
        if len(cells) < 4 or cells[0] == "word" or set(cells[0]) <= set("-| "):
            continue
        banned = tuple(word.strip() for word in cells[3].split(",") if word.strip())
        found.append(Word(cells[0], tuple(re.findall(r"`([^`]+)`", cells[2])), banned))
    return found


@cache
def names_in_code() -> tuple[set[str], set[str]]:
    classes, others = set(), set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                classes.add(node.name)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                others.add(node.name)
            elif isinstance(node, ast.Assign):
                others |= {one.id for one in node.targets if isinstance(one, ast.Name)}
    return classes, others


def test_the_glossary_is_read():
    assert len(words()) > 40
    assert sum(len(word.banned) for word in words()) > 40


@pytest.mark.parametrize("word", words(), ids=lambda word: word.word)
def test_what_the_glossary_calls_code_exists(word):
    classes, others = names_in_code()
    for name in word.in_code:
        if name.startswith("hive."):
            assert (ROOT / "packages/hive-os/src" / name.replace(".", "/")).is_dir()
        else:
            assert name in classes | others


def test_no_class_bears_a_banned_word():
    banned = {word.lower(): line.word for line in words() for word in line.banned}
    classes, _ = names_in_code()
    bad = {name: banned[name.lower()] for name in classes if name.lower() in banned}
    assert not bad, f"say instead: {bad}"


def test_no_word_is_both_right_and_wrong():
    right = {word.word for word in words()}
    assert not right & {banned for word in words() for banned in word.banned}


def test_american_spelling():
    british = re.compile(
        r"\b(\w*cancelled|behaviour|colour|authoris\w+|licence\w*)\b", re.IGNORECASE
    )
    bad = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        for name in [node.name]
        if british.search(name.replace("_", " "))
    }
    assert not bad
