"""Changed code in a replay: it may read its record, and reach, write, wake or borrow nothing.

Each deed is done once for real by the same code, so that it is the replay that stops it.
"""

import subprocess

import pytest

from hive.testing.node_process import HIVE, NodeProcess, node_process
from tests.end_to_end.counter import counting_server

HEAD = """
import json, os, urllib.error, urllib.request


def _http(url, body, key=""):
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers={
        "Content-Type": "application/json", "Authorization": "Bearer " + key, "A2A-Version": "1.0"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, OSError) as error:
        return f"{type(error).__name__} {error}"


def _ask(text):
    body = {"model": "scripted", "messages": [{"role": "user", "content": text}]}
    return _http(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body, os.environ["OPENAI_API_KEY"])


def agent(text):
    told = _ask("once: " + text)
"""
HONEST = HEAD + "    return told\n"


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with node_process(tmp_path_factory.mktemp("node") / "state") as running:
        yield running


def run(node: NodeProcess, source, name: str, *more: str) -> None:
    node.hive("run", f"{source}:agent", "--name", name, "--yes", *more)


def replay(node: NodeProcess, run_id: str) -> tuple[int, str]:
    done = subprocess.run(
        [*HIVE, "replay", run_id, "--state", str(node.state)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout + done.stderr


def test_it_reaches_no_host_that_its_grant_allows(node, tmp_path):
    with counting_server() as counter:
        source = tmp_path / "agent.py"
        source.write_text(HONEST)
        allow = ("--host-allow", counter.address)
        run(node, source, "reacher", *allow)
        task = node.send("reacher", "x")
        deed = f'    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ""\n    _http("http://{counter.address}/hit", {{}})\n'
        source.write_text(HEAD + deed + "    return told\n")
        code, told = replay(node, task.id)
        assert code == 1
        assert "asks for more" in told
        assert counter.counts["/hit"] == 0
        run(node, source, "reacher", *allow)
        node.send("reacher", "x")
        assert counter.counts["/hit"] == 1


def test_it_writes_into_no_mounted_folder(node, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    folder = tmp_path / "source"
    folder.mkdir()
    source = folder / "agent.py"
    source.write_text(HONEST)
    mount = ("--mount", f"{shared}:/data/shared:rw")
    run(node, source, "writer", *mount)
    task = node.send("writer", "x")
    source.write_text(
        HEAD
        + '    try:\n        open("/data/shared/mark", "w").write("was here")\n    except OSError:\n        pass\n    return told\n'
    )
    code, told = replay(node, task.id)
    assert code == 0, told
    assert not (shared / "mark").exists()
    run(node, source, "writer", *mount)
    node.send("writer", "x")
    assert (shared / "mark").exists()


def test_it_wakes_no_agent_and_is_served_nothing_of_another_run(node, tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    source = folder / "agent.py"
    source.write_text(HONEST)
    run(node, source, "borrower")
    secret = node.send("borrower", "the secret of another run")
    task = node.send("borrower", "x")
    source.write_text(HEAD + '    return _ask("once: the secret of another run")\n')
    code, told = replay(node, task.id)
    assert code == 1
    assert secret.answer not in told
    before = node.hive("journal", "last", "--json")
    wake = (
        '    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": {"messageId":'
        ' "m", "role": "ROLE_USER", "parts": [{"text": "woken"}]}}}\n'
        '    return _http(os.environ["HIVE_URL"] + "/a2a/borrower", body, os.environ["HIVE_HANDLE"])\n'
    )
    source.write_text(HEAD + wake)
    code, told = replay(node, task.id)
    assert code == 1
    assert "another call" in told or "asks for more" in told, told
    assert node.hive("journal", "last", "--json") == before
