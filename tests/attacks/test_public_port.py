"""The real public port under bad tokens, bad bodies and slow clients: clear answers, and it goes on."""

import json
import socket
import threading
from contextlib import ExitStack, suppress
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.attacks.living import living_node

IDLE = 500
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "SendMessage",
    "params": {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hello"}]}},
}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with living_node(tmp_path_factory.mktemp("public")) as node:
        node.deploy("echo")
        yield node


@pytest.fixture(autouse=True)
def others_are_still_served(node):
    yield
    assert node.ask("echo", "hello") == "hello"


def post(node, body: bytes, *, token: str | None = None, path: str = "/a2a/echo", **headers: str):
    given = {"Content-Type": "application/json", "A2A-Version": "1.0"}
    given["Authorization"] = f"Bearer {node.process.token() if token is None else token}"
    given |= {key.replace("_", "-"): value for key, value in headers.items()}
    request = Request(node.process.url + path, data=body, headers=given)
    try:
        with urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode("utf-8", "replace")


def hello() -> bytes:
    return json.dumps(HELLO).encode()


def test_the_request_of_these_tests_is_served(node):
    status, body = post(node, hello())
    assert status == 200
    assert "hello" in body


@pytest.mark.parametrize(
    "token", ["", "x", "hive-op-" + "0" * 48, "hive-client.abc.def", "a" * 9000]
)
def test_a_forged_token_is_refused(node, token):
    status, body = post(node, hello(), token=token)
    assert status in (401, 431)
    assert "hello" not in body


def test_a_token_with_one_other_letter_is_refused(node):
    token, _ = node.token("carol")
    assert post(node, hello(), token=token)[0] == 200
    last = "A" if token[-2] != "A" else "B"
    assert post(node, hello(), token=token[:-2] + last + token[-1])[0] == 401


def test_a_revoked_token_is_refused_at_once(node):
    token, number = node.token("carol")
    assert post(node, hello(), token=token)[0] == 200
    node.process.hive("token", "revoke", number)
    assert post(node, hello(), token=token)[0] == 401


def test_a_token_for_one_agent_opens_no_other(node):
    node.deploy("echo", name="other")
    token, _ = node.token("carol", "--agent", "other")
    assert post(node, hello(), token=token, path="/a2a/other")[0] == 200
    status, body = post(node, hello(), token=token)
    assert status in (200, 401, 403, 404)
    assert "error" in json.loads(body)
    assert '"COMPLETED"' not in body


def test_a_clients_token_does_not_open_the_operators_paths(node):
    token, _ = node.token("carol")
    request = Request(
        node.process.url + "/api/status", headers={"Authorization": f"Bearer {token}"}
    )
    with pytest.raises(HTTPError) as caught:
        urlopen(request, timeout=10)
    with caught.value as answer:
        assert answer.code == 401


DEEP = (
    b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":' + b"[" * 5000 + b"]" * 5000 + b"}"
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b'{"jsonrpc":"2.0"}',
        DEEP,
        hello()[:-20],
        hello().replace(b'"parts"', b'"parts": 7, "x"'),
        hello().replace(b'[{"text": "hello"}]', b"[]"),
        hello().replace(b"SendMessage", b"SendEverything"),
        b'{"a":1}' * 10_000,
        hello().replace(b"hello", b"h\xc3"),
    ],
)
def test_a_bad_body_gets_a_clear_error(node, body):
    status, told = post(node, body)
    assert status in (200, 400, 413, 415), told
    assert "error" in json.loads(told), told
    assert "Traceback" not in told


def test_a_body_over_the_limit_is_refused_before_it_is_read(node):
    with socket.create_connection(("127.0.0.1", node.process.port), timeout=5) as link:
        link.sendall(head(node, 20 << 20))
        assert link.recv(1000).startswith(b"HTTP/1.1 413")


def test_a_body_that_grows_past_the_limit_is_refused(node):
    chunk = b"100000\r\n" + b"y" * (1 << 20) + b"\r\n"
    chunked = head(node, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    with socket.create_connection(("127.0.0.1", node.process.port), timeout=10) as link:
        link.sendall(chunked)
        with suppress(OSError):  # it may be cut off while it still sends
            for _ in range(20):
                link.sendall(chunk)
        with suppress(ConnectionResetError):
            assert b" 413" in link.recv(1000)


def test_a_wrong_content_type_and_version_are_told(node):
    assert post(node, hello(), Content_Type="text/plain")[0] == 415
    status, body = post(node, hello(), A2A_Version="99.0")
    assert status in (200, 400)
    assert json.loads(body)["error"]["code"] == -32009


@pytest.mark.parametrize("name", ["..%2f..%2fapi", "*", "a%00b", "%ff%fe", "a" * 300, ">"])
def test_a_wild_agents_name_is_no_agent(node, name):
    status, _ = post(node, hello(), path=f"/a2a/{name}")
    assert status in (400, 404)


def test_five_hundred_idle_and_half_sent_requests_do_not_stop_others(node):
    with ExitStack() as stack:
        halves = (
            b"",
            b"POST /a2a/echo HTT",
            b"POST /a2a/echo HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A",
            half_body(node),
        )
        for number in range(IDLE):
            link = stack.enter_context(socket.create_connection(("127.0.0.1", node.process.port)))
            link.sendall(halves[number % len(halves)])
        for _ in range(5):
            status, body = post(node, hello())
            assert status == 200
            assert "hello" in body


def test_a_half_sent_request_is_closed_in_the_end(node):
    link = socket.create_connection(("127.0.0.1", node.process.port), timeout=20)
    with link:
        link.sendall(b"POST /a2a/echo HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A")
        told = link.recv(1000)
        assert told == b"" or told.startswith(b"HTTP/1.1 4")


def test_a_client_that_never_reads_its_stream_does_not_stop_others(node):
    said = dict(HELLO, method="SendStreamingMessage")
    body = json.dumps(said).encode()
    with ExitStack() as stack:
        for _ in range(50):
            link = stack.enter_context(socket.create_connection(("127.0.0.1", node.process.port)))
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            link.sendall(head(node, len(body)) + body)
        answers: list[int] = []
        threads = [
            threading.Thread(target=lambda: answers.append(post(node, hello())[0]))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert answers == [200] * 8


def test_smuggled_second_requests_are_not_served_as_somebody_else(node):
    body = hello()
    smuggled = b"GET /api/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    raw = (
        b"POST /a2a/echo HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer "
        + node.process.token().encode()
        + b"\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(body)
        + b"0\r\n\r\n"
        + smuggled
    )
    with socket.create_connection(("127.0.0.1", node.process.port), timeout=5) as link:
        link.sendall(raw)
        link.shutdown(socket.SHUT_WR)
        told = b""
        while part := link.recv(65536):
            told += part
    assert b'"node_id"' not in told
    assert b"ledger_entries" not in told


def head(node, size: int) -> bytes:
    return (
        f"POST /a2a/echo HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {node.process.token()}\r\n"
        f"Content-Type: application/json\r\nA2A-Version: 1.0\r\nContent-Length: {size}\r\n\r\n"
    ).encode()


def half_body(node) -> bytes:
    return head(node, 5000) + b'{"jsonrpc"'
