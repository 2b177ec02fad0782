"""A push URL that would make the node speak to what only the node can reach is refused, twice."""

import json

import anyio
import httpx
import pytest

from hive.core.settings import Settings
from hive.engines import load_migrations
from hive.testing.a2a_door import OPERATOR_TOKEN, open_door
from hive.testing.loopback import serve_app
from hive_a2a.push.screen import DestinationScreen, Unfit, public
from hive_a2a.push.sign import SeenInMemory, VerifiedNotification, verify_notification

pytestmark = pytest.mark.anyio
HEADERS = {"authorization": f"Bearer {OPERATOR_TOKEN}", "a2a-version": "1.0"}


@pytest.fixture
def migrations():
    return [*load_migrations("hive.security"), *load_migrations("hive.protocols.a2a")]


@pytest.fixture
async def http(anyio_backend):
    async with httpx.AsyncClient(timeout=10) as http:
        yield http


class Receiver:
    """A client's own server: keeps what it was told, and answers with what a test says."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.told = []
        self.bodies = []
        self.more = anyio.Event()

    async def __call__(self, scope, receive, send):
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        self.bodies.append(body)
        self.told.append((dict(scope["headers"]), json.loads(body)))
        self.more.set()
        self.more = anyio.Event()
        status = self.statuses.pop(0) if self.statuses else 200
        headers = [(b"location", b"http://127.0.0.1:1/stolen")] if status == 302 else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def until(self, count):
        with anyio.fail_after(30):
            while len(self.told) < count:
                await self.more.wait()


def sending(url, **more):
    config = {"url": url, **more}
    return {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "SendMessage",
        "params": {
            "message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]},
            "configuration": {"taskPushNotificationConfig": config},
        },
    }


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/",
        "https://127.0.0.1:5432/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://10.0.0.1/",
        "https://192.168.1.1/",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://localhost/",
        "https://[fe80::1]/",
        "https://224.0.0.1/",
        "https://user:secret@example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "https://example.com/\r\nX-Injected: 1",
        "https:///nothing",
        "https://example.com:0/",
        "",
    ],
)
async def test_a_push_url_into_the_nodes_own_network_is_refused(http, database, url):
    async with open_door(database, settings=Settings()) as door:
        answer = await http.post(door.agent("echo"), json=sending(url), headers=HEADERS)
        assert answer.json()["error"]["code"] == -32602
        assert not door.gate.attempts
        assert not await database.fetch("SELECT * FROM push_config")


def test_public_addresses_are_told_from_the_others():
    assert public("93.184.216.34")
    assert public("2606:2800:220:1:248:1893:25c8:1946")
    assert not public("fc00::1")
    assert not public("nonsense")


async def test_a_name_that_turned_private_after_registration_is_refused_at_delivery(http, database):
    receiver = Receiver()
    async with serve_app(receiver) as target, open_door(database) as door:
        # Registered while the address passed; by the time of the delivery it no longer does.
        door.door.push.screen = DestinationScreen(allow_private=False)
        answer = await http.post(door.agent("echo"), json=sending(target), headers=HEADERS)
        task = answer.json()["result"]["task"]["id"]
        [config] = await door.door.push_configs.of_task(task)
        assert isinstance(await door.door.push.screen.look(config.url), Unfit)
        await door.door.push.tell(await door.gate.task(door.gate.attempts[0].principal, task))
        assert not receiver.told


async def test_every_change_of_a_task_is_told_with_the_clients_own_secrets(http, database):
    receiver = Receiver()
    secret = {"scheme": "Bearer", "credentials": "client-secret"}
    async with serve_app(receiver) as target, open_door(database) as door:
        body = sending(target + "/hook?x=1", token="t-1", authentication=secret)
        await http.post(door.agent("streamer"), json=body, headers=HEADERS)
        with anyio.fail_after(30):
            while not any("TASK_STATE_COMPLETED" in json.dumps(told) for _, told in receiver.told):
                await receiver.more.wait()
        headers, first = receiver.told[0]
        assert headers[b"authorization"] == b"Bearer client-secret"
        assert headers[b"x-a2a-notification-token"] == b"t-1"
        assert set(first) <= {"task", "statusUpdate", "artifactUpdate"}
        kept = await database.fetch("SELECT sealed FROM push_config")
        assert b"client-secret" not in kept[0]["sealed"]


async def test_a_notification_is_the_nodes_own_or_does_not_verify(http, database):
    receiver = Receiver()
    async with serve_app(receiver) as target, open_door(database) as door:
        await http.post(door.agent("echo"), json=sending(target + "/hook"), headers=HEADERS)
        await receiver.until(1)
        keys = (await http.get(door.url + "/.well-known/jwks.json")).json()
    told = {name.decode(): value.decode() for name, value in receiver.told[0][0].items()}
    body = receiver.bodies[0]

    def verified(body, url="/hook", headers=told, seen=None):
        return isinstance(
            verify_notification(
                headers, body, jwks=keys, url=target + url, seen=seen or SeenInMemory()
            ),
            VerifiedNotification,
        )

    once = SeenInMemory()
    assert verified(body, seen=once)
    assert not verified(body, seen=once)
    assert not verified(body.replace(b"COMPLETED", b"FAILED"))
    assert not verified(body, url="/other")
    assert not verified(body, headers={})


async def test_a_receiver_that_fails_is_tried_again_and_then_left(http, database):
    receiver = Receiver(500, 503, 200)
    async with serve_app(receiver) as target, open_door(database) as door:
        door.door.push.pause_s = 0.0
        answer = await http.post(door.agent("echo"), json=sending(target), headers=HEADERS)
        task = await door.gate.task(
            door.gate.attempts[0].principal, answer.json()["result"]["task"]["id"]
        )
        before = len(receiver.told)
        receiver.statuses = [500] * 100
        await door.door.push.tell(task)
        assert len(receiver.told) - before <= 3 + 3
        receiver.statuses = [302]
        before = len(receiver.told)
        await door.door.push.tell(task)
        assert len(receiver.told) == before + 1


async def test_push_configurations_are_kept_listed_replaced_and_forgotten(http, database):
    async with open_door(database) as door:

        async def rpc(method, **params):
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            answer = await http.post(door.agent("asker"), json=body, headers=HEADERS)
            return answer.json()

        sent = await rpc("SendMessage", **sending("http://127.0.0.1:9/a")["params"])
        task = sent["result"]["task"]["id"]
        made = await rpc(
            "CreateTaskPushNotificationConfig", taskId=task, id="mine", url="http://127.0.0.1:9/b"
        )
        assert made["result"]["id"] == "mine"
        await rpc(
            "CreateTaskPushNotificationConfig", taskId=task, id="mine", url="http://127.0.0.1:9/c"
        )
        found = await rpc("GetTaskPushNotificationConfig", taskId=task, id="mine")
        assert found["result"]["url"] == "http://127.0.0.1:9/c"
        listed = await rpc("ListTaskPushNotificationConfigs", taskId=task)
        assert len(listed["result"]["configs"]) == 2
        for number in range(20):
            last = await rpc(
                "CreateTaskPushNotificationConfig",
                taskId=task,
                id=f"n-{number}",
                url="http://127.0.0.1:9/d",
            )
        assert last["error"]["code"] == -32602
        await rpc("DeleteTaskPushNotificationConfig", taskId=task, id="mine")
        gone = await rpc("GetTaskPushNotificationConfig", taskId=task, id="mine")
        assert gone["error"]["code"] == -32001
