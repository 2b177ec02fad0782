"""A webhook is a request that a stranger lets the agent send: every way to aim it inwards, or to hold the agent up.

Each attack is first shown to work against the official sender, or against a receiver that checks nothing.
"""

import json
import socket
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest
from a2a.server.context import ServerCallContext
from a2a.server.tasks.base_push_notification_sender import BasePushNotificationSender
from a2a.server.tasks.inmemory_push_notification_config_store import (
    InMemoryPushNotificationConfigStore,
)
from a2a.types.a2a_pb2 import (
    AuthenticationInfo,
    Task,
    TaskPushNotificationConfig,
    TaskState,
    TaskStatus,
)
from a2a.utils.errors import InvalidParamsError
from a2a.utils.push_url_validator import validate_push_notification_url

from hive_a2a.cards.sign import SigningKey
from hive_a2a.policy import PushLimits
from hive_a2a.push import deliver as delivery
from hive_a2a.push.configs import SafePushConfigStore, push_url_validator
from hive_a2a.push.screen import DestinationScreen, Unfit, public
from hive_a2a.push.sender import SafePushSender
from hive_a2a.push.sign import (
    SIGNATURE_HEADER,
    NotificationSigner,
    SeenInMemory,
    Unverified,
    VerifiedNotification,
    verify_notification,
)

pytestmark = pytest.mark.anyio
PUBLIC = "93.184.216.34"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
TASK = Task(id="t", context_id="c", status=TaskStatus(state=TaskState.TASK_STATE_COMPLETED))


@pytest.fixture
def anyio_backend():
    # The machine's own resolver is replaced in Python, which uvloop does not pass through.
    return ("asyncio", {"use_uvloop": False})


class WebhookReceiver:
    """A raw TCP server that notes what it was sent and answers what the test says."""

    def __init__(self, answer=OK):
        self.answer = answer
        self.requests = []
        self.arrived = anyio.Event()
        self.sent_bytes = 0
        self.url = ""

    async def serve_one(self, stream):
        async with stream:
            try:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += await stream.receive()
                head, _, body = data.partition(b"\r\n\r\n")
                [size] = [
                    int(line.partition(b":")[2])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                ]
                while len(body) < size:
                    body += await stream.receive()
                self.requests.append((head, body))
                self.arrived.set()
                self.arrived = anyio.Event()
                if callable(self.answer):
                    await self.answer(self, stream)
                else:
                    await stream.send(self.answer)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass

    async def until(self, count):
        with anyio.fail_after(10):
            while len(self.requests) < count:
                await self.arrived.wait()


@asynccontextmanager
async def receiving(answer=OK):
    receiver = WebhookReceiver(answer)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    receiver.url = f"http://127.0.0.1:{port}/hook"
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, receiver.serve_one)
        yield receiver
        tasks.cancel_scope.cancel()


async def stored(*configs):
    store = InMemoryPushNotificationConfigStore()
    for config in configs:
        await store.set_info("t", config, ServerCallContext())
    return store


def private_sender(store, **more):
    more.setdefault("limits", PushLimits(private=True, timeout_s=5))
    return SafePushSender(store, pause_s=0.0, **more)


INWARD = [
    "https://169.254.169.254/latest/meta-data/",
    "http://169.254.169.254/latest/meta-data/",
    "https://[fd00:ec2::254]/",
    "https://metadata.test/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://0/",
    "https://localhost/",
    "https://localhost./",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://198.18.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[::]/",
    "https://[::1]/",
    "https://[::127.0.0.1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:7f00:1::]/",
    "https://[fe80::1]/",
    "https://[fc00::1]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[3fff::1]/",
    "https://224.0.0.1/",
    "https://user:word@example.com/",
    "https://example.com@127.0.0.1/",
    "https://example.com\\@127.0.0.1/",
    "https://example.com/\r\nX: 1",
    "https://example.com/ HTTP/1.1",
    "https://exämple.com/",
    "https:///x",
    "https://example.com:0/",
    "https://example.com:99999/",
    "https://[::1/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "//example.com/",
    "example.com",
    "",
    "https://example.com/" + "x" * 3000,
]


@pytest.fixture
def names(monkeypatch):
    """Answer for names of the domain .test; everything else is asked as ever."""
    known = {"metadata.test": ["169.254.169.254"]}
    asked = []
    real = socket.getaddrinfo

    def answer(host, port, *args, **more):
        host = host.decode() if isinstance(host, bytes) else host
        if not str(host).endswith(".test"):
            return real(host, port, *args, **more)
        asked.append(host)
        answers = known[host]
        address = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port or 0)))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    known["asked"] = asked
    return known


@pytest.mark.parametrize("url", INWARD)
async def test_a_webhook_that_leads_inwards_is_refused_and_not_kept(names, url):
    context = ServerCallContext()
    config = TaskPushNotificationConfig(url=url)
    plain = InMemoryPushNotificationConfigStore()
    await plain.set_info("t", config, context)
    assert await plain.get_info("t", context), "the official store keeps it"

    safe = SafePushConfigStore(InMemoryPushNotificationConfigStore())
    with pytest.raises(InvalidParamsError):
        await safe.set_info("t", config, context)
    assert not await safe.get_info("t", context)
    assert not await push_url_validator(DestinationScreen())(url)


async def test_an_inward_address_inside_6to4_passes_the_official_screen_and_not_this_one():
    hidden = "https://[2002:7f00:1::]/"
    assert await validate_push_notification_url(hidden)
    assert isinstance(await DestinationScreen().look(hidden), Unfit)
    assert public("2606:2800:220:1:248:1893:25c8:1946")
    assert not public("nonsense")


async def test_one_inward_address_among_many_is_enough_to_refuse():
    async def both(host, port):
        return [PUBLIC, "10.0.0.1"]

    assert isinstance(await DestinationScreen(resolve=both).look("https://a.test/"), Unfit)


async def test_a_name_that_changes_its_answer_between_the_look_and_the_connection_gains_nothing(
    names, monkeypatch
):
    async with receiving() as inside:
        port = inside.url.split(":")[2].split("/")[0]
        url = f"http://rebind.test:{port}/hook"
        # The official sender asks its screen, and then the HTTP client resolves once more.
        names["rebind.test"] = [PUBLIC, "127.0.0.1"]
        store = await stored(TaskPushNotificationConfig(id="a", url=url))
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            official = BasePushNotificationSender(
                client, store, push_url_validator=validate_push_notification_url
            )
            await official.send_notification("t", TASK)
        assert len(inside.requests) == 1, "the attack works against the official sender"

        names["rebind.test"] = [PUBLIC, "127.0.0.1"]
        names["asked"].clear()
        connected = []
        done = anyio.Event()

        async def connect(address, port, **more):
            connected.append(address)
            done.set()
            raise ConnectionRefusedError

        monkeypatch.setattr(delivery, "connect_tcp", connect)
        store = await stored(TaskPushNotificationConfig(id="a", url=url.replace("http", "https")))
        sender = SafePushSender(store, limits=PushLimits(tries_max=1))
        async with sender.running():
            await sender.send_notification("t", TASK)
            with anyio.fail_after(5):
                await done.wait()
        assert connected == [PUBLIC]
        assert names["asked"] == ["rebind.test"]
        assert len(inside.requests) == 1


async def test_a_name_that_turned_inward_after_registration_is_refused_at_delivery(names):
    names["turns.test"] = [PUBLIC, "127.0.0.1"]
    kept = InMemoryPushNotificationConfigStore()
    config = TaskPushNotificationConfig(id="a", url="https://turns.test/")
    await SafePushConfigStore(kept).set_info("t", config, ServerCallContext())
    sender = SafePushSender(kept)
    async with sender.running():
        await sender.send_notification("t", TASK)
        with anyio.fail_after(5):
            while not sender.counts.given_up:
                await anyio.lowlevel.checkpoint()
    assert sender.counts.refused == 1


async def test_a_redirect_inwards_is_not_followed():
    async with receiving() as inside:
        moved = f"HTTP/1.1 307 Moved\r\nlocation: {inside.url}\r\ncontent-length: 0\r\n\r\n"
        async with receiving(moved.encode()) as outside:
            store = await stored(TaskPushNotificationConfig(id="a", url=outside.url))
            async with httpx.AsyncClient(follow_redirects=True, trust_env=False) as client:
                await BasePushNotificationSender(client, store).send_notification("t", TASK)
            assert len(inside.requests) == 1, "a client that follows is led inwards"

            sender = private_sender(store)
            async with sender.running():
                await sender.send_notification("t", TASK)
                await outside.until(2)
                with anyio.fail_after(5):
                    while not sender.counts.given_up:
                        await anyio.lowlevel.checkpoint()
            assert len(inside.requests) == 1
            assert len(outside.requests) == 2, "a redirect is an answer: nothing is tried again"


async def test_a_receiver_that_never_answers_holds_up_neither_the_agent_nor_other_receivers():
    async def silence(receiver, stream):
        await anyio.sleep_forever()

    async with receiving(silence) as slow, receiving() as quick:
        configs = [TaskPushNotificationConfig(id=f"s{n}", url=slow.url) for n in range(40)]
        configs.append(TaskPushNotificationConfig(id="q", url=quick.url))
        store = await stored(*configs)
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            with anyio.move_on_after(0.3) as patience:
                await BasePushNotificationSender(client, store).send_notification("t", TASK)
            assert patience.cancelled_caught, "the official sender waits, and the agent with it"
        before = len(quick.requests)

        sender = private_sender(store, limits=PushLimits(private=True, timeout_s=60))
        async with sender.running():
            with anyio.fail_after(2):
                await sender.send_notification("t", TASK)
                await quick.until(before + 1)
                while not sender.counts.sent:
                    await anyio.lowlevel.checkpoint()


async def test_an_endless_answer_is_not_read():
    async def endless(receiver, stream):
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(200):
            await stream.send(b"x" * 65_536)
            receiver.sent_bytes += 65_536

    async with receiving(endless) as receiver:
        store = await stored(TaskPushNotificationConfig(id="a", url=receiver.url))
        async with httpx.AsyncClient(trust_env=False) as client:
            await BasePushNotificationSender(client, store).send_notification("t", TASK)
        assert receiver.sent_bytes == 200 * 65_536, "the official sender reads all of it"
        receiver.sent_bytes = 0
        sender = private_sender(store)
        async with sender.running():
            await sender.send_notification("t", TASK)
            with anyio.fail_after(5):
                while not sender.counts.sent:
                    await anyio.lowlevel.checkpoint()
        assert receiver.sent_bytes < 100 * 65_536


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200" + b"x" * 20_000,
        b"\r\n" * 10_000,
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 \xff\xff\xff\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
    ],
)
async def test_an_answer_that_is_not_http_is_no_delivery(answer):
    async with receiving(answer) as receiver:
        store = await stored(TaskPushNotificationConfig(id="a", url=receiver.url))
        sender = private_sender(store)
        async with sender.running():
            await sender.send_notification("t", TASK)
            with anyio.fail_after(10):
                while not sender.counts.given_up:
                    await anyio.lowlevel.checkpoint()
        assert not sender.counts.sent


async def test_a_token_cannot_break_out_of_its_header():
    secret = AuthenticationInfo(scheme="Bearer", credentials="a\r\nX-Admin: 1")
    for config in (
        TaskPushNotificationConfig(url="https://93.184.216.34/", token="a\r\nX-Admin: 1"),
        TaskPushNotificationConfig(url="https://93.184.216.34/", authentication=secret),
        TaskPushNotificationConfig(url="https://93.184.216.34/", token="x" * 5000),
        TaskPushNotificationConfig(url="https://93.184.216.34/", id="x" * 300),
    ):
        kept = InMemoryPushNotificationConfigStore()
        with pytest.raises(InvalidParamsError):
            await SafePushConfigStore(kept).set_info("t", config, ServerCallContext())
    # The same that came into the store on another way.
    async with receiving() as receiver:
        store = await stored(
            TaskPushNotificationConfig(id="a", url=receiver.url, authentication=secret)
        )
        sender = private_sender(store)
        async with sender.running():
            await sender.send_notification("t", TASK)
            with anyio.fail_after(5):
                while not sender.counts.given_up:
                    await anyio.lowlevel.checkpoint()
        assert not receiver.requests


async def test_a_caller_cannot_register_more_webhooks_than_the_limit_even_at_once():
    kept = InMemoryPushNotificationConfigStore()
    context = ServerCallContext()
    configs = [
        TaskPushNotificationConfig(id=f"c{n}", url="https://93.184.216.34/") for n in range(40)
    ]
    for config in configs:
        await kept.set_info("other", config, context)
    assert len(await kept.get_info("other", context)) == 40, "the official store keeps any number"
    safe = SafePushConfigStore(kept)
    refused = []

    async def register(config):
        try:
            await safe.set_info("t", config, context)
        except InvalidParamsError as error:
            refused.append(error)

    async with anyio.create_task_group() as tasks:
        for config in configs:
            tasks.start_soon(register, config)
    assert len(await safe.get_info("t", context)) == 16
    assert len(refused) == 24


# What a receiver is told, and what an attacker makes of it.

URL = "https://client.example/hook"
KEY = SigningKey.make(kid="key-1")
JWKS = {"keys": [KEY.public.jwk()]}
BODY = b'{"statusUpdate":{"taskId":"t"}}'


def signed(body=BODY, url=URL, key=KEY):
    return {SIGNATURE_HEADER: NotificationSigner(key=key, issuer="https://agent").sign(url, body)}


def judged(headers, body=BODY, url=URL, seen=None, jwks=JWKS, issuer=None):
    return verify_notification(
        headers, body, jwks=jwks, url=url, seen=seen or SeenInMemory(), issuer=issuer
    )


def test_a_notification_that_nobody_signed_is_not_believed():
    # With the standard alone, whoever knows the URL and the token is believed.
    assert isinstance(judged({"X-A2A-Notification-Token": "known"}), Unverified)
    assert isinstance(judged(signed()), VerifiedNotification)


def test_a_recorded_notification_is_believed_once():
    headers, seen = signed(), SeenInMemory()
    assert isinstance(judged(headers, seen=seen), VerifiedNotification)
    assert isinstance(judged(headers, seen=seen), Unverified)
    assert isinstance(judged(headers), VerifiedNotification), "only the memory stops a replay"


def test_a_changed_notification_is_not_believed():
    assert isinstance(judged(signed(), body=BODY.replace(b'"t"', b'"u"')), Unverified)


def test_a_notification_for_another_receiver_is_not_believed():
    assert isinstance(judged(signed(url="https://other.example/hook")), Unverified)


def test_a_notification_by_another_key_of_the_same_name_is_not_believed():
    assert isinstance(judged(signed(key=SigningKey.make(kid="key-1"))), Unverified)


def test_a_key_set_with_two_keys_of_one_id_believes_neither():
    assert isinstance(
        judged(signed(), jwks={"keys": [KEY.public.jwk(), KEY.public.jwk()]}), Unverified
    )


def test_a_notification_by_another_agent_of_the_same_key_set_is_not_believed():
    assert isinstance(judged(signed(), issuer="https://somebody-else"), Unverified)


def test_the_algorithm_is_the_keys_and_never_the_senders_choice():
    import base64
    import hashlib
    import hmac

    def packed(value):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    claims = signed()[SIGNATURE_HEADER].split(".")[1]
    for algorithm in ("none", "HS256", "ES256", "RS256"):
        head = packed({"alg": algorithm, "kid": "key-1", "typ": "a2a-notification+jwt"})
        mac = hmac.digest(
            KEY.public.jwk()["x"].encode(), f"{head}.{claims}".encode(), hashlib.sha256
        )
        for signature in ("", packed(mac), packed(mac + mac)):
            assert isinstance(
                judged({SIGNATURE_HEADER: f"{head}.{claims}.{signature}"}), Unverified
            )
