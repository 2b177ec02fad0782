"""What a client shows, as `httpx.Auth`: to the configured origins only, whatever card or redirect says.

Use one as the `auth` of the `httpx.AsyncClient` in the official `ClientConfig`; `credentialed_client` makes
such a client. httpx strips only `Authorization` when it follows a redirect to another origin, so the client
made here follows none, and its transport refuses a request that carries a credential to another origin.
"""

import logging
from abc import abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from typing import Any, Final, Protocol

import httpx

from hive_a2a.clock import WallClock
from hive_a2a.errors import A2AError
from hive_a2a.identity.endpoint import (
    ClientAuthentication,
    TokenEndpoint,
    client_credentials_form,
    exchange_form,
)
from hive_a2a.identity.fetch import IssuerLink, safe_url
from hive_a2a.identity.proof import DpopKey
from hive_a2a.origins import origin_of

_MARK: Final = "hive_a2a.credential_origin"
_log: Final = logging.getLogger(__name__)


class TokenSource(Protocol):
    """Gives access tokens, and forgets one that a server refused."""

    async def token(self) -> str:
        """Return a token."""
        ...

    def forget(self, token: str) -> None:
        """Do not give this token again."""
        ...


class OriginAuth(httpx.Auth):
    """Shows a credential to the configured origins, and nothing to any other."""

    requires_request_body = True  # a request may be sent again, after a token was refused

    def __init__(self, origins: str | Sequence[str]) -> None:
        listed = [origins] if isinstance(origins, str) else list(origins)
        self._origins = frozenset(origin_of(str(httpx.URL(safe_url(one)))) for one in listed)
        if not all(self._origins) or not self._origins:
            raise A2AError(
                "A credential needs the origins that may see it.",
                why="Without them it would go wherever a card or a redirect points.",
                fix="Give the agent's address, for example https://agent.example.com.",
            )

    @abstractmethod
    async def headers_for(self, method: str, url: str) -> dict[str, str]:
        """Return the headers for one request; empty where the origin is not a configured one.

        For callers without httpx (gRPC metadata); `async_auth_flow` uses it too.
        """

    def refused(self, response: httpx.Response) -> bool:
        """Look at a refusal; return whether trying once more makes sense."""
        return False

    def shows_to(self, url: str) -> bool:
        """Tell whether an address may see the credential."""
        return origin_of(str(httpx.URL(url))) in self._origins

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Add the credential, and once more after a refusal that a fresh one may cure."""
        if not self.shows_to(str(request.url)):
            _log.info("credential.withheld", extra={"host": request.url.host})
            yield request
            return
        request.extensions = {**request.extensions, _MARK: origin_of(str(request.url))}
        request.headers.update(await self.headers_for(request.method, str(request.url)))
        response = yield request
        if self.refused(response) and response.url == request.url:
            request.headers.update(await self.headers_for(request.method, str(request.url)))
            yield request

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Refuse: credentials are for asynchronous clients.

        Raises:
            A2AError: always.

        """
        raise A2AError("This credential needs an httpx.AsyncClient.")


class ApiKeyAuth(OriginAuth):
    """A key in a header."""

    def __init__(
        self, key: str, origins: str | Sequence[str], *, header: str = "X-API-Key"
    ) -> None:
        super().__init__(origins)
        self._key, self._header = key, header

    async def headers_for(self, method: str, url: str) -> dict[str, str]:
        """Return the key's header."""
        return {self._header: self._key} if self.shows_to(url) else {}


class BearerToken(OriginAuth):
    """An access token: a fixed one, or one of a source that is asked for each request."""

    def __init__(self, token: str | TokenSource, origins: str | Sequence[str]) -> None:
        super().__init__(origins)
        self._token = token

    async def headers_for(self, method: str, url: str) -> dict[str, str]:
        """Return the token's header."""
        if not self.shows_to(url):
            return {}
        token = self._token if isinstance(self._token, str) else await self._token.token()
        return {"Authorization": f"Bearer {token}"}

    def refused(self, response: httpx.Response) -> bool:
        """Forget a token that was refused, and try once with a fresh one if there is a source."""
        if response.status_code != 401 or isinstance(self._token, str):
            return False
        self._token.forget(_token_in(response.request))
        return True


class Dpop(OriginAuth):
    """An access token that is bound to a key, with a proof for each request."""

    def __init__(
        self, token: str | TokenSource, key: DpopKey, origins: str | Sequence[str]
    ) -> None:
        super().__init__(origins)
        self._token, self._key = token, key

    async def headers_for(self, method: str, url: str) -> dict[str, str]:
        """Return the token's header and a fresh proof."""
        if not self.shows_to(url):
            return {}
        token = self._token if isinstance(self._token, str) else await self._token.token()
        return {
            "Authorization": f"DPoP {token}",
            "DPoP": self._key.proof(method, url, token=token),
        }

    def refused(self, response: httpx.Response) -> bool:
        """Try once more with the nonce that the server gave, or with a fresh token."""
        nonce_is_new = self._key.heard(str(response.url), response.headers.get("dpop-nonce"))
        if response.status_code != 401:
            return False
        if nonce_is_new and "use_dpop_nonce" in response.headers.get("www-authenticate", ""):
            return True
        if isinstance(self._token, str):
            return False
        self._token.forget(_token_in(response.request))
        return True


class ClientCredentials(BearerToken):
    """A token that this client gets for itself (RFC 6749, 4.4), kept until shortly before its end."""

    def __init__(
        self,
        token_url: str,
        client: ClientAuthentication,
        origins: str | Sequence[str],
        *,
        scopes: Sequence[str] = (),
        resource: str = "",
        audience: str = "",
        link: IssuerLink | None = None,
        clock: WallClock | None = None,
    ) -> None:
        form = client_credentials_form(" ".join(scopes), resource, audience)

        async def asked() -> dict[str, str]:
            return form

        self._endpoint = TokenEndpoint(token_url, client, asked, link=link, clock=clock)
        super().__init__(self._endpoint, origins)

    async def aclose(self) -> None:
        """Close the connections to the authorization server."""
        await self._endpoint.aclose()


class DpopClientCredentials(Dpop):
    """The same, with a token that is bound to a key of this client (RFC 9449)."""

    def __init__(
        self,
        token_url: str,
        client: ClientAuthentication,
        key: DpopKey,
        origins: str | Sequence[str],
        *,
        scopes: Sequence[str] = (),
        resource: str = "",
        audience: str = "",
        link: IssuerLink | None = None,
        clock: WallClock | None = None,
    ) -> None:
        form = client_credentials_form(" ".join(scopes), resource, audience)

        async def asked() -> dict[str, str]:
            return form

        self._endpoint = TokenEndpoint(token_url, client, asked, dpop=key, link=link, clock=clock)
        super().__init__(self._endpoint, key, origins)

    async def aclose(self) -> None:
        """Close the connections to the authorization server."""
        await self._endpoint.aclose()


class TokenExchange(BearerToken):
    """A token for the next agent in exchange for the one that came in (RFC 8693); never the incoming one itself.

    `subject` is asked for the incoming token each time a new one is needed: make one of these for each caller
    on whose behalf is acted.
    """

    def __init__(
        self,
        token_url: str,
        client: ClientAuthentication,
        subject: Callable[[], Awaitable[str]],
        origins: str | Sequence[str],
        *,
        scopes: Sequence[str] = (),
        resource: str = "",
        audience: str = "",
        actor_token: str = "",
        actor_token_type: str = "",
        link: IssuerLink | None = None,
        clock: WallClock | None = None,
    ) -> None:
        fields = {
            "scope": " ".join(scopes),
            "resource": resource,
            "audience": audience,
            "actor_token": actor_token,
            "actor_token_type": actor_token_type,
        }

        async def asked() -> dict[str, str]:
            return exchange_form(await subject(), fields)

        self._endpoint = TokenEndpoint(token_url, client, asked, link=link, clock=clock)
        super().__init__(self._endpoint, origins)

    async def aclose(self) -> None:
        """Close the connections to the authorization server."""
        await self._endpoint.aclose()


class OriginGuard(httpx.AsyncBaseTransport):
    """Refuses to send a request that was given a credential to another origin than it was given for."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it, unless a redirect took it away from its origin.

        Raises:
            httpx.RequestError: it did.

        """
        meant = request.extensions.get(_MARK)
        if meant is not None and meant != origin_of(str(request.url)):
            raise httpx.RequestError(
                "A redirect would have taken a credential to another origin.", request=request
            )
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the transport below."""
        await self._inner.aclose()


def credentialed_client(
    auth: OriginAuth,
    transport: httpx.AsyncBaseTransport | None = None,
    **settings: Any,  # noqa: ANN401
) -> httpx.AsyncClient:
    """Return an HTTP client for the official `ClientConfig` that cannot lead the credential astray."""
    inner = transport or httpx.AsyncHTTPTransport()
    settings.setdefault("follow_redirects", False)
    settings.setdefault("trust_env", False)
    return httpx.AsyncClient(auth=auth, transport=OriginGuard(inner), **settings)


def _token_in(request: httpx.Request) -> str:
    return str(request.headers.get("authorization", "")).partition(" ")[2]
