"""A real node on somebody else's nats-server that lets in SPIFFE ids and nobody else."""

import json
import signal
import subprocess

import anyio
import pytest
from anyio import to_thread

from hive.core.settings import Settings
from hive.engines.binaries import find_nats
from hive.security.identity import SpiffeId
from hive.security.identity.bus_accounts import bus_configuration
from hive.testing.node_process import NodeProcess, free_port

pytestmark = pytest.mark.anyio
DOMAIN = "mesh.test"
SERVER = SpiffeId(f"spiffe://{DOMAIN}/service/nats")


async def test_a_node_joins_a_bus_by_its_svid_and_comes_back_after_a_rotation(tmp_path):
    state = tmp_path / "state"
    node_id = await to_thread.run_sync(first_start, state, tmp_path)
    port = free_port()
    known = bus_configuration(
        [SpiffeId(f"spiffe://{DOMAIN}/node/{node_id}")],
        certificate=f"{tmp_path}/cert.pem",
        key=f"{tmp_path}/key.pem",
        roots=f"{tmp_path}/roots.pem",
    )
    (tmp_path / "nats.conf").write_text(
        f'listen: "127.0.0.1:{port}"\nmax_payload: 8388608\n'
        f'jetstream {{ store_dir: "{tmp_path}/js" }}\n{known}'
    )
    binary = find_nats(Settings(state_dir=str(state)), remembered_in=tmp_path / "binaries.json")
    with (tmp_path / "nats.log").open("wb") as log:
        process = subprocess.Popen(
            [binary.program, "-c", str(tmp_path / "nats.conf")], stdout=log, stderr=log
        )
    try:
        with anyio.fail_after(30):
            while b"Server is ready" not in (tmp_path / "nats.log").read_bytes():  # noqa: ASYNC110
                await anyio.sleep(0.05)
        url = f"nats://127.0.0.1:{port}?server={SERVER}"
        await to_thread.run_sync(second_start, state, url)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def first_start(state, folder) -> str:
    """Make the authority, and let it vouch for the server; return the node's id."""
    node = NodeProcess(state, {"HIVE_TRUST_DOMAIN": DOMAIN})
    node.start()
    said = node.hive("identity", "service", "nats", str(folder))
    assert str(SERVER) in said
    assert (folder / "key.pem").stat().st_mode & 0o777 == 0o600
    with pytest.raises(RuntimeError, match="cannot be written"):
        node.hive("identity", "service", "nats", str(folder))
    node.stop()
    return (state / "node.id").read_text().strip()


def second_start(state, url) -> None:
    node = NodeProcess(state, {"HIVE_TRUST_DOMAIN": DOMAIN, "HIVE_MESH_URL": url})
    node.start()
    try:
        findings = [json.loads(line) for line in node.hive("doctor", "--json").splitlines()]
        bus = [one for one in findings if one["section"] == "engines" and "nats" in one["detail"]]
        assert [one["state"] for one in bus] == ["ok"], findings
        node.hive("identity", "rotate")
        held = json.loads(node.hive("identity", "show", "--json"))["holders"]
        assert any("/node/" in one["spiffe_id"] for one in held)
    finally:
        node.kill()
    # The events of before the ledger was open are in it as well.
    node.start()
    entries = [
        json.loads(line) for line in node.hive("audit", "tail", "-n", "300", "--json").splitlines()
    ]
    assert any(one["name"] == "svid.issued" and "/node/" in json.dumps(one) for one in entries)
    node.kill()
