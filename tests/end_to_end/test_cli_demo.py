"""`hive demo` for real: its transcript, its exit code, and what stays on record."""

import json
import re
import subprocess
import sys

import pytest

from hive.testing.node_process import free_port

ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "HIVE_PORT": str(free_port()),
}
BOUND_S = 120
SHAPE = (
    r"Hive \d.* offline demo   no key, no network",
    r"  engines    postgresql? .* · nats.* ready in ",
    r"  walls      .*3 agents inside",
    r'  planner    "Who is owed money in ledger.csv, and how much\?"',
    r"  ├ researcher  read ledger.csv \(1,204 lines\) .* ms$",
    r"  │  ✗ tried to open .*id_ed25519 .*not there: outside its mounts",
    r"  │  ✗ tried to send 3 rows to 203.0.113.7 .*stopped at the gate: its grant names no host",
    r"  │  ✗ tried the same without the proxy.*no way out: it has no network",
    r"  ├ reviewer    asked the same question 40 times .*its ceiling stopped it at 20",
    r"  └ answer      Acme 1,920.00 · Brandt 311.40 .*verified: 2 agents agree",
    r"  Everything above is on record:   hive trace demo   ·   hive audit verify$",
    r"Next:  hive run ./my_agent.py:agent",
)


def hive(state, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hive", "--state", str(state), *arguments],
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    state = tmp_path_factory.mktemp("demo")
    return state, hive(state, "demo")


def test_the_transcript_has_its_shape_and_ends_without_a_terminal(demo):
    _, done = demo
    lines = [line for line in done.stdout.splitlines() if line]
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert len(lines) == len(SHAPE), done.stdout
    for line, shape in zip(lines, SHAPE, strict=True):
        assert re.match(shape, line), (line, shape)
    assert "127.0.0.1:8700" not in done.stdout
    assert done.stderr == ""


def test_what_the_demo_did_is_on_record_afterwards(demo):
    state, _ = demo
    tree = json.loads(hive(state, "trace", "demo", "--json").stdout)
    refused = {step["verb"] for step in tree["steps"] if step["outcome"] == "refused"}
    assert {"reach", "chat"} <= refused
    assert {step["agent"] for step in tree["steps"]} >= {
        "demo-planner",
        "demo-researcher",
        "demo-reviewer",
    }
    verdict = json.loads(hive(state, "audit", "verify", "--json").stdout)
    assert verdict["ok"]


def test_the_demo_leaves_no_agent_behind(demo):
    state, _ = demo
    assert not (state / "control.sock").exists()
    assert list((state / "demo-home" / ".ssh").iterdir()) == []
