"""A tool with a store of its own, outside of everything that Hive controls: it counts what reaches it."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class CountingServer(ThreadingHTTPServer):
    """Counts POSTs by path; a path that ends in `slow` is answered only after a while."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Counting)
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.counted = threading.Condition(self.lock)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def wait_for(self, path: str, timeout_s: float = 20.0) -> None:
        with self.counted:
            assert self.counted.wait_for(lambda: self.counts[path] > 0, timeout_s)


class _Counting(BaseHTTPRequestHandler):
    server: CountingServer

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.counted:
            self.server.counts[self.path] += 1
            number = self.server.counts[self.path]
            self.server.counted.notify_all()
        if self.path.endswith("slow"):
            threading.Event().wait(3.0)
        body = str(number).encode()
        with suppress(OSError):  # whoever asked may have been killed meanwhile
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def counting_server() -> Iterator[CountingServer]:
    server = CountingServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
