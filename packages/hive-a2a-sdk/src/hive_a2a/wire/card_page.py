"""The card as a page: ETag, Last-Modified and Cache-Control, and 304 for who has it already."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final, TypeAlias

from hive_a2a.asgi import Header, Scope, Send, header, respond
from hive_a2a.faults import NO_SUCH_AGENT, WIRE_LIMIT, WireFault

WELL_KNOWN: Final = "/.well-known/agent-card.json"
CARD_PATHS: Final = frozenset({WELL_KNOWN, "/.well-known/agent.json"})
"""Where 1.0 and its drafts look for the card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPage:
    """A card as it is served. An empty `etag` stands for one made of the bytes."""

    body: bytes
    etag: bytes = b""
    modified: datetime | None = None
    cache_control: bytes = b"no-cache"

    @property
    def tag(self) -> bytes:
        """Return its ETag."""
        return self.etag or b'"' + hashlib.sha256(self.body).hexdigest()[:32].encode() + b'"'


CardSource: TypeAlias = Callable[[Scope], Awaitable[CardPage]]
"""Gives the card for a request; may raise `WireFault`."""


def fixed_card(page: CardPage) -> CardSource:
    """Serve the same card to everybody."""

    async def source(_scope: Scope) -> CardPage:
        return page

    return source


async def send_card(scope: Scope, send: Send, source: CardSource | None) -> None:
    """Answer a request for the card.

    Raises:
        WireFault: there is none here (404), or this is no reading (405).

    """
    if scope["method"] not in ("GET", "HEAD"):
        raise WireFault(
            WIRE_LIMIT, "A card is read with GET.", status=405, headers=((b"allow", b"GET, HEAD"),)
        )
    if source is None:
        raise WireFault(NO_SUCH_AGENT, "No card is here.")
    page = await source(scope)
    headers: list[Header] = [
        (b"etag", page.tag),
        (b"cache-control", page.cache_control),
        (b"vary", b"authorization"),
    ]
    if page.modified is not None:
        stamp = format_datetime(page.modified.astimezone(UTC).replace(microsecond=0), usegmt=True)
        headers.append((b"last-modified", stamp.encode()))
    if _is_fresh(scope, page):
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    if scope["method"] == "HEAD":
        size = b"%d" % len(page.body)
        lines = [(b"content-type", b"application/json"), (b"content-length", size), *headers]
        await send({"type": "http.response.start", "status": 200, "headers": lines})
        await send({"type": "http.response.body", "body": b""})
        return
    await respond(send, page.body, headers=headers)


def _is_fresh(scope: Scope, page: CardPage) -> bool:
    shown = header(scope, b"if-none-match")
    if shown:
        wanted = page.tag.removeprefix(b"W/")
        tags = [one.strip() for one in shown.split(b",")]
        return b"*" in tags or any(one.removeprefix(b"W/") == wanted for one in tags)
    since = header(scope, b"if-modified-since")
    if not since or page.modified is None:
        return False
    try:
        moment = parsedate_to_datetime(since.decode("latin-1"))
    except ValueError:
        return False
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return page.modified.replace(microsecond=0) <= moment
