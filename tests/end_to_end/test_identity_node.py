"""Identities of a real node: an agent behind the walls asks who it is, an operator looks and revokes."""

import json
import shutil
import socket
import ssl
import time
from pathlib import Path

import httpx
import pytest
from spiffe import WorkloadApiClient
from spiffe.workloadapi.errors import WorkloadApiError

from hive.testing.node_process import free_port, node_process
from hive_a2a.identity.svid import GivenSvids, svid_from_pem
from hive_a2a.identity.tls import client_context

AGENT = Path(__file__).parent / "agents" / "svid_reader.py"
DOMAIN = "hive.test"


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("identity"), free_port()
    settings = {"HIVE_TRUST_DOMAIN": DOMAIN, "HIVE_PEER_PORT": str(port)}
    with node_process(folder / "state", settings) as node:
        node.folder, node.peer_port = folder, port
        for name, attribute in (("svid-reader", "answer"), ("svid-judge", "judge")):
            place = folder / name
            place.mkdir()
            shutil.copy(AGENT, place / "svid_reader.py")
            (place / "hive-agent.toml").write_text(
                f'name = "{name}"\nentry = "svid_reader.py:{attribute}"\n'
                'requirements = ["spiffe>=0.3.2,<0.4"]\n'
            )
        node.hive("run", str(folder / "svid-reader"), "--yes", timeout_s=170)
        yield node


def asked(node, audience="billing"):
    return json.loads(node.send("svid-reader", audience).answer)


def test_an_agent_behind_the_walls_learns_who_it_is(node):
    told = asked(node)
    assert told["id"] == told["checked"] == f"spiffe://{DOMAIN}/agent/svid-reader"
    assert told["socket"] == "unix:///run/hive/identity.sock"
    issued = [json.loads(line) for line in node.hive("identity", "issued", "--json").splitlines()]
    assert {one["kind"] for one in issued} == {"x509", "jwt"}
    assert not any(one["denied"] for one in issued)
    entries = [
        json.loads(line) for line in node.hive("audit", "tail", "-n", "200", "--json").splitlines()
    ]
    assert "svid.issued" in {one["name"] for one in entries}


def test_a_process_outside_of_the_sandbox_gets_nothing_from_its_socket(node):
    assert "id" in asked(node)
    run = Path((node.state / "run.path").read_text().strip())
    sockets = list(run.glob("*/identity.sock"))
    assert sockets
    for one in sockets:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(one))  # the file itself lets this user in
        with (
            WorkloadApiClient(f"unix://{one}") as client,
            pytest.raises(WorkloadApiError) as caught,
        ):
            client.fetch_x509_svid()
        assert "no identity issued" in str(caught.value)


def test_the_operator_sees_and_rotates_the_authority(node):
    told = json.loads(node.hive("identity", "show", "--json"))
    assert told["trust_domain"] == DOMAIN
    made = json.loads(node.hive("identity", "rotate", "--root", "--json"))
    assert made["what"] == "root"
    assert len(json.loads(node.hive("identity", "show", "--json"))["roots"]) == 2
    assert node.hive("identity", "bundle").count("BEGIN CERTIFICATE") == 2
    assert asked(node)["id"].endswith("/agent/svid-reader")
    found = {}
    for line in node.hive("doctor", "--json").splitlines():
        found[json.loads(line)["section"]] = json.loads(line)
    assert "root until 20" in found["identity"]["detail"]
    assert found["relations"]["state"] == found["watchdog"]["state"] == "ok"
    assert {"policy", "trust", "witnesses"} <= set(found)


def test_a_revoked_agent_is_nobody_until_it_is_allowed_again(node):
    spiffe_id = asked(node)["id"]
    node.hive("identity", "revoke", spiffe_id, "--reason", "test")
    assert "no identity issued" in asked(node)["refused"]
    node.hive("identity", "allow", spiffe_id)
    assert asked(node)["id"] == spiffe_id


def test_the_roots_key_can_be_taken_away(node, tmp_path):
    (tmp_path / "pass").write_text("correct horse")
    kept = tmp_path / "root.pem"
    node.hive("identity", "root", "export", str(kept), "--passphrase-file", str(tmp_path / "pass"))
    assert "ENCRYPTED PRIVATE KEY" in kept.read_text()
    node.hive("identity", "root", "forget", "--yes")
    with pytest.raises(RuntimeError, match="root's key is not on this node"):
        node.hive("identity", "rotate")
    assert asked(node)["id"].endswith("/agent/svid-reader")


def test_a_stopped_agents_identity_counts_no_more_within_a_second(node):
    token = asked(node)["token"]
    node.hive("run", str(node.folder / "svid-judge"), "--yes", timeout_s=170)
    assert json.loads(node.send("svid-judge", token).answer) == {
        "id": f"spiffe://{DOMAIN}/agent/svid-reader"
    }
    node.hive("stop", "svid-reader")
    stopped_at = time.monotonic()
    while "refused" not in (said := json.loads(node.send("svid-judge", token).answer)):
        assert time.monotonic() - stopped_at < 1.0, "a promise of the product"
    assert "sandbox has ended" in said["refused"]
    node.hive("start", "svid-reader")
    assert json.loads(node.send("svid-judge", asked(node)["token"]).answer)["id"]


def test_the_port_for_peers_knows_an_agent_by_its_svid_and_a_stranger_not_at_all(node):
    told = json.loads(node.send("svid-judge", "certificate").answer)
    context = client_context(GivenSvids(svid_from_pem(*(one.encode() for one in told))))
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": {
        "messageId": "m", "role": "ROLE_USER", "parts": [{"text": "billing"}]}}}  # fmt: skip
    headers = {"A2A-Version": "1.0"}
    url = f"https://127.0.0.1:{node.peer_port}/a2a/svid-reader"
    answer = httpx.post(url, json=body, headers=headers, verify=context, timeout=60).json()
    assert "task" in answer["result"], answer
    entries = [
        json.loads(line) for line in node.hive("audit", "tail", "-n", "300", "--json").splitlines()
    ]
    assert f"client:spiffe://{DOMAIN}/agent/svid-judge" in json.dumps(entries)
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(httpx.HTTPError):
        httpx.post(url, json=body, headers=headers, verify=stranger, timeout=20)
    # The operator's API is not behind this port, whoever asks.
    api = f"https://127.0.0.1:{node.peer_port}/api/status"
    assert httpx.get(api, verify=context, timeout=20).status_code == 404
    node.hive("identity", "revoke", f"spiffe://{DOMAIN}/agent/svid-judge")
    with pytest.raises(httpx.HTTPError):
        httpx.post(url, json=body, headers=headers, verify=context, timeout=20)
