"""What a component writes into a request: no header, URL or method of its own gets past what the gate judged."""

import socket
import threading
from importlib.util import find_spec

import pytest

from hive.execution.component.imports import HostImports, Places, ProblemError

assert find_spec("hive_guest")


class Proxy:
    """A proxy socket that writes down what it is sent and answers 200."""

    def __init__(self, path):
        self.path, self.seen = str(path), []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.path)
        self._socket.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client:
                self.seen.append(client.recv(65536))
                client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    def close(self):
        self._socket.close()


@pytest.fixture
def proxy(tmp_path):
    proxy = Proxy(tmp_path / "egress.sock")
    yield proxy
    proxy.close()


@pytest.fixture
def imports(proxy, tmp_path):
    return HostImports(
        Places(str(tmp_path / "none"), proxy.path, "the-handle"), lambda _frame: None
    )


def test_a_plain_request_goes_through_the_proxy_under_the_handle(imports, proxy):
    assert imports.send("GET", "http://host.example/path?x=1", [("accept", "*/*")], b"") == (
        200,
        [("content-length", "2")],
        b"ok",
    )
    (seen,) = proxy.seen
    assert seen.startswith(b"GET http://host.example/path?x=1 HTTP/1.1\r\n")
    assert b"proxy-authorization: Bearer the-handle\r\n" in seen
    assert b"host: host.example\r\n" in seen


@pytest.mark.parametrize(
    "header",
    [
        ("x\r\nhost", "other.example"),
        ("x", "1\r\nhost: other.example"),
        ("x", "1\nhost: other.example"),
        ("host", "other.example"),
        ("Host", "other.example"),
        ("transfer-encoding", "chunked"),
        ("content-length", "0"),
        ("proxy-authorization", "Bearer another"),
        ("connection", "upgrade"),
        ("", "x"),
        ("x:", "y"),
        ("x", "\u0142"),
    ],
)
def test_a_header_that_would_say_something_else_is_refused(imports, proxy, header):
    with pytest.raises(ProblemError) as refused:
        imports.send("GET", "http://host.example/", [header], b"")
    assert refused.value.code == "input"
    assert not proxy.seen


@pytest.mark.parametrize(
    "url",
    [
        "http://host.example/ HTTP/1.1\r\nhost: other.example",
        "http://user:word@host.example/",
        "http://host.example\\@other.example/",
        "file:///etc/passwd",
        "unix:///run/hive/gate.sock",
        "http:///path",
        "http://host.example:0/",
        "http://host.example:99999/",
        "http://h\u00f6st.example/",
        "http://[::1/",
        "gopher://host.example/",
        "",
    ],
)
def test_an_address_that_can_be_read_in_two_ways_is_refused(imports, proxy, url):
    with pytest.raises(ProblemError) as refused:
        imports.send("GET", url, [], b"")
    assert refused.value.code in ("input", "failed")
    assert not any(b"other.example" in one.split(b"\r\n")[0] for one in proxy.seen)


@pytest.mark.parametrize("method", ["CONNECT", "get", "GET /x HTTP/1.1\r\n", "", "TRACE"])
def test_a_method_of_its_own_is_refused(imports, proxy, method):
    with pytest.raises(ProblemError):
        imports.send(method, "http://host.example/", [], b"")
    assert not proxy.seen
