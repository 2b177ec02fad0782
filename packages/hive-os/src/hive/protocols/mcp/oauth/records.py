"""What the authorization server gave out, durable: grants, codes and tokens, each kept as a hash only.

A code and a refresh token are good once. Whoever shows one a second time is a thief or was robbed, so the whole
grant ends with everything that came of it. However often it is renewed, a grant ends by itself in the end.
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias, cast

from hive.core.clock import Clock
from hive.core.json import Json
from hive.core.randomness import Randomness
from hive.engines.ports import Database, Row

CODE_S: Final = 60.0
ACCESS_S: Final = 900.0
REFRESH_S: Final = 30 * 86400.0
GRANT_S: Final = 30 * 86400.0
"""After this a grant is over, renewed or not, and the operator is asked again."""
TOKEN_MARK: Final = "hive-oauth."  # noqa: S105  (what every token begins with)
CLIENTS_MAX: Final = 1000
UNUSED_CLIENT_KEPT: Final = timedelta(hours=1)
SEEN_MAX: Final = 4096
SEEN_S: Final = 5.0
ENDED_MAX: Final = 1024
GRANTS_SHOWN_MAX: Final = 1000
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class OauthGrant:
    """What the operator agreed to: which client, for which resource, with which scopes, bound to which key."""

    id: str
    client: str
    resource: str
    scopes: frozenset[str]
    jkt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveGrant:
    """A grant as its operator looks at it. `name` is what a client calls itself, where it registered."""

    grant: OauthGrant
    name: str
    created_at: datetime
    ends_at: datetime


GrantNote: TypeAlias = Callable[[str, dict[str, Json]], Awaitable[None]]
"""Write an event into the record: its name and what it says."""
GrantEnded: TypeAlias = Callable[[str], None]
"""Cut off whatever a grant still holds open."""


async def _unwritten(_name: str, _body: dict[str, Json]) -> None:
    """Write nothing, where nobody keeps a record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpentCode:
    """A code that was shown in time and for the first time."""

    grant: OauthGrant
    redirect_uri: str
    challenge: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPair:
    """An access token and what renews it."""

    access: str
    refresh: str
    scopes: frozenset[str]


class OauthRecords:
    """Keeps grants, codes, tokens and registered clients."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        note: GrantNote | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._note = note or _unwritten
        self._seen: dict[bytes, tuple[OauthGrant, datetime]] = {}
        self._ended: dict[str, None] = {}
        self.on_end: GrantEnded = lambda _grant: None

    async def new_code(
        self,
        *,
        client: str,
        resource: str,
        scopes: frozenset[str],
        redirect_uri: str,
        challenge: str,
    ) -> str:
        """Write a grant down and return the code that is traded for its tokens."""
        now, grant, code = self._clock.now(), self._randomness.token(16).hex(), self._secret()
        async with self._database.transaction() as transaction:
            await transaction.execute(
                "DELETE FROM oauth_grant g WHERE created_at < $1 AND NOT EXISTS"
                " (SELECT 1 FROM oauth_token t WHERE t.grant_id = g.id AND t.expires_at > $2)",
                now - timedelta(seconds=GRANT_S),
                now,
            )
            await transaction.execute(
                "INSERT INTO oauth_grant (id, client, resource, scopes, jkt, created_at)"
                " VALUES ($1, $2, $3, $4, '', $5)",
                grant,
                client,
                resource,
                " ".join(sorted(scopes)),
                now,
            )
            await transaction.execute(
                "INSERT INTO oauth_code (digest, grant_id, redirect_uri, challenge, expires_at)"
                " VALUES ($1, $2, $3, $4, $5)",
                digest_of(code),
                grant,
                redirect_uri,
                challenge,
                now + timedelta(seconds=CODE_S),
            )
        return code

    async def spend_code(self, code: str) -> SpentCode | None:
        """Take a code, once; shown again it ends the grant."""
        now = self._clock.now()
        rows = await self._database.fetch(
            "UPDATE oauth_code SET used_at = $2 WHERE digest = $1 AND used_at IS NULL"
            " RETURNING grant_id, redirect_uri, challenge, expires_at",
            digest_of(code),
            now,
        )
        if not rows:
            await self._end_of("oauth_code", code)
            return None
        grant = await self._grant(cast("str", rows[0]["grant_id"]))
        if grant is None or cast("datetime", rows[0]["expires_at"]) <= now:
            return None
        return SpentCode(
            grant=grant,
            redirect_uri=cast("str", rows[0]["redirect_uri"]),
            challenge=cast("str", rows[0]["challenge"]),
        )

    async def issue(self, grant: OauthGrant, *, jkt: str = "") -> TokenPair:
        """Give out tokens of a grant; `jkt` binds it to a key for good."""
        access, refresh = self._secret(), self._secret()
        now, scopes = self._clock.now(), " ".join(sorted(grant.scopes))
        async with self._database.transaction() as transaction:
            rows = await transaction.fetch(
                "SELECT created_at FROM oauth_grant WHERE id = $1", grant.id
            )
            begun = cast("datetime", rows[0]["created_at"]) if rows else now
            ends = begun + timedelta(seconds=GRANT_S)
            if jkt:
                await transaction.execute(
                    "UPDATE oauth_grant SET jkt = $2 WHERE id = $1", grant.id, jkt
                )
            for token, kind, lifetime_s in (
                (access, "access", ACCESS_S),
                (refresh, "refresh", REFRESH_S),
            ):
                await transaction.execute(
                    "INSERT INTO oauth_token (digest, grant_id, kind, scopes, expires_at)"
                    " VALUES ($1, $2, $3, $4, $5)",
                    digest_of(token),
                    grant.id,
                    kind,
                    scopes,
                    min(now + timedelta(seconds=lifetime_s), ends),
                )
            await transaction.execute(
                "DELETE FROM oauth_token WHERE grant_id = $1 AND expires_at < $2", grant.id, now
            )
        return TokenPair(access=access, refresh=refresh, scopes=grant.scopes)

    async def find_refresh(self, token: str) -> OauthGrant | None:
        """Return the grant of a refresh token that is good now; one shown again ends its grant."""
        rows = await self._database.fetch(
            "SELECT grant_id, used_at, expires_at FROM oauth_token"
            " WHERE digest = $1 AND kind = 'refresh'",
            digest_of(token),
        )
        if not rows or cast("datetime", rows[0]["expires_at"]) <= self._clock.now():
            return None
        if rows[0]["used_at"] is not None:
            await self._end_of("oauth_token", token)
            return None
        return await self._grant(cast("str", rows[0]["grant_id"]))

    async def spend_refresh(self, token: str) -> bool:
        """Mark a refresh token as used; False where another request was first, which ends the grant."""
        rows = await self._database.fetch(
            "UPDATE oauth_token SET used_at = $2 WHERE digest = $1 AND kind = 'refresh'"
            " AND used_at IS NULL RETURNING grant_id",
            digest_of(token),
            self._clock.now(),
        )
        if not rows:
            await self._end_of("oauth_token", token)
        return bool(rows)

    async def find_access(self, token: str) -> OauthGrant | None:
        """Return what an access token opens now; asked again after some seconds, for other nodes revoke too."""
        digest, now = digest_of(token), self._clock.now()
        known = self._seen.get(digest)
        if known is not None and now < known[1]:
            return known[0]
        rows = await self._database.fetch(
            "SELECT g.id, g.client, g.resource, t.scopes, g.jkt, t.expires_at FROM oauth_token t"
            " JOIN oauth_grant g ON g.id = t.grant_id WHERE t.digest = $1 AND t.kind = 'access'"
            " AND t.expires_at > $2 AND g.revoked_at IS NULL AND g.created_at > $3",
            digest,
            now,
            self._oldest(),
        )
        # A grant may have ended while the answer was on its way.
        if not rows or cast("str", rows[0]["id"]) in self._ended:
            return None
        while len(self._seen) >= SEEN_MAX:
            del self._seen[next(iter(self._seen))]
        until = min(cast("datetime", rows[0]["expires_at"]), now + timedelta(seconds=SEEN_S))
        self._seen[digest] = (_grant_of(rows[0]), until)
        return self._seen[digest][0]

    async def revoke(self, token: str, client: str) -> None:
        """End the grant of a token, where it is that client's."""
        rows = await self._database.fetch(
            "SELECT g.id FROM oauth_grant g JOIN oauth_token t ON t.grant_id = g.id"
            " WHERE t.digest = $1 AND g.client = $2",
            digest_of(token),
            client,
        )
        for row in rows:
            await self.end(cast("str", row["id"]), reason="the client gave it back")

    async def grants(self) -> list[LiveGrant]:
        """Return what still opens something, newest first."""
        rows = await self._database.fetch(
            "SELECT g.id, g.client, g.resource, g.scopes, g.jkt, g.created_at,"
            " coalesce(c.name, '') AS name FROM oauth_grant g"
            " LEFT JOIN oauth_client c ON c.id = g.client"
            " WHERE g.revoked_at IS NULL AND g.created_at > $2 AND EXISTS (SELECT 1 FROM"
            " oauth_token t WHERE t.grant_id = g.id AND t.expires_at > $1 AND t.used_at IS NULL)"
            " ORDER BY g.created_at DESC LIMIT $3",
            self._clock.now(),
            self._oldest(),
            GRANTS_SHOWN_MAX,
        )
        return [_live(row) for row in rows]

    async def is_known(self, client: str) -> bool:
        """Tell whether the operator agreed to something of a client that is not over."""
        rows = await self._database.fetch(
            "SELECT 1 FROM oauth_grant WHERE client = $1 AND revoked_at IS NULL"
            " AND created_at > $2 LIMIT 1",
            client,
            self._oldest(),
        )
        return bool(rows)

    async def note_granted(self, grant: OauthGrant) -> None:
        """Write down that a client is given tokens, before it is."""
        await self._note("oauth.granted", _told(grant))

    async def end(self, grant: str, *, reason: str, by_operator: bool = False) -> bool:
        """End a grant with all that is open under it; False where there is none or it is over."""
        rows = await self._database.fetch(
            "UPDATE oauth_grant SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL"
            " RETURNING id, client, resource, scopes, jkt",
            grant,
            self._clock.now(),
        )
        if not rows:
            return False
        while len(self._ended) >= ENDED_MAX:
            del self._ended[next(iter(self._ended))]
        self._ended[grant] = None
        self._seen.clear()
        self.on_end(grant)
        told = _told(_grant_of(rows[0]))
        by: dict[str, Json] = {} if by_operator else {"by": told["client"]}
        await self._note("oauth.revoked", {**told, **by, "reason": reason})
        return True

    def _oldest(self) -> datetime:
        return self._clock.now() - timedelta(seconds=GRANT_S)

    async def add_client(self, client_name: str, redirect_uris: tuple[str, ...]) -> str | None:
        """Register a client; None where there are too many."""
        await self._database.execute(
            "DELETE FROM oauth_client c WHERE created_at < $1"
            " AND NOT EXISTS (SELECT FROM oauth_grant g WHERE g.client = c.id)",
            self._clock.now() - UNUSED_CLIENT_KEPT,
        )
        rows = await self._database.fetch("SELECT count(*) AS n FROM oauth_client")
        if cast("int", rows[0]["n"]) >= CLIENTS_MAX:
            return None
        client = f"client-{self._randomness.token(12).hex()}"
        await self._database.execute(
            "INSERT INTO oauth_client (id, name, redirect_uris, created_at) VALUES ($1, $2, $3, $4)",
            client,
            client_name,
            "\n".join(redirect_uris),
            self._clock.now(),
        )
        return client

    async def find_client(self, client: str) -> tuple[str, tuple[str, ...]] | None:
        """Return a registered client's name and addresses."""
        rows = await self._database.fetch(
            "SELECT name, redirect_uris FROM oauth_client WHERE id = $1", client
        )
        if not rows:
            return None
        addresses = cast("str", rows[0]["redirect_uris"]).split("\n")
        return cast("str", rows[0]["name"]), tuple(addresses)

    async def _grant(self, grant: str) -> OauthGrant | None:
        rows = await self._database.fetch(
            "SELECT id, client, resource, scopes, jkt FROM oauth_grant"
            " WHERE id = $1 AND revoked_at IS NULL AND created_at > $2",
            grant,
            self._oldest(),
        )
        return _grant_of(rows[0]) if rows else None

    async def _end_of(self, table: str, secret: str) -> None:
        source = {"oauth_code": _GRANT_OF_CODE, "oauth_token": _GRANT_OF_TOKEN}[table]
        for row in await self._database.fetch(source, digest_of(secret)):
            await self.end(cast("str", row["grant_id"]), reason=f"{table} shown twice")

    def _secret(self) -> str:
        raw = self._randomness.token(_SECRET_BYTES)
        return TOKEN_MARK + urlsafe_b64encode(raw).decode().rstrip("=")


_GRANT_OF_CODE: Final = "SELECT grant_id FROM oauth_code WHERE digest = $1"
_GRANT_OF_TOKEN: Final = "SELECT grant_id FROM oauth_token WHERE digest = $1"  # noqa: S105  (a query)


def digest_of(secret: str) -> bytes:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def _grant_of(row: Row) -> OauthGrant:
    return OauthGrant(
        id=cast("str", row["id"]),
        client=cast("str", row["client"]),
        resource=cast("str", row["resource"]),
        scopes=frozenset(cast("str", row["scopes"]).split()),
        jkt=cast("str", row["jkt"]),
    )


def _live(row: Row) -> LiveGrant:
    begun = cast("datetime", row["created_at"])
    return LiveGrant(
        grant=_grant_of(row),
        name=cast("str", row["name"]),
        created_at=begun,
        ends_at=begun + timedelta(seconds=GRANT_S),
    )


def _told(grant: OauthGrant) -> dict[str, Json]:
    return {
        "grant": grant.id,
        "client": grant.client,
        "resource": grant.resource,
        "scopes": " ".join(sorted(grant.scopes)),
    }
