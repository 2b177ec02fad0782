"""The public paths of OAuth, as one ASGI application: metadata, the node's authorization server, the way back
from servers elsewhere. Nothing heavy is loaded before somebody asks."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from hive.core.clock import Clock
from hive.core.errors import BadInputError, HiveError, NotFoundError, TooLargeError
from hive.core.randomness import Randomness
from hive.engines.ports import Database
from hive.protocols.mcp.oauth.answers import (
    AsgiReceive,
    AsgiScope,
    AsgiSend,
    OauthError,
    answer,
    answer_json,
    body_of,
    fields_of,
    header_in,
)
from hive.protocols.mcp.oauth.clients import OauthClients
from hive.protocols.mcp.oauth.consent import ConsentPage, show_problem
from hive.protocols.mcp.oauth.fetch import ScreenedFetch
from hive.protocols.mcp.oauth.issuing import OauthIssuing, RedirectedError
from hive.protocols.mcp.oauth.login import UpstreamLogin
from hive.protocols.mcp.oauth.proofs import DpopProofs
from hive.protocols.mcp.oauth.records import GrantEnded, GrantNote, LiveGrant, OauthRecords
from hive.protocols.mcp.oauth.resources import METADATA_PATH, OauthResources

if TYPE_CHECKING:
    from hive.protocols.mcp.oauth.issuers import TrustedIssuers

PAGES: Final = ("/oauth/authorize", "/oauth/consent")
"""Where a person looks on: an error is a page there."""
SERVER_METADATA_PATH: Final = "/.well-known/oauth-authorization-server"


class OAuthDoor:
    """Serves `/oauth/...` and the two well-known paths.

    Constructed by the node, with what it has already:

        door = OAuthDoor(
            database=..., clock=..., randomness=...,
            origin=lambda: "https://node.example",      # HIVE_PUBLIC_URL, else http://127.0.0.1:PORT
            is_operator=console.is_operator,            # async (token) -> bool
            login=UpstreamLogin(vault=..., clock=..., randomness=..., origin=...),
            issuers=settings.oauth_issuers, registration=settings.oauth_registration,
        )
        routes.oauth = door
        TokenDoorman(..., recognise_oauth=door.recognise, challenge=door.challenge)
        hub = ...(auth_for=login.auth_for)
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        origin: Callable[[], str],
        is_operator: Callable[[str], Awaitable[bool]],
        login: UpstreamLogin | None = None,
        issuers: Sequence[str] = (),
        registration: bool = False,
        fetch: ScreenedFetch | None = None,
        note: GrantNote | None = None,
    ) -> None:
        self._clock = clock
        self._names = tuple(issuers)
        self._fetch = fetch or ScreenedFetch()
        self._trusted: TrustedIssuers | None = None
        self._registration = registration
        self._login = login
        records = OauthRecords(database=database, clock=clock, randomness=randomness, note=note)
        self._records = records
        proofs = DpopProofs(clock=clock, randomness=randomness)
        self._resources = OauthResources(
            origin=origin,
            records=records,
            proofs=proofs,
            issuers=self._issuers if self._names else None,
            issuer_names=self._names,
        )
        self._issuing = OauthIssuing(
            origin=origin,
            records=records,
            clients=OauthClients(fetch=self._fetch, records=records, clock=clock),
            resources=self._resources,
            proofs=proofs,
            registration=registration,
        )
        self._consent = ConsentPage(
            issuing=self._issuing,
            randomness=randomness,
            is_operator=is_operator,
            secure=lambda: origin().startswith("https://"),
        )
        self.recognise = self._resources.recognise
        self.challenge = self._resources.challenge
        self.missing = self._resources.missing
        self.grants: Callable[[], Awaitable[list[LiveGrant]]] = records.grants

    def tell_ended(self, ended: GrantEnded) -> None:
        """Tell this of every grant that ends, so that nothing stays open under it."""
        self._records.on_end = ended

    async def end_grant(self, grant: str) -> None:
        """End a grant by the operator's word, at once.

        Raises:
            NotFoundError: there is none, or it has ended.

        """
        if not await self._records.end(grant, reason="the operator revoked it", by_operator=True):
            raise NotFoundError(
                "There is no such grant.",
                why="It has ended, or never was one.",
                fix="hive mcp grants lists what stands.",
            )

    async def __call__(self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
        """Answer one request."""
        try:
            await self._answer(scope, receive, send)
        except RedirectedError as error:
            await answer(send, 302, b"", {"location": error.url})
        except OauthError as error:
            await _refuse(
                scope, send, error.error, str(error), status=error.status, headers=error.headers
            )
        except BadInputError as error:
            await _refuse(scope, send, "invalid_request", f"{error.what} {error.why}")
        except TooLargeError:
            await answer_json(send, {"error": "invalid_request"}, status=413)

    async def _answer(self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
        path, method = scope["path"], scope["method"]
        if method in ("GET", "HEAD"):
            await self._shown(path, scope, send)
        elif method == "POST":
            await self._taken(path, scope, receive, send)
        else:
            await answer_json(send, {"error": "invalid_request"}, status=405)

    async def _shown(self, path: str, scope: AsgiScope, send: AsgiSend) -> None:
        if path == METADATA_PATH or path.startswith(METADATA_PATH + "/"):
            await self._describe(send, self._resources.metadata(path.removeprefix(METADATA_PATH)))
        elif path == SERVER_METADATA_PATH:
            await self._describe(send, self._issuing.metadata())
        elif path == "/oauth/authorize":
            await self._consent.begin(scope, send)
        elif path == "/oauth/consent":
            await self._consent.show(scope, send)
        elif path == "/oauth/client.json" and self._login is not None:
            await self._describe(send, self._login.client_document())
        elif path == "/oauth/callback" and self._login is not None:
            await self._come_back(scope, send, self._login)
        else:
            await answer_json(send, {"error": "not_found"}, status=404)

    async def _taken(
        self, path: str, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend
    ) -> None:
        if path == "/oauth/consent":
            await self._consent.decide(scope, receive, send)
        elif path == "/oauth/token":
            made = await self._issuing.tokens(await _form(scope, receive), _single(scope, b"dpop"))
            await answer_json(send, made)
        elif path == "/oauth/revoke":
            await self._issuing.revoke(await _form(scope, receive))
            await answer_json(send, {})
        elif path == "/oauth/register" and self._registration:
            try:
                document = json.loads(await body_of(receive))
            except (ValueError, RecursionError):
                raise OauthError("invalid_client_metadata", "That is no JSON.") from None
            await answer_json(send, await self._issuing.register(document), status=201)
        else:
            await answer_json(send, {"error": "not_found"}, status=404)

    async def _describe(self, send: AsgiSend, document: object) -> None:
        """Send a public document, readable for programs in a browser too."""
        if document is None:
            await answer_json(send, {"error": "not_found"}, status=404)
            return
        await answer_json(
            send,
            document,
            headers={"access-control-allow-origin": "*", "cache-control": "max-age=300"},
        )

    async def _come_back(self, scope: AsgiScope, send: AsgiSend, login: UpstreamLogin) -> None:
        """Finish a login at a server elsewhere; what came in the address is never shown."""
        try:
            name = await login.finish(fields_of(scope.get("query_string", b"").decode("latin-1")))
        except HiveError as error:
            text, status = f"The login did not succeed. {error.what} {error.why}", 400
        else:
            text, status = f"Logged in at {name}. This page can be closed.", 200
        fields = {"content-type": "text/plain; charset=utf-8"}
        await answer(send, status, text.encode(), fields)

    def _issuers(self) -> "TrustedIssuers":
        if self._trusted is None:
            from hive.protocols.mcp.oauth.issuers import TrustedIssuers

            self._trusted = TrustedIssuers(self._names, fetch=self._fetch, clock=self._clock)
        return self._trusted


async def _refuse(
    scope: AsgiScope,
    send: AsgiSend,
    error: str,
    text: str,
    *,
    status: int = 400,
    headers: Mapping[str, str] | None = None,
) -> None:
    if scope["path"] in PAGES:
        await show_problem(send, error, text, status=status, headers=headers or {})
    else:
        told = {"error": error, "error_description": text}
        await answer_json(send, told, status=status, headers=headers)


async def _form(scope: AsgiScope, receive: AsgiReceive) -> dict[str, str]:
    kind = header_in(scope, b"content-type").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise OauthError("invalid_request", "A form is taken here.")
    return fields_of((await body_of(receive)).decode("utf-8", "replace"))


def _single(scope: AsgiScope, name: bytes) -> str:
    """Return a header that may come once at most.

    Raises:
        OauthError: it comes twice.

    """
    values = [value for key, value in scope["headers"] if key == name]
    if len(values) > 1:
        raise OauthError("invalid_dpop_proof", "There is more than one proof.")
    return values[0].decode("latin-1") if values else ""
