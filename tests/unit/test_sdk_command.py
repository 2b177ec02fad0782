"""The command `hive-a2a`: cards, keys, calls, the record of a server, and how it speaks."""

import json
import signal
import socket
import subprocess
import sys

import anyio
import pytest
from a2a.types.a2a_pb2 import StreamResponse
from google.protobuf.json_format import ParseDict

from hive_a2a.call import Binding, CallerIdentity, RequestHead, WireCall
from hive_a2a.cards.describe import card_json
from hive_a2a.cards.keys import FILE_NAME, AgentKeys
from hive_a2a.command.call import Telling, part_lines
from hive_a2a.command.entry import run_command
from hive_a2a.command.serve import make_server
from hive_a2a.command.tell import CommandOptions, one_line, show_json, told_of
from hive_a2a.crypto import new_signing_pair
from hive_a2a.errors import A2AError
from hive_a2a.stages.audit import AuditKind, CallEnding, record_of
from hive_a2a.stages.audit_file import FileAudit
from tests.unit.sdk_foreign_agents import ScriptedAgent, official_app, plain_card, served

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of the official server's own client
]


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HIVE_A2A_HOME", str(tmp_path / "home"))


@pytest.fixture
def run(capsys):
    def run(*words):
        code = run_command([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def card_file(tmp_path):
    path = tmp_path / "card.json"
    path.write_bytes(card_json(plain_card("https://agent.example/", required=False)))
    return path


# How it speaks


def test_help_names_all_verbs_and_imports_none(run):
    code, out, _ = run("--help")
    assert code == 0
    for verb in ("call", "serve", "probe", "card", "keys", "audit", "completion"):
        assert f"\n  {verb} " in out
    script = (
        "import sys; from hive_a2a.command.entry import run_command; run_command(['--help']);"
        "sys.exit(any(m.startswith(('a2a', 'httpx', 'cryptography')) for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "verb",
    ["call", "serve", "probe", "card", "card sign", "keys new", "audit verify", "completion"],
)
def test_every_verb_explains_itself(run, verb):
    code, out, _ = run(*verb.split(), "--help")
    assert code == 0
    assert out.startswith("Usage: hive-a2a " + verb.split()[0])
    assert "--json" in out or verb == "card"


def test_a_wrong_verb_is_told_what_was_meant(run):
    code, _, err = run("prob")
    assert code == 2
    assert "Did you mean:  hive-a2a probe" in err
    assert run("card", "show")[0] == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_the_verbs(run, shell):
    code, out, err = run("completion", shell)
    assert code == 0
    assert "_HIVE_A2A_COMPLETE" in out
    assert "eval" in err


def test_completion_answers_with_verbs():
    script = "import sys; from hive_a2a.command import main; sys.argv = ['hive-a2a']; main()"
    words = {"_HIVE_A2A_COMPLETE": "bash_complete", "COMP_WORDS": "hive-a2a pr", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=words,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "probe" in done.stdout


def test_the_command_without_click_says_what_to_install():
    script = (
        "import sys; sys.modules['click'] = None\n"
        "from hive_a2a.command import main\n"
        "sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "click" in done.stderr
    assert "Traceback" not in done.stderr


def test_errors_say_what_why_and_fix_without_a_traceback(run, tmp_path):
    code, out, err = run("keys", "show", tmp_path)
    assert (code, out) == (1, "")
    assert err.startswith("✗ There are no keys in")
    assert "Fix:  hive-a2a keys new" in err
    code, _, err = run("keys", "show", tmp_path, "--json")
    assert json.loads(err)["error"]["fix"].startswith("hive-a2a keys new")
    assert "Traceback" in run("keys", "show", tmp_path, "--debug")[2]
    code, _, err = run("card", "show", tmp_path / "none.json")
    assert "No such file" in err


def test_any_error_can_be_told():
    assert told_of(A2AError("what", why="why", fix="fix")) == ("what", "why", "fix")
    assert told_of(ExceptionGroup("x", [A2AError("what")]))[0] == "what"
    assert "ValueError: odd" in told_of(ValueError("odd"))[1]
    assert told_of(OSError("plain"))[0] == "plain."


def test_foreign_text_cannot_drive_the_terminal(capsys):
    evil = "a\x1b[31m\u202eb\x9bc\nd" + "x" * 900
    line = one_line(evil)
    assert not {"\x1b", "\u202e", "\x9b", "\n"} & set(line)
    assert len(line) == 400
    show_json({"a": evil})
    out = capsys.readouterr().out
    assert not {"\x1b", "\u202e", "\x9b"} & set(out)
    assert json.loads(out) == {"a": evil}


# Keys


def test_keys_are_made_shown_rotated_and_retired_and_never_printed(run, tmp_path):
    folder = tmp_path / "keys"
    code, out, err = run("keys", "new", folder, "--algorithm", "EdDSA", "--algorithm", "ES256")
    assert code == 0
    assert out.count("signs") == 2
    assert "card sign" in err
    assert run("keys", "new", folder)[0] == 1, "nothing is overwritten"
    shown = json.loads(run("keys", "show", folder, "--json")[1])
    assert {key["alg"] for key in shown["keys"]} == {"EdDSA", "ES256"}
    assert not any("d" in key for key in shown["keys"])
    rotated = json.loads(run("keys", "rotate", folder, "--json")[1])
    assert len(rotated["keys"]) == 4
    assert rotated["epoch"] == 2
    assert run("keys", "show", folder)[1].count("before the rotation") == 3
    retired = run("keys", "retire", folder)[1]
    assert "before" not in retired
    assert (folder / FILE_NAME).stat().st_mode & 0o077 == 0
    secret = AgentKeys.load_or_make(folder).noise.private.hex()
    assert secret not in out + retired


# Cards


def test_a_card_is_signed_and_verified_by_its_pin(run, tmp_path, card_file):
    keys = tmp_path / "keys"
    run("keys", "new", keys)
    out_file = tmp_path / "signed.json"
    code, _, err = run("card", "sign", card_file, "--keys", keys, "--out", out_file)
    assert code == 0
    assert "Signed by" in err
    assert run("card", "sign", card_file, "--keys", keys, "--out", out_file)[0] == 1
    printed = run("card", "sign", card_file, "--keys", keys)[1]
    assert json.loads(printed)["signatures"]
    thumbprint = AgentKeys.load_or_make(keys).public[0].thumbprint
    code, out, _ = run("card", "verify", out_file, "--pin", thumbprint)
    assert code == 0
    assert thumbprint in out
    assert "pinned" in out
    key_set = tmp_path / "jwks.json"
    key_set.write_text(run("keys", "show", keys, "--json")[1])
    told = json.loads(run("card", "verify", out_file, "--pin", key_set, "--json")[1])
    assert told["trusted_by"] == "pinned"
    code, out, err = run("card", "verify", out_file)
    assert code == 0
    assert "--pin" in err, "a key that came with the card is to be pinned"


def test_an_altered_or_foreign_card_is_not_taken(run, tmp_path, card_file):
    keys, other = tmp_path / "keys", tmp_path / "other"
    run("keys", "new", keys)
    run("keys", "new", other)
    signed = tmp_path / "signed.json"
    run("card", "sign", card_file, "--keys", keys, "--out", signed)
    altered = tmp_path / "altered.json"
    altered.write_text(signed.read_text().replace("Echoes.", "Steals."))
    pin = AgentKeys.load_or_make(keys).public[0].thumbprint
    assert run("card", "verify", altered, "--pin", pin)[0] == 1
    assert run("card", "verify", altered)[0] == 1
    foreign = AgentKeys.load_or_make(other).public[0].thumbprint
    code, _, err = run("card", "verify", signed, "--pin", foreign)
    assert code == 1
    assert "pinned key" in err
    assert run("card", "verify", card_file)[0] == 1, "unsigned"


def test_a_card_is_fetched_shown_and_its_signer_remembered(run, tmp_path, card_file):
    keys, other = AgentKeys.ephemeral(), AgentKeys.ephemeral()
    agent = {}

    def make(url):
        card = plain_card(url)
        card.description = "evil \x1b[31m"
        agent["card"] = card
        agent["it"] = ScriptedAgent(card_json(keys.sign(card)))
        return agent["it"]

    with served(make) as url:
        code, out, _ = run("card", "show", url)
        assert code == 0
        assert "\x1b" not in out
        assert "required  urn:example:required" in out.replace("required urn", "required  urn")
        assert json.loads(run("card", "show", url, "--json")[1])["name"] == "plain"
        code, out, _ = run("card", "verify", url)
        assert "first-seen" in out
        told = json.loads(run("card", "verify", url, "--json")[1])
        assert told["trusted_by"] == "seen-before"
        assert told["first_seen"]
        agent["it"].card = card_json(other.sign(agent["card"]))
        code, _, err = run("card", "verify", url)
        assert code == 1
        assert "keys" in err
        assert run("card", "verify", url, "--forget")[0] == 0


def test_a_key_set_is_trusted_by_https_only(run, tmp_path, card_file):
    keys = tmp_path / "keys"
    run("keys", "new", keys)
    signed = tmp_path / "signed.json"
    run("card", "sign", card_file, "--keys", keys, "--out", signed, "--jku", "https://a.example/k")
    code, _, err = run("card", "verify", signed, "--jwks", "http://127.0.0.1:9/keys.json")
    assert code == 1
    assert "https" in err
    code, _, err = run("card", "verify", signed, "--jwks", "https://b.example/keys.json")
    assert code == 1
    assert "not allowed" in err


# Calls


def event(**value):
    return ParseDict(value, StreamResponse())


def test_every_kind_of_part_is_told_as_text(capsys):
    told = Telling(CommandOptions())
    parts = [
        {"text": "one\x1b[31m\ntwo"},
        {"data": {"a": 1}},
        {"url": "https://x.example/y", "filename": "y"},
        {"raw": "aGk=", "filename": "f", "mediaType": "text/plain"},
    ]
    told.hear(event(message={"messageId": "m", "parts": parts}))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "one\ufffd[31m",
        "two",
        '{"a": 1.0}',
        "y: https://x.example/y",
        "f: 2 bytes text/plain",
    ]
    assert list(part_lines([])) == []


def test_a_stream_is_told_as_it_comes(capsys):
    told = Telling(CommandOptions())
    artifact = {"artifactId": "a", "parts": [{"text": "part"}]}
    status = {"state": "TASK_STATE_WORKING"}
    told.hear(event(task={"id": "t", "contextId": "c", "status": status}))
    told.hear(event(artifactUpdate={"taskId": "t", "artifact": artifact}))
    over = {"state": "TASK_STATE_FAILED", "message": {"messageId": "m", "parts": [{"text": "no"}]}}
    told.hear(event(statusUpdate={"taskId": "t", "contextId": "c", "status": over}))
    told.hear(event(task={"id": "u", "contextId": "c", "status": over, "artifacts": [artifact]}))
    out, err = capsys.readouterr()
    assert out.splitlines() == ["part", "no", "part", "no"]
    assert err.count("task t") == 1
    assert told.state == "TASK_STATE_FAILED"
    told = Telling(CommandOptions(json=True))
    told.hear(event(task={"id": "t", "status": status}))
    assert json.loads(capsys.readouterr().out)["task"]["id"] == "t"


def test_a_plain_agent_is_called_by_the_open_policy_only(run):
    with served(lambda url: official_app(url, required=False)) as url:
        code, _, err = run("call", url, "hello")
        assert code == 1
        assert "not signed" in err
        assert "--policy open" in err
        code, out, err = run("call", url, "hello", "--policy", "open")
        assert (code, out) == (0, "echo: hello\n"), err
        assert "in the clear" in err
        code, out, _ = run(
            "call", url, "hello", "--policy", "open", "--stream", "--json", "--skill", "echo",
            "--data", '{"a":1}', "--token", "secret-token",
        )  # fmt: skip
        assert code == 0
        assert "TASK_STATE_COMPLETED" in out.splitlines()[-1]
        code, _, err = run("call", url, "please fail", "--policy", "open")
        assert code == 1
        assert "failed" in err
        code, _, err = run("call", url, "hello", "--policy", "open", "--task", "none")
        assert code == 1
        assert "TaskNotFound" in err


def test_a_call_without_a_word_or_with_bad_data_is_a_wrong_use(run):
    assert run("call", "https://agent.example")[0] == 2
    code, _, err = run("call", "https://agent.example", "--data", "{")
    assert code == 1
    assert "not JSON" in err


# The record


@pytest.fixture
def record(tmp_path):
    """Return a record with one call in it, and its public key."""
    pair = new_signing_pair()
    folder = tmp_path / "audit"

    async def write():
        call = WireCall(
            binding=Binding.JSONRPC,
            method="GetTask",
            version="1.0",
            head=RequestHead(
                binding=Binding.JSONRPC, http_method="POST", url="https://x.example/", headers={}
            ),
            caller=CallerIdentity(name="bearer:evil\x1b[31m", scheme="bearer"),
            params=None,
        )
        async with FileAudit(folder, pair.private) as log:
            await log.attempt(record_of(call, AuditKind.ATTEMPT, call="c-1"))
            log.outcome(record_of(call, AuditKind.OUTCOME, call="c-1", ending=CallEnding.COMPLETED))

    anyio.run(write)
    return folder, pair.public


def test_a_record_is_verified_and_shown(run, record, tmp_path):
    folder, public = record
    code, out, err = run("audit", "verify", folder, "--key", public.hex())
    assert code == 0, err
    assert out.startswith("audit       ok")
    assert "read from the record itself" in run("audit", "verify", folder)[2]
    told = json.loads(run("audit", "verify", folder, "--json")[1])
    assert told["whole"]
    head = tmp_path / "head.json"
    head.write_text(json.dumps(told["head"]))
    assert run("audit", "verify", folder, "--head", head)[0] == 0
    code, out, _ = run("audit", "show", folder)
    assert code == 0
    assert "\x1b" not in out
    assert "completed" in out
    lines = run("audit", "show", folder, "--json", "--call", "c-1", "--last", "1")[1].splitlines()
    assert [json.loads(line)["record"]["kind"] for line in lines] == ["outcome"]


def test_a_changed_record_a_wrong_key_and_no_record_are_told(run, record, tmp_path):
    folder, public = record
    [path] = [one for one in folder.iterdir() if b"GetTask" in one.read_bytes()]
    good = path.read_bytes()
    path.write_bytes(good.replace(b"GetTask", b"GetTusk"))
    code, out, _ = run("audit", "verify", folder, "--key", public.hex())
    assert code == 1
    assert "FAILED" in out
    assert not json.loads(run("audit", "verify", folder, "--json")[1])["whole"]
    path.write_bytes(good)
    assert run("audit", "verify", folder, "--key", "00" * 32)[0] == 1
    assert run("audit", "verify", folder, "--key", "zz")[0] == 1
    (tmp_path / "empty").mkdir()
    assert "no record" in run("audit", "show", tmp_path / "empty")[2]
    odd = tmp_path / "odd.json"
    odd.write_text("[]")
    assert run("audit", "verify", folder, "--head", odd)[0] == 1


# A server

AGENT = '''
from a2a.server.agent_execution import AgentExecutor
from a2a.helpers.proto_helpers import new_text_message


class Executor(AgentExecutor):
    """Says what it heard."""

    async def execute(self, context, event_queue):
        await event_queue.enqueue_event(new_text_message("heard: " + context.get_user_input()))

    async def cancel(self, context, event_queue):
        raise NotImplementedError


def make():
    return Executor()


one = Executor()
odd = 7
'''


@pytest.fixture
def agent_folder(tmp_path, monkeypatch):
    (tmp_path / "served_by_test.py").write_text(AGENT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["Executor", "make", "one"])
def test_an_executor_is_found_by_its_name(agent_folder, name):
    server = make_server(
        f"served_by_test:{name}", scheme="http", host="127.0.0.1", port=1, grpc_port=2
    )
    assert server.card.description == "Says what it heard."
    assert {one.url for one in server.card.supported_interfaces} == {
        "http://127.0.0.1:1",
        "127.0.0.1:2",
    }
    assert server.card.signatures


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("served_by_test", "names no executor"),
        ("served_by_test:odd", "is no AgentExecutor"),
        ("served_by_test:none", "is no AgentExecutor"),
        ("no_such_module_here:Executor", "cannot be imported"),
    ],
)
def test_what_is_no_executor_is_told(run, agent_folder, source, told):
    code, _, err = run("serve", source)
    assert code == 1
    assert told in err


def test_a_wrong_use_of_serve_is_told(run, agent_folder, tmp_path):
    certificate = tmp_path / "c.pem"
    certificate.touch()
    assert run("serve", "served_by_test:Executor", "--tls-certificate", certificate)[0] == 2
    callers = tmp_path / "callers.json"
    callers.write_text("[]")
    assert "callers" in run("serve", "served_by_test:Executor", "--callers", callers)[2]


def test_what_is_served_is_called_recorded_and_ends_on_a_signal(run, agent_folder, card_file):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", "served_by_test:Executor", "--port", str(port), "--json"]
    folder = agent_folder / "server"
    script = "import sys; from hive_a2a.command import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", script, *words, "--folder", str(folder)],
        cwd=agent_folder,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            ready = json.loads(process.stdout.readline())
            assert ready["weakened"] == []
            url = ready["interfaces"][0]
            code, out, err = run("call", url, "hello")
            assert (code, out) == (0, "heard: hello\n"), err
            assert "in the clear" not in err
            code, out, err = run("call", url, "hello", "--policy", "open", "--stream")
            assert (code, out) == (0, "heard: hello\n"), err
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()
    code, out, err = run("audit", "verify", ready["audit"], "--key", ready["audit_key"])
    assert code == 0, out + err
    assert run("audit", "show", ready["audit"])[1].count("completed") == 2
