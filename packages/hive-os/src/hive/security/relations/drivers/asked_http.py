"""Requests to a server of relationships: one POST or GET of JSON, one bounded answer, and nothing is followed."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import anyio
import httpcore

from hive.core.drivers import query_of
from hive.core.errors import ConfigError, EngineError, EngineTimeoutError, EngineUnavailableError
from hive.core.json import Json, decode, encode

CONNECTIONS_MAX: Final = 32
ANSWER_MAX_BYTES: Final = 8 << 20
_BROKEN: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    OSError,
)


class RelationServer:
    """One server, named by what stands behind the scheme of a driver's URL."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        address = url.partition(":")[2].partition("?")[0]
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ConfigError(
                "HIVE_RELATIONS_URL names no server.",
                why=f"{parts.scheme}://{parts.hostname or ''} is no address of HTTP.",
                fix="Write for example openfga:http://127.0.0.1:8080",
            )
        self.query = query_of(url)
        self._address = address.rstrip("/")
        self._timeout_s = timeout_s
        self._headers = [(b"content-type", b"application/json"), *_authorization(self.query)]
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(), max_connections=CONNECTIONS_MAX, retries=0
        )

    async def ask(
        self, path: str, body: Mapping[str, object] | None = None
    ) -> tuple[int, list[dict[str, Json]]]:
        """Return the status and the objects of the answer, one a line; without a body it is a GET.

        Raises:
            EngineTimeoutError: there was none in time.
            EngineUnavailableError: the server cannot be reached.
            EngineError: its answer is too large, or is not JSON.

        """
        status, found = await self._exchange(path, None if body is None else encode(body))
        try:
            lines = [found] if found.count(b"\n") < 2 else found.splitlines()
            told = [decode(line) for line in lines if line.strip()]
        except ValueError as error:
            why = f"Status {status}: {error}"
            raise EngineError("The answer of the relation server is no JSON.", why=why) from error
        return status, [one for one in told if isinstance(one, dict)]

    async def aclose(self) -> None:
        """End the connections."""
        await self._pool.aclose()

    async def _exchange(self, path: str, content: bytes | None) -> tuple[int, bytes]:
        try:
            with anyio.fail_after(self._timeout_s):
                async with self._pool.stream(
                    "GET" if content is None else "POST",
                    f"{self._address}{path}",
                    headers=self._headers,
                    content=content,
                ) as response:
                    found = b""
                    async for piece in response.aiter_stream():
                        found += piece
                        if len(found) > ANSWER_MAX_BYTES:
                            raise EngineError("The answer of the relation server is too large.")
                    return response.status, found
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise EngineTimeoutError("The relation server did not answer in time.") from error
        except _BROKEN as error:
            why = f"{type(error).__name__} {error}".strip()
            raise EngineUnavailableError(
                "The relation server cannot be reached.", why=why
            ) from error


def text_in(told: Mapping[str, Json], *path: str) -> str:
    """Return a text inside nested objects, empty where there is none."""
    found: Json = dict(told)
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""


def _authorization(query: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return the header of the token in the file that `token=` names: a URL is printed, a file is not."""
    if not (file := query.get("token")):
        return []
    try:
        token = Path(file).read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(
            "HIVE_RELATIONS_URL names no file with a token.", why=f"{file}: {error}"
        ) from error
    return [(b"authorization", f"Bearer {token}".encode())]
