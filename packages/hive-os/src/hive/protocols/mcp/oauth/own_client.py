"""What this node is to an authorization server: what the operator registered, its own description, or registered
by itself where nothing else goes. A client of one server is never shown to another."""

import json
from collections.abc import Callable
from typing import Final

import msgspec

from hive.core.errors import StateError
from hive.core.json import Json
from hive.protocols.mcp.oauth.discovery import LoginServer
from hive.protocols.mcp.oauth.fetch import Reach, ScreenedFetch
from hive.protocols.mcp.oauth.logins import KeptLogin, LoginBook, OwnClient

_METHODS: Final = ("none", "client_secret_basic", "client_secret_post")


class ClientIdentity:
    """Chooses the client that the node is at a server."""

    def __init__(
        self, *, book: LoginBook, fetch: ScreenedFetch, origin: Callable[[], str], client_id: str
    ) -> None:
        self._book = book
        self._fetch = fetch
        self._origin = origin
        self._client_id = client_id

    @property
    def redirect_uri(self) -> str:
        """Return where a browser comes back."""
        return f"{self._origin()}/oauth/callback"

    def document(self) -> dict[str, Json] | None:
        """Return the node's description; None where it has no public https address."""
        client_id = self._own_id()
        if not client_id:
            return None
        return {"client_id": client_id, **self._description(), "client_uri": self._origin()}

    async def at(self, name: str, login: KeptLogin, server: LoginServer, reach: Reach) -> OwnClient:
        """Return what the node is at an authorization server.

        Raises:
            StateError: it is nothing there, or was registered with another one.

        """
        given, before = await self._book.given_client(name), login.client
        if given is not None:
            bound = given.issuer or (before.issuer if before is not None and before.given else "")
            if bound and bound != server.issuer:
                raise StateError(
                    "The server names another authorization server than the client is registered with.",
                    why=f"The client is for {bound[:200]}.",
                )
            return msgspec.structs.replace(given, issuer=server.issuer)
        if server.documents and self._own_id():
            return OwnClient(client_id=self._own_id())
        if before is not None and not before.given and before.issuer == server.issuer:
            return before
        if not server.register:
            raise StateError(
                "The authorization server knows no client for this node.",
                fix=f"Register one there, then: hive secret set oauth-client.{name}",
            )
        return await self._registered(server, reach)

    async def _registered(self, server: LoginServer, reach: Reach) -> OwnClient:
        offered = server.methods or ("client_secret_basic",)
        method = next((one for one in _METHODS if one in offered), "none")
        document = {**self._description(), "token_endpoint_auth_method": method}
        reply = await self._fetch.ask(
            "POST",
            server.register,
            reach=reach,
            headers={"content-type": "application/json"},
            body=json.dumps(document).encode(),
        )
        try:
            made = json.loads(reply.body) if reply.status in (200, 201) else {}
            secret = made.get("client_secret") or ""
            method = made.get("token_endpoint_auth_method") or ("" if secret else "none")
            fields = {"client_id": made["client_id"], "client_secret": secret, "method": method}
            return msgspec.convert({**fields, "issuer": server.issuer}, OwnClient)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StateError("The authorization server did not register this node.") from error

    def _own_id(self) -> str:
        if self._client_id:
            return self._client_id
        origin = self._origin()
        return f"{origin}/oauth/client.json" if origin.startswith("https://") else ""

    def _description(self) -> dict[str, Json]:
        return {
            "client_name": "Hive",
            "application_type": "web" if self._origin().startswith("https://") else "native",
            "redirect_uris": [self.redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        }
