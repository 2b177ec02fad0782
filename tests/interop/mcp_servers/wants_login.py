"""A server on the official package that demands its own login: `wants_login.py PORT`. Run by the tests.

`/seen` tells which `Authorization` lines came to it, so that a test sees what travelled.
"""

import secrets
import sys

import uvicorn
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.server.mcpserver import MCPServer
from mcp.shared.auth import OAuthToken
from starlette.responses import JSONResponse

from hive.core.clock import SystemClock

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 0
URL = f"http://127.0.0.1:{PORT}"
RESOURCE = f"{URL}/mcp"
LIFETIME_S = 31


class EveryoneMayLogIn:
    """An authorization server whose user always says yes at once."""

    def __init__(self):
        self.clients, self.codes, self.access, self.renewals = {}, {}, {}, {}
        self.renewed = 0

    async def get_client(self, client_id):
        return self.clients.get(client_id)

    async def register_client(self, client_info):
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client, params):
        code = secrets.token_hex(16)
        self.codes[code] = AuthorizationCode(
            code=code,
            scopes=params.scopes or ["use"],
            expires_at=SystemClock().now().timestamp() + 60,
            client_id=client.client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        return construct_redirect_uri(str(params.redirect_uri), code=code, state=params.state)

    async def load_authorization_code(self, client, authorization_code):
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(self, client, authorization_code):
        del self.codes[authorization_code.code]
        return self._made(client, authorization_code)

    async def load_refresh_token(self, client, refresh_token):
        return self.renewals.get(refresh_token)

    async def exchange_refresh_token(self, client, refresh_token, scopes):
        del self.renewals[refresh_token.token]
        self.renewed += 1
        return self._made(client, refresh_token)

    async def load_access_token(self, token):
        return self.access.get(token)

    async def revoke_token(self, token):
        self.access.pop(token.token, None)

    def _made(self, client, of):
        shown, again = secrets.token_hex(16), secrets.token_hex(16)
        given = {"client_id": client.client_id, "scopes": of.scopes, "resource": of.resource}
        self.access[shown] = AccessToken(token=shown, **given)
        self.renewals[again] = RefreshToken(token=again, **given)
        return OAuthToken(
            access_token=shown,
            refresh_token=again,
            token_type="Bearer",
            expires_in=LIFETIME_S,
            scope=" ".join(of.scopes),
        )


users = EveryoneMayLogIn()
seen = []
server = MCPServer(
    "locked",
    auth_server_provider=users,
    auth=AuthSettings(
        issuer_url=URL,
        resource_server_url=RESOURCE,
        required_scopes=["use"],
        validate_token_resource=True,
        client_registration_options=ClientRegistrationOptions(
            enabled=True, valid_scopes=["use"], default_scopes=["use"]
        ),
    ),
    log_level="WARNING",
)


@server.tool()
def secret_word() -> str:
    """Tell the secret word."""
    return "sesame"


@server.custom_route("/seen", methods=["GET"])
async def shown(request):
    return JSONResponse({"seen": seen, "renewed": users.renewed, "good": list(users.access)})


@server.custom_route("/forget", methods=["POST"])
async def forget(request):
    """Let every access token end at once, as a server may."""
    users.access.clear()
    return JSONResponse({})


class Overhears:
    """Keeps what callers show."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and scope["path"].startswith("/mcp"):
            seen.extend(
                value.decode() for name, value in scope["headers"] if name == b"authorization"
            )
        await self._app(scope, receive, send)


if __name__ == "__main__":
    app = Overhears(server.streamable_http_app())
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
