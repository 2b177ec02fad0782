"""A node where people run it: as nobody, in production, behind TLS, on engines and disks of others."""

import base64
import hashlib
import json
import os
import shutil
import site
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from hive.core.task import TaskState
from hive.testing.engines import database_server as running_database_server
from hive.testing.engines import nats_url_in
from hive.testing.node_process import NodeProcess, free_port, node_process

HIVE = (sys.executable, "-m", "hive")
BARE = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}
NOBODY = 65534
BOUND_S = 60
WALLS = "namespaces,landlock,seccomp,no-network,unprivileged"


def command(*words, environment=None, state=None, check=True, python=HIVE, **more):
    """Run a command of hive; return what came of it."""
    where = ("--state", str(state)) if state else ()
    more.setdefault("env", {**BARE, **(environment or {})})
    done = subprocess.run(
        [*python, *where, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        stdin=subprocess.DEVNULL,
        check=False,
        **more,
    )
    if check:
        assert done.returncode in (0, 3), (words, done.returncode, done.stdout, done.stderr)
    return done


def write_agent(folder: Path, text: str = "text.upper()") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "agent.py").write_text(f"def agent(text):\n    return {text}\n")
    return folder


def listening(port: int) -> bool:
    import socket

    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


# --- as nobody -------------------------------------------------------------------------------


@pytest.fixture
def nobodys_place():
    """Give a folder of nobody's, which every directory above it lets through."""
    with tempfile.TemporaryDirectory(prefix="hive-", dir="/tmp") as name:
        os.chmod(name, 0o755)  # noqa: PTH101
        place = Path(name) / "place"
        place.mkdir()
        os.chown(place, NOBODY, NOBODY)
        yield place


@pytest.fixture
def as_nobody():
    """Give the words before a command, the interpreter and the environment by which nobody runs it."""
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    paths = [path for path in sys.path if "site-packages" in path or path.endswith("/src")]
    tools = Path(sys.executable).parent
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": os.pathsep.join([*site.getsitepackages(), *paths]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/nonexistent",
        "HIVE_NATS_BIN": str(tools / "nats-server"),
        "HIVE_UV_BIN": str(tools / "uv"),
    }
    become = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "env": environment}
    for python in (sys.executable, f"/usr/bin/{version}"):
        words = [python, "-c", "import os, hive, asyncpg, msgspec; os.stat(os.sys.executable)"]
        try:
            probe = subprocess.run(words, capture_output=True, cwd="/", check=False, **become)
        except OSError:
            continue
        if probe.returncode == 0:
            return (python, "-m", "hive"), become
    pytest.skip(f"nobody reaches no {version} that can import hive")


def test_nobody_runs_a_whole_node_with_walled_agents(as_nobody, nobodys_place):
    python, become = as_nobody
    state, port = nobodys_place / "state", free_port()
    write_agent(nobodys_place / "agent", "f'{text} as {__import__(\"os\").getuid()}'")

    def hive(*words, **more):
        return command(*words, state=state, python=python, cwd=nobodys_place, **become, **more)

    hive("up", "--detach", "--port", port)
    try:
        status = json.loads(hive("status", "--json").stdout)
        assert Path(f"/proc/{status['pid']}").stat().st_uid == NOBODY
        hive("run", "./agent", "--name", "shouter", "--yes")
        assert hive("call", "shouter", "hello").stdout.startswith("hello as ")
        standing = {wall["name"] for wall in status["walls"] if wall["stands"]}
        assert set(WALLS.split(",")) <= standing
        assert json.loads(hive("audit", "verify", "--json").stdout)["ok"]
    finally:
        hive("down")


# --- in production ---------------------------------------------------------------------------


def test_production_lists_everything_that_is_missing_and_binds_nothing(tmp_path):
    port = free_port()
    with subprocess.Popen(
        [*HIVE, "up", "--state", str(tmp_path / "s"), "--port", str(port), "--mode", "production"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        _, told = child.communicate(timeout=BOUND_S)
    assert child.returncode == 78
    for name in ("HIVE_MASTER_KEY", "HIVE_OPERATOR_TOKEN", "HIVE_WALLS_MIN"):
        assert f"{name} is missing" in told
    assert not listening(port)
    assert not (tmp_path / "s" / "engines").exists()


@pytest.fixture
def certificate(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, made = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
        f" -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
        f" -keyout {key} -out {made}".split(),
        capture_output=True,
        check=True,
    )
    return made, key


def test_production_with_all_settings_serves_over_tls(tmp_path, certificate):
    made, key = certificate
    token, master = "operator-" + "t" * 32, tmp_path / "master"
    master.write_bytes(base64.b64encode(os.urandom(32)))
    state, port = tmp_path / "s", free_port()
    environment = {
        "HIVE_MODE": "production",
        "HIVE_MASTER_KEY_FILE": str(master),
        "HIVE_OPERATOR_TOKEN": token,
        "HIVE_WALLS_MIN": WALLS,
        "HIVE_TLS_CERT": str(made),
        "HIVE_TLS_KEY": str(key),
    }
    write_agent(tmp_path / "shouter")
    command("up", "--detach", "--port", port, state=state, environment=environment)
    try:
        words = (tmp_path / "shouter", "--name", "shouter")
        refused = command("run", *words, "--yes", state=state, check=False)
        assert (refused.returncode, "not signed" in refused.stderr) == (1, True)
        command("trust", "key", tmp_path / "release.key", state=state)
        command("trust", "add", tmp_path / "release.key.pub", state=state)
        command("agent", "sign", *words, "--key", tmp_path / "release.key", state=state)
        command("run", *words, "--yes", state=state)
        assert command("call", "shouter", "hello", state=state).stdout == "HELLO\n"
        told = command("audit", "tail", "-n", "1000", "--json", state=state).stdout.splitlines()
        deployed = [one for one in map(json.loads, told) if one["name"] == "agent.deployed"]
        assert [json.loads(one["body"])["signer"] for one in deployed] == ["release"]
        bundle = (tmp_path / "shouter" / "shouter.hive-bundle.json").read_bytes()
        assert json.loads(deployed[0]["body"])["bundle"] == hashlib.sha256(bundle).hexdigest()
        assert "may be of any" in command("trust", "older", "shouter", state=state).stdout
        assert "trust.added" in [json.loads(one)["name"] for one in told]
        context = ssl.create_default_context(cafile=str(made))
        request = urllib.request.Request(
            f"https://127.0.0.1:{port}/a2a/shouter/.well-known/agent-card.json",
            headers={"Authorization": f"Bearer {token}"},
        )
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            card = json.loads(answer.read())
        urls = [one["url"] for one in card["supportedInterfaces"]]
        assert set(urls) == {f"https://127.0.0.1:{port}/a2a/shouter"}
        link = command("status", "--link", state=state).stdout.strip()
        with urllib.request.urlopen(link, context=context, timeout=10) as answer:
            assert "Secure" in answer.headers["set-cookie"]
        with pytest.raises(OSError, match=r"(?i)remote end closed|reset|disconnected|bad status"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=10)
        assert token not in (state / "node.log").read_text()
    finally:
        command("down", state=state)


# --- beside another node ---------------------------------------------------------------------


def test_a_second_node_is_told_of_the_first(tmp_path):
    with node_process(tmp_path / "s") as node:
        same_state = command("up", "--port", free_port(), state=node.state, check=False)
        assert same_state.returncode != 0
        assert "A node runs already" in same_state.stderr
        same_port = command("up", "--port", node.port, state=tmp_path / "t", check=False)
        assert same_port.returncode == 78
        assert "HIVE-E012" in same_port.stderr
        assert f"--port {node.port + 1}" in same_port.stderr or "--port" in same_port.stderr
        assert "Traceback" not in same_state.stderr + same_port.stderr
        assert node.hive("status")


def test_two_runs_of_one_name_at_once_leave_one_whole_agent(tmp_path):
    folder = write_agent(tmp_path / "twin")
    with node_process(tmp_path / "s") as node:
        words = [*HIVE, "run", str(folder), "--name", "twin", "--yes", "--state", str(node.state)]
        both = [
            subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        told = [one.communicate(timeout=BOUND_S)[1] for one in both]
        assert 0 in [one.returncode for one in both], told
        assert all("Traceback" not in one for one in told)
        listed = node.hive("ps", "--json").splitlines()
        assert [json.loads(line)["name"] for line in listed] == ["twin"]
        assert node.hive("call", "twin", "hello") == "HELLO\n"


# --- on engines and disks of others ----------------------------------------------------------


def test_engines_of_others_are_used_by_url_and_keep_everything(tmp_path):
    with (
        tempfile.TemporaryDirectory(prefix="hive-") as place,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(running_database_server(Path(place))) as database,
        portal.wrap_async_context_manager(nats_url_in(tmp_path / "bus")) as bus,
    ):
        environment = {"HIVE_DATABASE_URL": database.url("hive"), "HIVE_MESH_URL": bus}
        folder = write_agent(tmp_path / "shouter")
        with node_process(tmp_path / "s", environment) as node:
            node.hive("run", str(folder), "--name", "shouter", "--yes")
            task = node.send("shouter", "hello")
            assert task.answer == "HELLO"
            engines = json.loads(node.hive("status", "--json"))["engines"]
            assert not any(engine["embedded"] for engine in engines if engine["port"] != "spans")
            assert not (node.state / "engines" / "postgres" / "data").exists()
            node.kill()
            node.start()
            assert node.task("shouter", task.id).answer == "HELLO"
            assert "ok" in node.hive("audit", "verify")


def test_an_engine_that_is_not_there_is_named_without_its_password(tmp_path):
    environment = {"HIVE_DATABASE_URL": f"postgresql://me:s3cret@127.0.0.1:{free_port()}/hive"}
    told = command(
        "up", "--port", free_port(), state=tmp_path, environment=environment, check=False
    )
    assert told.returncode != 0
    assert "HIVE_DATABASE_URL cannot be reached" in told.stderr
    assert "s3cret" not in told.stdout + told.stderr
    assert "Traceback" not in told.stderr


def test_at_the_disk_floor_new_calls_are_refused_and_the_node_still_tells(tmp_path):
    folder = write_agent(tmp_path / "shouter")
    node = NodeProcess(tmp_path / "s")
    node.start()
    try:
        node.hive("run", str(folder), "--name", "shouter", "--yes")
        kept = node.send("shouter", "hello")
    finally:
        node.kill()
    with node_process(node.state, {"HIVE_DISK_FLOOR_BYTES": str(1 << 60)}) as full:
        told = command("call", "shouter", "x", state=node.state, check=False)
        assert told.returncode == 1
        assert "disk" in told.stderr.lower()
        assert full.task("shouter", kept.id).answer == "HELLO"
        assert "shouter" in full.hive("ps")
        assert full.hive("status")
        assert "ok" in full.hive("audit", "verify")


def test_a_very_long_state_path_works_or_is_refused_in_words(tmp_path):
    state = tmp_path / ("d" * 100) / ("e" * 100)
    folder = write_agent(tmp_path / "shouter")
    told = command("up", "--detach", "--port", free_port(), state=state, check=False)
    assert "Traceback" not in told.stderr
    if told.returncode not in (0, 3):
        assert "Fix:" in told.stderr
        return
    try:
        command("run", folder, "--name", "shouter", "--yes", state=state)
        assert command("call", "shouter", "hello", state=state).stdout == "HELLO\n"
    finally:
        command("down", state=state)


# --- queued work -----------------------------------------------------------------------------


def test_work_that_waits_survives_a_stopped_agent_and_goes_on_when_it_starts(tmp_path):
    folder = write_agent(tmp_path / "slow", "__import__('time').sleep(0.4) or text.upper()")
    with node_process(tmp_path / "s") as node:
        node.hive("run", str(folder), "--name", "slow", "--yes")
        tasks = [node.send("slow", str(number), wait=False) for number in range(4)]
        node.hive("stop", "slow")
        node.hive("start", "slow")
        ended = [node.wait_settled("slow", task.id) for task in tasks]
        states = {task.state for task in ended}
        assert states <= {TaskState.COMPLETED, TaskState.CANCELED}, [one.wire for one in ended]
        assert node.hive("call", "slow", "after") == "AFTER\n"


def test_following_commands_tell_as_it_happens(tmp_path):
    folder = write_agent(tmp_path / "teller", "print('said', text) or text")
    with node_process(tmp_path / "s") as node:
        node.hive("run", str(folder), "--name", "teller", "--yes")
        where = ["--state", str(node.state)]
        followers = [
            subprocess.Popen(
                [*HIVE, *words, *where], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for words in (["logs", "-f", "teller"], ["audit", "tail", "-f"])
        ]
        try:
            node.hive("call", "teller", "now")
            for follower, word in zip(followers, ("said now", "send teller"), strict=True):
                assert word in line_with(follower, word)
        finally:
            for follower in followers:
                follower.kill()
                follower.communicate()


def line_with(follower, word):
    ends_at = time.monotonic() + BOUND_S
    while time.monotonic() < ends_at:
        line = follower.stdout.readline()
        if word in line:
            return line
        assert line, follower.stderr.read()
    return ""
