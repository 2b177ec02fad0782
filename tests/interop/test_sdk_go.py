"""The official Go SDK against `SecureA2AServer`, over both bindings that it has; needs go.

The module proxy has version 0.3.3 of it, which speaks 0.3 over JSON-RPC and gRPC. Its second major version
speaks 1.0, but is not on the proxy yet.
"""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import anyio
import pytest
from tests.interop.sdk_peers.executors import Everything
from tests.interop.sdk_peers.servers import secured

from hive_a2a.identity.api_key import StaticBearer
from hive_a2a.policy import Policy, PushLimits

pytestmark = pytest.mark.anyio
HERE = Path(__file__).parent / "sdk_go"
ANN = StaticBearer({"ann": hashlib.sha256(b"ann").hexdigest()})
COUNTED = ["artifact 0 ", "artifact 1 ", "artifact 2 ", "artifact 3 ", "artifact done"]


@pytest.fixture(scope="module")
def program():
    compiler = shutil.which("go")
    if compiler is None:
        pytest.skip("go is not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")  # noqa: TID251
    folder = cache / "hive-tests" / "a2a-sdk-go-0.3.3"
    folder.mkdir(parents=True, exist_ok=True)
    built = subprocess.run(
        [compiler, "build", "-o", str(folder / "client"), "."],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    if built.returncode != 0 and "client.go" in built.stderr:
        pytest.fail(built.stderr)
    if built.returncode != 0:
        pytest.skip(f"go could not fetch the SDK: {built.stderr.strip()[-200:]}")
    return folder / "client"


@pytest.mark.parametrize("door", ["open", "secure"])
@pytest.mark.parametrize("binding", ["JSONRPC", "GRPC"])
async def test_a_go_program_does_all_that_it_can(program, binding, door, tmp_path):
    policy = Policy.open() if door == "open" else Policy(push=PushLimits(private=True))
    known = () if door == "open" else (ANN,)
    async with secured(Everything(), tmp_path, policy=policy, authenticators=known) as served:
        with anyio.fail_after(60):
            done = await anyio.run_process(
                [str(program), served.url, binding, "ann" if known else ""], check=False
            )
    assert done.returncode == 0, done.stderr.decode()
    seen = json.loads(done.stdout)
    assert (seen["card"], seen["worked"]) == ("peer", "heard work for me")
    assert seen["greeting"] == "Hello World"
    assert seen["counted"] == ["task submitted", "status working", *COUNTED, "status completed"]
    assert (seen["asked"], seen["answered"], seen["got"]) == (
        "input-required",
        "ask me",
        ["completed", 1],
    )
    assert (seen["cancelled"], seen["followed"]) == (
        "canceled",
        ["task working", "status canceled"],
    )
    assert seen["failed"] == [True] * 4
    # Over gRPC this SDK knows no error of the standard, whoever says it.
    assert seen["errors"] == [binding == "JSONRPC"] * 4
    assert (seen["config"], seen["pushed"]) == ([True, True], "t-1")
