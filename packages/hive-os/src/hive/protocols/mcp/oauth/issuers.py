"""Access tokens of other issuers that the operator trusts: JWTs (RFC 9068), verified with the issuer's own keys.

The issuer is one of the configured ones before anything is asked of it; the algorithm is one of ours; the token's
header brings no key. The keys come over screened connections.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx

from hive.core.call import Principal, PrincipalKind
from hive.core.clock import Clock
from hive.core.errors import HiveError
from hive.protocols.mcp.oauth.fetch import Reach, ScreenedFetch
from hive.protocols.mcp.oauth.resources import AccessToken, owner_of
from hive_a2a.faults import WireFault
from hive_a2a.identity.bearer import scopes_of, subject
from hive_a2a.identity.fetch import IssuerAnswer, IssuerLink, IssuerUnavailableError
from hive_a2a.identity.jwks import FetchedKeys
from hive_a2a.identity.jws import (
    BadTokenError,
    CompactToken,
    check_times,
    load_object,
    parse_compact,
    pin,
    refuse_key_in_header,
)

ALGORITHMS: Final = ("ES256", "ES384", "EdDSA", "PS256", "RS256")
LEEWAY_S: Final = 30.0
AUDIENCES_MAX: Final = 16
_TYPES: Final = frozenset({"", "jwt", "at+jwt"})


class ScreenedLink(IssuerLink):
    """Asks one issuer, and only addresses that a server at the issuer's place may send us to."""

    def __init__(self, issuer: str, fetch: ScreenedFetch) -> None:
        super().__init__()
        self._issuer = issuer
        self._fetch = fetch
        self._reach: Reach | None = None

    async def get(self, url: str) -> IssuerAnswer:
        """Get a JSON document."""
        try:
            if self._reach is None:
                self._reach = await self._fetch.reach_of(self._issuer)
            reply = await self._fetch.ask("GET", url, reach=self._reach, limit_bytes=256 << 10)
            document = load_object(reply.body)
        except (HiveError, BadTokenError) as error:
            raise IssuerUnavailableError("The issuer gave no usable answer.") from error
        return IssuerAnswer(reply.status, document, httpx.Headers(dict(reply.headers)))


class TrustedIssuers:
    """All issuers whose tokens count here."""

    def __init__(self, issuers: Sequence[str], *, fetch: ScreenedFetch, clock: Clock) -> None:
        self._clock = clock
        self._pinned = pin(ALGORITHMS)
        self._keys = {
            one: FetchedKeys(issuer=one, link=ScreenedLink(one, fetch), clock=clock)
            for one in issuers
        }

    async def verified(self, token: str) -> AccessToken | None:
        """Return what a token says where it is good; None else."""
        try:
            return await self._verified(parse_compact(token))
        except (BadTokenError, WireFault):
            return None

    async def _verified(self, read: CompactToken) -> AccessToken:
        refuse_key_in_header(read)
        claims: Mapping[str, Any] = read.claims
        issuer = claims.get("iss")
        if not isinstance(issuer, str) or issuer not in self._keys or read.typ not in _TYPES:
            raise BadTokenError("The token is of another issuer or kind.")
        if read.alg not in self._pinned:
            raise BadTokenError("The token's algorithm is not accepted.")
        keys = [
            key for key in await self._keys[issuer].named(read.kid) if read.alg in key.algorithms
        ]
        if (len(keys) > 1 and not read.kid) or not any(
            key.verifies(read, self._pinned) for key in keys
        ):
            raise BadTokenError("The token's signature is not valid.")
        check_times(claims, self._clock.now().timestamp(), LEEWAY_S)
        owner = owner_of(issuer, subject(claims))
        return AccessToken(
            principal=Principal(kind=PrincipalKind.CLIENT, name=str(owner), owner=owner),
            resources=_audiences(claims.get("aud")),
            scopes=scopes_of(claims),
            jkt=_bound_to(claims.get("cnf")),
        )


def _audiences(aud: object) -> frozenset[str]:
    listed = [aud] if isinstance(aud, str) else aud
    if not isinstance(listed, list) or len(listed) > AUDIENCES_MAX:
        raise BadTokenError("The token does not say whom it is meant for.")
    return frozenset(one for one in listed if isinstance(one, str))


def _bound_to(cnf: object) -> str:
    """Return the key that a token is bound to; a binding that is not understood is no free pass."""
    if cnf is None:
        return ""
    jkt = cnf.get("jkt") if isinstance(cnf, dict) else None
    if not isinstance(jkt, str) or not jkt:
        raise BadTokenError("The token is bound in a way that is not known here.")
    return jkt
