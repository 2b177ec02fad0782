"""The official JavaScript SDK against `SecureA2AServer`, over all its bindings; needs node and npm."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import anyio
import pytest
from tests.interop.sdk_peers.executors import Everything
from tests.interop.sdk_peers.servers import WAYS, secured

from hive_a2a.identity.api_key import StaticBearer
from hive_a2a.policy import Policy, PushLimits

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
HERE = Path(__file__).parent / "sdk_js"
ANN = StaticBearer({"ann": hashlib.sha256(b"ann").hexdigest()})
DONE, CANCELED, ASKING = 3, 5, 6
OF_NEW = [
    "TaskNotFoundError",
    "TaskNotCancelableError",
    "UnsupportedOperationError",
    "UnsupportedOperationError",
]
# As from the official server: what this SDK makes of the answers of 0.3.
OF_OLD = {
    "JSONRPC": [*OF_NEW[:3], "Error"],
    "HTTP+JSON": ["Error"] * 4,
    "GRPC": ["A2AError"] * 4,
}


@pytest.fixture(scope="module")
def program():
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")  # noqa: TID251
    wanted = hashlib.sha256((HERE / "package.json").read_bytes()).hexdigest()[:12]
    folder = cache / "hive-tests" / f"a2a-sdk-js-{wanted}"
    if not (folder / "node_modules").is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
            shutil.copy(HERE / "package.json", fresh)
            made = subprocess.run(
                ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"],
                cwd=fresh,
                capture_output=True,
                timeout=120,
                check=False,
            )
            if made.returncode != 0:
                pytest.skip("npm could not install @a2a-js/sdk")
            shutil.copytree(fresh, folder, dirs_exist_ok=True, symlinks=True)
    shutil.copy(HERE / "client.mjs", folder)
    return folder / "client.mjs"


async def ran(program, *words):
    with anyio.fail_after(60):
        done = await anyio.run_process(["node", str(program), *words], check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.mark.parametrize("door", ["open", "secure"])
@pytest.mark.parametrize(("binding", "version"), WAYS)
async def test_a_javascript_program_does_all_that_it_can(program, binding, version, door, tmp_path):
    new = version == "1.0"
    policy = Policy.open() if door == "open" else Policy(push=PushLimits(private=True))
    known = () if door == "open" else (ANN,)
    async with secured(Everything(), tmp_path, policy=policy, authenticators=known) as served:
        words = ["ann"] if known else []
        seen = await ran(program, served.url, binding, version, *words)
    assert (seen["signed"], seen["altered"]) == ("none", "Error")
    talked(seen, new=new)
    left_and_followed(seen)
    assert seen["errors"] == (OF_NEW if new else OF_OLD[binding])
    if new or binding != "HTTP+JSON":
        pushed(seen, new=new)


def talked(seen, *, new):
    assert seen["got"]["artifacts"][0]["parts"][0]["content"]["value"] == "heard work for me"
    assert len(seen["got"]["history"]) == 1
    assert seen["greeting"]["parts"][0]["content"]["value"] == "Hello World"
    kinds = [kind for kind, _ in seen["counted"]]
    assert kinds == ["task", "statusUpdate", *["artifactUpdate"] * 5, "statusUpdate"]
    assert seen["counted"][-1][1] == DONE
    assert (seen["asked"], seen["answered"]["state"]) == (ASKING, DONE)
    assert seen["answered"]["message"]["parts"][0]["content"]["value"] == "ask me"
    if new:
        assert seen["listed"] == [True]


def left_and_followed(seen):
    assert seen["cancelled"] == CANCELED
    assert seen["followed"][0][0] == "task"
    assert seen["followed"][-1] == ["statusUpdate", CANCELED]


def pushed(seen, *, new):
    assert seen["config"] == [True, True]
    assert {token for token, _ in seen["pushed"]} == {"t-1"}
    assert "TASK_STATE_COMPLETED" in json.dumps(seen["pushed"][-1])
    if new:
        assert (seen["configs"], seen["configsLeft"]) == (1, 0)
