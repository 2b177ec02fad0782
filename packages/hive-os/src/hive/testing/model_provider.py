"""A model provider made up for tests: real HTTP on a loopback port, and every fault that one can have.

    provider = ModelProvider(models=("small", "large"), key="sk-real")
    async with provider.serving() as url:                 # http://127.0.0.1:PORT
        upstream = f"openai:{url}/v1"                     # or anthropic:{url}, gemini:{url}, ollama:{url}, azure:{url}
        provider.then(ProviderFault(status=429, retry_after="1"), ProviderFault(reset="before"))
        ...                                               # the next two requests fail so, later ones are answered
        assert provider.seen[0].path == "/v1/chat/completions"

It speaks chat, responses, messages (with `count_tokens`), Gemini and embeddings, whole and streamed, and lists
its models (`/v1/models`, `/v1beta/models`, `/api/tags`). What it says is `answer` (text in pieces, perhaps a tool
call, usage that may be a lie); how it misbehaves is `fault` for all requests, or `then(...)` for the next ones.

`hanging` is set when a request is being held, `gone` when a client left one, `release()` lets held ones go on.
A stream of `gap_s` pauses between its events; `asked` counts requests for answers (not for the model list).
"""

import json
import re
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from hive.core.json import Json
from hive.protocols.models.ports import Dialect
from hive.testing.model_provider_wires import (
    ProviderReply,
    error_body,
    events,
    model_list,
    whole,
)

HEAD_MAX_BYTES: Final = 1 << 16
SEEN_MAX: Final = 20_000
_GEMINI_PATH: Final = re.compile(r".*/models/(?P<model>[^/]+):(?P<action>[A-Za-z]+)")
_KEY_HEADERS: Final = ("x-api-key", "x-goog-api-key", "api-key")
_REASONS: Final = {200: "OK", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderAnswer:
    """What it says. Tokens left None are counted: bytes of the request / 4, and pieces of the answer."""

    pieces: tuple[str, ...] = ("Hello ", "from ", "the ", "provider.")
    tool: tuple[str, str] | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFault:
    """How it misbehaves; the default is not at all.

    `hang` and `reset`: "before" any byte, after the "head", or in the "middle" of the body. `broken_sse` puts
    bytes that are no event into the stream, `cut` ends it in good order but without its last events.
    `body` is sent instead of the answer (with `media`); `status` from 400 up makes an error of the wire.
    """

    status: int = 200
    message: str = "made-up failure"
    retry_after: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    hang: Literal["", "before", "head", "middle"] = ""
    reset: Literal["", "before", "head", "middle"] = ""
    broken_sse: bool = False
    cut: bool = False
    delay_s: float = 0.0
    gap_s: float = 0.0
    body: bytes | None = None
    media: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRequest:
    """One request as it came; `document` is empty where the body was no JSON object."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    document: Mapping[str, Json] = field(default_factory=dict)


class ModelProvider:
    """The provider; the module's docstring shows its use."""

    def __init__(
        self,
        *,
        models: tuple[str, ...] = ("small", "large"),
        key: str = "",
        wires: frozenset[Dialect] = frozenset(Dialect),
        counts: bool = True,
        answer: ProviderAnswer | None = None,
        fault: ProviderFault | None = None,
    ) -> None:
        self.models = models
        self.key = key
        self.wires = wires
        self.counts = counts
        self.answer = answer or ProviderAnswer()
        self.fault = fault or ProviderFault()
        self.seen: deque[SeenRequest] = deque(maxlen=SEEN_MAX)
        self.asked = 0
        self.connections = 0
        self.concurrent = 0
        self.concurrent_most = 0
        self.hanging = anyio.Event()
        self.gone = anyio.Event()
        self._next: deque[ProviderFault] = deque()
        self._released = anyio.Event()

    def then(self, *faults: ProviderFault) -> None:
        """Say how the next requests for an answer go; after them `fault` holds again."""
        self._next.extend(faults)

    def release(self) -> None:
        """Let all held requests, and all that would be held from now on, go on."""
        self._released.set()

    @asynccontextmanager
    async def serving(self, *, port: int = 0) -> AsyncIterator[str]:
        """Serve on a loopback port, a free one unless named; give `http://127.0.0.1:PORT`."""
        listener = await anyio.create_tcp_listener(
            local_host="127.0.0.1", local_port=port, reuse_port=False
        )
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, self._connection)
            yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"  # noqa: S610
            tasks.cancel_scope.cancel()

    async def _connection(self, stream: SocketStream) -> None:
        self.connections += 1
        stream.extra(SocketAttribute.raw_socket).setsockopt(  # noqa: S610
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        reader = BufferedByteReceiveStream(stream)
        async with stream:
            try:
                while True:
                    request = await _read_request(reader)
                    self.seen.append(request)
                    self.concurrent += 1
                    self.concurrent_most = max(self.concurrent_most, self.concurrent)
                    try:
                        keep = await self._serve(request, stream)
                    finally:
                        self.concurrent -= 1
                    if not keep:
                        return
            except (
                anyio.EndOfStream,
                anyio.BrokenResourceError,
                anyio.ClosedResourceError,
                anyio.IncompleteRead,
                anyio.DelimiterNotFound,
            ):
                return

    async def _serve(self, request: SeenRequest, stream: SocketStream) -> bool:
        if self.key and self.key not in _keys(request.headers):
            await _send(stream, 401, error_body(None, 401, "Incorrect API key provided."))
            return True
        if request.method == "GET":
            await _send(stream, 200, model_list(request.path, self.models))
            return True
        dialect, model, streams = _asked(request)
        counting = request.path.endswith(("/count_tokens", ":countTokens"))
        if dialect is None or dialect not in self.wires or (counting and not self.counts):
            await _send(stream, 404, error_body(None, 404, "no such path"))
            return True
        if counting:
            counted = max(1, len(request.body) // 4)
            document = {"input_tokens": counted, "totalTokens": counted}
            await _send(stream, 200, json.dumps(document).encode())
            return True
        self.asked += 1
        fault = self._next.popleft() if self._next else self.fault
        return await self._answer(
            dialect, self._reply(request, model), fault, stream, streams=streams
        )

    def _reply(self, request: SeenRequest, model: str) -> ProviderReply:
        answer = self.answer
        return ProviderReply(
            model=model,
            pieces=answer.pieces,
            tool=answer.tool,
            input_tokens=max(1, len(request.body) // 4)
            if answer.input_tokens is None
            else answer.input_tokens,
            output_tokens=len(answer.pieces) + bool(answer.tool)
            if answer.output_tokens is None
            else answer.output_tokens,
        )

    async def _answer(
        self,
        dialect: Dialect,
        reply: ProviderReply,
        fault: ProviderFault,
        stream: SocketStream,
        *,
        streams: bool,
    ) -> bool:
        if fault.delay_s:
            await anyio.sleep(fault.delay_s)
        if await self._stops("before", fault, stream):
            return False
        headers = dict(fault.headers)
        if fault.retry_after:
            headers["retry-after"] = fault.retry_after
        if fault.status >= 400:
            body = error_body(dialect, fault.status, fault.message)
            await _send(stream, fault.status, fault.body or body, headers=headers)
            return True
        if not streams or dialect is Dialect.EMBEDDINGS or fault.body is not None:
            body = whole(dialect, reply) if fault.body is None else fault.body
            await self._whole(body, fault, stream, headers)
            return not fault.reset
        return await self._stream(list(events(dialect, reply)), fault, stream, headers)

    async def _whole(
        self, body: bytes, fault: ProviderFault, stream: SocketStream, headers: Mapping[str, str]
    ) -> None:
        head = _head(
            fault.status,
            {"content-type": fault.media, "content-length": str(len(body)), **headers},
        )
        if not (fault.hang or fault.reset):
            await stream.send(head + body)
            return
        await stream.send(head)
        if await self._stops("head", fault, stream):
            return
        await stream.send(body[: len(body) // 2])
        if await self._stops("middle", fault, stream):
            return
        await stream.send(body[len(body) // 2 :])

    async def _stream(
        self,
        pieces: list[bytes],
        fault: ProviderFault,
        stream: SocketStream,
        headers: Mapping[str, str],
    ) -> bool:
        kind = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        await stream.send(_head(fault.status, {**kind, **headers}))
        if await self._stops("head", fault, stream):
            return False
        if fault.cut:
            pieces = pieces[: max(1, len(pieces) // 2)]
        for number, piece in enumerate(pieces):
            if number == 2:
                if await self._stops("middle", fault, stream):
                    return False
                if fault.broken_sse:
                    await stream.send(_chunk(b'data: {"choices": [\xff\xfe \n\n'))
            if number and fault.gap_s:
                await anyio.sleep(fault.gap_s)
            await stream.send(_chunk(piece))
        await stream.send(b"0\r\n\r\n")
        return True

    async def _stops(self, where: str, fault: ProviderFault, stream: SocketStream) -> bool:
        """Hang or reset where the fault says so; tell whether the connection is over."""
        if fault.hang == where:
            self.hanging.set()
            if await self._left_while_held(stream):
                self.gone.set()
                return True
        if fault.reset == where:
            linger = struct.pack("ii", 1, 0)
            raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            await anyio.aclose_forcefully(stream)
            return True
        return False

    async def _left_while_held(self, stream: SocketStream) -> bool:
        left = False

        async def watch() -> None:
            nonlocal left
            try:
                await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                left = True
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            await self._released.wait()
            tasks.cancel_scope.cancel()
        return left


async def _read_request(reader: BufferedByteReceiveStream) -> SeenRequest:
    head = (await reader.receive_until(b"\r\n\r\n", HEAD_MAX_BYTES)).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {
        key.lower(): value.strip() for key, _, value in (one.partition(":") for one in lines)
    }
    body = await reader.receive_exactly(length) if (length := _length(headers)) else b""
    path, _, query = target.partition("?")
    try:
        document = json.loads(body) if body else {}
    except ValueError:
        document = {}
    return SeenRequest(
        method=method,
        path=path,
        query=query,
        headers=headers,
        body=body,
        document=document if isinstance(document, dict) else {},
    )


def _length(headers: Mapping[str, str]) -> int:
    return int(headers.get("content-length", "0"))


def _asked(request: SeenRequest) -> tuple[Dialect | None, str, bool]:
    """Return the wire, the model and whether a stream is wanted."""
    found = _GEMINI_PATH.fullmatch(request.path)
    if found:
        return Dialect.GEMINI, found["model"], found["action"].startswith("stream")
    path = request.path.removesuffix("/count_tokens")
    for dialect in (Dialect.CHAT, Dialect.RESPONSES, Dialect.MESSAGES, Dialect.EMBEDDINGS):
        if path.endswith(dialect.value.removeprefix("/v1")):
            model = str(request.document.get("model", ""))
            return dialect, model, request.document.get("stream") is True
    return None, "", False


def _keys(headers: Mapping[str, str]) -> Iterator[str]:
    yield headers.get("authorization", "").removeprefix("Bearer ")
    for name in _KEY_HEADERS:
        yield headers.get(name, "")


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    return f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}\r\n{lines}\r\n".encode("latin-1")


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def _send(
    stream: SocketStream, status: int, body: bytes, *, headers: Mapping[str, str] | None = None
) -> None:
    kind = {"content-type": "application/json", "content-length": str(len(body))}
    await stream.send(_head(status, {**kind, **(headers or {})}) + body)
