"""Pages are true: links lead somewhere, named files and tests exist, reference pages are fresh."""

import importlib.util
import re
import subprocess
import sys
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "packages/*/*.md", "changes/*.md", "examples/**/*.md",
                    "benchmarks/*.md")
    for path in ROOT.glob(pattern)
)  # fmt: skip
HIVE = ROOT / "packages/hive-os/src/hive"
PATH_ROOTS = (
    ROOT,
    HIVE,
    HIVE.parent,
    ROOT / "packages/hive-guest/src",
    ROOT / "packages/hive-a2a-sdk/src",
)
MADE_ELSEWHERE = (".hive", ".venv", "/run", "/etc", "/data", "~/", "dist/")
FOREIGN_HOSTS = ("example.com", "api.openai.com", "127.0.0.1", "192.0.2.1", "www.apache.org")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    return re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            assert target.partition("://")[2].partition("/")[0] in FOREIGN_HOSTS
            continue
        file, _, anchor = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        assert found.exists(), f"{target} is not there"
        if anchor:
            titles = re.findall(r"^#+ (.+)$", found.read_text(), re.MULTILINE)
            assert anchor in {slug(title) for title in titles}


def slug(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_file_that_a_page_names_exists(page):
    missing = []
    for text in re.findall(r"`([\w./*<>-]+)`", prose(page)):
        looks = "/" in text.strip("/") and (text.endswith("/") or "." in text.rpartition("/")[2])
        if not looks or text.startswith(MADE_ELSEWHERE) or "<" in text or text.startswith("/"):
            continue
        places = (page.parent, *PATH_ROOTS)
        somewhere = any(HIVE.glob(f"**/{text.rstrip('/')}"))
        if not somewhere and not any(any(place.glob(text.rstrip("/"))) for place in places):
            missing.append(text)
    assert not missing


@cache
def all_tests() -> str:
    return "\n".join(path.read_text() for path in (ROOT / "tests").glob("**/test_*.py"))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_test_that_a_page_names_exists(page):
    for name in re.findall(r"`(test_\w+)`", prose(page)):
        assert f"def {name}(" in all_tests(), f"{name} is not there"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_page_opens_with_one_title(page):
    if page.name in ("CHANGELOG.md",) or page.parent.name != "changes" or page.name == "README.md":
        titles = re.findall(r"^# .+$", prose(page), re.MULTILINE)
        assert len(titles) == 1


def test_the_written_pages_are_fresh():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "docs"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_stale_page_is_noticed(tmp_path):
    loader = SourceFileLoader("written_docs", str(ROOT / "scripts" / "docs"))
    spec = importlib.util.spec_from_loader("written_docs", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    assert "HIVE_PORT" in module.settings_page()
    del module.MEANINGS["port"]
    with pytest.raises(SystemExit, match="port"):
        module.settings_page()


def test_every_figure_in_the_readme_names_its_benchmark():
    text = (ROOT / "README.md").read_text()
    figures = text.partition("## Figures")[2].partition("\n## ")[0]
    rows = [line for line in figures.splitlines() if line.startswith("| `")]
    kept = {path.stem for path in (ROOT / "benchmarks" / "results").glob("*.json")}
    assert rows
    assert {re.match(r"\| `([\w-]+)`", row).group(1) for row in rows} <= kept
    others = text.replace(figures, "")
    assert not re.search(r"\b\d+(\.\d+)? (ms|MB|MiB|GB|requests)\b", prose_of(others))


def prose_of(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def test_the_pages_name_no_machine():
    for page in PAGES:
        text = page.read_text()
        assert not re.search(r"/(home|root|Users|work)/\w", text), named(page)
