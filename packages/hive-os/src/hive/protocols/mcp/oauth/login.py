"""How the node logs in at servers elsewhere: an operator's browser, or the node's own key, and then by itself.

A token is got for one server and shown to that server alone; what a caller of the node shows never leaves it. The
way back from the browser is good once, and only with what the server that was asked says of itself.
"""

import base64
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import anyio
import msgspec

from hive.core.clock import Clock
from hive.core.errors import EngineError, StateError
from hive.core.ids import OwnerId
from hive.core.json import Json
from hive.core.randomness import Randomness
from hive.protocols.mcp.oauth.discovery import (
    FoundResource,
    LoginServer,
    challenge_field,
    find_resource,
    find_server,
)
from hive.protocols.mcp.oauth.fetch import Reach, ScreenedFetch
from hive.protocols.mcp.oauth.issuing import challenge_of
from hive.protocols.mcp.oauth.logins import (
    BegunLogin,
    KeptLogin,
    LoginBook,
    OwnClient,
    SecretStore,
    place_of,
)
from hive.protocols.mcp.oauth.own_client import ClientIdentity
from hive.protocols.mcp.oauth.token_requests import TokenRequests
from hive.protocols.mcp.ports import ServerSpec

if TYPE_CHECKING:
    import httpx2

BEGUN_S: Final = 900.0
EARLY_S: Final = 30.0
KNOWN_MAX: Final = 1000
SCOPES_MAX: Final = 100
_PROBE: Final = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginStatus:
    """How a login stands: who let us in, for what, and which scopes a server missed."""

    logged_in: bool
    issuer: str = ""
    scopes: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()


class UpstreamLogin:
    """Begins and finishes logins, and signs requests.

    `origin` gives this node's own address: `https://...` where it has a public one, so that its description
    can be its identifier; else `http://127.0.0.1:PORT`. `vault` is the node's.
    """

    def __init__(
        self,
        *,
        vault: SecretStore,
        clock: Clock,
        randomness: Randomness,
        origin: Callable[[], str],
        fetch: ScreenedFetch | None = None,
        client_id: str = "",
    ) -> None:
        self._book = LoginBook(vault)
        self._clock = clock
        self._randomness = randomness
        self._fetch = fetch or ScreenedFetch()
        self._identity = ClientIdentity(
            book=self._book, fetch=self._fetch, origin=origin, client_id=client_id
        )
        self._requests = TokenRequests(fetch=self._fetch, clock=clock, randomness=randomness)
        self._known: dict[str, KeptLogin] = {}
        self._locks: dict[str, anyio.Lock] = {}
        self.on_login: Callable[[str], None] = lambda _name: None
        """Called with a server's name once somebody logged in there."""

    def auth_for(self, spec: ServerSpec, owner: OwnerId) -> "httpx2.Auth":
        """Return what signs the requests of one owner to one server."""
        from hive.protocols.mcp.oauth.signing import UpstreamAuth

        return UpstreamAuth(self, spec, owner)

    def client_document(self) -> dict[str, Json] | None:
        """Return the node's own description as a client; None where it has no public https address."""
        return self._identity.document()

    async def begin(self, spec: ServerSpec, owner: OwnerId) -> str:
        """Return the address that somebody opens in a browser; empty where the node logged in by itself.

        Raises:
            StateError: the server wants no login, or names nobody that can be trusted with one.
            EngineUnavailableError: somebody who is needed cannot be asked.

        """
        place = place_of(spec.name, owner)
        login = await self._current(place, spec)
        metadata_url, asked = login.metadata_url, login.wanted
        if not metadata_url and not asked:
            metadata_url, asked = await self._probe(spec.url)
        reach = await self._fetch.reach_of(spec.url)
        found = await find_resource(self._fetch, spec.url, reach, metadata_url)
        server = await find_server(self._fetch, found, spec.url, reach)
        client = await self._identity.at(spec.name, login, server, reach)
        fresh = KeptLogin(
            url=spec.url,
            resource=found.resource,
            server=server,
            client=client,
            scopes=_scopes(asked, found, server, login, client),
            metadata_url=metadata_url,
            key=login.key
            if login.server is not None and login.server.issuer == server.issuer
            else "",
        )
        if client.grant == "client_credentials":
            await self._keep(place, await self._by_itself(fresh, reach))
            return ""
        return await self._sent_away(place, spec, owner, fresh)

    async def finish(self, fields: Mapping[str, str]) -> str:
        """Take what a browser came back with, once; return the server's name.

        Raises:
            StateError: it belongs to no login that was begun, or to another server's.

        """
        state = fields.get("state", "")
        place, _, _ = state.partition(".")
        begun = await self._book.look_begun(place) if place.isalnum() and len(place) == 40 else None
        if begun is None or not hmac.compare_digest(begun.state.encode(), state.encode()):
            raise StateError("No such login was begun here.", fix="hive tool login NAME")
        taken = await self._book.take_begun(place)
        now = self._clock.now().timestamp()
        if taken is None or taken.state != begun.state or begun.ends_at < now:
            raise StateError("That login was begun too long ago, or was used.")
        server = begun.login.server
        said, code = fields.get("iss"), fields.get("code", "")
        if server is None or (said is None and server.says_issuer):
            raise StateError("The answer does not say who gave it.")
        if said is not None and said != server.issuer:
            raise StateError("Another authorization server answered than was asked.")
        if "error" in fields or not code:
            raise StateError("The authorization server refused.", why=_told(fields.get("error")))
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": begun.redirect_uri,
            "code_verifier": begun.verifier,
        }
        reach = await self._fetch.reach_of(begun.login.url)
        await self._keep(place, await self._requests.ask(begun.login, form, reach))
        self.on_login(begun.name)
        return begun.name

    async def status(self, spec: ServerSpec, owner: OwnerId) -> LoginStatus:
        """Return how a login stands."""
        login = await self._current(place_of(spec.name, owner), spec)
        return LoginStatus(
            logged_in=bool(login.access),
            issuer=login.server.issuer if login.server else "",
            scopes=login.scopes,
            wanted=login.wanted,
        )

    async def forget(self, spec: ServerSpec, owner: OwnerId) -> None:
        """Log out here: the tokens are removed."""
        place = place_of(spec.name, owner)
        self._known.pop(place, None)
        await self._book.forget(place)

    async def headers(
        self, spec: ServerSpec, owner: OwnerId, method: str, url: str
    ) -> dict[str, str]:
        """Return what a request has to carry; nothing before somebody logged in.

        Raises:
            StateError: the login has ended and cannot be renewed.

        """
        place = place_of(spec.name, owner)
        login = await self._current(place, spec)
        if login.access and login.expires_at and self._now() > login.expires_at - EARLY_S:
            login = await self._renewed(place, spec, login)
        if not login.access:
            return {}
        signed = {"authorization": f"{login.kind} {login.access}"}
        if login.kind == "DPoP":
            signed["dpop"] = self._requests.key(login).proof(method, url, token=login.access)
        return signed

    async def heard(
        self, spec: ServerSpec, owner: OwnerId, url: str, status: int, headers: Mapping[str, str]
    ) -> bool:
        """Learn from an answer; return whether the request should be sent again.

        Raises:
            StateError: somebody has to log in first.

        """
        place = place_of(spec.name, owner)
        login = await self._current(place, spec)
        nonce = headers.get("dpop-nonce")
        fresh = login.kind == "DPoP" and self._requests.key(login).heard(url, nonce)
        if status not in (401, 403):
            return False
        told = headers.get("www-authenticate", "")
        if fresh and challenge_field(told, "error") == "use_dpop_nonce":
            return True
        if status == 403 and challenge_field(told, "error") != "insufficient_scope":
            return False
        login = await self._missed(place, login, told, more=status == 403)
        if status == 401 and login.refresh and login.access:
            await self._renewed(place, spec, login)
            return True
        given = await self._book.given_client(spec.name)
        if given is not None and given.grant == "client_credentials":
            await self.begin(spec, owner)
            return True
        raise StateError(
            f"The tool server {spec.name} wants a login.",
            why="It asks for more." if status == 403 else "It knows no login of ours.",
            fix=f"hive tool login {spec.name}",
        )

    async def _missed(self, place: str, login: KeptLogin, told: str, *, more: bool) -> KeptLogin:
        """Remember what a server asked for; one that wants more keeps what was granted."""
        asked = tuple(challenge_field(told, "scope").split())[:SCOPES_MAX]
        wanted = tuple(dict.fromkeys((*login.scopes, *asked))) if more else asked
        metadata_url = challenge_field(told, "resource_metadata")
        kept = msgspec.structs.replace(login, wanted=wanted, metadata_url=metadata_url)
        if kept != login:
            await self._keep(place, kept)
        return kept

    async def _renewed(self, place: str, spec: ServerSpec, seen: KeptLogin) -> KeptLogin:
        """Get new tokens, once for all who wait; the old refresh token is not used a second time."""
        async with self._locks.setdefault(place, anyio.Lock()):
            login = await self._current(place, spec)
            if login.access != seen.access:
                return login
            reach = await self._fetch.reach_of(spec.url)
            try:
                made = await self._again(login, reach)
            except StateError:
                ended = msgspec.structs.replace(login, access="", refresh="")
                await self._keep(place, ended)
                raise
            await self._keep(place, made)
            return made

    async def _again(self, login: KeptLogin, reach: Reach) -> KeptLogin:
        if login.client is not None and login.client.grant == "client_credentials":
            return await self._by_itself(login, reach)
        if not login.refresh:
            raise StateError("The login has ended.", fix="hive tool login NAME")
        form = {"grant_type": "refresh_token", "refresh_token": login.refresh}
        return await self._requests.ask(login, form, reach)

    async def _by_itself(self, login: KeptLogin, reach: Reach) -> KeptLogin:
        form = {"grant_type": "client_credentials"}
        if login.scopes:
            form["scope"] = " ".join(login.scopes)
        return await self._requests.ask(login, form, reach)

    async def _sent_away(
        self, place: str, spec: ServerSpec, owner: OwnerId, login: KeptLogin
    ) -> str:
        server, client = login.server, login.client
        if (
            server is None
            or client is None
            or not server.authorize.startswith(("https://", "http://"))
        ):
            raise StateError("The authorization server has no page to log in on.")
        state = f"{place}.{self._word()}"
        verifier = self._word() + self._word()
        begun = BegunLogin(
            name=spec.name,
            owner=str(owner),
            state=state,
            verifier=verifier,
            redirect_uri=self._identity.redirect_uri,
            login=login,
            ends_at=self._now() + BEGUN_S,
        )
        await self._book.begin(place, begun)
        fields = {
            "response_type": "code",
            "client_id": client.client_id,
            "redirect_uri": begun.redirect_uri,
            "state": state,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
            "resource": login.resource,
            **({"scope": " ".join(login.scopes)} if login.scopes else {}),
        }
        mark = "&" if "?" in server.authorize else "?"
        return f"{server.authorize}{mark}{urlencode(fields)}"

    async def _probe(self, url: str) -> tuple[str, tuple[str, ...]]:
        """Knock without a token, to hear what a server asks for."""
        reach = await self._fetch.reach_of(url)
        headers = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
        }
        try:
            reply = await self._fetch.ask("POST", url, reach=reach, headers=headers, body=_PROBE)
        except EngineError:
            return "", ()
        told = reply.headers.get("www-authenticate", "")
        scopes = tuple(challenge_field(told, "scope").split())[:SCOPES_MAX]
        return challenge_field(told, "resource_metadata"), scopes

    async def _current(self, place: str, spec: ServerSpec) -> KeptLogin:
        """Return what is kept; a login of another address is not shown to this one."""
        known = self._known.get(place)
        if known is None:
            known = await self._book.find(place)
            if known is not None:
                self._remember(place, known)
        return known if known is not None and known.url == spec.url else KeptLogin(url=spec.url)

    async def _keep(self, place: str, login: KeptLogin) -> None:
        await self._book.keep(place, login)
        self._remember(place, login)

    def _remember(self, place: str, login: KeptLogin) -> None:
        while len(self._known) >= KNOWN_MAX:
            gone = next(iter(self._known))
            del self._known[gone]
            self._locks.pop(gone, None)
        self._known[place] = login

    def _word(self) -> str:
        return base64.urlsafe_b64encode(self._randomness.token(32)).decode().rstrip("=")

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _scopes(
    asked: tuple[str, ...],
    found: FoundResource,
    server: LoginServer,
    login: KeptLogin,
    client: OwnClient,
) -> tuple[str, ...]:
    """Return what to ask for: what the server just asked for, else what it says it has."""
    scopes = asked or found.scopes
    person = client.grant != "client_credentials"
    if person and "offline_access" in server.scopes and "offline_access" not in scopes:
        scopes = (*scopes, "offline_access")
    return scopes


def _told(error: str | None) -> str:
    return error[:60] if error and error.isascii() and error.isprintable() else "It gave no code."
