"""The real command against a real node: started, used, stopped, and its records read afterwards."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ENVIRONMENT = {"LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent"}
BOUND_S = 60


class Hive:
    """Run commands on one state folder."""

    def __init__(self, state: Path, **environment: str) -> None:
        self.state = state
        self.environment = {**ENVIRONMENT, **environment}

    def arguments(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "hive", "--state", str(self.state), *arguments]

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.arguments(*arguments),
            capture_output=True,
            text=True,
            timeout=BOUND_S,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            cwd=self.state,
            check=False,
        )
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def objects(self, *arguments: str, code: int = 0) -> list[dict]:
        return [
            json.loads(line)
            for line in self.run(*arguments, "--json", code=code).stdout.splitlines()
        ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def hive(tmp_path) -> Hive:
    return Hive(tmp_path)


@pytest.fixture
def node(hive) -> Iterator[tuple[Hive, str]]:
    """Give a running node and its address."""
    port = free_port()
    hive.run("up", "--port", str(port), "--detach")
    yield hive, f"http://127.0.0.1:{port}"
    hive.run("down")


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def write_agent(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "agent.py").write_text(f"def agent(message):\n    return {text}\n")


def test_an_agent_is_run_called_traced_and_proved(node, tmp_path):
    hive, address = node
    write_agent(tmp_path / "shouter", "message.upper()")
    hive.run("run", "./shouter/agent.py:agent", "--name", "shouter")
    assert hive.run("call", "shouter", "hello").stdout == "HELLO\n"
    assert hive.objects("ps")[0]["name"] == "shouter"
    trace = hive.objects("trace")[0]
    assert trace["agent"] == "shouter"
    assert trace["steps"]
    assert hive.objects("audit", "verify")[0]["ok"]
    assert hive.objects("audit", "tail")
    explained = hive.run("agent", "explain", "shouter").stdout
    assert "process" in explained
    assert get(f"{address}/api/ready")[0] == 200


def test_strangers_get_health_and_facts_and_no_page(node):
    _, address = node
    assert get(f"{address}/api/health")[0] == 200
    assert get(f"{address}/.well-known/hive-mesh.json")[0] == 200
    assert get(f"{address}/api/status")[0] == 401
    assert get(f"{address}/")[0] == 401


def test_a_one_time_link_shows_the_page(node):
    hive, address = node
    link = hive.run("status", "--link").stdout.strip()
    assert link.startswith(address)
    assert get(link)[0] == 200
    assert get(link)[0] == 401


def test_a_stopped_agent_is_started_again_and_removed(node, tmp_path):
    hive, _ = node
    write_agent(tmp_path / "one", "'1'")
    hive.run("run", "./one", "--name", "one")
    hive.run("stop", "one")
    assert hive.objects("ps")[0]["state"] == "stopped"
    hive.run("start", "one")
    assert hive.run("call", "one", "x").stdout == "1\n"
    hive.run("agent", "rm", "one", "--yes")
    assert hive.objects("ps") == []


def test_a_failing_agent_is_told_with_the_commands_that_show_why(node, tmp_path):
    hive, _ = node
    write_agent(tmp_path / "bad", "1 // 0")
    hive.run("run", "./bad", "--name", "bad")
    told = hive.run("call", "bad", "x", code=1)
    assert "failed" in told.stderr
    assert "hive logs bad" in told.stderr


def test_a_second_node_on_the_port_names_the_first(node, tmp_path):
    _, address = node
    other = tmp_path / "other"
    other.mkdir()
    told = Hive(other).run("up", "--port", address.rpartition(":")[2], code=78)
    assert "HIVE-E012" in told.stderr
    assert "(pid " in told.stderr


def test_records_are_read_and_verified_while_no_node_runs(hive, tmp_path):
    hive.run("up", "--port", str(free_port()), "--detach")
    write_agent(tmp_path / "one", "'1'")
    hive.run("run", "./one", "--name", "one")
    hive.run("call", "one", "x")
    hive.run("down")
    assert hive.objects("trace")[0]["agent"] == "one"
    assert hive.objects("audit", "verify")[0]["ok"]


def test_run_without_a_node_starts_one_and_ends_without_a_terminal(hive, tmp_path):
    write_agent(tmp_path / "one", "'1'")
    told = Hive(hive.state, HIVE_PORT=str(free_port())).run("run", "./one", "--name", "one")
    assert "ready" in told.stderr
    assert "http://" not in told.stderr
    assert not (hive.state / "control.sock").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_node_with_one_line_and_nothing_of_it_stays(hive, number):
    arguments = hive.arguments("up", "--port", str(free_port()))
    with subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as child:
        lines = []
        while not lines or not lines[-1].startswith("Next:"):
            lines.append(child.stderr.readline())
            assert lines[-1], lines
        assert len(lines) <= 15
        children = descendants(child.pid)
        began = time.monotonic()
        child.send_signal(number)
        rest = child.stderr.read()
        assert child.wait(BOUND_S) == 0
    assert rest == "Stopped.\n"
    assert time.monotonic() - began < BOUND_S
    assert [pid for pid in children if alive(pid)] == []


def test_a_backup_is_restored_elsewhere_and_verifies(node, tmp_path):
    hive, _ = node
    write_agent(tmp_path / "one", "'1'")
    hive.run("run", "./one", "--name", "one")
    hive.run("call", "one", "x")
    before = hive.objects("audit", "verify")[0]["entries"]
    root = hive.objects("warrant", "root")[0]["root"]
    made = hive.objects("backup", str(tmp_path / "all.hive"))[0]
    assert made["verified"]
    assert (tmp_path / "all.hive").stat().st_mode & 0o777 == 0o600
    elsewhere = Hive(tmp_path / "elsewhere")
    elsewhere.state.mkdir(mode=0o700)
    assert elsewhere.objects("restore", str(tmp_path / "all.hive"))[0]["verified"]
    verdict = elsewhere.objects("audit", "verify")[0]
    assert verdict["ok"]
    assert verdict["entries"] >= before
    elsewhere.run("up", "--port", str(free_port()), "--detach")
    assert elsewhere.objects("warrant", "root")[0]["root"] == root  # warrants go on to count
    elsewhere.run("down")


def test_doctor_examines_without_a_node(hive):
    findings = [
        json.loads(line)
        for line in subprocess.run(
            hive.arguments("doctor", "--json"),
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            timeout=BOUND_S,
            check=False,
        ).stdout.splitlines()
    ]
    sections = {finding["section"] for finding in findings}
    assert {"engines", "walls", "ports", "disk", "versions", "models", "memory"} <= sections
    guards = ("identity", "policy", "trust", "relations", "watchdog", "witnesses")
    assert [sum(one["section"] == name for one in findings) for name in guards] == [1] * 6
    assert all(one["fix"] for one in findings if one["state"] in ("failed", "degraded"))


def descendants(root: int) -> list[int]:
    parents = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(process.name)] = int(
                (process / "stat").read_text().rpartition(")")[2].split()[1]
            )
        except OSError:
            continue
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_answer_of_data_is_printed_as_json(node, tmp_path):
    hive, _ = node
    write_agent(tmp_path / "one", "{'a': [1, 2]}")
    hive.run("run", "./one", "--name", "one")
    assert json.loads(hive.run("call", "one", "x").stdout) == {"a": [1, 2]}


def test_a_warrant_that_nobody_minted_here_is_told_when_it_is_revoked(node):
    hive, _ = node
    assert "has minted no warrant" in hive.run("warrant", "revoke", "tnu_wrt_typo").stderr


def test_the_script_of_a_clone_runs_through_a_link(tmp_path):
    script = Path(__file__).parents[2] / "hive"
    clone = tmp_path / "clone"
    (clone / ".hive" / "venv" / "bin").mkdir(parents=True)
    (clone / "hive").write_text(script.read_text().replace('exec "$venv', 'echo "$venv" #'))
    (clone / "hive").chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "hive").symlink_to("../clone/hive")
    done = subprocess.run(
        ["sh", "-x", tmp_path / "bin" / "hive"], capture_output=True, text=True, check=False, timeout=30,
        env={**ENVIRONMENT, "PYTHON": "/nonexistent", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert f"here={clone.resolve()}" in done.stderr
    assert not (tmp_path / "bin" / ".hive").exists()
