"""The page about components shows the examples as they are; the tests of the node build and run those."""

from pathlib import Path

from tests.docs.test_snippets import fences

ROOT = Path(__file__).parents[2]


def test_the_page_shows_the_examples():
    shown = [one.text for one in fences(ROOT / "docs/how-to/build-a-component.md")]
    for name in ("greeter.py", "greeter.js"):
        assert (ROOT / "examples/components" / name).read_text() in shown
