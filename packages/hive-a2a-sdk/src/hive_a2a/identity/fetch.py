"""Ask an issuer for JSON, within limits: its size, one deadline for everything, no redirect, no proxy.

The addresses come from the configuration; what answers is still not trusted to be short or quick.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import httpx

from hive_a2a.errors import A2AError
from hive_a2a.identity.jws import BadTokenError, load_object
from hive_a2a.origins import is_loopback

ANSWER_BYTES_MAX: Final = 256 << 10


class IssuerUnavailableError(A2AError):
    """An issuer gave no usable answer."""


@dataclass(frozen=True, slots=True)
class IssuerAnswer:
    """What an issuer said; `status` may be an error, whose document says which."""

    status: int
    document: Mapping[str, Any]
    headers: httpx.Headers


class IssuerLink:
    """A bounded HTTP client to an issuer; pass `client` to use another trust or a client certificate."""

    def __init__(
        self,
        client: httpx.AsyncClient | None = None,
        *,
        timeout_s: float = 5.0,
        bytes_max: int = ANSWER_BYTES_MAX,
    ) -> None:
        self._client = client
        self._own: httpx.AsyncClient | None = None
        self._timeout_s = timeout_s
        self._bytes_max = bytes_max

    async def get(self, url: str) -> IssuerAnswer:
        """Get a JSON document.

        Raises:
            IssuerUnavailableError: no answer in time, too long, or not a JSON object.

        """
        return await self._ask("GET", url, None, {})

    async def post(
        self, url: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> IssuerAnswer:
        """Post a form and read the JSON that comes back.

        Raises:
            IssuerUnavailableError: no answer in time, too long, or not a JSON object.

        """
        return await self._ask("POST", url, form, headers)

    async def aclose(self) -> None:
        """Close the connections that this link opened itself."""
        if self._own is not None:
            await self._own.aclose()
            self._own = None

    async def _ask(
        self, method: str, url: str, form: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> IssuerAnswer:
        # Compressed answers are not asked for: their size on the wire would say nothing.
        sent = {"accept": "application/json", "accept-encoding": "identity", **headers}
        client = self._ready()
        try:
            with anyio.fail_after(self._timeout_s):
                request = client.build_request(method, url, data=form, headers=sent)
                answer = await client.send(request, stream=True, auth=None, follow_redirects=False)
                try:
                    body = await self._read(answer)
                finally:
                    with anyio.move_on_after(1, shield=True):
                        await answer.aclose()
        except (httpx.HTTPError, TimeoutError) as error:
            raise IssuerUnavailableError(
                "An issuer did not answer.", why=f"{type(error).__name__} at {_place(url)}."
            ) from None
        try:
            return IssuerAnswer(answer.status_code, load_object(body), answer.headers)
        except BadTokenError as error:
            raise IssuerUnavailableError(
                "An issuer answered with something else than a JSON object.",
                why=f"HTTP {answer.status_code} at {_place(url)}: {error.what}",
            ) from None

    async def _read(self, answer: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > self._bytes_max:
                raise IssuerUnavailableError("An issuer's answer is too long.")
        return bytes(body)

    def _ready(self) -> httpx.AsyncClient:
        if self._client is not None:
            return self._client
        if self._own is None:
            self._own = httpx.AsyncClient(trust_env=False, follow_redirects=False)
        return self._own


def safe_url(url: str) -> str:
    """Return the address of an issuer or agent: https, or http on this machine.

    Raises:
        A2AError: it is anything else.

    """
    parts = urlsplit(url)
    local = parts.scheme == "http" and is_loopback(url)
    if (parts.scheme != "https" and not local) or not parts.hostname or "@" in parts.netloc:
        raise A2AError(
            "This address cannot be used.",
            why="A credential or key may only travel over https, or http to this machine.",
            fix="Give an https:// address without a user name.",
        )
    return url


def _place(url: str) -> str:
    return urlsplit(url).hostname or "an address without a host"
