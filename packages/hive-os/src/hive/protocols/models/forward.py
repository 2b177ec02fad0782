"""Pass a request on to a provider over HTTPS and its answer back, byte for byte.

The only place where the real key meets a request, and what a provider repeats of it is taken out of the
answer. Redirects are not followed and no proxy of the environment is used: both could carry the key elsewhere.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar, Final, Self
from urllib.parse import quote

import anyio
import httpcore

from hive import __version__
from hive.core.clock import Clock
from hive.core.errors import ConfigError, EngineTimeoutError, EngineUnavailableError
from hive.core.json import Json, decode
from hive.core.secret import Secret
from hive.protocols.models.addresses import (
    ProviderPlace,
    provider_place,
    trusted_roots,
)
from hive.protocols.models.connections import ProviderConnections, ProviderResponse
from hive.protocols.models.ports import Dialect, ModelHead, ModelRequest
from hive.protocols.models.scrub import KEY_MIN_BYTES, KeyScrubber

ANTHROPIC_VERSION: Final = "2023-06-01"
LEARN_TIMEOUT_S: Final = 10.0
LEARN_MAX_BYTES: Final = 4 << 20
READ_TIMEOUT_S: Final = 300.0
IDLE_CONNECTION_S: Final = 30.0
# Servers that people run themselves often close after five seconds; a call that meets the close is lost.
IDLE_PLAIN_CONNECTION_S: Final = 4.0
MODELS_KEPT_S: Final = 300.0
UNLISTED_KEPT_S: Final = 10.0
MODELS_MAX: Final = 1000
HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "set-cookie",
        "alt-svc",
        "strict-transport-security",
        "date",
        "server",
    }
)
_NEVER_SENT: Final = (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout)
_TARGET: Final = re.compile(r"[\x21-\x7e]+")
_HEADER: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [^\x00-\x08\x0a-\x1f\x7f]*\r\n")
_WIRE_NAMES: Final = {one.name.lower(): one for one in Dialect}


def wires_of(text: str, known: frozenset[Dialect]) -> frozenset[Dialect]:
    """Return the wires that an option such as `chat,embeddings` names; all that are known where it is empty.

    Raises:
        ConfigError: it names another.

    """
    named = [one.strip() for one in text.split(",") if one.strip()]
    unknown = [one for one in named if _WIRE_NAMES.get(one) not in known]
    if unknown:
        raise ConfigError(
            "A model provider's `wires` cannot be used.",
            why=f"{unknown[0][:40]!r} is none that this kind of provider can speak.",
            fix="Known: " + ", ".join(sorted(one.name.lower() for one in known)),
        )
    return frozenset(_WIRE_NAMES[one] for one in named) or known


def never_sent(error: BaseException) -> bool:
    """Tell whether a failure came before the provider had the request, so that nobody is billed for it."""
    return isinstance(error.__cause__, _NEVER_SENT)


class ForwardedAnswer:
    """A provider's answer while it comes."""

    def __init__(self, response: ProviderResponse, key: bytes) -> None:
        self._response = response
        self._key = key
        pairs = [(name.decode("latin-1"), value) for name, value in response.headers]
        named = {
            token.strip().lower()
            for name, value in pairs
            if name.lower() == "connection"
            for token in value.decode("latin-1").split(",")
        }
        shows = key if len(key) >= KEY_MIN_BYTES else None
        self.head: ModelHead = ModelHead(
            status=response.status,
            headers=tuple(
                (name, value.decode("latin-1"))
                for name, value in pairs
                if (lower := name.lower()) not in HOP_BY_HOP
                and lower not in named
                and (shows is None or shows not in value)
            ),
        )

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes, still in the provider's encoding."""
        scrubber = KeyScrubber(self._key)
        try:
            while chunk := await self._response.piece():
                if clean := scrubber.feed(chunk):
                    yield clean
        except _FAILURES as error:
            raise _translated(error) from error
        if rest := scrubber.end():
            yield rest


class Forwarder:
    """Speak to one provider with one pool of connections. A driver says where and with which key."""

    EXAMPLE: ClassVar[str] = "openai:https://api.example.org/v1"
    DEFAULT: ClassVar[str] = ""
    WIRES: ClassVar[frozenset[Dialect]] = frozenset()
    SPOKEN: ClassVar[frozenset[Dialect]] = frozenset()

    def __init__(
        self,
        *,
        connections: ProviderConnections,
        place: ProviderPlace,
        key: Secret,
        clock: Clock,
    ) -> None:
        self._connections = connections
        self._place = place
        self._key = key.reveal().encode()
        self._clock = clock
        bracketed = f"[{place.host}]" if ":" in place.host else place.host
        usual = place.port == {"http": 80, "https": 443}[place.scheme]
        fixed: list[tuple[bytes, bytes]] = [
            (b"host", (bracketed if usual else f"{bracketed}:{place.port}").encode()),
            (b"user-agent", f"hive/{__version__}".encode()),
            (b"accept-encoding", b"identity"),
            *(self._key_headers(key.reveal()) if key else ()),
        ]
        try:
            self._fixed = _lines(fixed)
        except httpcore.LocalProtocolError:
            raise ConfigError(
                "The model provider's key cannot be sent.",
                why="It holds a character that no header may have.",
                fix="Store it again, without a line break.",
            ) from None
        self._models: tuple[str, ...] = ()
        self._models_until = 0.0
        self._models_lock = anyio.Lock()
        self.dialects: frozenset[Dialect] = (
            wires_of(place.options.get("wires", ""), self.WIRES)
            if place.options.get("wires")
            else self.SPOKEN or self.WIRES
        )

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, key: Secret, clock: Clock, timeout_s: float
    ) -> AsyncIterator[Self]:
        """Open the provider behind a URL of this scheme.

        Raises:
            ConfigError: the URL cannot be used.

        """
        place = provider_place(url, key, example=cls.EXAMPLE, default=cls.DEFAULT)
        secure = place.scheme == "https"
        connections = ProviderConnections(
            place=place,
            context=trusted_roots(place.options.get("ca", "")) if secure else None,
            connect_s=timeout_s,
            read_s=READ_TIMEOUT_S,
            kept_s=IDLE_CONNECTION_S if secure else IDLE_PLAIN_CONNECTION_S,
        )
        try:
            yield cls(connections=connections, place=place, key=key, clock=clock)
        finally:
            connections.close()

    @asynccontextmanager
    async def ask(self, request: ModelRequest) -> AsyncIterator[ForwardedAnswer]:
        """Send a request on."""
        headers = [
            *((name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers),
            (b"content-length", str(len(request.body)).encode()),
        ]
        response = await self._send("POST", self._target(request), headers, request.body)
        try:
            _refuse_unreadable(response)
            yield ForwardedAnswer(response, self._key)
        finally:
            response.close()

    async def models(self) -> Sequence[str]:
        """Return the provider's names, asked at most once in five minutes by the node itself."""
        async with self._models_lock:
            if self._clock.monotonic() >= self._models_until:
                self._models_until = self._clock.monotonic() + UNLISTED_KEPT_S
                found = await self._learn()
                if found is not None:
                    self._models = found
                    self._models_until += MODELS_KEPT_S
        return self._models

    def _key_headers(self, key: str) -> Sequence[tuple[bytes, bytes]]:
        """Return the headers that carry the key."""
        return ((b"authorization", f"Bearer {key}".encode()),)

    def _target(self, request: ModelRequest) -> str:
        """Return path and query of a request."""
        path = self._place.path + self._below(request.dialect.value) + request.action
        return f"{path}?{request.query}" if request.query else path

    def _below(self, path: str) -> str:
        """Return a wire's path below the provider's address."""
        return path

    def _models_target(self) -> str:
        """Return path and query of the list of models; empty where it has none."""
        return self._place.path + self._below("/v1/models")

    def _names(self, document: Json) -> Sequence[Json]:
        """Return the names in a list of models."""
        data = document.get("data") if isinstance(document, dict) else None
        return (
            [one.get("id") for one in data if isinstance(one, dict)]
            if isinstance(data, list)
            else []
        )

    async def _learn(self) -> tuple[str, ...] | None:
        target = self._models_target()
        if not target:
            return ()
        try:
            with anyio.fail_after(LEARN_TIMEOUT_S):
                version = (b"anthropic-version", ANTHROPIC_VERSION.encode())
                response = await self._send("GET", target, [version], b"")
                try:
                    body = await _bounded(response)
                finally:
                    response.close()
                document = decode(body) if response.status == 200 else None
        except (*_FAILURES, EngineUnavailableError, EngineTimeoutError, TimeoutError, ValueError):
            return None
        if document is None:
            return None
        names = self._names(document)[:MODELS_MAX]
        key = self._key.decode() if len(self._key) >= KEY_MIN_BYTES else ""
        return tuple(
            name
            for name in names
            if isinstance(name, str) and name.isprintable() and not (key and key in name)
        )

    async def _send(
        self, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> ProviderResponse:
        if not _TARGET.fullmatch(target):
            target = quote(target, safe="/?&=%:@!$'()*+,;~")
        line = f"{method} {target} HTTP/1.1\r\n".encode("ascii")
        try:
            return await self._connections.send(
                b"%b%b%b\r\n%b" % (line, self._fixed, _lines(headers), body)
            )
        except _FAILURES as error:
            raise _translated(error) from error


_FAILURES: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
)


def _refuse_unreadable(response: ProviderResponse) -> None:
    """Refuse what would take a client elsewhere, and what cannot be looked at for usage and the key."""
    if 300 <= response.status < 400:
        raise EngineUnavailableError(
            "The model provider answered with a redirect.",
            why="None is followed: it could carry the key elsewhere.",
            fix="Name the provider's last address.",
        )
    for name, value in response.headers:
        if name.lower() == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise EngineUnavailableError(
                "The model provider packed its answer, though it was asked not to.",
                why="What is packed cannot be looked at for usage and for the key.",
                fix="Switch compression off at the provider or the proxy before it.",
            )


def _lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return headers as they are written; one that would be two is refused."""
    lines = [b"%b: %b\r\n" % (name, value) for name, value in headers]
    if not all(_HEADER.fullmatch(line) for line in lines):
        message = "a header cannot be written"
        raise httpcore.LocalProtocolError(message)
    return b"".join(lines)


async def _bounded(response: ProviderResponse) -> bytes:
    body = bytearray()
    while chunk := await response.piece():
        body += chunk
        if len(body) > LEARN_MAX_BYTES:
            message = "the list of models is too long"
            raise ValueError(message)
    return bytes(body)


def _translated(error: Exception) -> EngineUnavailableError | EngineTimeoutError:
    # The client's own text may hold the address and headers, so it is not repeated.
    if isinstance(error, httpcore.TimeoutException):
        return EngineTimeoutError(
            "The model provider did not answer in time.", fix="Try again later."
        )
    return EngineUnavailableError(
        "The model provider cannot be reached.",
        why=f"The connection ended with {type(error).__name__}.",
        fix="Run `hive llm test`; it names the provider and what it says.",
    )
