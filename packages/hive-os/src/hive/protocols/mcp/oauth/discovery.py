"""Finds out where to log in for a server: its own word (RFC 9728), then the authorization server's (RFC 8414).

Neither is believed beyond itself: a server may speak for its own address only, and an authorization server for the
issuer that it was looked for under, letter by letter.
"""

import json
import re
from collections.abc import Mapping
from typing import Final, cast
from urllib.parse import urlsplit

import msgspec

from hive.core.errors import StateError
from hive.protocols.mcp.oauth.fetch import Reach, ScreenedFetch

_FIELD: Final = r'(?:^|[\s,]){name}=(?:"([^"]*)"|([^\s,]+))'
_RESOURCE: Final = "/.well-known/oauth-protected-resource"
_SERVER: Final = "/.well-known/oauth-authorization-server"
_OPENID: Final = "/.well-known/openid-configuration"
NAMES_MAX: Final = 200


class LoginServer(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an authorization server."""

    issuer: str
    authorize: str
    token: str
    register: str = ""
    scopes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    dpop: bool = False
    documents: bool = False
    says_issuer: bool = False


class FoundResource(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of itself; `issuer` is empty for one that says nothing."""

    resource: str
    issuer: str = ""
    scopes: tuple[str, ...] = ()


def challenge_field(header: str, name: str) -> str:
    """Return a field of `WWW-Authenticate`, empty where it has none."""
    found = re.search(_FIELD.format(name=name), header)
    return (found[1] or found[2] or "") if found else ""


async def find_resource(
    fetch: ScreenedFetch, url: str, reach: Reach, metadata_url: str
) -> FoundResource:
    """Ask a server what it is and who lets people in.

    Raises:
        StateError: it speaks for another server.

    """
    parts = urlsplit(url)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    places = [metadata_url, f"{origin}{_RESOURCE}{path}", f"{origin}{_RESOURCE}"]
    for place in dict.fromkeys(one for one in places if one):
        document = await _document(fetch, place, reach)
        if document is None:
            continue
        resource = document.get("resource")
        if not isinstance(resource, str) or not covers(resource, url):
            raise _mixed_up("The server's metadata speaks for another server.")
        issuers = _names(document.get("authorization_servers"))
        return FoundResource(
            resource=resource,
            issuer=issuers[0] if issuers else "",
            scopes=_names(document.get("scopes_supported")),
        )
    return FoundResource(resource=url)


async def find_server(
    fetch: ScreenedFetch, found: FoundResource, url: str, reach: Reach
) -> LoginServer:
    """Ask an authorization server what it is.

    Raises:
        StateError: it is another one than was looked for, or cannot be used safely.

    """
    parts = urlsplit(url)
    issuer = found.issuer or f"{parts.scheme}://{parts.netloc}"
    for place in _metadata_places(issuer):
        document = await _document(fetch, place, reach)
        if document is not None:
            return _server_in(document, issuer, own=not found.issuer)
    if found.issuer:
        raise StateError("The authorization server has no metadata.", why=issuer[:200])
    # Before 2025-06-18 a server without any metadata had these three, beside itself.
    return LoginServer(
        issuer=issuer,
        authorize=f"{issuer}/authorize",
        token=f"{issuer}/token",
        register=f"{issuer}/register",
    )


def covers(resource: str, url: str) -> bool:
    """Tell whether a resource indicator is that of a server: itself, or a folder above it on the same host."""
    ours, theirs = urlsplit(url), urlsplit(resource)
    if theirs.query or theirs.fragment or "@" in theirs.netloc:
        return False
    if (ours.scheme, ours.netloc.lower()) != (theirs.scheme, theirs.netloc.lower()):
        return False
    above = theirs.path.rstrip("/")
    return ours.path.rstrip("/") == above or ours.path.startswith(above + "/")


def _metadata_places(issuer: str) -> tuple[str, ...]:
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    if not path:
        return origin + _SERVER, origin + _OPENID
    return origin + _SERVER + path, origin + _OPENID + path, issuer.rstrip("/") + _OPENID


def _server_in(document: Mapping[str, object], issuer: str, *, own: bool) -> LoginServer:
    named = document.get("issuer")
    fits = named == issuer or (own and isinstance(named, str) and named.rstrip("/") == issuer)
    if not fits:
        raise _mixed_up("The authorization server calls itself by another name.")
    if "S256" not in _names(document.get("code_challenge_methods_supported", ["S256"] * own)):
        raise StateError("The authorization server does not offer PKCE with S256.")
    authorize, token = (document.get(f"{one}_endpoint", "") for one in ("authorization", "token"))
    if not isinstance(authorize, str) or not isinstance(token, str) or not token:
        raise StateError("The authorization server names no endpoints.")
    register = document.get("registration_endpoint", "")
    return LoginServer(
        issuer=cast("str", named),
        authorize=authorize,
        token=token,
        register=register if isinstance(register, str) else "",
        scopes=_names(document.get("scopes_supported")),
        methods=_names(document.get("token_endpoint_auth_methods_supported")),
        dpop="ES256" in _names(document.get("dpop_signing_alg_values_supported")),
        documents=document.get("client_id_metadata_document_supported") is True,
        says_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


async def _document(fetch: ScreenedFetch, url: str, reach: Reach) -> dict[str, object] | None:
    """Return a document; None where there is none. A server in trouble says nothing about that."""
    reply = await fetch.ask("GET", url, reach=reach)
    if reply.status >= 500 or reply.status == 429:
        raise StateError("A metadata document cannot be had now.", why=f"{reply.status}")
    if reply.status != 200:
        return None
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(one for one in value[:NAMES_MAX] if isinstance(one, str) and one)


def _mixed_up(what: str) -> StateError:
    return StateError(what, why="Tokens are only asked for from whom the server itself names.")
