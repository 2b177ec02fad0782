"""Push notifications that work: what is sent, in which order, how often, how it is signed and checked."""

import base64
import hashlib
import json
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

import anyio
import jwt
import pytest
from a2a.server.context import ServerCallContext
from a2a.server.tasks.inmemory_push_notification_config_store import (
    InMemoryPushNotificationConfigStore,
)
from a2a.types.a2a_pb2 import (
    AuthenticationInfo,
    Task,
    TaskPushNotificationConfig,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from anyio.streams.tls import TLSListener
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hive_a2a.cards.jwk import CardAlgorithm
from hive_a2a.cards.sign import SigningKey
from hive_a2a.policy import PushLimits
from hive_a2a.push import sender as sending
from hive_a2a.push.configs import SafePushConfigStore, push_url_validator
from hive_a2a.push.deliver import PostOutcome, deliver
from hive_a2a.push.screen import Destination, DestinationScreen, Unfit, resolve_host
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
OK = b"HTTP/1.1 200 OK\r\n\r\n"


class StoppedClock:
    """Time that stands where a test puts it."""

    def __init__(self):
        self.at = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self):
        return self.at

    def monotonic(self):
        return 0.0


class Hook:
    """A receiver that answers by a list, the last for ever, and notes what came."""

    def __init__(self, *answers):
        self.answers = list(answers) or [OK]
        self.told = []
        self.held = anyio.Event()
        self.held.set()

    async def __call__(self, stream):
        try:
            async with stream:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += await stream.receive()
                head, _, body = data.partition(b"\r\n\r\n")
                lines = dict(
                    line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:]
                )
                while len(body) < int(lines["content-length"]):
                    body += await stream.receive()
                self.told.append((head.decode(), lines, json.loads(body)))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                await self.held.wait()
                if answer:
                    await stream.send(answer)
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass


@asynccontextmanager
async def hooked(hook, tls=None):
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    served = listener if tls is None else TLSListener(listener, tls, standard_compatible=False)
    async with served, anyio.create_task_group() as tasks:
        tasks.start_soon(served.serve, hook)
        yield port
        tasks.cancel_scope.cancel()


async def stored(*configs, task="t"):
    store = InMemoryPushNotificationConfigStore()
    for config in configs:
        await store.set_info(task, config, ServerCallContext())
    return store


async def until(condition):
    with anyio.fail_after(10):
        while not condition():
            await anyio.lowlevel.checkpoint()


def change(number, task="t"):
    status = TaskStatus(state=TaskState.TASK_STATE_WORKING)
    return TaskStatusUpdateEvent(task_id=task, context_id=str(number), status=status)


def sender_of(store, **more):
    more.setdefault("limits", PushLimits(private=True, timeout_s=5))
    return SafePushSender(store, pause_s=0.0, **more)


async def test_changes_arrive_in_order_with_the_headers_of_the_standard():
    hook = Hook(b"HTTP/1.1 503 x\r\n\r\n", b"", OK)
    async with hooked(hook) as port:
        config = TaskPushNotificationConfig(
            id="a",
            url=f"http://127.0.0.1:{port}/hook?x=1",
            token="t-1",
            authentication=AuthenticationInfo(scheme="Bearer", credentials="secret"),
        )
        sender = sender_of(await stored(config))
        async with sender.running():
            for number in range(20):
                await sender.send_notification("t", change(number))
            await until(lambda: sender.counts.sent == 20)
    numbers = [int(told["statusUpdate"]["contextId"]) for _, _, told in hook.told]
    assert numbers == [0, 0, *range(20)], "tried three times, and nothing overtakes"
    head, lines, _ = hook.told[0]
    assert head.startswith("POST /hook?x=1 HTTP/1.1\r\n")
    assert lines["x-a2a-notification-token"] == "t-1"
    assert lines["authorization"] == "bearer secret"
    assert lines["content-type"] == "application/json"
    assert lines["host"] == f"127.0.0.1:{port}"
    assert "x-a2a-notification-signature" not in lines


async def test_a_scheme_without_credentials_sends_no_authorization():
    hook = Hook()
    async with hooked(hook) as port:
        url = f"http://127.0.0.1:{port}"
        config = TaskPushNotificationConfig(
            id="a", url=url, authentication=AuthenticationInfo(scheme="Bearer")
        )
        sender = sender_of(await stored(config))
        async with sender.running():
            await sender.send_notification("t", Task(id="t"))
            await until(lambda: sender.counts.sent)
    assert "authorization" not in hook.told[0][1]
    assert hook.told[0][2] == {"task": {"id": "t"}}


async def test_every_try_carries_the_same_signature_and_the_receiver_believes_it_once():
    hook = Hook(b"HTTP/1.1 500 x\r\n\r\n", OK)
    key = SigningKey.make(kid="k")
    signer = NotificationSigner(key=key, issuer="https://agent.example")
    bodies = []
    async with hooked(hook) as port:
        url = f"http://127.0.0.1:{port}/"
        sender = sender_of(await stored(TaskPushNotificationConfig(id="a", url=url)), signer=signer)
        async with sender.running():
            await sender.send_notification("t", change(1))
            await until(lambda: sender.counts.sent)
    for head, _, told in hook.told:
        [line] = [one for one in head.split("\r\n") if one.startswith(SIGNATURE_HEADER.lower())]
        body = json.dumps(told, separators=(",", ":")).encode()
        bodies.append(({SIGNATURE_HEADER: line.split(": ")[1]}, body))
    seen = SeenInMemory()
    answers = [
        verify_notification(headers, body, jwks={"keys": [key.public.jwk()]}, url=url, seen=seen)
        for headers, body in bodies
    ]
    assert [type(answer) for answer in answers] == [VerifiedNotification, Unverified]


@pytest.mark.parametrize(("status", "tries"), [(400, 1), (302, 1), (429, 3), (408, 3), (500, 3)])
async def test_only_what_may_go_well_later_is_tried_again(status, tries):
    hook = Hook(b"HTTP/1.1 %d x\r\n\r\n" % status)
    async with hooked(hook) as port:
        url = f"http://127.0.0.1:{port}"
        sender = sender_of(await stored(TaskPushNotificationConfig(id="a", url=url)))
        async with sender.running():
            await sender.send_notification("t", change(1))
            await until(lambda: sender.counts.given_up)
            assert len(hook.told) == tries
            await sender.send_notification("t", change(2))
            await until(lambda: sender.counts.given_up == 2)
            # A receiver that was away is asked once, until something arrives.
            assert len(hook.told) == tries + 1
            hook.answers = [OK]
            await sender.send_notification("t", change(3))
            await until(lambda: sender.counts.sent)


async def test_a_full_lane_drops_its_oldest_and_counts_it(monkeypatch):
    monkeypatch.setattr(sending, "LANE_MAX", 3)
    hook = Hook()
    hook.held = anyio.Event()
    async with hooked(hook) as port:
        url = f"http://127.0.0.1:{port}"
        sender = sender_of(await stored(TaskPushNotificationConfig(id="a", url=url)))
        async with sender.running():
            await sender.send_notification("t", change(0))
            await until(lambda: hook.told)
            for number in range(1, 11):
                await sender.send_notification("t", change(number))
            assert sender.counts.dropped == 7
            hook.held.set()
            await until(lambda: sender.counts.sent == 4)
    assert [told["statusUpdate"]["contextId"] for _, _, told in hook.told] == ["0", "8", "9", "10"]


async def test_more_bytes_than_may_wait_are_dropped(monkeypatch):
    monkeypatch.setattr(sending, "QUEUED_MAX_BYTES", 10)
    sender = sender_of(await stored(TaskPushNotificationConfig(id="a", url="http://127.0.0.1:1")))
    async with sender.running():
        await sender.send_notification("t", change(0))
        assert sender.counts.dropped == 1


async def test_a_lane_that_was_emptied_while_it_waited_for_a_worker_costs_nothing(monkeypatch):
    sender = sender_of(await stored(TaskPushNotificationConfig(id="a", url="http://127.0.0.1:1")))
    for number in range(sending.LANES_PER_RECEIVER):
        await sender.send_notification("t", change(number))
    monkeypatch.setattr(sending, "QUEUED_MAX_BYTES", 0)
    await sender.send_notification("t", change(9))
    assert sender.counts.dropped == sending.LANES_PER_RECEIVER + 1
    monkeypatch.setattr(sending, "QUEUED_MAX_BYTES", 1 << 20)
    async with sender.running():
        await anyio.wait_all_tasks_blocked()
        await sender.send_notification("t", change(10))
        await until(lambda: sender.counts.given_up)


async def test_lanes_are_bounded_and_an_idle_one_makes_room(monkeypatch):
    monkeypatch.setattr(sending, "LANES_MAX", 1)
    hook, away = Hook(), Hook(b"HTTP/1.1 500 x\r\n\r\n")
    async with hooked(hook) as port, hooked(away) as away_port:
        store = await stored(
            TaskPushNotificationConfig(id="away", url=f"http://127.0.0.1:{away_port}")
        )
        sender = sender_of(store)
        async with sender.running():
            await sender.send_notification("t", change(0))
            await until(lambda: sender.counts.given_up)
            config = TaskPushNotificationConfig(id="b", url=f"http://127.0.0.1:{port}")
            await store.set_info("u", config, ServerCallContext())
            await sender.send_notification("u", change(1, "u"))
            assert sender.counts.dropped == 0
            await sender.send_notification("t", change(2))
            assert sender.counts.dropped == 1
            await until(lambda: sender.counts.sent == 1)


async def test_what_waits_when_sending_ends_is_lost_and_sending_can_begin_again():
    hook = Hook()
    async with hooked(hook) as port:
        url = f"http://127.0.0.1:{port}"
        sender = sender_of(await stored(TaskPushNotificationConfig(id="a", url=url)))
        await sender.send_notification("t", change(0))
        async with sender.running():
            pass
        assert sender.counts.dropped + sender.counts.sent <= 1
        async with sender.running():
            await sender.send_notification("t", change(1))
            await until(lambda: hook.told and sender.counts.sent)
        assert hook.told[-1][2]["statusUpdate"]["contextId"] == "1"


class BrokenStore(InMemoryPushNotificationConfigStore):
    async def get_info_for_dispatch(self, task_id):
        raise RuntimeError("the database is away")


async def test_a_store_that_fails_does_not_fail_the_task(caplog):
    sender = sender_of(BrokenStore())
    await sender.send_notification("t", change(0))
    assert "push.configs_unreadable" in caplog.text
    quiet = sender_of(await stored())
    await quiet.send_notification("t", change(0))
    assert quiet.counts.dropped == 0


async def test_a_delivery_that_crashes_does_not_end_its_worker(caplog):
    async def broken(host, port):
        raise RuntimeError("a resolver of somebody's own")

    screen = DestinationScreen(allow_private=True, resolve=broken)
    configs = await stored(
        TaskPushNotificationConfig(id="a", url="http://127.0.0.1:1"),
        TaskPushNotificationConfig(id="b", url="http://[::1"),
    )
    sender = sender_of(configs, screen=screen)
    async with sender.running():
        await sender.send_notification("t", change(0))
        await until(lambda: sender.counts.given_up == 2)
    assert "push.failed" in caplog.text


async def test_no_try_is_made_where_the_limit_is_none():
    configs = await stored(TaskPushNotificationConfig(id="a", url="http://127.0.0.1:1"))
    sender = sender_of(configs, limits=PushLimits(private=True, tries_max=0))
    async with sender.running():
        await sender.send_notification("t", change(0))
        await until(lambda: sender.counts.given_up == 1)


# One delivery


@pytest.fixture(scope="module")
def authority():
    """Return a context for a server called hook.test, and one for a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hook.test")])
    names = x509.SubjectAlternativeName(
        [x509.DNSName("hook.test"), x509.IPAddress(ip_address("127.0.0.2"))]
    )
    usage = x509.KeyUsage(*[True, *[False] * 4, True, True, *[False] * 2])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))  # noqa: TID251
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))  # noqa: TID251
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


@pytest.fixture
def contexts(authority, tmp_path):
    key, certificate = authority
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "both.pem").write_bytes(pem + secret)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "both.pem")
    return server, ssl.create_default_context(cadata=pem.decode())


def at(port, *, scheme="https", host="hook.test", addresses=("127.0.0.1",)):
    return Destination(scheme=scheme, host=host, port=port, target="/", addresses=addresses)


async def test_the_certificate_is_checked_against_the_name_and_not_the_address(contexts):
    server, client = contexts
    hook = Hook()
    async with hooked(hook, server) as port:
        assert (await deliver(at(port), b"{}", {}, tls=client)).done
        assert (await deliver(at(port, host="hook.test."), b"{}", {}, tls=client)).done
        other = await deliver(at(port, host="other.test"), b"{}", {}, tls=client)
        assert "certificate" in other.reason
        assert not other.done
        strange = await deliver(at(port), b"{}", {})
        assert "certificate" in strange.reason, "the machine's own roots do not know it"
    assert len(hook.told) == 2


async def test_the_next_address_is_tried_where_one_does_not_answer():
    hook = Hook()
    async with hooked(hook) as port:
        to = at(port, scheme="http", addresses=("127.0.0.9", "127.0.0.1"))
        assert (await deliver(to, b"{}", {})).done
        beyond = at(port, scheme="http", addresses=("127.0.0.9",) * 3 + ("127.0.0.1",))
        gone = await deliver(beyond, b"{}", {})
        assert not gone.done
        assert gone.worth_another_try
        none = await deliver(at(port, scheme="http", addresses=()), b"{}", {})
        assert not none.done


async def test_a_slow_receiver_ends_a_delivery_in_time():
    hook = Hook()
    hook.held = anyio.Event()
    async with hooked(hook) as port:
        slow = await deliver(at(port, scheme="http"), b"{}", {}, timeout_s=0.1)
        assert "slow" in slow.reason


async def test_answers_before_the_final_one_are_passed_over():
    hook = Hook(b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 204 x\r\n")
    async with hooked(hook) as port:
        assert (await deliver(at(port, scheme="http"), b"{}", {})).status == 204
        hook.answers = [b"HTTP/1.1 100 Continue\r\nno end"]
        assert not (await deliver(at(port, scheme="http"), b"{}", {})).done
        hook.answers = [b"HTTP/1.1 099 x\r\n"]
        assert not (await deliver(at(port, scheme="http"), b"{}", {})).done


@pytest.mark.parametrize(
    "headers",
    [
        {"x": "a\r\nb: c"},
        {"x": "é"},
        {"a\r\nb": "c"},
        {"Host": "inside"},
        {"Transfer-Encoding": "x"},
    ],
)
async def test_a_header_that_is_more_than_a_header_is_not_sent(headers):
    outcome = await deliver(at(1, scheme="http"), b"{}", headers)
    assert outcome.hopeless
    assert not outcome.worth_another_try


async def test_an_ipv6_host_stands_in_brackets():
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    hook = Hook()
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, hook)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        await deliver(at(port, scheme="http", host="::1"), b"{}", {})
        tasks.cancel_scope.cancel()
    assert hook.told[0][1]["host"] == f"[::1]:{port}"


def test_outcomes_say_whether_they_are_worth_another_try():
    assert PostOutcome(status=204).done
    assert PostOutcome(status=503).worth_another_try
    assert not PostOutcome(status=404).worth_another_try
    assert PostOutcome(reason="away").worth_another_try


# The screen


def answering(*addresses):
    async def answer(host, port):
        return list(addresses)

    return answer


async def test_a_public_destination_keeps_its_addresses_port_and_target():
    screen = DestinationScreen(resolve=answering("93.184.216.34", "2606:2800:220:1::1"))
    found = await screen.look("https://Example.com:8443/a/b?c=d#e")
    assert found == Destination(
        scheme="https",
        host="example.com",
        port=8443,
        target="/a/b?c=d",
        addresses=("93.184.216.34", "2606:2800:220:1::1"),
    )
    assert found.address == "93.184.216.34"
    assert await push_url_validator(screen)("https://example.com")


async def test_networks_of_ones_own_count_as_private():
    screen = DestinationScreen(
        own_networks=(ip_network("93.184.216.0/24"), ip_network("2606::/16")),
        resolve=answering("93.184.216.34"),
    )
    assert isinstance(await screen.look("https://example.com/"), Unfit)


@pytest.mark.parametrize(
    "addresses", [(), ("93.184.216.34",) * 100, ("nonsense",), ("fe80::1%eth0",)]
)
async def test_no_answer_too_many_and_strange_answers_are_refused(addresses):
    screen = DestinationScreen(resolve=answering(*addresses))
    assert isinstance(await screen.look("https://example.com/"), Unfit)


@pytest.mark.parametrize(
    ("address", "fits"),
    [
        ("2001:0:5db8:d822:0:0:a247:27dd", True),  # Teredo, both ends public
        ("64:ff9b::5db8:d822", True),
        ("2002:5db8:d822::1", True),
        ("::ffff:93.184.216.34", True),
        ("2001:db8::1", False),
    ],
)
async def test_an_address_inside_an_address_is_what_counts(address, fits):
    screen = DestinationScreen(resolve=answering(address))
    assert isinstance(await screen.look("https://example.com/"), Destination) is fits


async def test_plain_http_passes_only_where_private_is_allowed():
    assert isinstance(await DestinationScreen().look("http://example.com/"), Unfit)
    screen = DestinationScreen(allow_private=True, resolve=answering("10.0.0.1"))
    assert isinstance(await screen.look("http://example.com/"), Destination)
    assert isinstance(await screen.look("ftp://example.com/"), Unfit)


async def test_the_machines_resolver_says_nothing_of_names_it_does_not_know():
    assert await resolve_host("127.0.0.1", 80) == ["127.0.0.1"]
    assert await resolve_host("x" * 300, 80) == []


# The store


async def test_configurations_are_kept_replaced_and_forgotten_where_the_official_store_keeps_them():
    store = SafePushConfigStore(
        InMemoryPushNotificationConfigStore(),
        limits=PushLimits(private=True, configs_per_task_max=1),
    )
    context = ServerCallContext()
    first = TaskPushNotificationConfig(url="http://127.0.0.1:1/a", token="x")
    assert (await store.set_info("t", first, context)).id == "t"
    second = TaskPushNotificationConfig(url="http://127.0.0.1:1/b")
    await store.set_info("t", second, context)
    assert [one.url for one in await store.get_info("t", context)] == [second.url]
    assert [one.url for one in await store.get_info_for_dispatch("t")] == [second.url]
    await store.delete_info("t", context, "t")
    assert not await store.get_info("t", context)


# The signature

BODY, URL = b'{"task":{"id":"t"}}', "https://client.example/hook"


@pytest.fixture
def clock():
    return StoppedClock()


@pytest.mark.parametrize(
    "key", [SigningKey.make(kid="ed"), SigningKey.make(CardAlgorithm.ES256, kid="ec")]
)
def test_any_jwt_library_can_check_a_signature(key):
    token = NotificationSigner(key=key, issuer="https://agent").sign(URL, BODY)
    public = jwt.PyJWK.from_dict(key.public.jwk())
    claims = jwt.decode(
        token, public, algorithms=[str(key.public.algorithm)], audience=URL, issuer="https://agent"
    )
    digest = base64.urlsafe_b64encode(hashlib.sha256(BODY).digest()).rstrip(b"=").decode()
    assert claims["sha256"] == digest
    found = verify_notification(
        {SIGNATURE_HEADER.lower(): token},
        BODY,
        jwks={"keys": [key.public.jwk()]},
        url=URL,
        seen=SeenInMemory(),
    )
    assert isinstance(found, VerifiedNotification)
    assert found.event == {"task": {"id": "t"}}
    assert found.issuer == "https://agent"
    assert found.id == claims["jti"]


@pytest.mark.parametrize(
    ("late_s", "believed"), [(-31, False), (-20, True), (299, True), (302, False)]
)
def test_a_signature_is_believed_for_a_while(clock, late_s, believed):
    key = SigningKey.make(kid="k")
    token = NotificationSigner(key=key, issuer="i", clock=clock).sign(URL, BODY)
    clock.at += timedelta(seconds=late_s)
    found = verify_notification(
        {SIGNATURE_HEADER: token},
        BODY,
        jwks={"keys": [key.public.jwk()]},
        url=URL,
        seen=SeenInMemory(clock=clock),
        clock=clock,
    )
    assert isinstance(found, VerifiedNotification) is believed


def test_what_came_is_forgotten_when_it_is_too_old_to_come_again(clock):
    seen = SeenInMemory(seen_max=2, clock=clock)
    end_s = clock.at.timestamp() + 10
    assert seen.claim("a", end_s)
    assert not seen.claim("a", end_s)
    assert seen.claim("b", end_s)
    assert not seen.claim("c", end_s), "a full memory refuses rather than forgets"
    clock.at += timedelta(seconds=11)
    assert seen.claim("c", end_s)


def packed(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


GOOD_HEAD = {"alg": "EdDSA", "kid": "k", "typ": "a2a-notification+jwt"}


def made(key, head=None, **claims):
    good = {
        "iss": "i",
        "aud": URL,
        "iat": 1893456000,
        "jti": "j",
        "sha256": packed(hashlib.sha256(BODY).digest()),
    }
    text = f"{packed(head or GOOD_HEAD)}.{packed(good | claims)}"
    return {SIGNATURE_HEADER: f"{text}.{packed(key.sign(text.encode()))}"}


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": 1},
        {"aud": [URL]},
        {"aud": None},
        {"iat": True},
        {"iat": 1.5},
        {"iat": "x"},
        {"iat": 1 << 80},
        {"iat": -1},
        {"jti": ""},
        {"jti": 1},
        {"jti": "x" * 500},
        {"sha256": None},
        {"sha256": "\ud800"},
    ],
)
def test_a_signature_over_odd_claims_is_not_believed(clock, claims):
    key = SigningKey.make(kid="k")

    def judged(headers):
        return verify_notification(
            headers,
            BODY,
            jwks={"keys": [key.public.jwk()]},
            url=URL,
            seen=SeenInMemory(),
            clock=clock,
        )

    assert isinstance(judged(made(key)), VerifiedNotification)
    assert isinstance(judged(made(key, **claims)), Unverified)


@pytest.mark.parametrize(
    "head",
    [
        GOOD_HEAD | {"typ": "JOSE"},
        GOOD_HEAD | {"crit": ["b64"], "b64": False},
        GOOD_HEAD | {"b64": False},
        GOOD_HEAD | {"kid": 1},
        GOOD_HEAD | {"kid": "other"},
        GOOD_HEAD | {"alg": "none"},
    ],
)
def test_a_signature_of_another_kind_is_not_believed(clock, head):
    key = SigningKey.make(kid="k")
    found = verify_notification(
        made(key, head),
        BODY,
        jwks={"keys": [key.public.jwk()]},
        url=URL,
        seen=SeenInMemory(),
        clock=clock,
    )
    assert isinstance(found, Unverified)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b",
        "a.b.c",
        "e30.e30.!",
        "e30.e30.e31",
        "W10.e30.AA",
        "e30.W10.AA",
        "x" * 9000,
        "é.é.é",
    ],
)
def test_what_is_no_signature_is_not_believed(token):
    found = verify_notification(
        {SIGNATURE_HEADER: token}, BODY, jwks={}, url=URL, seen=SeenInMemory()
    )
    assert isinstance(found, Unverified)


@pytest.mark.parametrize(
    "broken",
    [
        {"kty": "OKP", "crv": "Ed25519"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
        {"kty": "OKP", "crv": "Ed25519", "x": 1},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "P-256", "x": 7},
        {"kty": "RSA"},
    ],
)
def test_a_broken_key_believes_nothing(clock, broken):
    for algorithm in CardAlgorithm:
        key = SigningKey.make(algorithm)
        headers = made(key, GOOD_HEAD | {"alg": str(algorithm)})
        found = verify_notification(
            headers,
            BODY,
            jwks={"keys": ["odd", broken | {"kid": "k"}]},
            url=URL,
            seen=SeenInMemory(),
            clock=clock,
        )
        assert isinstance(found, Unverified)


def test_a_p256_signature_of_another_length_is_not_believed(clock):
    key = SigningKey.make(CardAlgorithm.ES256, kid="ec")
    head = GOOD_HEAD | {"alg": "ES256", "kid": "ec"}
    [token] = made(key, head).values()
    short = {SIGNATURE_HEADER: token.rsplit(".", 1)[0] + ".AAAA"}
    found = verify_notification(
        short, BODY, jwks={"keys": [key.public.jwk()]}, url=URL, seen=SeenInMemory(), clock=clock
    )
    assert isinstance(found, Unverified)


def test_two_signatures_are_none():
    key = SigningKey.make(kid="k")
    token = NotificationSigner(key=key, issuer="i").sign(URL, BODY)
    headers = {SIGNATURE_HEADER: token, SIGNATURE_HEADER.lower(): token}
    found = verify_notification(
        headers, BODY, jwks={"keys": [key.public.jwk()]}, url=URL, seen=SeenInMemory()
    )
    assert isinstance(found, Unverified)


@pytest.mark.parametrize("body", [b"[]", b"\xff", b"[" * 100_000])
def test_a_signed_body_that_is_no_object_is_not_believed(body):
    key = SigningKey.make(kid="k")
    headers = {SIGNATURE_HEADER: NotificationSigner(key=key, issuer="i").sign(URL, body)}
    found = verify_notification(
        headers, body, jwks={"keys": [key.public.jwk()]}, url=URL, seen=SeenInMemory()
    )
    assert isinstance(found, Unverified)
