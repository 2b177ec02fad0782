"""Access tokens that are JWTs (RFC 9068): verified here, with the issuer's keys and a pinned list of algorithms.

What is asked of a token: a signature by a key of the configured issuer, the issuer and the audience exactly,
an end, a subject, the scopes, and that its holder is the one it is bound to. The token's own header decides
nothing of this.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hive_a2a.call import CallerIdentity, RequestHead
from hive_a2a.clock import MachineClock, WallClock
from hive_a2a.errors import A2AError
from hive_a2a.faults import WireFault
from hive_a2a.identity.binding import HolderCheck
from hive_a2a.identity.dpop import DpopVerifier
from hive_a2a.identity.fetch import IssuerLink
from hive_a2a.identity.jwks import FetchedKeys, GivenKeys, IssuerKeys
from hive_a2a.identity.jws import (
    BadTokenError,
    CompactToken,
    check_times,
    parse_compact,
    pin,
    refuse_key_in_header,
)
from hive_a2a.identity.verified import VerifiedToken, VerifiedTokens, caller_of
from hive_a2a.ports import Authenticator

SUBJECT_CHARS_MAX: Final = 512
_TYPES: Final = frozenset({"", "jwt", "at+jwt"})
_ALGORITHMS: Final = ("ES256", "ES384", "EdDSA", "Ed25519", "PS256", "RS256")


class JwtBearer:
    """Accepts the access tokens of one issuer for one audience.

    The keys come from `keys` (a JWKS document or its list), from `jwks_url`, or else from the address in the
    issuer's own metadata. `dpop` also accepts tokens that are bound to a key; `bound` accepts only tokens
    that are bound to a key or a certificate. `kept_max` is how many verified tokens are remembered.
    """

    def __init__(
        self,
        issuer: str,
        audience: str | Sequence[str],
        *,
        jwks_url: str = "",
        keys: Mapping[str, Any] | Sequence[Mapping[str, Any]] | IssuerKeys | None = None,
        algorithms: Sequence[str] = _ALGORITHMS,
        scopes: Sequence[str] = (),
        leeway_s: float = 60.0,
        dpop: DpopVerifier | None = None,
        bound: bool = False,
        at_jwt_only: bool = False,
        token_url: str = "",
        scheme: str = "bearer",
        link: IssuerLink | None = None,
        clock: WallClock | None = None,
        keep_s: float = 60.0,
        kept_max: int = 4096,
    ) -> None:
        self._issuer = issuer
        self._audiences = audiences(issuer, audience)
        self._pinned = pin(algorithms)
        self._clock = clock or MachineClock()
        self._scopes = frozenset(scopes)
        self._leeway_s = leeway_s
        self._types = frozenset({"at+jwt"}) if at_jwt_only else _TYPES
        self._holder = HolderCheck(dpop=dpop, required=bound)
        self._discovered = keys is None and not jwks_url
        self._token_url = token_url
        self._scheme = scheme
        self._kept = VerifiedTokens(keep_s=keep_s, entries_max=kept_max, clock=self._clock)
        self._keys: IssuerKeys
        if keys is None:
            self._keys = FetchedKeys(jwks_url, issuer=issuer, link=link, clock=self._clock)
        elif isinstance(keys, Mapping | Sequence):
            self._keys = GivenKeys(keys)
        else:
            self._keys = keys

    @property
    def scheme(self) -> str:
        """Return the name of its security scheme in the card."""
        return self._scheme

    def card_scheme(self) -> dict[str, Any]:
        """Return what a client needs to know to get a token."""
        if self._token_url:
            flow = {"tokenUrl": self._token_url, "scopes": dict.fromkeys(sorted(self._scopes), "")}
            return {"oauth2SecurityScheme": {"flows": {"clientCredentials": flow}}}
        if self._discovered:
            url = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
            return {"openIdConnectSecurityScheme": {"openIdConnectUrl": url}}
        return {"httpAuthSecurityScheme": {"scheme": "Bearer", "bearerFormat": "JWT"}}

    async def identify(self, head: RequestHead) -> CallerIdentity | None:
        """Return whom the token names; None without a token.

        Raises:
            WireFault: the token is not valid here (401), may not do this (403), or cannot be checked now (503).

        """
        return await caller_of(
            head,
            kept=self._kept,
            verify=self._verify,
            holder=self._holder,
            scopes=self._scopes,
        )

    async def aclose(self) -> None:
        """Close the connections to the issuer."""
        if isinstance(self._keys, FetchedKeys):
            await self._keys.aclose()

    async def _verify(self, token: str) -> VerifiedToken:
        read = parse_compact(token)
        refuse_key_in_header(read)
        if read.typ not in self._types:
            raise BadTokenError("The token is of another type than an access token.")
        if read.alg not in self._pinned:
            raise BadTokenError("The token's algorithm is not accepted.")
        # Asked before the keys are: a token of another issuer must not cause a request to this one.
        if read.claims.get("iss") != self._issuer:
            raise BadTokenError("The token is of another issuer.")
        if not await self._signed(read):
            raise BadTokenError("The token's signature is not valid.")
        ends_at = check_times(read.claims, self._clock.now().timestamp(), self._leeway_s)
        check_audience(read.claims.get("aud"), self._audiences)
        caller = CallerIdentity(
            name=f"bearer:{self._issuer}#{subject(read.claims)}",
            scheme=self._scheme,
            scopes=scopes_of(read.claims),
            claims=read.claims,
        )
        return self._kept.put(token, caller, read.claims, ends_at + self._leeway_s)

    async def _signed(self, token: CompactToken) -> bool:
        keys = [key for key in await self._keys.named(token.kid) if token.alg in key.algorithms]
        # Without a name there must be no choice, or a token could have every key tried on it.
        if len(keys) > 1 and not token.kid:
            raise BadTokenError("The token does not name its key.")
        return any(key.verifies(token, self._pinned) for key in keys)


class AnyBearer:
    """Several issuers or kinds of token behind one scheme: the first one that accepts a token names the caller."""

    def __init__(self, *bearers: Authenticator) -> None:
        if not bearers:
            raise A2AError("A choice of bearers needs at least one.")
        self._bearers = bearers

    @property
    def scheme(self) -> str:
        """Return the name of the first one's scheme."""
        return self._bearers[0].scheme

    def card_scheme(self) -> dict[str, Any]:
        """Return a bearer scheme, since one card entry cannot name several issuers."""
        return {"httpAuthSecurityScheme": {"scheme": "Bearer"}}

    async def identify(self, head: RequestHead) -> CallerIdentity | None:
        """Return whom the token names; None where no token is shown.

        Raises:
            WireFault: nobody accepts it; one who could not tell (503) or who knows it (403) has the last word.

        """
        worst: WireFault | None = None
        for bearer in self._bearers:
            try:
                caller = await bearer.identify(head)
            except WireFault as fault:
                worst = fault if worst is None or fault.status > worst.status else worst
                continue
            if caller is not None:
                return caller
        if worst is not None:
            raise worst
        return None


def audiences(issuer: str, audience: str | Sequence[str]) -> frozenset[str]:
    """Return the audiences that a server answers to.

    Raises:
        A2AError: the issuer or an audience is missing, or the issuer could be confused with a subject.

    """
    named = frozenset({audience} if isinstance(audience, str) else audience)
    if not issuer or "#" in issuer or not named or "" in named:
        raise A2AError(
            "A bearer check needs an issuer and an audience.",
            why="Without them a token that was made for somebody else would be accepted.",
            fix="Name the issuer exactly as its tokens do, and this agent's own identifier as audience.",
        )
    return named


def check_audience(aud: object, accepted: frozenset[str]) -> None:
    """Check that a token is meant for this server; `aud` is a string or a list of strings.

    Raises:
        BadTokenError: it is meant for somebody else, or does not say.

    """
    listed = [aud] if isinstance(aud, str) else aud
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise BadTokenError("The token does not say whom it is meant for.")
    if accepted.isdisjoint(listed):
        raise BadTokenError("The token is meant for somebody else.")


def subject(claims: Mapping[str, Any]) -> str:
    """Return whom a token names.

    Raises:
        BadTokenError: it names nobody, or not in a short printable string.

    """
    sub = claims.get("sub")
    if not isinstance(sub, str) or not 0 < len(sub) <= SUBJECT_CHARS_MAX or not sub.isprintable():
        raise BadTokenError("The token names no subject.")
    return sub


def scopes_of(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the scopes of a token: `scope` (RFC 8693), or `scp` where that is a list."""
    scope = claims.get("scope", claims.get("scp", ""))
    listed = scope.split(" ") if isinstance(scope, str) else scope
    if not isinstance(listed, list):
        return frozenset()
    return frozenset(one for one in listed if isinstance(one, str) and one)
