"""What is kept of a login at a server elsewhere: in the vault, per server and owner, never anywhere else."""

import hashlib
import json
from typing import Final, Protocol

import msgspec

from hive.core.errors import NotFoundError
from hive.core.ids import OwnerId
from hive.core.secret import Secret
from hive.protocols.mcp.oauth.discovery import LoginServer


class SecretStore(Protocol):
    """What the vault does."""

    async def put(self, name: str, secret: Secret) -> None:
        """Keep a secret, in place of one of the same name."""
        ...

    async def get(self, name: str) -> Secret:
        """Take a secret out; NotFoundError where there is none."""
        ...

    async def remove(self, name: str) -> None:
        """Forget a secret; NotFoundError where there is none."""
        ...


class OwnClient(msgspec.Struct, frozen=True, kw_only=True):
    """What this node is to an authorization server.

    `given` was made by the operator. `issuer` is who it may be shown to; empty for one that any server may read.
    """

    client_id: str
    client_secret: str = ""
    method: str = "none"
    grant: str = "authorization_code"
    private_key: str = ""
    issuer: str = ""
    given: bool = False


class KeptLogin(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens for one server, and all that is needed to renew them. `wanted` are scopes that were missing."""

    url: str
    resource: str = ""
    server: LoginServer | None = None
    client: OwnClient | None = None
    access: str = ""
    kind: str = "Bearer"
    expires_at: float = 0.0
    refresh: str = ""
    scopes: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    metadata_url: str = ""
    key: str = ""


class BegunLogin(msgspec.Struct, frozen=True, kw_only=True):
    """A login that a browser was sent away for: good once, until it ends."""

    name: str
    owner: str
    state: str
    verifier: str
    redirect_uri: str
    login: KeptLogin
    ends_at: float


_GIVEN: Final = "oauth-client."


class LoginBook:
    """Reads and writes logins."""

    def __init__(self, vault: SecretStore) -> None:
        self._vault = vault

    async def find(self, place: str) -> KeptLogin | None:
        """Return what is kept of a login."""
        text = await self._text(f"oauth-login.{place}")
        return msgspec.json.decode(text, type=KeptLogin) if text else None

    async def keep(self, place: str, login: KeptLogin) -> None:
        """Keep a login in place of the one before."""
        await self._vault.put(f"oauth-login.{place}", Secret(msgspec.json.encode(login).decode()))

    async def forget(self, place: str) -> None:
        """Remove a login."""
        await self._drop(f"oauth-login.{place}")

    async def begin(self, place: str, begun: BegunLogin) -> None:
        """Keep what a browser is expected to come back with; the one before is worth nothing now."""
        await self._vault.put(f"oauth-begun.{place}", Secret(msgspec.json.encode(begun).decode()))

    async def take_begun(self, place: str) -> BegunLogin | None:
        """Take a login that was begun, once."""
        text = await self._text(f"oauth-begun.{place}")
        if not text or not await self._drop(f"oauth-begun.{place}"):
            return None
        return msgspec.json.decode(text, type=BegunLogin)

    async def look_begun(self, place: str) -> BegunLogin | None:
        """Return a login that was begun, and leave it there."""
        text = await self._text(f"oauth-begun.{place}")
        return msgspec.json.decode(text, type=BegunLogin) if text else None

    async def given_client(self, server: str) -> OwnClient | None:
        """Return the client that the operator registered: `ID`, `ID:SECRET` or an object of JSON."""
        text = (await self._text(f"{_GIVEN}{server}")).strip()
        if not text:
            return None
        if text.startswith("{"):
            return msgspec.convert({**json.loads(text), "given": True}, OwnClient)
        client_id, _, secret = text.partition(":")
        return OwnClient(client_id=client_id, client_secret=secret, method="", given=True)

    async def _text(self, name: str) -> str:
        try:
            return (await self._vault.get(name)).reveal()
        except NotFoundError:
            return ""

    async def _drop(self, name: str) -> bool:
        try:
            await self._vault.remove(name)
        except NotFoundError:
            return False
        return True


def place_of(server: str, owner: OwnerId) -> str:
    """Return the name under which the login of one owner at one server is kept."""
    return hashlib.sha256(f"{server}\0{owner}".encode()).hexdigest()[:40]
