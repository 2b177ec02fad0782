"""Ask an authorization server for tokens: client authentication, client credentials, exchange (RFC 6749, 8693).

What comes back is checked before it is used: the token must be of the kind that was asked for (a server that
answers a DPoP request with a plain bearer token is refused), and must be a token that fits into a header.
"""

import base64
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import quote_plus

import anyio
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.errors import A2AError
from hive_a2a.identity.fetch import IssuerAnswer, IssuerLink, safe_url
from hive_a2a.identity.jws import TOKEN_BYTES_MAX
from hive_a2a.identity.proof import DpopKey, signed_compact, signing_alg

_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a type
_LIFE_UNSAID_S: Final = 60.0
_LIFE_MAX_S: Final = 86_400.0


class TokenRefusedError(A2AError):
    """An authorization server gave no token, or none that can be used."""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """An access token and until when (monotonic seconds) it is shown."""

    value: str = field(repr=False)
    until: float


class ClientAuthentication(Protocol):
    """How a client proves to an authorization server who it is."""

    def authenticate(self, url: str) -> tuple[dict[str, str], dict[str, str]]:
        """Return the form fields and the headers to add to a request to this address."""
        ...


class ClientSecret:
    """A shared secret, in the Authorization header (or in the form, for servers that want it there)."""

    def __init__(self, client_id: str, secret: str, *, in_form: bool = False) -> None:
        self._id, self._secret, self._in_form = client_id, secret, in_form

    def authenticate(self, url: str) -> tuple[dict[str, str], dict[str, str]]:
        """Return the form fields and the headers that carry the secret."""
        if self._in_form:
            return {"client_id": self._id, "client_secret": self._secret}, {}
        pair = f"{quote_plus(self._id)}:{quote_plus(self._secret)}"
        return {}, {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


class ClientKey:
    """A key of the client's own (RFC 7523, `private_key_jwt`): no secret travels, an assertion is used once."""

    def __init__(
        self,
        client_id: str,
        key: EllipticCurvePrivateKey | Ed25519PrivateKey,
        *,
        kid: str = "",
        audience: str = "",
        clock: WallClock | None = None,
    ) -> None:
        self._id, self._key, self._kid, self._audience = client_id, key, kid, audience
        self._alg = signing_alg(key)
        self._clock = clock or MachineClock()

    def authenticate(self, url: str) -> tuple[dict[str, str], dict[str, str]]:
        """Return the form fields with a fresh assertion for this address."""
        now = int(self._clock.now().timestamp())
        claims = {
            "iss": self._id,
            "sub": self._id,
            "aud": self._audience or url,
            "jti": secrets.token_urlsafe(16),
            "iat": now,
            "exp": now + 60,
        }
        header = {"alg": self._alg, "typ": "JWT"} | ({"kid": self._kid} if self._kid else {})
        assertion = signed_compact(header, claims, self._key)
        return {
            "client_id": self._id,
            "client_assertion_type": _ASSERTION,
            "client_assertion": assertion,
        }, {}


class ClientCertificate:
    """A TLS client certificate (RFC 8705): the link's HTTP client shows it, the form only names the client."""

    def __init__(self, client_id: str) -> None:
        self._id = client_id

    def authenticate(self, url: str) -> tuple[dict[str, str], dict[str, str]]:
        """Return the form field that names the client."""
        return {"client_id": self._id}, {}


class TokenEndpoint:
    """Gets access tokens by one form, keeps the last one until shortly before its end, asks once at a time."""

    def __init__(
        self,
        url: str,
        client: ClientAuthentication,
        form: Callable[[], Awaitable[Mapping[str, str]]],
        *,
        dpop: DpopKey | None = None,
        early_s: float = 30.0,
        link: IssuerLink | None = None,
        clock: WallClock | None = None,
    ) -> None:
        self._url = safe_url(url)
        self._client = client
        self._form = form
        self._dpop = dpop
        self._early_s = early_s
        self._link = link or IssuerLink()
        self._clock = clock or MachineClock()
        self._last: IssuedToken | None = None
        self._lock: anyio.Lock | None = None

    async def token(self) -> str:
        """Return a token that is good for a moment still.

        Raises:
            A2AError: the authorization server gives none.

        """
        self._lock = self._lock or anyio.Lock()
        async with self._lock:
            if self._last is None or self._clock.monotonic() >= self._last.until:
                self._last = await self._ask()
            return self._last.value

    def forget(self, token: str) -> None:
        """Do not show this token again: a server refused it."""
        if self._last is not None and self._last.value == token:
            self._last = None

    async def aclose(self) -> None:
        """Close the connections to the authorization server."""
        await self._link.aclose()

    async def _ask(self) -> IssuedToken:
        answer = await self._post()
        if self._dpop is not None:
            nonce_is_new = self._dpop.heard(self._url, answer.headers.get("dpop-nonce"))
            if nonce_is_new and answer.document.get("error") == "use_dpop_nonce":
                answer = await self._post()
        if answer.status != 200:
            raise TokenRefusedError(
                "The authorization server gave no token.",
                why=f"HTTP {answer.status}, {_error_word(answer.document)}.",
                fix="Check the client's name, its secret or key, and what it asks for.",
            )
        return self._judge(answer.document)

    async def _post(self) -> IssuerAnswer:
        form, headers = self._client.authenticate(self._url)
        if self._dpop is not None:
            headers["dpop"] = self._dpop.proof("POST", self._url)
        return await self._link.post(self._url, {**await self._form(), **form}, headers)

    def _judge(self, document: Mapping[str, object]) -> IssuedToken:
        value, kind = document.get("access_token"), document.get("token_type")
        wanted = "bearer" if self._dpop is None else "dpop"
        if not isinstance(kind, str) or kind.lower() != wanted:
            raise TokenRefusedError(
                "The authorization server gave a token of another kind.",
                why=f"A {wanted} token was asked for.",
            )
        sound = isinstance(value, str) and 0 < len(value) <= TOKEN_BYTES_MAX
        if not sound or not isinstance(value, str) or not _fits_header(value):
            raise TokenRefusedError("The authorization server gave something that is no token.")
        life = document.get("expires_in", _LIFE_UNSAID_S)
        if isinstance(life, bool) or not isinstance(life, int | float) or not life > 0:
            raise TokenRefusedError("The authorization server gave a token without a future.")
        shown_s = min(float(life), _LIFE_MAX_S)
        # A short-lived token is still shown for half its life.
        kept_s = max(shown_s - self._early_s, shown_s / 2)
        return IssuedToken(value, self._clock.monotonic() + kept_s)


def client_credentials_form(scopes: str, resource: str, audience: str) -> dict[str, str]:
    """Return the form of RFC 6749, 4.4, with a resource indicator (RFC 8707)."""
    asked = {"scope": scopes, "resource": resource, "audience": audience}
    return {"grant_type": "client_credentials", **{k: v for k, v in asked.items() if v}}


def exchange_form(subject_token: str, fields: Mapping[str, str]) -> dict[str, str]:
    """Return the form of RFC 8693 that exchanges a token for another."""
    return {
        "grant_type": _EXCHANGE,
        "subject_token": subject_token,
        "subject_token_type": ACCESS_TOKEN,
        **{k: v for k, v in fields.items() if v},
    }


def _fits_header(value: str) -> bool:
    return value.isascii() and value.isprintable() and " " not in value


def _error_word(document: Mapping[str, object]) -> str:
    word = document.get("error")
    known = isinstance(word, str) and len(word) < 64 and word.replace("_", "").isalnum()
    return str(word) if known else "without a reason"
