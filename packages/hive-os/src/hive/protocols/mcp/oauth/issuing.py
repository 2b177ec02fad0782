"""The node's authorization server: code with PKCE and nothing else, for one of its own endpoints at a time.

It asks the operator each time: there is no consent that was given before and could be used by somebody else.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from hive.core.errors import BadInputError
from hive.core.json import Json
from hive.protocols.mcp.oauth.answers import OauthError
from hive.protocols.mcp.oauth.clients import OauthClient, OauthClients, client_name, redirects_in
from hive.protocols.mcp.oauth.proofs import (
    ALGORITHMS,
    BadProofError,
    DpopProofs,
    ReadProof,
)
from hive.protocols.mcp.oauth.records import ACCESS_S, OauthGrant, OauthRecords
from hive.protocols.mcp.oauth.resources import SCOPES, OauthResources, scopes_at

STATE_MAX_CHARS: Final = 1024
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRequest:
    """What a client asks the operator for, checked."""

    client: OauthClient
    redirect_uri: str
    resource: str
    scopes: tuple[str, ...]
    challenge: str
    state: str


class RedirectedError(Exception):
    """A refusal that the client is told at its own address."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class OauthIssuing:
    """Checks requests, and gives out codes and tokens."""

    def __init__(
        self,
        *,
        origin: Callable[[], str],
        records: OauthRecords,
        clients: OauthClients,
        resources: OauthResources,
        proofs: DpopProofs,
        registration: bool = False,
    ) -> None:
        self._origin = origin
        self._records = records
        self._clients = clients
        self._resources = resources
        self._proofs = proofs
        self._registration = registration

    def metadata(self) -> dict[str, Json]:
        """Return the document of RFC 8414."""
        origin = self._origin()
        found: dict[str, Json] = {
            "issuer": origin,
            "authorization_endpoint": f"{origin}/oauth/authorize",
            "token_endpoint": f"{origin}/oauth/token",
            "revocation_endpoint": f"{origin}/oauth/revoke",
            "scopes_supported": list(SCOPES),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint_auth_methods_supported": ["none"],
            "code_challenge_methods_supported": ["S256"],
            "client_id_metadata_document_supported": True,
            "authorization_response_iss_parameter_supported": True,
            "dpop_signing_alg_values_supported": list(ALGORITHMS),
        }
        if self._registration:
            found["registration_endpoint"] = f"{origin}/oauth/register"
        return found

    async def asked(self, fields: Mapping[str, str], source: str = "") -> LoginRequest:
        """Check a request of a client that came from `source`, before anybody is asked.

        Raises:
            BadInputError: the client or its address is not known: nothing is sent there.
            OauthError: the rest of it is wrong, and the operator never agreed to anything of that client:
                whoever writes a description of himself could use this node to lead browsers to him.
            RedirectedError: the rest of it is wrong, and the client is one that the operator let in.

        """
        client = await self._clients.find(fields.get("client_id", ""), source)
        redirect_uri, state = fields.get("redirect_uri", ""), fields.get("state", "")
        if not client.accepts(redirect_uri):
            raise BadInputError(
                "The answer was to go to an address that is not the client's.",
                why="The redirect address is none of those in the client's own document.",
            )
        resource = fields.get("resource", "")
        path = self._resources.endpoint_of(resource)
        fitting = scopes_at(path) if path else ()
        wanted = [one for one in fields.get("scope", "").split() if one != "offline_access"]
        scopes = tuple(one for one in fitting if one in wanted or not wanted)
        challenge, method = fields.get("code_challenge", ""), fields.get("code_challenge_method")
        checks = (
            (fields.get("response_type") == "code", "unsupported_response_type"),
            ("request" not in fields and "request_uri" not in fields, "request_not_supported"),
            (fields.get("response_mode", "query") == "query", "invalid_request"),
            (method == "S256" and bool(_CHALLENGE.fullmatch(challenge)), "invalid_request"),
            (len(state) <= STATE_MAX_CHARS, "invalid_request"),
            (bool(path), "invalid_target"),
            (bool(scopes) and set(wanted) <= set(SCOPES), "invalid_scope"),
        )
        for fits, error in checks:
            if not fits and not await self._records.is_known(client.id):
                raise OauthError(error, "The request of that program does not fit this node.")
            if not fits:
                raise RedirectedError(self.sent_back(redirect_uri, state, {"error": error}))
        return LoginRequest(
            client=client,
            redirect_uri=redirect_uri,
            resource=resource,
            scopes=scopes,
            challenge=challenge,
            state=state,
        )

    async def agreed(self, request: LoginRequest, scopes: frozenset[str]) -> str:
        """Give out a code for what the operator agreed to; return where the browser goes."""
        code = await self._records.new_code(
            client=request.client.id,
            resource=request.resource,
            scopes=scopes & frozenset(request.scopes),
            redirect_uri=request.redirect_uri,
            challenge=request.challenge,
        )
        return self.sent_back(request.redirect_uri, request.state, {"code": code})

    def sent_back(self, redirect_uri: str, state: str, answer: Mapping[str, str]) -> str:
        """Return the address of an answer; it always says who answers (RFC 9207)."""
        fields = {**answer, **({"state": state} if state else {}), "iss": self._origin()}
        mark = "&" if "?" in redirect_uri else "?"
        return f"{redirect_uri}{mark}{urlencode(fields)}"

    async def tokens(self, fields: Mapping[str, str], proof: str) -> dict[str, Json]:
        """Trade a code or a refresh token.

        Raises:
            OauthError: it is not good.

        """
        shown = self._read(proof)
        jkt = shown.jkt if shown else ""
        kind = fields.get("grant_type")
        if kind == "authorization_code":
            grant = await self._by_code(fields, shown)
            await self._records.note_granted(grant)
        elif kind == "refresh_token":
            grant = await self._by_refresh(fields, shown)
        else:
            raise OauthError("unsupported_grant_type", "Only codes and refresh tokens are taken.")
        made = await self._records.issue(grant, jkt=jkt)
        return {
            "access_token": made.access,
            "token_type": "DPoP" if jkt else "Bearer",
            "expires_in": int(ACCESS_S),
            "refresh_token": made.refresh,
            "scope": " ".join(sorted(made.scopes)),
        }

    async def revoke(self, fields: Mapping[str, str]) -> None:
        """End the grant of a token; an unknown one is no error (RFC 7009)."""
        await self._records.revoke(fields.get("token", ""), fields.get("client_id", ""))

    async def register(self, document: object) -> dict[str, Json]:
        """Register a client (RFC 7591), where the operator allows that.

        Raises:
            OauthError: it cannot be registered.

        """
        if not isinstance(document, dict):
            raise OauthError("invalid_client_metadata", "That describes no client.")
        try:
            addresses = redirects_in(document)
        except BadInputError as error:
            raise OauthError("invalid_redirect_uri", error.why) from None
        client_id = await self._records.add_client(client_name(document), addresses)
        if client_id is None:
            raise OauthError("temporarily_unavailable", "There are too many clients.", status=503)
        return {
            "client_id": client_id,
            "client_name": client_name(document),
            "redirect_uris": list(addresses),
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        }

    async def _by_code(self, fields: Mapping[str, str], shown: ReadProof | None) -> OauthGrant:
        spent = await self._records.spend_code(fields.get("code", ""))
        if spent is None:
            raise _bad_grant()
        verifier = fields.get("code_verifier", "")
        fits = (
            spent.grant.client == fields.get("client_id", "")
            and spent.redirect_uri == fields.get("redirect_uri", "")
            and spent.grant.resource == fields.get("resource", spent.grant.resource)
            and _VERIFIER.fullmatch(verifier) is not None
            and hmac.compare_digest(spent.challenge, challenge_of(verifier))
        )
        if not fits:
            await self._records.end(spent.grant.id, reason="code of another")
            raise _bad_grant()
        await self._spend(shown)
        return spent.grant

    async def _by_refresh(self, fields: Mapping[str, str], shown: ReadProof | None) -> OauthGrant:
        jkt = shown.jkt if shown else ""
        token = fields.get("refresh_token", "")
        grant = await self._records.find_refresh(token)
        if grant is None or grant.client != fields.get("client_id", "") or grant.jkt != jkt:
            raise _bad_grant()
        if fields.get("resource", grant.resource) != grant.resource:
            raise OauthError("invalid_target", "The token is for another resource.")
        asked = frozenset(fields.get("scope", "").split()) - {"offline_access"}
        if not asked <= grant.scopes:
            raise OauthError("invalid_scope", "That is more than was agreed to.")
        await self._spend(shown)
        if not await self._records.spend_refresh(token):
            raise _bad_grant()
        return grant

    def _read(self, proof: str) -> ReadProof | None:
        if not proof:
            return None
        try:
            return self._proofs.read(proof, method="POST", url=f"{self._origin()}/oauth/token")
        except BadProofError as error:
            raise self._unproven(error) from None

    async def _spend(self, shown: ReadProof | None) -> None:
        try:
            if shown is not None:
                await self._proofs.spend(shown)
        except BadProofError as error:
            raise self._unproven(error) from None

    def _unproven(self, error: BadProofError) -> OauthError:
        nonce = {"dpop-nonce": self._proofs.nonce}
        return OauthError(error.error, str(error), headers=nonce)


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a verifier (RFC 7636)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _bad_grant() -> OauthError:
    return OauthError("invalid_grant", "It is unknown, used, too old, or somebody else's.")
