"""A tool that reads files, and every way to write a path that leads out of its folder.

The server of this test is as careless as real ones are: it decodes, folds and resolves whatever it is given. Each spelling
first reads the secret with a check that looks at the text alone, so it is the warrant that stops it.
"""

import unicodedata
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.warrant_rig import invoke, under

SPELLINGS = [
    "{root}/../secret",
    "{root}/./../secret",
    "{root}//../secret",
    "{root}/inner/../../secret",
    "{root}/%2e%2e/secret",
    "{root}/%2E%2E/secret",
    "{root}/.%2e/secret",
    "{root}/..%2fsecret",
    "{root}%2f..%2fsecret",
    "{root}/%252e%252e/secret",
    "{root}/%252e%252e%252fsecret",
    "{root}/\uff0e\uff0e/secret",
    "{root}/\uff0e\uff0e\uff0fsecret",
    "{root}/\u2025/secret",
    "{root}/\ufe52\ufe52/secret",
    "{root}/..\\secret",
    "{root}/..%5csecret",
    "{root}/.. /secret",
    "{root}-evil/../secret",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "open" / "inner").mkdir(parents=True)
    (tmp_path / "open-evil").mkdir()
    (tmp_path / "open" / "fine.txt").write_text("fine")
    (tmp_path / "secret").write_text("secret")
    return tmp_path / "open"


def careless_read(path: str) -> str:
    """Read a file as a server does that tries to be helpful."""
    for _ in range(3):
        path = unquote(path)
    path = unicodedata.normalize("NFKC", path).replace("\\", "/")
    path = "/".join(part.strip() for part in path.split("/"))
    return Path(path).read_text()


def looks_inside(path: str, root: Path) -> bool:
    """Check the text alone, as a glob does."""
    return path.startswith(str(root))


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_leads_out(root, spelling):
    path = spelling.format(root=root)
    assert looks_inside(path, root)
    assert careless_read(path) == "secret", "the attack works on such a server"
    warrant = under(f"tool fs.read path=under:{root}")
    assert invoke(warrant, "fs.read", {"path": path}) is not None
    assert invoke(warrant, "fs.read", {"path": [f"{root}/fine.txt", path]}) is not None
    assert invoke(under("tool fs.*", f"paths {root}"), "fs.read", {"path": path}) is not None


def test_the_honest_path_passes(root):
    warrant = under(f"tool fs.read path=under:{root}")
    assert invoke(warrant, "fs.read", {"path": f"{root}/fine.txt"}) is None
    assert careless_read(f"{root}/fine.txt") == "fine"


def test_a_link_inside_the_folder_changes_no_answer(root):
    """What a link leads to is the server's matter and its sandbox's; climbing over one is refused by its text."""
    (root / "link").symlink_to("/etc")
    warrant = under(f"tool fs.read path=under:{root}")
    assert invoke(warrant, "fs.read", {"path": f"{root}/link/../secret"}) is not None
    assert invoke(warrant, "fs.read", {"path": f"{root}/link"}) is None


URLS = [
    "https://api.example.org@evil.example/v1/x",
    "https://api.example.org:443@evil.example/v1/x",
    "https://api.example.org.evil.example/v1/x",
    "https://evil.example/https://api.example.org/v1",
    "https://evil.example\\@api.example.org/v1/x",
    "http://api.example.org/v1/x",
    "https://api.example.org:8443/v1/x",
    "https://api.example.org/v1/../admin",
    "https://api.example.org/v1/%2e%2e/admin",
    "https://api.example.org/v10/x",
    "https://\u0430pi.example.org/v1/x",
    "https://api.example\u3002org/v1/x",
    "https://127.0.0.1/v1/x",
    "https://0x7f000001/v1/x",
    "file:///v1/x",
]


@pytest.mark.parametrize("url", URLS)
def test_no_url_leads_elsewhere(url):
    warrant = under("tool web.get url=url:https://api.example.org/v1")
    assert invoke(warrant, "web.get", {"url": "https://api.example.org/v1/x?q=1"}) is None
    assert invoke(under("tool web.get"), "web.get", {"url": url}) is None, "without the condition"
    assert invoke(warrant, "web.get", {"url": url}) is not None
