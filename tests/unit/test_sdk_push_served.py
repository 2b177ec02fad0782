"""Push notifications of a whole server: registered over the wire, signed, and checked by who receives them."""

import hashlib

import anyio
import httpx
import pytest

from hive_a2a.identity.api_key import StaticBearer
from hive_a2a.policy import Policy, PushLimits
from hive_a2a.push.sign import (
    SIGNATURE_HEADER,
    SeenInMemory,
    Unverified,
    VerifiedNotification,
    verify_notification,
)
from hive_a2a.server import SecureA2AServer
from tests.unit.sdk_foreign_agents import EchoExecutor, plain_card, served_in_loop

pytestmark = pytest.mark.anyio
HEADERS = {"a2a-version": "1.0", "authorization": "Bearer own"}
CALLERS = StaticBearer({"own": hashlib.sha256(b"own").hexdigest()})


class Inbox:
    """A webhook that keeps what came, headers and bytes."""

    def __init__(self):
        self.came = []
        self.more = anyio.Event()

    async def __call__(self, scope, receive, send):
        body, more = b"", True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        self.came.append((headers, body))
        self.more.set()
        self.more = anyio.Event()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def sending(webhook):
    return {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "SendMessage",
        "params": {
            "message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]},
            "configuration": {"taskPushNotificationConfig": {"url": webhook, "token": "t-1"}},
        },
    }


async def test_a_client_believes_what_the_agent_pushes_and_nothing_else(tmp_path):
    inbox = Inbox()
    async with served_in_loop(inbox) as webhook, httpx.AsyncClient(trust_env=False) as http:
        card = plain_card("http://127.0.0.1/", required=False)
        server = SecureA2AServer(
            card,
            EchoExecutor(),
            policy=Policy(push=PushLimits(private=True)),
            folder=tmp_path,
            authenticators=[CALLERS],
        )
        async with server.serving() as port:
            url = f"http://127.0.0.1:{port}"
            answer = await http.post(url, json=sending(webhook), headers=HEADERS)
            assert "result" in answer.json(), answer.text
            with anyio.fail_after(10):
                while b"COMPLETED" not in b"".join(body for _, body in inbox.came):
                    await inbox.more.wait()
            jwks = (await http.get(f"{url}/.well-known/jwks.json")).json()
        seen = SeenInMemory()
        for headers, body in inbox.came:
            assert headers["x-a2a-notification-token"] == "t-1"
            told = verify_notification(headers, body, jwks=jwks, url=webhook, seen=seen)
            assert isinstance(told, VerifiedNotification), told
        headers, body = inbox.came[-1]
        changed = body.replace(b"COMPLETED", b"CANCELED")
        for forged in (
            verify_notification(headers, changed, jwks=jwks, url=webhook, seen=SeenInMemory()),
            verify_notification(headers, body, jwks=jwks, url=webhook, seen=seen),
            verify_notification(
                {**headers, SIGNATURE_HEADER.lower(): ""},
                body,
                jwks=jwks,
                url=webhook,
                seen=SeenInMemory(),
            ),
        ):
            assert isinstance(forged, Unverified)


@pytest.mark.parametrize("webhook", ["http://169.254.169.254/", "https://10.0.0.1/", "file:///x"])
async def test_a_secure_server_takes_no_webhook_that_leads_inwards(tmp_path, webhook):
    card = plain_card("http://127.0.0.1/", required=False)
    server = SecureA2AServer(card, EchoExecutor(), folder=tmp_path, authenticators=[CALLERS])
    async with server.serving() as port, httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"http://127.0.0.1:{port}", json=sending(webhook), headers=HEADERS)
        assert answer.json()["error"]["code"] == -32602
