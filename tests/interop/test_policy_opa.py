"""The same bundle and the same questions, asked of a real OPA server: the same decisions, or a stricter one.

GOBIN=~/.cache/hive-peers/bin go install github.com/open-policy-agent/opa@v1.22.2
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from tests.policy_corpus import bundles, generated
from tests.policy_rig import PolicyRoom, lay_out, question

from hive.security.policy.standing import shipped_bundle
from hive.testing.node_process import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.peers]
OPA = Path.home() / ".cache" / "hive-peers" / "bin" / "opa"
QUESTIONS = 600
WAIT_S = 60


@pytest.fixture(autouse=True)
def there_is_an_opa():
    if not OPA.exists():
        pytest.skip(f"no OPA at {OPA}: see the head of this module")


@contextmanager
def opa(folder: Path | None, port: int) -> Iterator[str]:
    command = [str(OPA), "run", "--server", f"--addr=127.0.0.1:{port}", "--log-level=error"]
    command += [] if folder is None else ["--bundle", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
        try:
            yield f"opa:http://127.0.0.1:{port}"
        finally:
            server.kill()


async def answers(url: str) -> None:
    async with httpx.AsyncClient() as http:
        with anyio.fail_after(WAIT_S):
            while True:
                try:
                    await http.get(f"{url.partition(':')[2]}/health")
                except httpx.TransportError:
                    await anyio.sleep(0.05)
                else:
                    return


def every_bundle():
    return {"shipped": shipped_bundle(), **bundles()}


@pytest.mark.parametrize("name", ["shipped", "features", "everywhere", "hundred"])
async def test_opa_and_regorus_decide_alike(tmp_path, name):
    bundle = every_bundle()[name]
    here = PolicyRoom(tmp_path / "here")
    await here.policy.open()
    if name != "shipped":
        await here.put(bundle)
    there = lay_out(bundle, tmp_path / "bundle")
    with opa(there, free_port()) as url:
        await answers(url)
        room = PolicyRoom(tmp_path / "there", policy_url=url, policy_timeout_s=30.0)
        await room.policy.open()
        seen = {"allowed": 0, "refused": 0, "faults": 0, "stricter": 0}
        for asked in generated(QUESTIONS, seed=len(name)):
            own, other = await here.policy.decide(asked), await room.policy.decide(asked)
            if "some .. in collection" in own.fault:
                # OPA takes going through what is no collection for "no"; here it is an error, and so a refusal.
                seen["stricter"] += 1
                continue
            assert own.allow == other.allow, (asked, own, other)
            if own.fault or other.fault:
                seen["faults"] += 1
                continue
            assert own.reasons == other.reasons, asked
            assert own.obligations == other.obligations, asked
            seen["allowed" if own.allow else "refused"] += 1
        await room.policy.aclose()
    assert seen["stricter"] < QUESTIONS / 10, seen
    assert seen["allowed"] > 20, seen
    assert seen["refused"] > 20, seen


async def test_the_shipped_tests_pass_on_opa(tmp_path):
    folder = lay_out(shipped_bundle(), tmp_path / "bundle")
    done = subprocess.run(
        [OPA, "test", "--bundle", folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS: 18/18" in done.stdout
    strict = subprocess.run(
        [OPA, "check", "--strict", "--bundle", folder], capture_output=True, text=True, check=False
    )
    assert strict.returncode == 0, strict.stdout + strict.stderr


async def test_an_opa_without_rules_means_no(tmp_path):
    with opa(None, free_port()) as url:
        await answers(url)
        room = PolicyRoom(tmp_path, policy_url=url, policy_timeout_s=30.0)
        await room.policy.open()
        found = await room.policy.decide(question())
        assert not found.allow
        assert "undefined" in found.fault
        await room.policy.aclose()


async def test_an_opa_that_is_gone_means_no(tmp_path):
    room = PolicyRoom(tmp_path, policy_url=f"opa:http://127.0.0.1:{free_port()}")
    await room.policy.open()
    found = await room.policy.decide(question())
    assert not found.allow
    assert "cannot be reached" in found.fault
    assert room.names() == ["policy.loaded", "policy.fault"]
    await room.policy.aclose()
