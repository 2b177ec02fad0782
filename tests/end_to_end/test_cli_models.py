"""Providers and keys by the command, on a real node that is killed: what was said holds, and the key is nowhere."""

import json
import subprocess

import pytest
from anyio.from_thread import start_blocking_portal

from hive.core.clock import SystemClock
from hive.testing.model_provider import ModelProvider
from hive.testing.node_process import HIVE, free_port, node_process

KEY = "sk-real-key-of-the-operator"


@pytest.fixture(scope="module")
def url():
    """Serve a made-up provider beside the test; give its address."""

    async def make():
        return ModelProvider(key=KEY, models=("gpt-mini", "whisper"))

    with start_blocking_portal() as portal:
        made = portal.call(make)
        with portal.wrap_async_context_manager(made.serving()) as url:
            yield url


@pytest.fixture
def node(tmp_path):
    with node_process(tmp_path / "state", {"HIVE_OLLAMA_URL": ""}) as running:
        yield running


def fed(node, text, *words):
    """Run a command with something on its standard input."""
    return subprocess.run(
        [*HIVE, *words, "--state", str(node.state)],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_what_was_added_survives_a_kill_and_its_key_is_nowhere(node, url):
    done = fed(
        node, KEY, "llm", "add", "mine", f"openai:{url}/v1", "--key-from-stdin", "--wires", "chat"
    )
    assert done.returncode == 0, done.stderr
    assert "2 models" in done.stdout
    node.hive("llm", "use", "fast", "mine/gpt-mini", "default/scripted")
    node.kill()
    node.start()
    [tried] = [json.loads(line) for line in node.hive("llm", "test", "mine", "--json").splitlines()]
    assert (tried["ok"], tried["model"], tried["output_tokens"]) == (True, "gpt-mini", 4)
    lines = [json.loads(line) for line in node.hive("llm", "list", "--json").splitlines()]
    assert [one["name"] for one in lines if "name" in one] == ["default", "mine"]
    assert lines[-1] == {"alias": "fast", "targets": ["mine/gpt-mini", "default/scripted"]}
    told = node.hive("llm", "list") + node.hive("secret", "list") + node.hive("doctor", "--json")
    told += node.hive("audit", "tail", "-n", "100", "--json")
    assert "llm-mine" in told
    assert KEY not in told
    node.kill()
    found = [
        path
        for path in node.state.rglob("*")
        if path.is_file() and KEY.encode() in path.read_bytes()
    ]
    assert found == []
    node.start()


def test_the_master_key_is_changed_while_the_node_is_down_and_nothing_is_lost(node, url, tmp_path):
    fed(node, KEY, "llm", "add", "mine", f"openai:{url}/v1", "--key-from-stdin")
    file = tmp_path / "new.key"
    file.write_bytes(subprocess.check_output(["sh", "-c", "head -c 32 /dev/urandom | base64"]))
    change = ("secret", "rotate", "--new-master-key-file", str(file))
    refused = fed(node, "", *change)
    assert (refused.returncode, "hive down" in refused.stderr) == (1, True)
    node.stop()
    before = (node.state / "master.key").read_bytes()
    for _ in range(2):  # one that was cut short is done again
        done = fed(node, "", *change, "--json")
        assert json.loads(done.stdout)["vault_keys"] == 1
    assert (node.state / "master.key").read_bytes() == file.read_bytes() != before
    assert (node.state / "master.key").stat().st_mode & 0o777 == 0o600
    node.start()
    assert json.loads(node.hive("llm", "test", "mine", "--json"))["ok"]
    node.stop()
    (node.state / "master.key").write_bytes(before)
    with pytest.raises(RuntimeError, match="Another master key sealed it"):
        node.start()
    (node.state / "master.key").write_bytes(file.read_bytes())
    node.start()


def test_errors_say_what_to_do(node):
    node.hive("llm", "use", "alias", "default")
    for words, expected in (
        (("llm", "add", "openai"), "--key-from-stdin"),
        (("llm", "add", "x", "https://models.example.org"), "openai:https://host/v1"),
        (("llm", "add", "x", "vllm", "--key-env", "NO_SUCH_VARIABLE"), "export NO_SUCH_VARIABLE"),
        (("llm", "use", "fast", "nobody/x"), "hive llm list"),
        (("llm", "rm", "nobody"), "hive llm list"),
        (("llm", "rm", "alias"), "hive llm use alias --rm"),
        (("budget", "set", "agent:a", "--usd", "nan"), "--usd 2.50"),
        (("budget", "set", "agent:a", "--seconds", "inf"), "A ceiling is a number."),
        (("budget", "set", "node:a", "--calls", "1"), "names nobody's budget"),
        (("secret", "rm", "nobody"), "hive secret list"),
        (("secret", "set", "x"), "standard input"),
    ):
        done = fed(node, "", *words)
        assert done.returncode in (1, 78), done
        assert expected in done.stderr


def test_hints_fit_what_was_found(node):
    wrong = fed(node, "", "budget", "set", "agent:wirter", "--calls", "9")
    assert wrong.returncode == 0
    assert "there is no agent 'wirter'" in wrong.stderr
    assert "no agent" not in fed(node, "", "budget", "set", "agent:*", "--calls", "9").stderr
    added = fed(node, "wrong", "llm", "add", "x", f"openai:http://127.0.0.1:{free_port()}/v1")
    assert "it named no model" in added.stdout
    # A node runs, so nobody is told to start one; without a node that is the next step.
    assert "hive up" not in fed(node, "", "doctor").stderr


def test_a_node_is_ready_before_anybody_was_asked_for_models(tmp_path):
    # An address that never answers must not hold the start.
    environment = {
        "HIVE_MODELS": "openai:http://192.0.2.1:9/v1",
        "HIVE_OLLAMA_URL": "http://192.0.2.1:9",
    }
    clock = SystemClock()
    began = clock.monotonic()
    with node_process(tmp_path / "state", environment) as node:
        assert clock.monotonic() - began < 9
        assert json.loads(node.hive("status", "--json"))["ready"]
