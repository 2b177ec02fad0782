"""A server over time: new keys, a restart, a kill in the middle of a call, two servers with the same keys."""

import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from a2a.types import a2a_pb2 as pb

from hive_a2a.cards.keys import AgentKeys
from hive_a2a.client import SecureA2AClient
from hive_a2a.policy import Policy, PushLimits
from hive_a2a.ports import Stage
from hive_a2a.push.sign import (
    SIGNATURE_HEADER,
    SeenInMemory,
    VerifiedNotification,
    verify_notification,
)
from hive_a2a.server import SecureA2AServer
from hive_a2a.stages.audit_verify import verify
from tests.attacks.test_sdk_push import receiving
from tests.server_rig import FREE, NEW, SECURE, card_for, free_port, params_of, secure, sending
from tests.wire_rig import EchoAgent

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return ("asyncio", {"use_uvloop": False})


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HIVE_A2A_HOME", str(tmp_path / "home"))


async def send(client, text: str = "hello") -> list:
    said = pb.SendMessageRequest()
    said.message.message_id, said.message.role = "m", pb.ROLE_USER
    said.message.parts.add(text=text)
    return [one async for one in client.send_message(said)]


async def test_new_keys_while_clients_are_connected(tmp_path):
    async with secure(tmp_path / "s", authenticators=[], audit=None) as ours:
        audited_by = ours.server.audit_key
        for binding in NEW:
            async with SecureA2AClient.connect(ours.url, bindings=[binding]) as client:
                assert await send(client)
                before = ours.server.served.keys
                ours.server.rotate_keys()
                assert ours.server.served.keys.noise.public != before.noise.public
                assert ours.server.served.keys.epoch == before.epoch + 1
                assert await send(client), "the session by the old key goes on"
            async with SecureA2AClient.connect(ours.url, bindings=[binding]) as client:
                assert await send(client), "the pin follows the card that old and new keys signed"
        assert ours.server.audit_key == audited_by
        folder = ours.server.audit_folder
    assert not verify(folder, audited_by).problem


async def test_notifications_are_signed_by_the_new_key(tmp_path):
    policy = Policy(rate=FREE, push=PushLimits(private=True))
    async with receiving() as hook, secure(tmp_path, policy=policy) as ours:
        kids = []
        for count in (1, 2):
            task = (await ours.ask("JSONRPC", "SendMessage", sending("wait"), name="ann")).task
            method = "CreateTaskPushNotificationConfig"
            asked = {**params_of(method, task), "url": hook.url}
            assert (await ours.ask("JSONRPC", method, asked, name="ann")).ok
            assert (await ours.ask("JSONRPC", "CancelTask", {"id": task}, name="ann")).ok
            await hook.until(count)
            head, body = hook.requests[-1]
            lines = [one.decode().partition(": ") for one in head.split(b"\r\n")[1:]]
            headers = {name: value for name, _, value in lines}
            assert SIGNATURE_HEADER.lower() in {name.lower() for name in headers}
            found = verify_notification(
                headers,
                body,
                jwks=ours.server.served.keys.key_set(),
                url=hook.url,
                seen=SeenInMemory(),
            )
            assert isinstance(found, VerifiedNotification), found
            kids.append(found.kid)
            ours.server.rotate_keys()
        assert kids[0] != kids[1]


async def test_a_server_that_began_again_is_the_same_to_its_clients(tmp_path):
    port, grpc_port = free_port(), free_port()
    for number in range(2):
        server = SecureA2AServer(
            card_for(port, grpc_port), EchoAgent(), policy=SECURE, folder=tmp_path / "s"
        )
        async with server.serving(port=port, grpc_port=grpc_port):
            for binding in NEW:
                async with SecureA2AClient.connect(
                    f"http://127.0.0.1:{port}", bindings=[binding]
                ) as client:
                    assert await send(client)
        found = verify(server.audit_folder, server.audit_key)
        assert not found.problem
        assert found.entries >= 6 * (number + 1)


async def test_two_servers_with_the_same_keys(tmp_path):
    keys = AgentKeys.ephemeral()
    port = free_port()
    card = card_for(port, free_port())
    one = SecureA2AServer(card, EchoAgent(), policy=SECURE, keys=keys, folder=tmp_path / "1")
    two = SecureA2AServer(card, EchoAgent(), policy=SECURE, keys=keys, folder=tmp_path / "2")
    async with one.serving(port=port):  # its end cuts the client's connection
        client = await SecureA2AClient.connect(f"http://127.0.0.1:{port}")
        assert await send(client)
    # The next request reaches the other one, which knows nothing of the session: one handshake heals it.
    async with two.serving(port=port):
        assert await send(client)
        await client.close()


CHILD = """
import sys, anyio
from pathlib import Path
sys.path.insert(0, {root!r})
from hive_a2a.server import SecureA2AServer
from tests.server_rig import SECURE, card_for
from tests.wire_rig import EchoAgent, WordAuthenticator

class Slow(EchoAgent):
    async def execute(self, context, event_queue):
        if context.get_user_input() == "slow":
            print("working", flush=True)
            await anyio.sleep_forever()
        await super().execute(context, event_queue)

server = SecureA2AServer(card_for({port}, {grpc_port}), Slow(), policy=SECURE,
                         authenticators=[WordAuthenticator()], folder=Path({folder!r}))
import logging
class Told(logging.Handler):
    def emit(self, record):
        if record.getMessage() == "server.ready":
            print("server.ready", flush=True)
logging.getLogger("hive_a2a").addHandler(Told())
logging.getLogger("hive_a2a").setLevel("INFO")
server.run(port={port}, grpc_port={grpc_port})
"""


def child(tmp_path, port, grpc_port):
    root = str(Path.cwd())
    code = CHILD.format(root=root, port=port, grpc_port=grpc_port, folder=str(tmp_path / "s"))
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


async def line_of(process) -> str:
    with anyio.fail_after(30):
        return (await anyio.to_thread.run_sync(process.stdout.readline)).strip()


async def test_a_server_that_is_killed_in_the_middle_of_a_call(tmp_path):
    from tests.server_rig import Place

    place = Place(free_port(), free_port(), EchoAgent())
    process = child(tmp_path, place.port, place.grpc_port)
    try:
        assert await line_of(process) == "server.ready"
        done = await place.ask("JSONRPC", "SendMessage", sending(), name="ann")
        assert done.ok
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(broken_call, place)
            assert await line_of(process) == "working"
            process.send_signal(signal.SIGKILL)
            process.wait()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    server = SecureA2AServer(
        card_for(place.port, place.grpc_port), EchoAgent(), policy=SECURE, folder=tmp_path / "s"
    )
    async with (
        server.serving(port=place.port, grpc_port=place.grpc_port),
        SecureA2AClient.connect(place.url) as client,
    ):
        assert await send(client)
    found = verify(server.audit_folder, server.audit_key)
    assert not found.problem, found
    text = b"".join(
        one.read_bytes() for one in sorted(server.audit_folder.glob("*")) if one.is_file()
    )
    assert text.count(b'"kind":"attempt"') == 3
    assert text.count(b'"kind":"outcome"') == 2, (
        "the call that was cut has an attempt and no outcome"
    )


async def broken_call(place) -> None:
    import httpx

    with pytest.raises(httpx.HTTPError):
        await place.ask("JSONRPC", "SendMessage", sending("slow"), name="ann")


async def test_a_server_that_is_interrupted_ends_at_once(tmp_path):
    port = free_port()
    process = child(tmp_path, port, free_port())
    try:
        assert await line_of(process) == "server.ready"
        process.send_signal(signal.SIGINT)
        with anyio.fail_after(15):
            assert await anyio.to_thread.run_sync(process.wait) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("stage", list(Stage))
async def test_a_stage_that_is_off_shows_in_card_and_record(tmp_path, stage):
    policy = SECURE.without(stage)
    async with secure(tmp_path, policy=policy) as ours:
        word = f"off:{stage}"
        [told] = [
            one
            for one in ours.server.card.capabilities.extensions
            if one.uri == "urn:hive-a2a:policy:1"
        ]
        assert word in list(told.params["weakened"])
        sealed = stage is Stage.AUTHENTICATION  # who knows no other way requires Noise
        for binding in NEW:
            got = await ours.ask(binding, "SendMessage", sending(), name="ann")
            assert got.ok is not sealed, got
        if stage is not Stage.AUDIT and not sealed:
            assert len(ours.records()) == 6
            assert all(word in one.weakened for one in ours.records())
        if stage is Stage.AUDIT:
            assert ours.records() == []
