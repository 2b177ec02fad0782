"""The node as a protected resource (RFC 9728): what its endpoints are called, and whom a token lets in.

A token is for one endpoint alone: it is compared with that endpoint's canonical URL, character by character
(RFC 8707). One that is bound to a key needs a fresh proof with each request.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hive.core.call import Principal, PrincipalKind
from hive.core.ids import OwnerId
from hive.core.json import Json
from hive.protocols.mcp.oauth.proofs import ALGORITHMS, BadProofError, DpopProofs
from hive.protocols.mcp.oauth.records import TOKEN_MARK, OauthRecords
from hive.protocols.mcp.ports import Turned, Visitor

if TYPE_CHECKING:
    from hive.protocols.mcp.oauth.issuers import TrustedIssuers

METADATA_PATH: Final = "/.well-known/oauth-protected-resource"
SCOPES: Final = ("tools", "agents", "observe", "operate")
TOKEN_MAX_CHARS: Final = 16 << 10
_ENDPOINT: Final = re.compile(r"/mcp(/tools|/(servers|agents)/[a-z0-9][a-z0-9-]{0,62})?")
_NOT_NAME: Final = re.compile(r"[^a-z0-9]+")
_LOCAL_OWNER: Final = OwnerId("operator")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """What a token that was verified says; `jkt` is the key that it is bound to,
    `grant` the grant of this node that it came of."""

    principal: Principal
    resources: frozenset[str]
    scopes: frozenset[str]
    jkt: str = ""
    grant: str = ""


def scopes_at(path: str) -> tuple[str, ...]:
    """Return the scopes that mean something at an endpoint; one of them has to be shown."""
    if path == "/mcp":
        return ("observe", "operate")
    return ("agents",) if path.startswith("/mcp/agents/") else ("tools",)


def endpoint_path(path: str) -> str:
    """Return the endpoint that a path is, empty for none."""
    path = path.rstrip("/")
    return path if _ENDPOINT.fullmatch(path) else ""


class OauthResources:
    """Describes the endpoints and recognises access tokens."""

    def __init__(
        self,
        *,
        origin: Callable[[], str],
        records: OauthRecords,
        proofs: DpopProofs,
        issuers: "Callable[[], TrustedIssuers] | None" = None,
        issuer_names: Sequence[str] = (),
    ) -> None:
        self._origin = origin
        self._records = records
        self._proofs = proofs
        self._issuers = issuers
        self._issuer_names = tuple(issuer_names)

    def metadata(self, path: str) -> dict[str, Json] | None:
        """Return the metadata document of an endpoint; None where there is none."""
        path = endpoint_path(path)
        if not path:
            return None
        return {
            "resource": self._origin() + path,
            "resource_name": "Hive",
            "authorization_servers": [self._origin(), *self._issuer_names],
            "scopes_supported": list(scopes_at(path)),
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": list(ALGORITHMS),
        }

    def endpoint_of(self, resource: str) -> str:
        """Return the path of the endpoint that a resource indicator names exactly, empty for none."""
        origin = self._origin()
        if not resource.startswith(origin + "/"):
            return ""
        path = resource.removeprefix(origin)
        return path if endpoint_path(path) == path else ""

    def challenge(self, scope: Mapping[str, object]) -> str:
        """Return what `WWW-Authenticate` says at a path."""
        return self._challenge(str(scope.get("path", "")))

    async def recognise(
        self, scope: Mapping[str, object], headers: Mapping[str, str]
    ) -> Visitor | Turned | None:
        """Tell who shows an access token; None where what is shown is none."""
        word, _, token = headers.get("authorization", "").strip().partition(" ")
        word, token = word.lower(), token.strip()
        ours = token.startswith(TOKEN_MARK)
        foreign = self._issuers is not None and token.count(".") == 2 and not ours
        if word not in ("bearer", "dpop") or not (ours or foreign or word == "dpop"):
            return None
        path = endpoint_path(str(scope.get("path", "")))
        if not path or len(token) > TOKEN_MAX_CHARS or not token.isascii():
            return self._invalid(path, "The token is not valid here.")
        found = await self._found(token, ours=ours)
        if found is None or self._origin() + path not in found.resources:
            return self._invalid(path, "The token is not valid here.")
        turned = await self._held(found, word, token, scope, headers, path)
        if turned is not None:
            return turned
        if found.scopes.isdisjoint(scopes_at(path)):
            return Turned(
                status=403,
                message="The token does not reach as far.",
                headers={
                    "www-authenticate": self._challenge(path, error="insufficient_scope"),
                },
            )
        return Visitor(
            principal=found.principal,
            scopes=found.scopes,
            traceparent=headers.get("traceparent", ""),
            grant=found.grant,
        )

    def missing(self, path: str, scopes: frozenset[str]) -> Turned:
        """Return the answer to a token that is good here, but for less than these scopes."""
        told = [one for one in SCOPES if one in scopes]
        return Turned(
            status=403,
            message="The token does not reach as far.",
            headers={
                "www-authenticate": self._challenge(path, error="insufficient_scope", scopes=told)
            },
        )

    async def _found(self, token: str, *, ours: bool) -> AccessToken | None:
        if not ours:
            return None if self._issuers is None else await self._issuers().verified(token)
        grant = await self._records.find_access(token)
        if grant is None:
            return None
        return AccessToken(
            principal=Principal(
                kind=PrincipalKind.CLIENT, name=_name_of(grant.client), owner=_LOCAL_OWNER
            ),
            resources=frozenset({grant.resource}),
            scopes=grant.scopes,
            jkt=grant.jkt,
            grant=grant.id,
        )

    async def _held(
        self,
        found: AccessToken,
        word: str,
        token: str,
        scope: Mapping[str, object],
        headers: Mapping[str, str],
        path: str,
    ) -> Turned | None:
        """Check that a bound token is shown by who holds the key, and an unbound one as what it is."""
        if bool(found.jkt) != (word == "dpop"):
            return self._invalid(path, "The token is shown in another way than it was given.")
        if not found.jkt:
            return None
        try:
            shown = self._proofs.read(
                headers.get("dpop", ""),
                method=str(scope.get("method", "")),
                url=self._origin() + str(scope.get("path", "")),
                token=token,
            )
            if shown.jkt != found.jkt:
                return self._unproven(path, "The proof is by another key.", "invalid_dpop_proof")
            await self._proofs.spend(shown)
        except BadProofError as error:
            return self._unproven(path, str(error), error.error)
        return None

    def _unproven(self, path: str, message: str, error: str) -> Turned:
        challenge = self._challenge(path, word="DPoP", error=error)
        challenge += f', algs="{" ".join(ALGORITHMS)}"'
        answer = {"www-authenticate": challenge, "dpop-nonce": self._proofs.nonce}
        return Turned(status=401, message=message, headers=answer)

    def _invalid(self, path: str, message: str) -> Turned:
        challenge = self._challenge(path, error="invalid_token")
        return Turned(status=401, message=message, headers={"www-authenticate": challenge})

    def _challenge(
        self, path: str, *, word: str = "Bearer", error: str = "", scopes: Sequence[str] = ()
    ) -> str:
        told = f'{word} realm="hive"'
        if error:
            told += f', error="{error}"'
        path = endpoint_path(path)
        if path:
            told += f', resource_metadata="{self._origin()}{METADATA_PATH}{path}"'
            told += f', scope="{" ".join(scopes or scopes_at(path))}"'
        return told


def owner_of(issuer: str, subject: str) -> OwnerId:
    """Return the owner that somebody of another issuer is here: nobody else's."""
    return OwnerId("oauth-" + hashlib.sha256(f"{issuer}\0{subject}".encode()).hexdigest()[:32])


def _name_of(client: str) -> str:
    shown = _NOT_NAME.sub("-", client.lower().removeprefix("https://")).strip("-")[:40].strip("-")
    return f"oauth-{shown}-{hashlib.sha256(client.encode()).hexdigest()[:8]}"
