"""What the examples, `hive init` and `--watch` promise: one command, and it answers."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hive.core.task import TaskState
from hive.testing.node_process import HIVE, NodeProcess, node_process
from tests.wasm_rig import needs_wasmtime

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
BUILD_TIMEOUT_S = 600.0
COUNTING = "def agent(text):\n    return f'{{text}} version {version}'\n"


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with node_process(tmp_path_factory.mktemp("node") / "state") as running:
        yield running


def rows() -> list[tuple[str, str]]:
    """Return what the table of the examples' page says: how to run each, and how to call it."""
    page = (EXAMPLES / "README.md").read_text()
    found = re.findall(r"\| `hive run ([^`]+)` \| `hive call ([^`]+)` \|", page)
    return [(run, call) for run, call in found]


def rows_without_a_node() -> list[tuple[str, str]]:
    page = (EXAMPLES / "README.md").read_text()
    return re.findall(r"\| `python ([^`]+)` \| `python ([^`]+)` \|", page)


def rows_to_build() -> list[tuple[str, str, str]]:
    page = (EXAMPLES / "README.md").read_text()
    return re.findall(
        r"\| `hive build ([^`]+)`, `hive run ([^`]+)` \| `hive call ([^`]+)` \|", page
    )


def test_every_example_stands_in_the_table():
    told = " ".join(row[0] for row in (*rows(), *rows_to_build(), *rows_without_a_node()))
    there = {path.name for path in EXAMPLES.iterdir()} - {"README.md", "__pycache__"}
    assert there
    assert {name for name in there if name not in told} == set()


@pytest.mark.parametrize(
    ("run", "call"),
    [
        pytest.param(run, call, marks=[pytest.mark.frameworks] if needs_packages else [], id=run)
        for run, call in rows()
        for needs_packages in [(EXAMPLES / run / "requirements.txt").exists()]
    ],
)
def test_an_example_runs_and_answers_as_its_page_says(node, run, call):
    words = run.split()
    before = words[: words.index("--")] if "--" in words else words
    node.hive(
        "run", "--yes", *before, *words[len(before) :], cwd=EXAMPLES, timeout_s=BUILD_TIMEOUT_S
    )
    name, _, text = call.partition(" ")
    task = node.send(name, text.strip('"'))
    assert task.state is TaskState.COMPLETED
    assert task.answer
    if "command" in run:
        assert task.answer.strip() == "You sent 3 words."


def test_what_init_writes_runs_as_it_is(node, tmp_path):
    folder = tmp_path / "counter"
    subprocess.run([*HIVE, "init", str(folder)], check=True, capture_output=True)
    node.hive("run", str(folder), "--yes")
    assert node.send("counter", "count these words").answer.startswith("You sent 3 words")


def test_watch_deploys_again_what_was_saved_and_survives_a_half_written_file(node, tmp_path):
    source = tmp_path / "watched"
    source.mkdir()
    agent = source / "agent.py"
    agent.write_text(COUNTING.format(version=1))
    command = [*HIVE, "run", str(source), "--name", "watched", "--yes", "--watch"]
    said = tmp_path / "said"
    with said.open("wb") as out:
        watching = subprocess.Popen(
            [*command, "--state", str(node.state)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            # A suite that runs in the background has SIGINT ignored, and its children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        await_answer(node, "hello version 1")
        agent.write_text("def agent(text:")
        await_text(said, "HIVE-")
        agent.write_text(COUNTING.format(version=2))
        await_answer(node, "hello version 2")
        (source / "shared.py").write_text("VERSION = 3\n")
        agent.write_text("from shared import VERSION\n" + COUNTING.format(version="{VERSION}"))
        await_answer(node, "hello version 3")
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 0
    finally:
        watching.kill()
        watching.wait()
    assert node.send("watched", "still").state is TaskState.COMPLETED


@pytest.mark.parametrize(("run", "call"), rows_without_a_node(), ids=lambda words: words)
def test_an_example_without_a_node_answers_as_its_page_says(tmp_path, run, call):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path / Path(run).parent
    folder.mkdir()
    for file in (EXAMPLES / Path(run).parent).glob("*.py"):
        (folder / file.name).write_text(file.read_text().replace("8000", str(port)))
    env = {"HIVE_A2A_HOME": str(tmp_path / "kept")}
    agent = subprocess.Popen([sys.executable, *run.split()], cwd=tmp_path, env=env)
    try:
        await_port(port, agent)
        called = subprocess.run(
            [sys.executable, *call.split()],
            cwd=tmp_path,
            env=env,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        agent.kill()
        agent.wait()
    assert called.stdout == "Hello, Ada!\n"
    assert list((tmp_path / "kept" / "servers" / "greeter" / "audit").glob("*.audit"))


def await_port(port: int, agent: subprocess.Popen[bytes]) -> None:
    ends_at = time.monotonic() + 20
    while True:
        assert agent.poll() is None
        assert time.monotonic() < ends_at
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)


def await_text(file: Path, wanted: str) -> None:
    ends_at = time.monotonic() + 20
    while wanted not in file.read_text():
        assert time.monotonic() < ends_at, file.read_text()
        time.sleep(0.1)


def await_answer(node: NodeProcess, wanted: str) -> None:
    ends_at = time.monotonic() + 20
    answer = ""
    while time.monotonic() < ends_at:
        try:
            answer = node.send("watched", "hello").answer
        except TypeError:  # it is not there yet, or just being replaced
            answer = ""
        if answer == wanted:
            return
        time.sleep(0.1)
    pytest.fail(f"the last answer was {answer!r}, not {wanted!r}")


def test_watching_a_command_of_the_system_watches_the_folder_and_not_the_system(tmp_path):
    from hive.cli.commands.run import _stamps
    from hive.web.values import DeployOrder

    (tmp_path / "words.txt").write_text("x")
    shell = shutil.which("sh") or "/bin/sh"
    order = DeployOrder(source="", folder=str(tmp_path), argv=[shell, "-c", "cat"])
    assert [path for path, _ in _stamps(order)] == [str(tmp_path / "words.txt")]


@needs_wasmtime
@pytest.mark.parametrize(("build", "run", "call"), rows_to_build())
def test_an_example_is_built_runs_and_answers(node, tmp_path, build, run, call):
    node.hive("build", str(EXAMPLES / build), cwd=tmp_path, timeout_s=BUILD_TIMEOUT_S)
    node.hive("run", "--yes", run, cwd=tmp_path, timeout_s=BUILD_TIMEOUT_S)
    assert "Ada" in node.hive("call", *call.split())
