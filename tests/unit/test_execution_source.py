"""From what a user typed to a spec, without running anything."""

from pathlib import Path

import pytest

from hive.core.errors import InvalidIdError, SpecError, TooLargeError
from hive.core.grant import Access, HostRule, PathRule
from hive.core.spec import StartKind
from hive.execution import source_files
from hive.execution.source import FoundSource, find_command, find_source
from hive.execution.source_copy import discard, stage, staged_digest, staged_path, trim_sources

HOME = Path("/nobody/home")


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def find(text: str, folder: Path, **more: str) -> FoundSource:
    return find_source(text, cwd=folder, home=HOME, **more)


def test_a_file_and_an_attribute_become_a_spec_with_a_name_and_a_digest(tmp_path: Path) -> None:
    write(tmp_path, my_agent_dot_py="def agent(text): return text\n")
    spec = find("./my_agent.py:agent", tmp_path).spec
    assert (spec.name, spec.entry.kind) == ("my-agent", StartKind.PYTHON)
    assert (spec.entry.path, spec.entry.attribute) == ("my_agent.py", "agent")
    assert spec.entry.source == str(tmp_path.resolve())
    assert len(spec.digest) == 64


def test_two_attributes_of_one_file_get_names_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, team_dot_py="planner = reviewer = print\n")
    names = [
        find(f"team.py:{one}", tmp_path).spec.name for one in ("planner", "Code_Reviewer", "x.y")
    ]
    assert names == ["planner", "code-reviewer", "y"]


def test_an_attribute_may_be_left_for_the_guest_to_find(tmp_path: Path) -> None:
    write(tmp_path, main_dot_py="x = 1\n")
    spec = find("main.py", tmp_path).spec
    assert spec.entry.attribute == ""
    assert spec.name == tmp_path.name.replace("_", "-").lower().strip("-")


def test_the_source_is_read_and_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    write(tmp_path, evil_dot_py=f"open({str(trap)!r}, 'w')\nagent = 1\n")
    found = find("evil.py:agent", tmp_path)
    stage(found.visible or pytest.fail("a file has visible files"), tmp_path / "state")
    assert not trap.exists()


def test_the_digest_follows_every_visible_byte_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, a_dot_py="a = 1\n", data__x_dot_txt="1", _dot_env="SECRET=1")
    before = find("a.py", tmp_path).spec.digest
    write(tmp_path, _dot_env="SECRET=2")
    assert find("a.py", tmp_path).spec.digest == before
    write(tmp_path, data__x_dot_txt="2")
    changed = find("a.py", tmp_path).spec.digest
    assert changed != before
    (tmp_path / "data" / "x.txt").chmod(0o755)
    assert find("a.py", tmp_path).spec.digest != changed


def test_the_staged_copy_is_exactly_what_was_digested(tmp_path: Path) -> None:
    folder = write(tmp_path / "src", a_dot_py="a = 1\n", pkg__b_dot_py="b = 2\n", _dot_env="S=1")
    found = find("a.py", folder)
    assert found.visible
    place = stage(found.visible, tmp_path / "state")
    assert place == staged_path(tmp_path / "state", found.spec.digest)
    assert sorted(p.relative_to(place).as_posix() for p in place.rglob("*")) == [
        "a.py",
        "pkg",
        "pkg/b.py",
    ]
    assert staged_digest(place) == found.spec.digest
    write(folder, a_dot_py="a = 'changed'\n")
    assert (place / "a.py").read_text() == "a = 1\n"
    assert (place / "a.py").stat().st_mode & 0o222 == 0


def test_a_file_that_changes_between_reading_and_copying_is_noticed(tmp_path: Path) -> None:
    folder = write(tmp_path / "src", a_dot_py="a = 1\n")
    found = find("a.py", folder)
    write(folder, a_dot_py="a = 2\n")
    assert found.visible
    with pytest.raises(SpecError, match="changed while it was read"):
        stage(found.visible, tmp_path / "state")
    assert list((tmp_path / "state" / "sources").iterdir()) == []


def test_a_damaged_copy_is_made_again(tmp_path: Path) -> None:
    folder = write(tmp_path / "src", a_dot_py="a = 1\n")
    visible = find("a.py", folder).visible
    assert visible
    place = stage(visible, tmp_path / "state")
    (place / "a.py").chmod(0o644)
    (place / "a.py").write_text("half")
    assert stage(visible, tmp_path / "state") == place
    assert (place / "a.py").read_text() == "a = 1\n"


def test_old_copies_that_no_agent_has_are_removed(tmp_path: Path) -> None:
    digests = []
    for number in range(4):
        visible = find("a.py", write(tmp_path / "src", a_dot_py=f"a = {number}\n")).visible
        assert visible
        digests.append(stage(visible, tmp_path).name)
    assert trim_sources(tmp_path, frozenset(digests[:1]), copies_max=1) == 2
    assert staged_path(tmp_path, digests[0]).is_dir()
    discard(tmp_path / "sources")


def test_caches_environments_and_repositories_stay_outside(tmp_path: Path) -> None:
    write(
        tmp_path,
        a_dot_py="",
        _dot_git__config="x",
        node_modules__m_dot_js="x",
        __pycache____a_dot_pyc="x",
    )
    write(tmp_path, my_env__pyvenv_dot_cfg="home = /", my_env__lib__x_dot_py="x", key_dot_pem="x")
    (tmp_path / "__pycache__").mkdir(exist_ok=True)
    found = find("a.py", tmp_path)
    assert found.visible
    assert [file.path for file in found.visible.files] == ["a.py"]
    assert any(one.startswith("key.pem (looks like a secret") for one in found.left_out)
    assert any("a Python environment" in one for one in found.left_out)


def test_keys_stay_outside_whatever_their_name(tmp_path: Path) -> None:
    write(tmp_path, a_dot_py="key = '-----BEGIN PRIVATE KEY-----'", operator_dot_token="x")
    (tmp_path / "ops").write_text("\n-----BEGIN EC PRIVATE KEY-----\nAAAA\n")
    (tmp_path / "certificate.crt").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n")
    found = find("a.py", tmp_path)
    assert found.visible
    assert [file.path for file in found.visible.files] == ["a.py", "certificate.crt"]
    assert "ops (holds a private key)" in found.left_out


def test_a_folder_names_its_agent_in_its_own_file(tmp_path: Path) -> None:
    toml = """
name = "invoice-reader"
description = "Reads invoices"
version = "1.2"
entry = "src/reader.py:read"
python = ">=3.10"
requirements = ["httpx>=0.28"]
exclude = ["big/*"]

[needs]
paths = ["data", { host = "~/out", inside = "/out", access = "rw" }]
hosts = ["api.example.org", "*.example.com:8443,443"]
agents = ["planner"]

[limits]
memory_bytes = 1000000

[environment]
LEVEL = "debug"

[[skills]]
id = "read"
name = "Read"
description = "Reads one"
"""
    write(tmp_path, src__reader_dot_py="read = 1", big__huge_dot_bin="x" * 100, hive_agent="")
    (tmp_path / "hive-agent.toml").write_text(toml)
    found = find(".", tmp_path)
    spec, folder = found.spec, tmp_path.resolve()
    assert (spec.name, spec.version, spec.python) == ("invoice-reader", "1.2", ">=3.10")
    assert (spec.entry.path, spec.entry.attribute) == ("src/reader.py", "read")
    assert spec.requirements == ("httpx>=0.28",)
    assert spec.needs.paths == (
        PathRule(host=str(folder / "data"), inside=str(folder / "data")),
        PathRule(host=str(HOME / "out"), inside="/out", access=Access.WRITE),
    )
    assert spec.needs.hosts == (
        HostRule(host="api.example.org"),
        HostRule(host="*.example.com", ports=(8443, 443)),
    )
    assert spec.needs.limits.memory_bytes == 1_000_000
    assert spec.environment == {"LEVEL": "debug"}
    assert spec.skills[0].id == "read"
    assert "big/huge.bin" not in (found.visible or pytest.fail("no files")).paths


def test_a_folder_without_a_word_is_searched_for_the_usual_files(tmp_path: Path) -> None:
    write(tmp_path, main_dot_py="", helper_dot_py="")
    assert find(".", tmp_path).spec.entry.path == "main.py"
    (tmp_path / "main.py").unlink()
    with pytest.raises(SpecError, match="does not say where its agent is"):
        find(".", tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "wanted"),
    [
        ("requirements.txt", "# comment\nhttpx >= 0.28  # why\n\nanyio==4.1 \\\n  --hash=sha256:" + "a" * 64, ("httpx >= 0.28", "anyio==4.1 --hash=sha256:" + "a" * 64)),
        ("pyproject.toml", '[project]\nname="x"\ndependencies=["httpx"]\nrequires-python=">=3.11"', ("httpx",)),
        ("hive-agent.toml", 'requirements = ["rich"]', ("rich",)),
    ],
)  # fmt: skip
def test_requirements_are_found_beside_the_file(
    tmp_path: Path, file: str, text: str, wanted: tuple[str, ...]
) -> None:
    write(tmp_path, a_dot_py="")
    (tmp_path / file).write_text(text)
    assert find("a.py", tmp_path).spec.requirements == wanted


def test_a_script_block_wins_over_the_files_beside_it(tmp_path: Path) -> None:
    block = '# /// script\n# requires-python = ">=3.11"\n# dependencies = [\n#   "rich",\n# ]\n# [tool.hive]\n# name = "inline"\n# ///\nx = 1\n'
    write(tmp_path, a_dot_py=block, requirements_dot_txt="httpx\n")
    spec = find("a.py", tmp_path).spec
    assert (spec.requirements, spec.python, spec.name) == (("rich",), ">=3.11", "inline")


def test_an_included_file_and_constraints_are_followed_below_the_folder(tmp_path: Path) -> None:
    write(
        tmp_path,
        a_dot_py="",
        reqs__base_dot_txt="anyio\n-c limits.txt\n",
        reqs__limits_dot_txt="idna<4\n",
    )
    write(tmp_path, requirements_dot_txt="-r reqs/base.txt\nhttpx\n")
    assert find("a.py", tmp_path).spec.requirements == ("anyio", "-c idna<4", "httpx")


def test_a_wheel_in_the_folder_may_be_required(tmp_path: Path) -> None:
    write(tmp_path, a_dot_py="", wheels__it_dot_whl="zip", requirements_dot_txt="./wheels/it.whl\n")
    assert find("a.py", tmp_path).spec.requirements == ("./wheels/it.whl",)


def test_a_command_is_an_agent_of_its_folder(tmp_path: Path) -> None:
    write(tmp_path, agent_dot_js="")
    spec = find_command(["node", "agent.js"], cwd=tmp_path, home=HOME).spec
    assert (spec.name, spec.entry.kind, spec.entry.argv) == (
        "agent",
        StartKind.COMMAND,
        ("node", "agent.js"),
    )
    served = find_command(
        ["node", "agent.js"], cwd=tmp_path, home=HOME, serves_a2a=True, name="js"
    ).spec
    assert (served.name, served.entry.kind) == ("js", StartKind.A2A_COMMAND)


@pytest.mark.parametrize(
    ("url", "card"),
    [
        ("https://agents.example.org", "https://agents.example.org/.well-known/agent-card.json"),
        ("https://example.org/a/", "https://example.org/a/.well-known/agent-card.json"),
        ("https://example.org/.well-known/agent-card.json", "https://example.org/.well-known/agent-card.json"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/.well-known/agent-card.json"),
    ],
)  # fmt: skip
def test_an_address_is_a_remote_agent(tmp_path: Path, url: str, card: str) -> None:
    spec = find(url, tmp_path).spec
    assert (spec.entry.kind, spec.entry.url) == (StartKind.REMOTE, card)


@pytest.mark.parametrize(
    "text", ["http://example.org", "https://me:secret@example.org", "ftp://x", "git+https://x/y"]
)
def test_an_address_that_leaks_or_cannot_be_trusted_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SpecError) as caught:
        find(text, tmp_path)
    assert "secret" not in str(caught.value)


def test_a_missing_file_is_answered_with_what_it_may_have_been(tmp_path: Path) -> None:
    write(tmp_path, my_agent_dot_py="")
    with pytest.raises(SpecError) as caught:
        find("my_agnet.py:agent", tmp_path)
    assert "my_agent.py" in caught.value.fix


@pytest.mark.parametrize("text", ["", "a.py:1x", "a.py:x()", "a.py:import os", "\x1b[31ma.py"])
def test_what_is_no_source_is_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path, a_dot_py="")
    with pytest.raises(SpecError):
        find(text, tmp_path)


def test_a_given_name_must_be_one(tmp_path: Path) -> None:
    write(tmp_path, a_dot_py="")
    assert find("a.py", tmp_path, name="other").spec.name == "other"
    (tmp_path / "hive-agent.toml").write_text('name = "no.dots.*"')
    with pytest.raises(InvalidIdError):
        find("a.py", tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('nmae = "x"', "Line 1: .*unknown field `nmae`"),
        ('name = "x"\n[needs]\nhots = ["a"]', "Line 3: .*unknown field `hots`"),
        ("version = 1", r"Line 1: Expected `str`"),
        ("name = = 1", "line 1"),
        ('entry = "a.py"\nurl = "https://x"', "exclude each other"),
        ("name = 'x'\ndescription = '" + "x" * 3000 + "'", "too long"),
    ],
)
def test_an_error_in_the_spec_names_the_field_and_the_line(
    tmp_path: Path, text: str, told: str
) -> None:
    write(tmp_path, a_dot_py="")
    (tmp_path / "hive-agent.toml").write_text(text)
    with pytest.raises(SpecError) as caught:
        find(".", tmp_path)
    assert caught.match(told)


def test_limits_of_size_and_number_are_clear_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, a_dot_py="", big_dot_bin="x" * 2000)
    monkeypatch.setattr(source_files, "FILE_MAX_BYTES", 1000)
    with pytest.raises(TooLargeError, match=r"big\.bin has 2000 bytes") as caught:
        find("a.py", tmp_path)
    assert "exclude" in caught.value.fix
