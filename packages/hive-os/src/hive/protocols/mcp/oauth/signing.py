"""Puts a login into requests. All that it asks elsewhere goes over screened connections of its own."""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final

import httpx2

from hive.core.ids import OwnerId
from hive.protocols.mcp.ports import ServerSpec

if TYPE_CHECKING:
    from hive.protocols.mcp.oauth.login import UpstreamLogin

ATTEMPTS_MAX: Final = 3


class UpstreamAuth(httpx2.Auth):
    """Signs the requests of one owner to one server."""

    def __init__(self, login: "UpstreamLogin", spec: ServerSpec, owner: OwnerId) -> None:
        self._login = login
        self._spec = spec
        self._owner = owner

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Sign a request, and again where that helps."""
        url = str(request.url)
        for _ in range(ATTEMPTS_MAX):
            signed = await self._login.headers(self._spec, self._owner, request.method, url)
            for name in ("authorization", "dpop"):
                request.headers.pop(name, None)
            request.headers.update(signed)
            answer = yield request
            if not await self._login.heard(
                self._spec, self._owner, url, answer.status_code, answer.headers
            ):
                return
