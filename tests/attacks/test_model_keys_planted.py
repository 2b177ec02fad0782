"""A provider's real key, planted in a real node, is nowhere that an agent, a record or a command shows it.

Each search is shown to find a key where one is: in an environment, in a file, in an answer of a model.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from hive.testing.node_process import node_process
from tests.attacks.leaking_provider import WAYS, leaking_provider

SEEKER = Path(__file__).parent / "agents" / "key_seeker.py"
LOOKS_LIKE = re.compile(rb"sk-planted-[0-9a-f]{32}")
LIMITS = "[limits]\nmodel_calls_max = 1000\n"


class PlantedNode:
    """A node whose provider's key is known, and what it asks."""

    def __init__(self, process, key, leaks, waiting, folder):
        self.process, self.key, self.leaks, self.waiting = process, key, leaks, waiting
        self.folder = folder

    def ask(self, function, text="go", *, name="", spec="", beside=()):
        """Deploy the seeker and ask it; return what it tells."""
        name = name or function.replace("_", "-")
        place = self.folder / name
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(SEEKER, place / "seeker.py")
        for file, written in beside:
            (place / file).write_text(written)
        head = f'name = "{name}"\nentry = "seeker.py:{function}"\nrequirements = []\n'
        (place / "hive-agent.toml").write_text(f"{head}{LIMITS}{spec}")
        self.process.hive("run", str(place), "--name", name, "--yes")
        task = self.process.send(name, text)
        return json.loads(task.answer or pytest.fail(task.said))


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    key = "sk-planted-" + secrets.token_hex(16)
    file = folder / "provider.key"
    file.write_text(key + "\n")
    file.chmod(0o600)
    with leaking_provider() as (elsewhere, waiting), leaking_provider(elsewhere=elsewhere) as found:
        url, leaks = found
        environment = {
            "HIVE_MODELS": f"openai:{url}/v1",
            "HIVE_MODEL_KEY_FILE": str(file),
            "HIVE_MODEL_CALLS_PER_TASK": "1000",
            "HIVE_LOG_LEVEL": "debug",
        }
        with node_process(folder / "state", environment) as process:
            yield PlantedNode(process, key, leaks, waiting, folder / "agents")


@pytest.fixture(scope="module")
def asked(node):
    """Let an agent ask every leaking model on every wire, so that whatever keeps things has something to keep."""
    return node.ask("through_the_gate", " ".join(WAYS))


def test_a_key_in_the_vault_is_in_no_file_no_list_and_no_answer(tmp_path, monkeypatch):
    key = decoy()
    monkeypatch.setenv("PLANTED", key)
    with (
        leaking_provider() as (url, leaks),
        node_process(tmp_path / "state", {"HIVE_LOG_LEVEL": "debug"}) as process,
    ):
        process.hive("llm", "add", "leaky", f"openai:{url}/v1", "--key-env", "PLANTED")
        node = PlantedNode(process, key, leaks, leaks, tmp_path / "agents")
        told = node.ask("through_the_gate", " ".join(f"leaky/{way}" for way in WAYS))
        assert told["found"] == []
        assert leaks.keys == {key}
        for words in (("llm", "list"), ("secret", "list"), ("doctor",), ("audit", "tail")):
            assert key not in process.hive(*words, "--json")
        held, looked = files_with(process.state, key.encode())
    assert held == []
    assert looked > 500


def decoy():
    return "sk-planted-" + secrets.token_hex(16)


def test_the_search_finds_a_key_in_an_environment(node):
    spec = f'[environment]\nPROVIDER = "{decoy()}"\n'
    told = node.ask("everywhere", name="careless-environment", spec=spec)
    assert any(place.startswith("environment") for place in told["found"])
    assert any(place.startswith("process") for place in told["found"])


def test_the_search_finds_a_key_in_a_file(node):
    told = node.ask("everywhere", name="careless-file", beside=[("config.txt", decoy())])
    assert any("config.txt" in place for place in told["found"])


def test_no_process_file_socket_or_descriptor_inside_holds_the_key(node, asked):
    told = node.ask("everywhere")
    assert told["found"] == []
    for kind, least in {"process": 6, "file": 200, "socket": 1, "environment": 1}.items():
        assert told["looked"].get(kind, 0) >= least, told["looked"]


def test_no_answer_of_the_gate_holds_the_key_whatever_the_provider_repeats(node, asked):
    assert asked["found"] == []
    assert node.leaks.keys == {node.key}, "the provider must have had the key, or nothing was tried"
    assert set(WAYS) <= set(node.leaks.asked)
    assert {200, 401} <= set(asked["answers"].values())


def test_the_search_finds_what_a_provider_says_where_it_is_not_the_nodes_own_key(tmp_path):
    """Without the scrubbing, this is what an agent reads: here the key is the agent's to read, so it arrives."""
    with leaking_provider() as (url, _):
        request = urllib.request.Request(
            f"{url}/v1/chat/completions",
            data=b'{"model":"says"}',
            headers={"authorization": f"Bearer {decoy()}"},
        )
        with urllib.request.urlopen(request) as answer:
            assert LOOKS_LIKE.search(answer.read())


def test_a_redirect_does_not_take_the_key_along(node, asked):
    assert "redirect" in node.leaks.asked
    assert node.waiting.keys == set()
    assert node.waiting.asked == []


def test_the_agents_handle_never_reaches_the_provider(node, asked):
    assert not any(key.startswith("hive-") for key in node.leaks.keys)


@pytest.mark.parametrize(
    "command",
    [
        ("doctor", "--json"),
        ("status", "--json"),
        ("ps", "--json"),
        ("logs", "through-the-gate"),
        ("agent", "show", "through-the-gate", "--json"),
        ("agent", "explain", "through-the-gate"),
        ("audit", "tail", "-n", "2000", "--json"),
        ("llm", "list", "--json"),
        ("llm", "test", "--json"),
        ("secret", "list", "--json"),
        ("budget", "--json"),
        ("cost", "--json"),
    ],
)
def test_no_command_prints_the_key(node, asked, command):
    # A command that fails raises here: it would show nothing, and prove nothing.
    printed = node.process.hive(*command)
    assert node.key not in printed
    assert not LOOKS_LIKE.search(printed.encode())


def test_no_trace_or_journal_of_a_run_shows_the_key(node, asked):
    entries = [
        json.loads(line)
        for line in node.process.hive("audit", "tail", "-n", "2000", "--json").splitlines()
    ]
    tasks = {line["task"] for line in entries if line.get("task") and "ask" in line["name"]}
    assert tasks
    for task in tasks:
        for words in (("trace", task), ("trace", task, "--json"), ("journal", task, "--json")):
            printed = node.process.hive(*words)
            assert printed.strip()
            assert node.key not in printed


def test_no_path_of_the_public_port_or_the_control_socket_shows_the_key(node, asked):
    for path in (
        "/api/status",
        "/api/agents",
        "/api/doctor",
        "/api/llm",
        "/api/secrets",
        "/api/audit/tail",
        "/metrics",
        "/",
    ):
        request = urllib.request.Request(
            node.process.url + path, headers={"Authorization": f"Bearer {node.process.token()}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            body = error.read()
        assert node.key.encode() not in body, path


def test_no_file_of_the_state_folder_holds_the_key(node, asked):
    """Database pages, write-ahead log, spans, the node's own log, the agents' logs, staged sources."""
    held, looked = files_with(node.process.state, node.key.encode())
    assert held == []
    assert looked > 500


def test_no_row_of_the_database_and_no_backup_holds_the_key(node, asked, tmp_path):
    file = tmp_path / "all.backup"
    node.process.hive("backup", str(file))
    assert file.stat().st_mode & 0o077 == 0
    with tarfile.open(file) as archive:
        archive.extractall(tmp_path / "read", filter="data")
    held, looked = files_with(tmp_path / "read", node.key.encode())
    assert held == []
    assert looked > 5


def test_no_child_of_the_node_has_the_key_in_its_arguments_or_environment(node, asked):
    for child in [psutil.Process(node.process.pid), *below(node)]:
        with contextlib.suppress(psutil.Error):
            assert node.key not in " ".join(child.cmdline())
            assert node.key not in repr(child.environ())


def test_a_node_leaves_no_core_file_and_neither_does_what_it_starts(node, asked):
    """A core file is the node's memory on disk: with a limit of zero the kernel writes none."""
    for pid in (node.process.pid, *(child.pid for child in below(node))):
        with contextlib.suppress(FileNotFoundError):
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert re.search(r"Max core file size +0 +0 ", limits), limits


def test_another_process_of_the_same_user_cannot_read_the_nodes_memory():
    """What an agent without walls is: the same user. Root reads everything, so the readers are not root."""
    user = os.geteuid() or 65534
    assert reads_its_neighbour(user, private=False), "without the guard the key is read"
    assert not reads_its_neighbour(user, private=True)


def reads_its_neighbour(user, *, private):
    """Start a process as a user that holds a key, and another that reads its environment and memory."""
    # All is imported before the change of user, who may not read where Python lies.
    holder = (
        "import os, sys; sys.path[:0] = sys.argv[1].split(':');"
        "from hive.execution.walls import kernel; from hive.node.own_memory import keep_own_memory;"
        f"os.geteuid() == {user} or os.setresuid({user}, {user}, {user});"
        "kernel.prctl(kernel.PR_SET_DUMPABLE, 1);"
        f"{'keep_own_memory();' if private else ''} print('ready', flush=True); sys.stdin.read()"
    )
    reader = (
        f"import os, sys; os.geteuid() == {user} or os.setresuid({user}, {user}, {user});"
        "open(f'/proc/{sys.argv[1]}/environ', 'rb').read(); open(f'/proc/{sys.argv[1]}/mem', 'rb')"
    )
    paths = ":".join(path for path in sys.path if path)
    started = [sys.executable, "-c", holder, paths]
    with subprocess.Popen(started, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            command = [sys.executable, "-c", reader, str(process.pid)]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        finally:
            process.kill()


def below(node):
    return psutil.Process(node.process.pid).children(recursive=True)


def files_with(folder, needle):
    held, looked = [], 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and not path.is_symlink():
                looked += 1
                if needle in path.read_bytes():
                    held.append(str(path))
    return held, looked
