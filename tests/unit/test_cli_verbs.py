"""Each verb against a console in memory, over a real control socket."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import uvicorn

from hive.cli.entry import VERBS, run_command
from hive.core.clock import SystemClock
from hive.core.randomness import SystemRandomness
from hive.testing.console import MOMENT, MemoryConsole
from hive.web.operator import OperatorApi
from hive.web.sessions import PageSessions
from hive.web.values import AuditRecord, CallEvent, LogRecord, Piece, Product, TracedStep


@pytest.fixture
def console() -> MemoryConsole:
    return MemoryConsole()


@pytest.fixture
def state(console, tmp_path, monkeypatch) -> Iterator[Path]:
    """Give a state folder whose control socket is served."""
    monkeypatch.chdir(tmp_path)
    sessions = PageSessions(clock=SystemClock(), randomness=SystemRandomness())
    app = OperatorApi(console, sessions=sessions, guarded=False)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "control.sock"))
    listener.listen()
    config = uvicorn.Config(app, log_config=None, lifespan="off", access_log=False, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield tmp_path
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def hive(state, capsys):
    """Run one command on that state folder; return its code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = run_command(["--state", str(state), *arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def agent(hive) -> str:
    """Give an agent that answers in capitals."""
    assert hive("run", "./a.py:agent", "--name", "shouter")[0] == 0
    return "shouter"


def entry(sequence: int) -> AuditRecord:
    return AuditRecord(
        chain="node-1/1",
        sequence=sequence,
        kind="intent",
        name="send",
        at=MOMENT,
        agent="adder",
        call="call-1",
        task="task-1",
        body="{}",
        previous_hash="00",
        hash="11",
    )


def test_run_deploys_beside_a_running_node_and_names_the_next_command(hive, console):
    code, out, err = hive("run", "./a.py:agent", "--name", "adder")
    assert (code, out) == (0, "")
    assert 'found      a function "agent"' in err
    assert 'hive call adder "hello"' in err.splitlines()[-1]
    assert list(console.hosted) == ["adder"]


def test_run_without_a_terminal_takes_the_safe_grant_and_says_so(hive, console):
    _, _, err = hive("run", "./a.py:agent", "--mount", "/data")
    assert console.orders[0].safe
    assert console.orders[0].confirmed == ""
    assert "its own folder, read-only" in err


def test_run_with_yes_confirms_what_was_planned(hive, console):
    hive("run", "./a.py:agent", "--mount", "/data", "--yes")
    assert not console.orders[0].safe
    assert console.orders[0].confirmed == "digest-of-./a.py:agent-1"


def test_run_does_not_ask_again_for_what_was_confirmed(hive, console):
    hive("run", "./a.py:agent", "--mount", "/data", "--yes")
    hive("run", "./a.py:agent", "--mount", "/data")
    assert console.orders[1].confirmed == console.orders[0].confirmed


def test_a_source_that_is_missing_ends_with_what_why_and_fix(hive):
    code, out, err = hive("run", "./missing.py:agent")
    assert (code, out) == (1, "")
    assert "✗ There is no such source." in err
    assert "HIVE-E050" in err
    assert "Fix:  Name a file." in err
    assert "Traceback" not in err


def test_call_prints_the_answer_and_nothing_else_on_standard_output(hive, agent):
    code, out, _ = hive("call", agent, "hello")
    assert (code, out) == (0, "HELLO\n")


def test_call_streams_pieces_as_they_come(hive, agent, console):
    console.answers[agent] = [
        CallEvent(kind="task", task_id="t", state="working"),
        _piece("one ", append=False),
        _piece("two", append=True),
        CallEvent(kind="status", task_id="t", state="completed"),
    ]
    assert hive("call", agent, "go", "--stream")[1] == "one two\n"
    assert hive("call", agent, "go")[1] == "one two\n"


def test_call_sends_files_and_saves_files_under_their_last_name_only(
    hive, agent, console, tmp_path
):
    (tmp_path / "notes.txt").write_text("some notes")
    evil = Product(id="a", pieces=[Piece(raw=b"bytes", filename="../../evil.txt")])
    console.answers[agent] = [
        CallEvent(kind="artifact", task_id="t", product=evil),
        CallEvent(kind="status", task_id="t", state="completed"),
    ]
    code, _, _ = hive("call", agent, "read", "--file", "notes.txt", "--out", "saved")
    assert code == 0
    assert console.orders[-1].pieces[1].raw == b"some notes"
    assert (tmp_path / "saved" / "evil.txt").read_bytes() == b"bytes"


def test_data_is_printed_as_json_where_an_artifact_has_no_text_of_its_own(hive, agent, console):
    both = [Piece(text="42"), Piece(data={"result": 42})]
    for pieces, printed in ((both, "42\n"), (both[1:], '{"result":42}\n')):
        hive("call", agent, "early")
        report = msgspec.structs.replace(
            console.reports["task-1"], artifacts=[Product(id="a", pieces=pieces)]
        )
        console.reports["task-1"] = report
        console.answers[agent] = [CallEvent(kind="task", task_id="task-1", state="completed")]
        assert hive("call", agent, "go")[1] == printed


def test_a_failed_task_ends_with_code_one_and_its_reason(hive, agent, console):
    console.answers[agent] = [
        CallEvent(kind="status", task_id="t", state="failed", text="division by \x1b[2Jzero")
    ]
    code, out, err = hive("call", agent, "1/0")
    assert (code, out) == (1, "")
    assert "The task is failed: division by zero" in err


def test_a_refused_call_names_the_check(hive, agent, console):
    console.answers[agent] = [CallEvent(kind="refused", check="limits", text="too many")]
    code, _, err = hive("call", agent, "go")
    assert code == 1
    assert "Refused by the check 'limits': too many" in err


def test_a_question_of_the_agent_comes_with_the_command_that_answers_it(hive, agent, console):
    console.answers[agent] = [
        CallEvent(kind="task", task_id="t-1", state="working"),
        CallEvent(kind="status", task_id="t-1", state="input_required", text="Which year?"),
    ]
    code, out, err = hive("call", agent, "report")
    assert (code, out) == (0, "Which year?\n")
    assert f"hive call {agent} --task t-1" in err


def test_chat_keeps_the_conversation(hive, agent, console, monkeypatch):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\ntwo\n"))
    code, out, _ = hive("chat", agent)
    assert code == 0
    assert "ONE" in out
    assert "TWO" in out
    assert console.orders[-1].context_id == "context-1"


def test_text_of_an_agent_cannot_move_the_cursor(hive, agent, console):
    console.answers[agent] = [
        _piece("\x1b[2J\x1b]0;title\x07safe\u202e", append=False),
        CallEvent(kind="status", task_id="t", state="completed"),
    ]
    console.say(LogRecord(at=MOMENT, agent=agent, text="\x1b[2Jlog\x07"))
    assert hive("call", agent, "go")[1] == "safe\n"
    assert hive("call", agent, "go", "--stream")[1] == "safe\n"
    assert "\x1b" not in hive("logs", agent)[1]


def test_ps_and_agent_verbs_show_what_is_hosted(hive, agent):
    assert agent in hive("ps")[1]
    assert "unshared six" in hive("agent", "explain", agent)[1]
    assert hive("stop", agent)[1] == f"{agent} is stopped.\n"


def test_stop_without_a_name_is_wrong_usage_and_stops_nothing(hive, console):
    assert hive("stop")[0] == 2
    assert not console.stopping


def test_trace_draws_the_tree_with_refusals_marked(hive, console):
    console.trace_of(
        "task-1",
        _step("invoke_agent adder", depth=0, outcome="ok"),
        _step("reach", depth=1, outcome="refused", target="203.0.113.7", check="grant"),
    )
    lines = hive("trace", "task-1")[1].splitlines()
    assert lines[1].startswith("  └ invoke_agent adder")
    assert lines[2].startswith("    ✗ reach 203.0.113.7")
    assert "refused grant" in lines[2]


def test_equal_steps_in_a_row_are_one_line_with_their_number(hive, console):
    asks = [_step("chat", depth=1, outcome="ok", target="scripted")] * 20
    console.trace_of("task-1", _step("invoke_agent adder", depth=0, outcome="ok"), *asks)
    lines = hive("trace", "task-1")[1].splitlines()
    assert len(lines) == 3
    assert "chat scripted  x 20" in lines[2]
    assert lines[2].endswith("20 ms")


def test_an_audit_that_fails_names_the_entry_and_ends_with_one(hive, console):
    assert hive("audit", "verify")[0] == 0
    console.first_bad = 4812
    code, out, _ = hive("audit", "verify")
    assert code == 1
    assert "entry 4812" in out


def test_the_verifier_that_is_written_is_one_file_and_overwrites_nothing(hive, tmp_path):
    assert hive("audit", "verifier", "check.py")[0] == 0
    assert "RecordCheck" in (tmp_path / "check.py").read_text()
    assert hive("audit", "verifier", "check.py")[0] == 1


def test_doctor_ends_with_three_when_something_is_weak(hive):
    code, out, _ = hive("doctor")
    assert code == 3
    assert "no upstream" in out
    assert "-> set HIVE_MODELS" in out


def test_doctor_never_prints_a_secret(hive, monkeypatch):
    monkeypatch.setenv("HIVE_OPERATOR_TOKEN", "very-secret")
    _, out, err = hive("doctor", "--json")
    assert "HIVE_OPERATOR_TOKEN" in out
    assert "very-secret" not in out + err


def test_status_is_degraded_when_the_node_says_so(hive, console):
    assert hive("status")[0] == 0
    console.degraded = ["no seccomp"]
    assert hive("status")[0] == 3


def test_a_token_is_shown_once(hive):
    _, out, _ = hive("token", "issue", "alice", "--agent", "adder")
    secret = out.strip()
    assert secret not in hive("token", "list")[1]
    assert hive("token", "revoke", "token-1")[0] == 0


def test_up_beside_a_running_node_says_who_runs(hive):
    code, _, err = hive("up")
    assert code == 1
    assert "pid 4121" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("ps",),
        ("agent", "list"),
        ("agent", "show", "shouter"),
        ("status",),
        ("doctor",),
        ("call", "shouter", "hi"),
        ("logs",),
        ("audit", "verify"),
        ("audit", "tail"),
        ("trace", "task-9"),
        ("token", "list"),
        ("run", "./b.py"),
        ("explain", "E012"),
        ("backup", "b.hive"),
        ("stop", "shouter"),
        ("start", "shouter"),
        ("init", "fresh"),
    ],
)
def test_every_verb_prints_objects_one_a_line_when_asked(hive, agent, console, arguments):
    console.trace_of("task-9", _step("send", depth=0, outcome="ok"))
    console.append(entry(1))
    console.say(LogRecord(at=MOMENT, agent=agent, text="a line"))
    _, out, _ = hive(*arguments, "--json")
    for line in out.splitlines():
        assert isinstance(json.loads(line), dict)


def test_an_error_is_an_object_on_standard_error_when_asked(hive):
    code, out, err = hive("call", "nobody", "hi", "--json")
    assert (code, out) == (1, "")
    assert json.loads(err)["error"]["code"] == "HIVE-E040"


def test_a_deep_state_folder_still_has_a_reachable_socket(state, capsys, tmp_path):
    deep = tmp_path / ("deep-" * 20) / ("er-" * 20)
    deep.parent.mkdir()
    deep.symlink_to(state)
    assert run_command(["ps", "--state", str(deep), "--json"]) == 0


def test_every_verb_of_the_table_exists_and_has_help(capsys):
    for name in VERBS:
        assert run_command([name, "--help"]) == 0
        assert capsys.readouterr().out.startswith("Usage: hive")


def _piece(text: str, *, append: bool) -> CallEvent:
    product = Product(id="a", pieces=[Piece(text=text)])
    return CallEvent(kind="artifact", task_id="t", text=text, product=product, append=append)


def _step(name: str, **given: object) -> TracedStep:
    step = TracedStep(id="s", depth=0, name=name, started_at=MOMENT, duration_ms=1.0)
    return msgspec.structs.replace(step, **given)


def test_a_command_after_dashes_is_the_agent_and_its_options_are_its_own(hive, console):
    assert hive("run", "--name", "counter", "--", "./count.sh", "--json", "-v")[0] == 0
    assert console.orders[0].argv == ["./count.sh", "--json", "-v"]
    assert console.orders[0].source == ""


@pytest.mark.parametrize("arguments", [("run",), ("run", "./a.py", "--", "./b.sh")])
def test_run_wants_one_source_or_one_command(hive, console, arguments):
    assert hive(*arguments)[0] == 2
    assert console.orders == []


def test_an_agent_that_was_faster_than_its_caller_still_gives_its_whole_answer(
    hive, agent, console
):
    hive("call", agent, "early")
    done = console.reports["task-1"]
    report = msgspec.structs.replace(
        done, artifacts=[Product(id="a", pieces=[Piece(text="whole")])]
    )
    console.reports["task-1"] = report
    console.answers[agent] = [
        CallEvent(kind="task", task_id="task-1", state="completed", text="whole")
    ]
    assert hive("call", agent, "go")[1] == "whole\n"
    assert hive("call", agent, "go", "--stream")[1] == "whole\n"
