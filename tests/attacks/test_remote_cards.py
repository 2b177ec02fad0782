"""A remote agent's card is a stranger's word: it leads to no other host than the one that was granted."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hive.core.task import TaskState
from hive.testing.node_process import node_process
from tests.end_to_end.counter import counting_server


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with node_process(tmp_path_factory.mktemp("node") / "state") as running:
        yield running


@contextmanager
def card_server(make_card):
    """Serve a card, and for every POST the same words that a card could hold."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = make_card(self.server.server_address[1])
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def card_to(url):
    offered = {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    return json.dumps({"name": "far", "supportedInterfaces": [offered]}).encode()


def test_a_card_that_names_a_service_of_this_machine_does_not_lead_there(node):
    with (
        counting_server() as counter,
        card_server(lambda _: card_to(f"http://{counter.address}/x")) as url,
    ):
        node.hive("run", url, "--name", "leads-inside", "--yes")
        task = node.send("leads-inside", "hello")
        assert task.state is TaskState.FAILED
        assert "403" in task.said
        assert counter.counts == {}
        # The same card does lead there once the operator grants the place: the wall is the grant.
        node.hive("run", url, "--name", "granted", "--yes", "--host-allow", counter.address)
        node.send("granted", "hello")
        assert counter.counts["/x"] == 1


@pytest.mark.parametrize(
    "card",
    [
        b"[1]",
        b"{",
        b"\xff\xfe",
        b'{"name": "x"}',
        b'{"supportedInterfaces": [{"url": "file:///etc/passwd", "protocolBinding": "JSONRPC"}]}',
        b'{"supportedInterfaces": [{"url": "gopher://127.0.0.1", "protocolBinding": "JSONRPC"}]}',
        b'{"supportedInterfaces": [7]}',
        b"[" * 100_000,
        b'{"a": "' + b"x" * (17 << 20) + b'"}',
    ],
    ids=["list", "cut", "bytes", "bare", "file", "gopher", "number", "deep", "long"],
)
def test_a_card_that_is_none_fails_the_turn_and_nothing_else(node, card):
    with card_server(lambda _: card) as url:
        node.hive("run", url, "--name", "odd", "--yes")
        assert node.send("odd", "hello").state is TaskState.FAILED
        assert node.send("odd", "again").state is TaskState.FAILED
    assert '"restarts":0' in node.hive("agent", "show", "odd", "--json").replace(" ", "")
