"""Every snippet that is marked is run: commands against a node of their own, in a folder of their own.

    ```console            each line after `$ ` is run in one shell; of the lines below it, every word of letters
                          must stand in what the command printed
    ```python             is run; with `save=NAME` it is kept under that name instead, for the commands after it
    ```yaml save=NAME     is kept as well
    ```toml hive-agent    must be a spec that Hive accepts; `toml hive.toml` must be settings

A command that ends in ` &` goes on beside the others of its fence, which wait until port 8000 is served. Port 8000
of a page is a free port of this machine. What `hive-a2a` keeps lies in the page's own home.

Other fences (`sh`, `text`) are only read.
"""

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from hive.confidential import read_references
from hive.core.settings import load_settings
from hive.execution.spec_file import parse_spec
from hive.security.kernel_policy import read_policies

ROOT = Path(__file__).parents[2]
COMMAND_TIMEOUT_S = 60
BESIDE_TIMEOUT_S = 20
MARK = "--- exit"
PAGE_PORT = "8000"
KNOWN = {"console", "python", "toml", "yaml", "sh", "text", "mermaid"}


class Fence(NamedTuple):
    """One fenced block of a page."""

    page: Path
    kind: str
    rest: str
    text: str


def fences(page: Path) -> list[Fence]:
    found = re.findall(
        r"^ *```(\w+)([^\n]*)\n(.*?)^ *```$", page.read_text(), re.DOTALL | re.MULTILINE
    )
    return [Fence(page, kind, rest.strip(), dedented(text)) for kind, rest, text in found]


def dedented(text: str) -> str:
    margin = min((len(line) - len(line.lstrip()) for line in text.splitlines() if line), default=0)
    return "\n".join(line[margin:] for line in text.splitlines()) + "\n"


PAGES = [
    page
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "packages/*/*.md")
    for page in sorted(ROOT.glob(pattern))
]
ALL = [fence for page in PAGES for fence in fences(page)]


def of_kind(*kinds: str) -> list[Fence]:
    return [fence for fence in ALL if fence.kind in kinds]


def label(fence: Fence) -> str:
    return f"{fence.page.relative_to(ROOT)}-{fence.kind}"


def test_there_are_snippets():
    assert len(of_kind("console")) >= 4
    assert {fence.kind for fence in ALL} <= KNOWN


@pytest.mark.parametrize("fence", of_kind("yaml"), ids=label)
def test_yaml_is_a_policy_of_the_kernel(fence):
    assert fence.rest.startswith("save=")
    assert read_policies(fence.text.encode())


@pytest.mark.parametrize("fence", of_kind("toml"), ids=label)
def test_toml_is_accepted(fence, tmp_path):
    if fence.rest == "hive-agent":
        assert parse_spec(fence.text).name
        return
    if fence.rest == "references":
        (tmp_path / "images.toml").write_text(fence.text)
        assert read_references(tmp_path / "images.toml").images
        return
    assert fence.rest == "hive.toml"
    file = tmp_path / "hive.toml"
    file.write_text(fence.text)
    load_settings({}, file=file, state_dir=str(tmp_path))


@pytest.mark.parametrize(
    "fence", [fence for fence in of_kind("python") if "save=" not in fence.rest], ids=label
)
def test_python_runs(fence, tmp_path):
    subprocess.run(
        [sys.executable, "-c", fence.text.replace(PAGE_PORT, str(free_port()))],
        check=True,
        timeout=COMMAND_TIMEOUT_S,
        env={**os.environ, "HIVE_A2A_HOME": str(tmp_path)},  # noqa: TID251
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def is_served(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Session:
    """One shell for all commands of a page."""

    def __init__(self, folder: Path) -> None:
        self.page_port = free_port()
        command = folder / "bin"
        command.mkdir()
        for name in ("hive", "hive-a2a"):
            (command / name).symlink_to(Path(sys.executable).with_name(name))
        # A link would be another Python: it looks for its packages beside its own name.
        (command / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        (command / "python").chmod(0o755)
        work = folder / "work"
        work.mkdir()
        # In a clone the command is ./hive; here it is the one that is under test.
        (work / "hive").symlink_to(command / "hive")
        self.folder = work
        examples = work / "examples" / "secure_a2a"
        examples.mkdir(parents=True)
        for file in (ROOT / "examples" / "secure_a2a").glob("*.py"):
            (examples / file.name).write_text(self.ported(file.read_text()))
        self._beside: list[subprocess.Popen[bytes]] = []
        self._env = {
            "PATH": f"{command}:{os.environ['PATH']}",  # noqa: TID251  the tools of this machine
            "HOME": str(folder),
            "HIVE_STATE_DIR": str(folder / "state"),
            "HIVE_PORT": str(free_port()),
            "LANG": "C.UTF-8",
        }
        self._shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=work,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._env,
        )

    def ported(self, text: str) -> str:
        """Return the text of a page or example with a port that is free here."""
        return text.replace(PAGE_PORT, str(self.page_port))

    def run(self, command: str) -> str:
        if command.endswith(" &"):
            return self._begin(command.removesuffix(" &"))
        guarded = f"timeout {COMMAND_TIMEOUT_S} bash -c {shlex.quote(command)} </dev/null"
        self._shell.stdin.write(f"{guarded} 2>&1; echo; echo '{MARK}' $?\n")
        self._shell.stdin.flush()
        lines = []
        for line in self._shell.stdout:
            if line.startswith(MARK):
                break
            lines.append(line)
        return "".join(lines)

    def _begin(self, command: str) -> str:
        """Run a command beside the shell; return what it printed until its port answered."""
        told = self.folder / "beside.log"
        with told.open("wb") as log:
            begun = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._env,
            )
        self._beside.append(begun)
        ends_at = time.monotonic() + BESIDE_TIMEOUT_S
        while not is_served(self.page_port):
            assert begun.poll() is None, told.read_text()
            assert time.monotonic() < ends_at, told.read_text()
            time.sleep(0.1)
        return told.read_text()

    def end_beside(self) -> None:
        while self._beside:
            begun = self._beside.pop()
            begun.terminate()
            try:
                begun.wait(BESIDE_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                begun.kill()
                begun.wait()

    def close(self) -> None:
        self.end_beside()
        self.run("hive down")
        self._shell.stdin.close()
        self._shell.wait(COMMAND_TIMEOUT_S)


@pytest.fixture
def session(tmp_path):
    session = Session(tmp_path)
    yield session
    session.close()
    session._shell.stdout.close()


def steps(text: str) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.strip():
            found[-1][1].append(line)
    return found


def words_of(line: str) -> list[str]:
    return [word for word in re.findall(r"[^\s:=,]+", line) if not re.search(r"[\d/]", word)]


@pytest.mark.peers  # a whole node for each page
@pytest.mark.parametrize(
    "page", sorted({fence.page for fence in of_kind("console")}), ids=lambda page: page.stem
)
def test_the_commands_of_a_page_print_what_it_says(page, session):
    for fence in fences(page):
        if fence.kind in ("python", "yaml") and fence.rest.startswith("save="):
            (session.folder / fence.rest.removeprefix("save=")).write_text(
                session.ported(fence.text)
            )
        if fence.kind != "console":
            continue
        for command, expected in steps(fence.text):
            printed = session.run(session.ported(command))
            for line in expected:
                missing = [word for word in words_of(line) if word not in printed]
                assert not missing, f"{command}\nprinted:\n{printed}\nwithout: {missing}"
        session.end_beside()
