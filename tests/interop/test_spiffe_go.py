"""The official Go client of SPIFFE against the Workload API, and with its SVID against the port for peers."""

import json
import shutil
import subprocess
from pathlib import Path

import anyio
import pytest
from tests.attacks.test_identity_mutual_tls import app
from tests.workload_rig import DOMAIN, opened_service, served

from hive.core.ids import NodeId
from hive.node.http import bind_port
from hive.node.http_mutual import MutualServer
from hive.security.identity.mutual import NodeSvids, PeerJudge

pytestmark = [pytest.mark.peers, pytest.mark.anyio]
HERE = Path(__file__).parent / "spiffe_go"
READER = f"spiffe://{DOMAIN}/agent/reader"


@pytest.fixture(scope="module")
def program():
    compiler = shutil.which("go")
    if compiler is None:
        pytest.skip("go is not installed")
    folder = Path.home() / ".cache" / "hive-peers" / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    built = subprocess.run(
        [compiler, "build", "-o", str(folder / "spiffe-go-client"), "."],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    if built.returncode != 0 and "client.go" in built.stderr:
        pytest.fail(built.stderr)
    if built.returncode != 0:
        pytest.skip(f"go could not fetch go-spiffe: {built.stderr.strip()[-200:]}")
    return folder / "spiffe-go-client"


@pytest.mark.parametrize("rotated", [False, True])
async def test_go_spiffe_verifies_everything_on_its_own(program, tmp_path, rotated):
    async with opened_service() as service, served(service, tmp_path) as listener:
        if rotated:
            await service.rotate(root=True)
        own = NodeSvids(service, NodeId("node-1"))
        await own.renew()
        sock = bind_port("127.0.0.1", 0)
        url = f"https://127.0.0.1:{sock.getsockname()[1]}/a2a"
        server = MutualServer(app, PeerJudge(service))
        async with server.serving(sock, own.server_context()):
            with anyio.fail_after(90):
                done = await anyio.run_process(
                    [str(program), listener.url, url, own.current().spiffe_id], check=False
                )
        assert done.returncode == 0, done.stderr.decode()
        told = json.loads(done.stdout)
        assert told.pop("called") == f"client:{READER}"
        assert set(told.values()) == {READER}


async def test_go_spiffe_is_told_that_a_stranger_is_nobody(program, tmp_path):
    with subprocess.Popen(["sleep", "60"]) as inside:
        try:
            async with (
                opened_service() as service,
                served(service, tmp_path, first_process=lambda: inside.pid) as listener,
            ):
                with anyio.fail_after(60):
                    done = await anyio.run_process(
                        [str(program), listener.url, "-", READER], check=False
                    )
        finally:
            inside.kill()
    assert done.returncode == 1
    assert b"PermissionDenied" in done.stderr
    assert b"no identity issued" in done.stderr
