"""Opaque tokens: the issuer is asked about each (RFC 7662), and its answer is believed for a short time.

A token that was withdrawn is accepted for at most `keep_s` more. Refusals are not remembered beyond that, and
strangers cannot push valid tokens out of the memory, since only active ones are kept.
"""

from collections.abc import Sequence
from typing import Any, Final

from hive_a2a.call import CallerIdentity, RequestHead
from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.faults import UNAVAILABLE, WireFault
from hive_a2a.identity.bearer import audiences, check_audience, scopes_of, subject
from hive_a2a.identity.binding import HolderCheck
from hive_a2a.identity.dpop import DpopVerifier
from hive_a2a.identity.endpoint import ClientSecret
from hive_a2a.identity.fetch import IssuerAnswer, IssuerLink, IssuerUnavailableError, safe_url
from hive_a2a.identity.jws import TOKEN_BYTES_MAX, BadTokenError, check_times
from hive_a2a.identity.verified import VerifiedToken, VerifiedTokens, caller_of

_TOKEN_CHARS: Final = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/="
)


class Introspection:
    """Asks the issuer at `url` whether a token is active and meant for this audience.

    An answer without `aud` is refused unless `audience_optional`: an issuer that hands out tokens without
    one cannot say whom they are for. An answer that names another issuer is refused; one that names none is not.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        secret: str,
        *,
        issuer: str,
        audience: str | Sequence[str],
        scopes: Sequence[str] = (),
        audience_optional: bool = False,
        leeway_s: float = 60.0,
        keep_s: float = 10.0,
        kept_max: int = 4096,
        asking_max: int = 32,
        dpop: DpopVerifier | None = None,
        bound: bool = False,
        scheme: str = "bearer",
        link: IssuerLink | None = None,
        clock: WallClock | None = None,
    ) -> None:
        self._url = safe_url(url)
        self._client = ClientSecret(client_id, secret)
        self._issuer = issuer
        self._audiences = audiences(issuer, audience)
        self._audience_optional = audience_optional
        self._scopes = frozenset(scopes)
        self._leeway_s = leeway_s
        self._holder = HolderCheck(dpop=dpop, required=bound)
        self._scheme = scheme
        self._link = link or IssuerLink()
        self._clock = clock or MachineClock()
        self._asking = 0
        self._asking_max = asking_max
        self._kept = VerifiedTokens(keep_s=keep_s, entries_max=kept_max, clock=self._clock)

    @property
    def scheme(self) -> str:
        """Return the name of its security scheme in the card."""
        return self._scheme

    def card_scheme(self) -> dict[str, Any]:
        """Return a bearer scheme; the format of the token is its issuer's own affair."""
        return {"httpAuthSecurityScheme": {"scheme": "Bearer"}}

    async def identify(self, head: RequestHead) -> CallerIdentity | None:
        """Return whom the token names; None without a token.

        Raises:
            WireFault: the token is not valid here (401), may not do this (403), or cannot be checked now (503).

        """
        return await caller_of(
            head,
            kept=self._kept,
            verify=self._ask,
            holder=self._holder,
            scopes=self._scopes,
        )

    async def aclose(self) -> None:
        """Close the connections to the issuer."""
        await self._link.aclose()

    async def _ask(self, token: str) -> VerifiedToken:
        if not token or len(token) > TOKEN_BYTES_MAX or not _TOKEN_CHARS.issuperset(token):
            raise BadTokenError("This is not a token.")
        # Strangers with made-up tokens cause these requests, so few are open at a time.
        if self._asking >= self._asking_max:
            raise _unavailable("too many questions are open")
        form, headers = self._client.authenticate(self._url)
        form |= {"token": token, "token_type_hint": "access_token"}
        self._asking += 1
        try:
            answer = await self._link.post(self._url, form, headers)
        except IssuerUnavailableError as error:
            raise _unavailable(str(error)) from None
        finally:
            self._asking -= 1
        if answer.status != 200:
            raise _unavailable(f"HTTP {answer.status}")
        return self._judge(token, answer)

    def _judge(self, token: str, answer: IssuerAnswer) -> VerifiedToken:
        claims = answer.document
        if claims.get("active") is not True:
            raise BadTokenError("The token is not active.")
        if claims.get("iss", self._issuer) != self._issuer:
            raise BadTokenError("The token is of another issuer.")
        if "aud" in claims or not self._audience_optional:
            check_audience(claims.get("aud"), self._audiences)
        ends_at = check_times(claims, self._clock.now().timestamp(), self._leeway_s)
        named = subject(claims if "sub" in claims else {"sub": claims.get("client_id")})
        caller = CallerIdentity(
            name=f"bearer:{self._issuer}#{named}",
            scheme=self._scheme,
            scopes=scopes_of(claims),
            claims=claims,
        )
        return self._kept.put(token, caller, claims, ends_at + self._leeway_s)


def _unavailable(detail: str) -> WireFault:
    return WireFault(
        UNAVAILABLE,
        "The token cannot be checked now.",
        retry_after_s=5.0,
        metadata={"check": "authentication"},
        detail=detail,
    )
