"""Asks an authorization server for tokens: with the client's own proof, for one resource, bound to a key if offered."""

import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from hive.core.clock import Clock
from hive.core.errors import EngineUnavailableError, StateError
from hive.core.randomness import Randomness
from hive.protocols.mcp.oauth.discovery import LoginServer
from hive.protocols.mcp.oauth.fetch import FetchReply, Reach, ScreenedFetch
from hive.protocols.mcp.oauth.logins import KeptLogin, OwnClient

if TYPE_CHECKING:
    from hive_a2a.identity.proof import DpopKey

ASSERTION_S: Final = 120
LIFETIME_MAX_S: Final = 366 * 86400.0
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class TokenRequests:
    """Asks for tokens; keys are remembered with the nonces that servers gave for them."""

    def __init__(self, *, fetch: ScreenedFetch, clock: Clock, randomness: Randomness) -> None:
        self._fetch = fetch
        self._clock = clock
        self._randomness = randomness
        self._keys: dict[str, DpopKey] = {}

    async def ask(self, login: KeptLogin, form: Mapping[str, str], reach: Reach) -> KeptLogin:
        """Return a login with the tokens that an authorization server gave for it.

        Raises:
            StateError: it gave none; somebody has to log in.
            EngineUnavailableError: it cannot be asked now.

        """
        server, client = login.server, login.client
        if server is None or client is None:
            raise StateError("Nothing is known of that login.")
        if server.dpop and not login.key:
            login = msgspec.structs.replace(login, key=new_key())
        fields = {**form, "resource": login.resource}
        headers = self._shown(server, client, fields)
        reply = await self._sent(server, login, fields, headers, reach)
        document = _object(reply)
        if reply.status != 200:
            if reply.status >= 500 or reply.status == 429:
                raise EngineUnavailableError("No token can be had now.", why=f"{reply.status}")
            error = document.get("error")
            told = error[:60] if isinstance(error, str) and error.isprintable() else reply.status
            raise StateError("The authorization server gave no token.", why=f"{told}")
        return self._with(login, document)

    def key(self, login: KeptLogin) -> "DpopKey":
        """Return the key that a login's tokens are bound to."""
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        from hive_a2a.identity.proof import DpopKey

        if login.key not in self._keys:
            if len(self._keys) >= 1000:
                self._keys.clear()
            loaded = load_pem_private_key(login.key.encode(), None)
            self._keys[login.key] = DpopKey(loaded, clock=self._clock)  # type: ignore[arg-type]
        return self._keys[login.key]

    async def _sent(
        self,
        server: LoginServer,
        login: KeptLogin,
        fields: Mapping[str, str],
        headers: dict[str, str],
        reach: Reach,
    ) -> FetchReply:
        for attempt in range(2):
            if server.dpop:
                headers["dpop"] = self.key(login).proof("POST", server.token)
            reply = await self._fetch.ask(
                "POST", server.token, reach=reach, form=fields, headers=headers
            )
            nonce = reply.headers.get("dpop-nonce")
            heard = server.dpop and self.key(login).heard(server.token, nonce)
            if attempt or reply.status == 200 or not heard:
                return reply
        raise StateError("The authorization server wants one nonce after the other.")

    def _shown(
        self, server: LoginServer, client: OwnClient, fields: dict[str, str]
    ) -> dict[str, str]:
        """Put in how the client shows who it is; return the headers of that."""
        method = client.method or _method(server, client)
        # Also beside a secret in the header: servers on the official package look for it here.
        fields["client_id"] = client.client_id
        if method == "client_secret_basic":
            pair = f"{quote(client.client_id, safe='')}:{quote(client.client_secret, safe='')}"
            return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        if method == "client_secret_post":
            fields["client_secret"] = client.client_secret
        elif method == "private_key_jwt":
            fields["client_assertion_type"] = _ASSERTION
            fields["client_assertion"] = self._assertion(server, client)
        return {}

    def _assertion(self, server: LoginServer, client: OwnClient) -> str:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        from hive_a2a.identity.proof import signed_compact, signing_alg

        key = load_pem_private_key(client.private_key.encode(), None)
        now = int(self._clock.now().timestamp())
        claims = {
            "iss": client.client_id,
            "sub": client.client_id,
            "aud": server.issuer,
            "iat": now,
            "exp": now + ASSERTION_S,
            "jti": self._randomness.token(16).hex(),
        }
        header = {"alg": signing_alg(key), "typ": "JWT"}
        return signed_compact(header, claims, key)  # type: ignore[arg-type]

    def _with(self, login: KeptLogin, document: Mapping[str, object]) -> KeptLogin:
        access, kind = document.get("access_token"), document.get("token_type")
        if not isinstance(access, str) or not access or not isinstance(kind, str):
            raise StateError("The authorization server's answer holds no token.")
        word = {"bearer": "Bearer", "dpop": "DPoP"}.get(kind.lower())
        if word is None or (word == "DPoP" and not login.key):
            raise StateError("The authorization server gave a token of an unknown kind.")
        lasts = document.get("expires_in")
        expires_at = 0.0
        if isinstance(lasts, int | float) and not isinstance(lasts, bool):
            expires_at = self._clock.now().timestamp() + min(float(lasts), LIFETIME_MAX_S)
        refresh, scope = document.get("refresh_token"), document.get("scope")
        return msgspec.structs.replace(
            login,
            access=access,
            kind=word,
            expires_at=expires_at,
            refresh=refresh if isinstance(refresh, str) and refresh else login.refresh,
            scopes=tuple(scope.split()) if isinstance(scope, str) and scope else login.scopes,
            wanted=(),
        )


def new_key() -> str:
    """Return a new key for proofs, as text."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = generate_private_key(SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _method(server: LoginServer, client: OwnClient) -> str:
    if client.private_key:
        return "private_key_jwt"
    if not client.client_secret:
        return "none"
    offered = server.methods or ("client_secret_basic",)
    known = ("client_secret_basic", "client_secret_post")
    return next((one for one in known if one in offered), known[0])


def _object(reply: FetchReply) -> dict[str, object]:
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
