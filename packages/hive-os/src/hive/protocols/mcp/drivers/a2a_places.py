"""How an A2A agent is connected to: at addresses that were looked at, with headers for its own origin alone."""

from collections.abc import Mapping

import httpx

from hive.core.errors import EngineError
from hive.protocols.models.addresses import screened_addresses
from hive_a2a.identity.credentials import OriginAuth


class ShownHeaders(OriginAuth):
    """Shows the headers of a server's spec to that server's own origin, and to nobody else."""

    def __init__(self, headers: Mapping[str, str], origin: str) -> None:
        super().__init__(origin)
        self._headers = dict(headers)

    async def headers_for(self, method: str, url: str) -> dict[str, str]:
        """Return the headers for a URL."""
        return self._headers if self.shows_to(url) else {}


class ScreenedTransport(httpx.AsyncBaseTransport):
    """Connects to addresses that were looked at, so that a name cannot lead elsewhere in between."""

    def __init__(self, *, only_loopback_plain: bool) -> None:
        self._inner = httpx.AsyncHTTPTransport()
        self._only_loopback_plain = only_loopback_plain

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Resolve, look, and send to the first address that may be connected to."""
        url = request.url
        plain = url.scheme != "https"
        try:
            addresses = await screened_addresses(
                url.host,
                url.port or (80 if plain else 443),
                only_loopback=plain and self._only_loopback_plain,
            )
        except EngineError as error:
            raise httpx.ConnectError(str(error)) from error
        if not addresses:
            raise httpx.ConnectError("No address of it may be connected to.")
        if addresses[0] != url.host:
            request.headers.setdefault("host", url.netloc.decode("ascii"))
            request.extensions = {**request.extensions, "sni_hostname": url.host}
            request.url = url.copy_with(host=addresses[0])
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()
