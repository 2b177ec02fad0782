"""Pass a request on to a provider over HTTPS and its answer back, byte for byte.

The only place where the real key meets a request. Redirects are not followed and no proxy of the
environment is used: both could carry the key elsewhere.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import anyio
import httpx

from hive.core.clock import Clock
from hive.core.errors import ConfigError, EngineTimeoutError, EngineUnavailableError
from hive.core.json import decode
from hive.core.secret import Secret
from hive.protocols.models.ports import Dialect, ModelHead, ModelRequest

ANTHROPIC_VERSION: Final = "2023-06-01"
LEARN_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = 300.0
CONNECTIONS_MAX: Final = 100
MODELS_KEPT_S: Final = 300.0
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


def upstream_url(url: str, key: Secret, *, example: str) -> str:
    """Return the address in a driver URL such as `openai:https://host/v1`.

    Raises:
        ConfigError: it is no address, or the key would travel in the clear.

    """
    address = url.partition(":")[2]
    try:
        parts = urlsplit(address)
        plain_is_fine = parts.hostname in ("127.0.0.1", "::1", "localhost") or not key
        usable = parts.scheme == "https" or (parts.scheme == "http" and plain_is_fine)
    except ValueError:
        usable, parts = False, urlsplit("")
    if not usable or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ConfigError(
            "HIVE_MODELS names no address that can be used.",
            why="It needs a host and https (plain http only on this machine or without a key).",
            fix=f"Write it as `{example}`.",
        )
    return address.rstrip("/")


class ForwardedAnswer:
    """A provider's answer while it comes."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        named = {
            token.strip().lower()
            for token in response.headers.get("connection", "").split(",")
            if token.strip()
        }
        self.head: ModelHead = ModelHead(
            status=response.status_code,
            headers=tuple(
                (key, value)
                for key, value in response.headers.multi_items()
                if key.lower() not in HOP_BY_HOP and key.lower() not in named
            ),
        )

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes, still in the provider's encoding."""
        try:
            async for chunk in self._response.aiter_raw():
                yield chunk
        except httpx.HTTPError as error:
            raise _translated(error) from error


class Forwarder:
    """Speak to one provider with one pool of connections."""

    def __init__(
        self,
        *,
        client: httpx.AsyncClient,
        address: str,
        strip: str,
        key_headers: tuple[tuple[str, str], ...],
        dialects: frozenset[Dialect],
        clock: Clock,
    ) -> None:
        self._client = client
        self._address = address
        self._strip = strip
        self._key_headers = key_headers
        self._clock = clock
        self._models: tuple[str, ...] = ()
        self._models_until = 0.0
        self._models_lock = anyio.Lock()
        self.dialects: frozenset[Dialect] = dialects

    @asynccontextmanager
    async def ask(self, request: ModelRequest) -> AsyncIterator[ForwardedAnswer]:
        """Send a request on."""
        query = f"?{request.query}" if request.query else ""
        outgoing = self._client.build_request(
            "POST",
            self._place(request.dialect.value) + query,
            content=request.body,
            headers=[*request.headers, ("accept-encoding", "identity"), *self._key_headers],
        )
        try:
            response = await self._client.send(outgoing, stream=True)
        except httpx.HTTPError as error:
            raise _translated(error) from error
        try:
            yield ForwardedAnswer(response)
        finally:
            with anyio.move_on_after(2, shield=True):
                await response.aclose()

    async def models(self) -> Sequence[str]:
        """Return the provider's names, asked at most once in five minutes by the node itself."""
        async with self._models_lock:
            if self._clock.monotonic() >= self._models_until:
                self._models_until = self._clock.monotonic() + MODELS_KEPT_S
                self._models = await self._learn()
        return self._models

    async def _learn(self) -> tuple[str, ...]:
        try:
            response = await self._client.get(
                self._place("/v1/models"),
                headers=[("anthropic-version", ANTHROPIC_VERSION), *self._key_headers],
                timeout=LEARN_TIMEOUT_S,
            )
            document = decode(response.content) if response.status_code == 200 else None
        except (httpx.HTTPError, ValueError):
            return self._models
        data = document.get("data") if isinstance(document, dict) else None
        if not isinstance(data, list):
            return self._models
        names = (entry.get("id") for entry in data[:MODELS_MAX] if isinstance(entry, dict))
        return tuple(name for name in names if isinstance(name, str))

    def _place(self, path: str) -> str:
        return self._address + path.removeprefix(self._strip)


@asynccontextmanager
async def open_client(connect_timeout_s: float) -> AsyncIterator[httpx.AsyncClient]:
    """Open the pool of connections to a provider."""
    async with httpx.AsyncClient(
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(READ_TIMEOUT_S, connect=connect_timeout_s, pool=connect_timeout_s),
        limits=httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=20),
    ) as client:
        yield client


def _translated(error: httpx.HTTPError) -> EngineUnavailableError | EngineTimeoutError:
    # The client's own text may hold the address and headers, so it is not repeated.
    if isinstance(error, httpx.TimeoutException):
        return EngineTimeoutError(
            "The model provider did not answer in time.", fix="Try again later."
        )
    return EngineUnavailableError(
        "The model provider cannot be reached.",
        why=f"The connection ended with {type(error).__name__}.",
        fix="Look at HIVE_MODELS; `hive doctor` tries it.",
    )
