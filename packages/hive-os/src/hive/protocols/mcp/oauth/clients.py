"""Who asks for a login here: a client whose identifier is the address of its own description.

The document (Client ID Metadata Document) is fetched over a screened connection and believed in what it says of
itself alone: its own address, and where answers may be sent. A redirect address is compared exactly; only a
native app on this machine may choose its port (RFC 8252).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from hive.core.clock import Clock
from hive.core.errors import BadInputError, HiveError
from hive.core.ids import plain_text
from hive.protocols.mcp.oauth.fetch import Reach, ScreenedFetch
from hive.protocols.mcp.oauth.lookups import LookupBudget
from hive.protocols.mcp.oauth.records import OauthRecords

DOCUMENT_MAX_BYTES: Final = 16 << 10
URL_MAX_CHARS: Final = 1024
REDIRECTS_MAX: Final = 20
KEPT_S: Final = 300.0
KEPT_MAX: Final = 256
NAME_MAX_CHARS: Final = 80
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class OauthClient:
    """A client: what it is called, which host vouches for it, and where answers may go."""

    id: str
    name: str
    host: str
    redirect_uris: tuple[str, ...]

    def accepts(self, redirect_uri: str) -> bool:
        """Tell whether an answer may be sent there."""
        return usable_redirect(redirect_uri) and any(
            one == redirect_uri or _same_but_port(one, redirect_uri) for one in self.redirect_uris
        )


class OauthClients:
    """Finds clients by their identifier."""

    def __init__(self, *, fetch: ScreenedFetch, records: OauthRecords, clock: Clock) -> None:
        self._fetch = fetch
        self._records = records
        self._clock = clock
        self._kept: dict[str, tuple[OauthClient, float]] = {}
        self._budget = LookupBudget(clock=clock)

    async def find(self, client_id: str, source: str = "") -> OauthClient:
        """Return a client; `source` is the address of who names it.

        Raises:
            BadInputError: there is none with that identifier, or its document says otherwise.
            OauthError: it is not looked up now.

        """
        if not client_id.startswith("https://"):
            return await self._registered(client_id)
        known = self._kept.get(client_id)
        if known is not None and self._clock.monotonic() < known[1]:
            return known[0]
        _check_address(client_id)
        document = await self._fetched(client_id, source)
        client = client_in(client_id, document)
        while len(self._kept) >= KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[client_id] = (client, self._clock.monotonic() + KEPT_S)
        return client

    async def _fetched(self, client_id: str, source: str) -> object:
        """Ask for a document; a stranger makes this node ask somebody else so often, and no more.

        Raises:
            BadInputError: it cannot be read.
            OauthError: too many are asked now, or were within the last minute.

        """
        if await self._records.is_known(client_id):
            self._budget.known(client_id)
            return await self._document(client_id)
        with self._budget.stranger(source):
            return await self._document(client_id)

    async def _document(self, client_id: str) -> object:
        try:
            reply = await self._fetch.ask(
                "GET", client_id, reach=Reach(), limit_bytes=DOCUMENT_MAX_BYTES
            )
            return json.loads(reply.body) if reply.status == 200 else None
        except (HiveError, ValueError, RecursionError) as error:
            raise _unknown("Its document cannot be read.") from error

    async def _registered(self, client_id: str) -> OauthClient:
        found = await self._records.find_client(client_id[:URL_MAX_CHARS])
        if found is None:
            raise _unknown("Its identifier is neither an https address nor registered.")
        return OauthClient(id=client_id, name=found[0], host="", redirect_uris=found[1])


def client_in(client_id: str, document: object) -> OauthClient:
    """Read a client's description, fetched from the address that is its identifier.

    Raises:
        BadInputError: it describes another client, or one that cannot be served.

    """
    if not isinstance(document, dict) or document.get("client_id") != client_id:
        raise _unknown("Its document describes another client.")
    if document.get("token_endpoint_auth_method", "none") != "none" or "client_secret" in document:
        raise _unknown("It wants to prove itself in a way that is not offered here.")
    return OauthClient(
        id=client_id,
        name=client_name(document),
        host=urlsplit(client_id).hostname or "",
        redirect_uris=redirects_in(document),
    )


def client_name(document: Mapping[str, object]) -> str:
    """Return what a client calls itself, as it may be shown."""
    named = document.get("client_name")
    return plain_text(named)[:NAME_MAX_CHARS] if isinstance(named, str) else ""


def redirects_in(document: Mapping[str, object]) -> tuple[str, ...]:
    """Return where a client wants its answers.

    Raises:
        BadInputError: it names no address that is usable, or too many.

    """
    listed = document.get("redirect_uris")
    if not isinstance(listed, list) or not 0 < len(listed) <= REDIRECTS_MAX:
        raise _unknown("It names no redirect address, or too many.")
    usable = [one for one in listed if isinstance(one, str) and usable_redirect(one)]
    if not usable:
        raise _unknown("None of its redirect addresses is https or on this machine.")
    return tuple(usable)


def usable_redirect(url: str) -> bool:
    """Tell whether an answer may be sent to an address: https, or plain to this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        parts.port  # noqa: B018  reading it checks it
    except ValueError:
        return False
    if len(url) > URL_MAX_CHARS or not _PRINTABLE.fullmatch(url) or "#" in url or "\\" in url:
        return False
    if not host or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)


def _same_but_port(registered: str, asked: str) -> bool:
    ours, theirs = urlsplit(registered), urlsplit(asked)
    if ours.scheme != "http" or theirs.scheme != "http" or ours.hostname not in _LOOPBACK:
        return False
    return (ours.hostname, ours.path, ours.query) == (theirs.hostname, theirs.path, theirs.query)


def _check_address(client_id: str) -> None:
    try:
        parts = urlsplit(client_id)
        fits = bool(parts.hostname) and parts.path not in ("", "/") and "@" not in parts.netloc
    except ValueError:
        fits, parts = False, urlsplit("")
    segments = parts.path.split("/")
    fits = fits and "#" not in client_id and "." not in segments and ".." not in segments
    if not fits or len(client_id) > URL_MAX_CHARS or not _PRINTABLE.fullmatch(client_id):
        raise _unknown("Its identifier is no address of a document.")


def _unknown(why: str) -> BadInputError:
    return BadInputError("That client is not known here.", why=why)
