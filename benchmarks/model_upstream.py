"""A model provider that costs next to nothing: chat completions, whole and as a stream, as fast as a loop writes.

    python benchmarks/model_upstream.py PORT

It stands in a process of its own, so that what is measured around it is not its work. Standard library and uvloop
only; every answer is made once.
"""

import asyncio
import json
import sys
from typing import Final, cast

import uvloop

WORDS: Final = ("Once ", "there ", "was ", "a ", "small ", "town ", "by ", "the ", "sea.")
USAGE: Final = {"prompt_tokens": 12, "completion_tokens": len(WORDS), "total_tokens": 21}


def _whole() -> bytes:
    document = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "small",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "".join(WORDS)},
            }
        ],
        "usage": USAGE,
    }
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def _events() -> tuple[bytes, bytes]:
    """Return the head with the first token, and all the rest."""
    pieces: list[dict[str, object]] = [{"delta": {"role": "assistant", "content": WORDS[0]}}]
    pieces += [{"delta": {"content": word}} for word in WORDS[1:]]
    pieces += [{"delta": {}, "finish_reason": "stop"}]
    written: list[dict[str, object]] = [
        {"choices": [{"index": 0, "finish_reason": None, **piece}], "usage": None}
        for piece in pieces
    ]
    written.append({"choices": [], "usage": USAGE})
    fixed = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "small"}
    chunks = [_chunk(b"data: %b\n\n" % json.dumps({**fixed, **one}).encode()) for one in written]
    chunks.append(_chunk(b"data: [DONE]\n\n"))
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    return head + chunks[0], b"".join(chunks[1:]) + b"0\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


WHOLE: Final = _whole()
FIRST, REST = _events()


class Provider(asyncio.Protocol):
    """One kept connection."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self._read = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._read) < end + 4 + length:
                return
            body = self._read[end + 4 : end + 4 + length]
            self._read = self._read[end + 4 + length :]
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        if self._transport is None:
            return
        if b'"stream":true' in body.replace(b" ", b""):
            self._transport.write(FIRST)
            asyncio.get_running_loop().call_soon(self._transport.write, REST)
        else:
            self._transport.write(WHOLE)


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
