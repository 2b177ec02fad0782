"""Two real nodes: one signs the other's checkpoints, and what that one exports is checked without Hive."""

import json
import os
import subprocess
import sys
from urllib.parse import quote

import httpcore
import pytest

from hive.testing.node_process import free_port

pytestmark = pytest.mark.peers
HIVE = (sys.executable, "-m", "hive")
BOUND_S = 120


def command(*words, state, environment=None):
    done = subprocess.run(
        [*HIVE, *map(str, words), "--state", str(state)],
        env={**os.environ, **(environment or {})},  # noqa: TID251
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_one_node_is_the_witness_of_another(tmp_path):
    other, own = tmp_path / "other", tmp_path / "own"
    port = free_port()
    command("up", "--detach", "--port", free_port(), state=own)
    key = json.loads(command("audit", "keys", "--json", state=own).stdout)["node"]
    command("down", state=own)
    watching = {"HIVE_WITNESS_FOR": key}
    command("up", "--detach", "--port", port, state=other, environment=watching)
    try:
        witness = httpcore.request("GET", f"http://127.0.0.1:{port}/witness/key").content.decode()
        url = f"hive:http://127.0.0.1:{port}/witness?key={quote(witness.strip(), safe='')}"
        named = {"HIVE_WITNESS_URL": url}
        command("up", "--detach", "--port", free_port(), state=own, environment=named)
        try:
            assert json.loads(command("audit", "verify", "--json", state=own).stdout)["ok"]
            _prove_and_export(own, tmp_path, key, witness.strip())
        finally:
            command("down", state=own)
    finally:
        command("down", state=other)


def _prove_and_export(state, folder, key, witness):
    proof, record, script = folder / "proof.jsonl", folder / "record.jsonl", folder / "check.py"
    last = json.loads(command("audit", "tail", "-n", "1", "--json", state=state).stdout)
    place = f"{last['chain']}:{last['sequence']}"
    told = json.loads(command("audit", "prove", place, proof, "--json", state=state).stdout)
    assert told["hash"] == last["hash"]
    command("audit", "consistency", last["chain"], state=state)
    command("audit", "export", record, state=state)
    command("audit", "verifier", script, state=state)
    for file in (proof, record):
        argv = [sys.executable, "-I", str(script), str(file), key, witness]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert done.stdout.startswith("ok: ")
