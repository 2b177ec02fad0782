"""Agents that are no Python objects: commands, servers of A2A, and agents that run elsewhere."""

import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.request import urlopen

import pytest

from hive.core.task import TaskState
from hive.testing.node_process import free_port, node_process
from tests.end_to_end.official_client import official_client, tell

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

HERE = Path(__file__).parent
OFFICIAL_SERVER = HERE.parent / "frameworks" / "agents" / "a2a_agent.py"
PYTHON = "import sys\nfor line in sys.stdin: print('python heard', line.strip())\n"
SHELL = "#!/bin/sh\nprintf 'shell heard %s words' $(wc -w)\n"
NODE = "process.stdin.on('data', d => process.stdout.write('node heard ' + d));\n"
BOTH_WAYS = """#!/bin/sh
cat > "$HIVE_OUTBOX/heard.txt"
mkdir "$HIVE_OUTBOX/charts" && printf '\\211PNG' > "$HIVE_OUTBOX/charts/one.png"
ln -s /etc/passwd "$HIVE_OUTBOX/link"
cat /data/given/notes.txt
echo changed > /data/kept/by-agent.txt
echo changed > /data/given/notes.txt || true
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with node_process(tmp_path_factory.mktemp("node") / "state") as running:
        yield running


@pytest.fixture
def source(tmp_path):
    """Make a folder of programs, as somebody who never heard of Hive would have it."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name, text in (("echo.py", PYTHON), ("count.sh", SHELL), ("talk.js", NODE)):
        (folder / name).write_text(text)
    (folder / "both.sh").write_text(BOTH_WAYS)
    for script in folder.glob("*.sh"):
        script.chmod(0o755)
    return folder


@contextmanager
def official_server(version: str, *, stdout: IO[bytes] | None = None):
    """Serve A2A with the official SDK, outside of any sandbox."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, str(OFFICIAL_SERVER), str(port), version], stdout=stdout
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/.well-known/agent-card.json")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def wait_for(url: str) -> None:
    ends_at = time.monotonic() + 30
    while True:
        try:
            with urlopen(url, timeout=1):
                return
        except OSError:
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (("python3", "echo.py"), "python heard two words\n"),
        (("./count.sh",), "shell heard 2 words"),
        (("node", "talk.js"), "node heard two words"),
    ],
)
async def test_a_program_of_any_language_is_an_agent(node, source, command, answer):
    if "/" not in command[0] and shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    node.hive("run", "--name", "program", "--yes", "--", *command, cwd=source)
    async with official_client(node, "program") as client:
        told = await tell(client, "two words")
    assert told.completed
    assert told.answer == answer


async def test_a_command_that_serves_a2a_is_passed_on_to(node, source):
    shutil.copy(HERE / "agents" / "serving.py", source)
    node.hive(
        "run",
        "--serves-a2a",
        "--name",
        "server",
        "--yes",
        "--",
        "python3",
        "serving.py",
        cwd=source,
    )
    async with official_client(node, "server") as client:
        told = await tell(client, "hello")
    assert told.answer == "served hello as 1000"
    assert "a2a-command" in node.hive("agent", "show", "server")


async def test_a_spec_file_says_the_same(node, source):
    shutil.copy(HERE / "agents" / "serving.py", source)
    (source / "hive-agent.toml").write_text(
        'name = "declared"\ncommand = ["python3", "serving.py"]\nserves_a2a = true\n'
    )
    node.hive("run", str(source), "--yes")
    async with official_client(node, "declared") as client:
        assert (await tell(client, "hi")).answer == "served hi as 1000"


async def test_files_go_in_by_mounts_and_out_by_the_outbox(node, source, tmp_path):
    given, kept = tmp_path / "given", tmp_path / "kept"
    given.mkdir()
    kept.mkdir()
    (given / "notes.txt").write_text("what was given")
    mounts = ("--mount", f"{given}:/data/given", "--mount", f"{kept}:/data/kept:rw")
    node.hive("run", "--name", "files", "--yes", *mounts, "--", "./both.sh", cwd=source)
    async with official_client(node, "files") as client:
        told = await tell(client, "remember this")
        again = await tell(client, "and this")
    assert told.answer == "what was given"
    made = {artifact.name: artifact.parts[0] for artifact in told.artifacts.values()}
    assert made["heard.txt"].raw == b"remember this"
    assert made["heard.txt"].media_type == "text/plain"
    assert made["charts/one.png"].raw == b"\x89PNG"
    assert made["charts/one.png"].filename == "one.png"
    assert set(made) == {"answer", "heard.txt", "charts/one.png"}
    assert (given / "notes.txt").read_text() == "what was given"
    assert (kept / "by-agent.txt").read_text() == "changed\n"
    assert again.artifacts["outbox:heard.txt"].parts[0].raw == b"and this"


@pytest.mark.parametrize("version", ["1.0", "0.3"])
async def test_a_remote_agent_is_reached_by_its_card_alone(node, version):
    name = f"far-{version.replace('.', '-')}"
    with official_server(version) as url:
        node.hive("run", url, "--name", name, "--yes")
        async with official_client(node, name) as client:
            told = await tell(client, "hello")
            asked = await tell(client, "ask")
            answered = await tell(client, "this", after=asked)
            failed = await tell(client, "fail")
        assert told.completed
        assert "echo: hello" in told.answer
        assert "".join(part.text for part in told.artifacts["a"].parts) == "first second"
        assert asked.asks
        assert asked.said == "What exactly?"
        assert answered.task_id == asked.task_id
        assert "echo: this" in answered.answer
        assert failed.said == "I cannot."
        assert f"reaches 127.0.0.1, port {url.rpartition(':')[2]}" in node.hive(
            "agent", "explain", name
        )
    gone = node.send(name, "hello")
    assert gone.state is TaskState.FAILED


async def test_an_agent_of_another_hive_is_a_remote_agent_like_any(node, tmp_path):
    with node_process(tmp_path / "other", {"HIVE_ANONYMOUS": "true"}) as other:
        other.hive("run", f"{HERE / 'agents' / 'counting.py'}:slowly", "--yes")
        node.hive("run", f"{other.url}/a2a/slowly", "--name", "cousin", "--yes")
        task = node.send("cousin", "0.1")
        assert task.answer == "done"
        trace = node.hive("trace", task.id)
        assert f"reach 127.0.0.1:{other.port}" in trace
        assert "canceled" not in trace


async def test_a_canceled_turn_is_canceled_at_the_remote_agent_too(node, tmp_path):
    printed = tmp_path / "printed"
    with printed.open("wb") as out, official_server("1.0", stdout=out) as url:
        node.hive("run", url, "--name", "slow-far", "--yes")
        task = node.send("slow-far", "wait", wait=False)
        await_line(printed, "working")
        node.rpc("slow-far", "CancelTask", {"id": task.id})
        assert node.wait_settled("slow-far", task.id).state is TaskState.CANCELED
        await_line(printed, "canceled")


def await_line(file: Path, line: str) -> None:
    ends_at = time.monotonic() + 15
    while line not in file.read_text().splitlines():
        assert time.monotonic() < ends_at, f"{line!r} was not printed"
        time.sleep(0.02)


async def test_a_remote_agent_reaches_its_own_host_and_no_other(node):
    with official_server("1.0") as url:
        node.hive("run", url, "--name", "bound", "--yes")
        grant = node.hive("agent", "explain", "bound")
    assert grant.count("reaches") == 2  # once needed, once granted
    assert "asks" not in grant
