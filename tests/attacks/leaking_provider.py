"""A provider that gives away the key that it is sent, each model in a way of its own; and a place that waits for it."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WAYS = (
    "says",
    "says-in-pieces",
    "error",
    "header",
    "redirect",
    "packed",
    "breaks",
    "unreadable",
)


class LeakingProvider(BaseHTTPRequestHandler):
    """Answers with whatever key came."""

    protocol_version = "HTTP/1.1"
    elsewhere = ""
    asked: list[str]
    keys: set[str]

    def log_message(self, *given: object) -> None:
        """Print nothing."""

    def key(self) -> str:
        """Return the key of this request, in whichever header it came."""
        given = self.headers.get("authorization", "").removeprefix("Bearer ")
        found = given or self.headers.get("x-api-key") or self.headers.get("x-goog-api-key") or ""
        self.keys.add(found)
        return found

    def do_GET(self) -> None:
        """List models; the name of one is the key."""
        names = [*WAYS, self.key()]
        self.whole(200, json.dumps({"data": [{"id": name} for name in names]}).encode())

    def do_POST(self) -> None:
        """Answer in the way that the model's name says."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append(body["model"])
        key = self.key()
        match body["model"]:
            case "says":
                self.whole(200, answer(f"your key is {key}"))
            case "says-in-pieces":
                self.pieces(key)
            case "error":
                text = f"Incorrect API key provided: {key}. See your account."
                self.whole(401, json.dumps({"error": {"message": text, "code": key}}).encode())
            case "header":
                self.whole(401, b'{"error":{"message":"no"}}', **{"x-your-key": f"was {key}"})
            case "redirect":
                self.whole(307, b"", location=f"{self.elsewhere}/v1/chat/completions?key={key}")
            case "packed":
                packed = gzip.compress(answer(f"your key is {key}"))
                self.whole(200, packed, **{"content-encoding": "gzip"})
            case "breaks":
                self.connection.sendall(f"HTTP/1.1 200 {key}\r\nbroken {key}\r\n\r\n".encode())
                self.close_connection = True
            case _:
                self.whole(200, f"<html>{key}</html>".encode())

    def whole(self, status: int, body: bytes, **headers: str) -> None:
        """Send a whole answer."""
        self.send_response_only(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def pieces(self, key: str) -> None:
        """Send a stream that is cut in the middle of the key, on the wire and between its events."""
        self.send_response_only(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        whole = b"data: %b\n\n" % chunk(f"key {key}")
        for begin in range(0, len(whole), 7):
            self.wfile.write(whole[begin : begin + 7])
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")


def answer(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    document = {"id": "c", "object": "chat.completion", "created": 1, "model": "says"}
    return json.dumps({**document, "choices": [choice]}).encode()


def chunk(text: str) -> bytes:
    choice = {"index": 0, "finish_reason": None, "delta": {"content": text}}
    document = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "says"}
    return json.dumps({**document, "choices": [choice]}).encode()


@contextmanager
def leaking_provider(*, elsewhere: str = "") -> Iterator[tuple[str, type[LeakingProvider]]]:
    """Serve one; yield its address and what it saw."""
    handler = type(
        "Leaking", (LeakingProvider,), {"elsewhere": elsewhere, "asked": [], "keys": set()}
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", handler
    finally:
        server.shutdown()
        server.server_close()
