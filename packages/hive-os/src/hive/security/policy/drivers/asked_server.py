"""Questions to a policy server over HTTP: one POST, one bounded answer, and nothing is followed."""

import ssl
from typing import Final
from urllib.parse import urlsplit

import anyio
import httpcore

from hive.core.call import Verb
from hive.core.drivers import query_of
from hive.core.errors import ConfigError, EngineError, EngineTimeoutError, EngineUnavailableError
from hive.security.policy.question import ANSWER_MAX_BYTES

CONNECTIONS_MAX: Final = 32
ARGUED: Final = (Verb.INVOKE, Verb.REACH, Verb.SPAWN)
"""Not whole messages and prompts, which may be larger than any policy reads."""
_BROKEN: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    OSError,
)


class AskedServer:
    """One server; a question that is not answered in time or in form is an error."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ConfigError(
                "HIVE_POLICY_URL names no server.",
                why=f"{parts.scheme}://{parts.hostname or ''} is no address of HTTP.",
                fix="Write for example opa:http://127.0.0.1:8181",
            )
        self.address = url.partition("?")[0].rstrip("/")
        asked = query_of(url).get("arguments", ",".join(ARGUED))
        known = {*Verb, ""}
        if unknown := set(asked.split(",")) - known:
            raise ConfigError(
                "HIVE_POLICY_URL names no verbs after `arguments=`.",
                why=f"{', '.join(sorted(unknown))} is none of {', '.join(Verb)}.",
                fix="Write for example opa:http://127.0.0.1:8181?arguments=invoke,ask",
            )
        self.argued = frozenset(asked.split(","))
        """The verbs of which the server is sent the arguments: what its rules look at is not known here."""
        self._timeout_s = timeout_s
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(), max_connections=CONNECTIONS_MAX, retries=0
        )

    async def post(self, path: str, body: bytes) -> bytes:
        """Return the answer's body.

        Raises:
            EngineTimeoutError: there was none in time.
            EngineUnavailableError: the server cannot be reached.
            EngineError: it answered with an error, or with too much.

        """
        headers = [(b"content-type", b"application/json"), (b"accept", b"application/json")]
        try:
            with anyio.fail_after(self._timeout_s):
                async with self._pool.stream(
                    "POST", f"{self.address}{path}", headers=headers, content=body
                ) as response:
                    found = b""
                    async for piece in response.aiter_stream():
                        found += piece
                        if len(found) > ANSWER_MAX_BYTES:
                            raise EngineError("The policy server's answer is too large.")
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise EngineTimeoutError("The policy server did not answer in time.") from error
        except _BROKEN as error:
            why = f"{type(error).__name__} {error}".strip()
            raise EngineUnavailableError("The policy server cannot be reached.", why=why) from error
        if response.status != 200:
            why = f"It answered with status {response.status}."
            raise EngineError("The policy server did not decide.", why=why)
        return found

    async def aclose(self) -> None:
        """End the connections."""
        await self._pool.aclose()
