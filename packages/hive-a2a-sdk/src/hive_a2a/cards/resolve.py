"""Fetch an agent's card within bounds, and take it only by somebody's word.

Nothing that comes is believed before it is verified: its size, its time, its depth, where it came from,
and last where it leads. A card whose key was not known before may lead only to its own origin.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin, urlsplit

import anyio
import httpx
from google.protobuf.json_format import ParseError

from hive_a2a.call import Binding, Proto
from hive_a2a.cards.errors import CardError, CardFault, malformed, not_taken
from hive_a2a.cards.jcs import card_hash
from hive_a2a.cards.policies import FetchKeys
from hive_a2a.cards.reading import CardLimits, read_object
from hive_a2a.cards.verify import CardTrust, CardVerdict, verify_card
from hive_a2a.clock import WallClock
from hive_a2a.origins import is_loopback, origin_of, same_host, same_origin

CARD_PATH: Final = "/.well-known/agent-card.json"
_REDIRECTS: Final = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedCard:
    """A card that is taken: by whose word, from where, its bytes as they came.

    `sha256` is that of the whole card but its signatures (`card_hash`), equal for each way to write it.
    Members that the standard does not know are in `raw` alone, and nothing vouches for them.
    """

    card: Proto
    verdict: CardVerdict
    url: str
    raw: bytes = field(repr=False)
    sha256: bytes


async def fetch_card(
    url: str,
    trust: CardTrust,
    *,
    http: httpx.AsyncClient,
    limits: CardLimits | None = None,
    origins: Sequence[str] = (),
    plain_http: bool = False,
    clock: WallClock | None = None,
) -> TrustedCard:
    """Fetch the card of the agent at a URL, and take it only where the trust does.

    The URL is the agent's, or its card's where it ends in `.json`. A card of an unknown or no signer may lead
    to its own origin and to `origins`. Without `plain_http` a card comes by https or from this machine.

    Raises:
        CardError: it is not taken; `fault` says why.

    """
    bounds = limits or CardLimits()
    address = card_url(url)
    if not (plain_http or urlsplit(address).scheme == "https" or is_loopback(address)):
        raise not_taken(
            CardFault.PLAIN_HTTP,
            "It would come over plain http, where anybody between can change it.",
            "Use https, or allow plain http where its key is known from elsewhere.",
        )
    raw = await bounded_get(http, address, bounds)
    card = read_card(raw, bounds)

    def check(verdict: CardVerdict) -> None:
        check_places(card, address, verdict, origins)

    verdict = await verify_card(card, trust, peer=address, check=check, clock=clock)
    return TrustedCard(card=card, verdict=verdict, url=address, raw=raw, sha256=card_hash(card))


async def check_extended(
    card: Proto, of: TrustedCard, trust: CardTrust, *, origins: Sequence[str] = ()
) -> CardVerdict:
    """Say by whose word the second card of an agent is taken, which it shows to known callers only.

    Raises:
        CardError: it is not taken: weaker than the first one, or by another key.

    """
    verdict = await verify_card(card, trust, peer=of.url, extended=True)
    if of.verdict.signed and not verdict.signed:
        raise not_taken(CardFault.STRIPPED, "The public card is signed, and this one is not.")
    check_places(card, of.url, verdict, origins)
    return verdict


def card_url(url: str) -> str:
    """Return where the card of an agent is, by the agent's URL or the card's own.

    Raises:
        CardError: it is no clean http or https address.

    """
    if not origin_of(url):
        raise not_taken(CardFault.MALFORMED, f"{url!r} is no clean http or https address.")
    parts = urlsplit(url)
    path = parts.path if parts.path.endswith(".json") else parts.path.rstrip("/") + CARD_PATH
    return parts._replace(path=path, fragment="").geturl()


def read_card(raw: bytes, limits: CardLimits | None = None) -> Proto:
    """Read a card of 1.0 or 0.3 from its bytes; nothing of it is verified.

    Raises:
        CardError: it is too large or too deep, no JSON of one meaning, or no card.

    """
    from a2a.client.card_resolver import parse_agent_card

    members = read_object(raw, limits or CardLimits(), "A card")
    try:
        return parse_agent_card(members)
    except (
        ParseError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        RecursionError,
        OverflowError,  # an integer that no double can hold
        SystemError,  # half a surrogate pair
    ):
        raise malformed("Its members are not those of a card.") from None


def check_places(card: Proto, url: str, verdict: CardVerdict, origins: Sequence[str] = ()) -> None:
    """Refuse a card that leads elsewhere, unless its key was trusted before the card was seen.

    Raises:
        CardError: an interface is at an address that nobody vouches for.

    """
    for offer in card.supported_interfaces:
        place = offer.url
        if offer.protocol_binding == Binding.GRPC:
            # A gRPC target has another port by its nature, and often no scheme.
            target = place if "://" in place else f"http://{place}"
            near = same_host(target, url) or any(same_host(target, one) for one in origins)
        else:
            near = any(same_origin(place, one) for one in (url, *origins))
            if not origin_of(place):
                raise not_taken(
                    CardFault.ELSEWHERE, "It offers an interface at no clean http or https address."
                )
        if not near and not verdict.known_before:
            raise not_taken(
                CardFault.ELSEWHERE,
                f"It came from {origin_of(url)} and leads to another place, and its key is not known.",
                "Pin the owner's key, or allow the place.",
            )


async def bounded_get(http: httpx.AsyncClient, url: str, limits: CardLimits) -> bytes:
    """Fetch a document: so many bytes, so long, and no redirect to another origin.

    Raises:
        CardError: it does not come within those bounds.

    """
    try:
        with anyio.fail_after(limits.timeout_s):
            for _ in range(limits.redirects_max + 1):
                moved, data = await _get(http, url, limits)
                if moved is None:
                    return data
                if not same_origin(moved, url):
                    raise not_taken(
                        CardFault.REDIRECTED, "Its address leads to another origin by a redirect."
                    )
                url = moved
    except TimeoutError:
        raise _unreachable(f"It took longer than {limits.timeout_s} s.") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise _unreachable(f"{type(error).__name__} at {origin_of(url)}.") from None
    raise not_taken(CardFault.REDIRECTED, f"More than {limits.redirects_max} redirects.")


def key_fetcher(http: httpx.AsyncClient, limits: CardLimits | None = None) -> FetchKeys:
    """Return what fetches key sets for `Tofu` and `Jwks`: bounded, and never by a redirect."""
    bounds = limits or CardLimits()
    exact = CardLimits(
        size_bytes=bounds.size_bytes,
        depth=bounds.depth,
        timeout_s=bounds.timeout_s,
        redirects_max=0,
    )

    async def fetch(url: str) -> bytes:
        return await bounded_get(http, url, exact)

    return fetch


async def _get(http: httpx.AsyncClient, url: str, limits: CardLimits) -> tuple[str | None, bytes]:
    # Compressed bytes could be small here and endless once unpacked, so none are asked for or taken.
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    async with http.stream("GET", url, headers=headers, follow_redirects=False) as response:
        if response.status_code in _REDIRECTS:
            return _moved(url, response.headers.get("location", "")), b""
        if response.status_code != httpx.codes.OK:
            raise _unreachable(f"The answer was {response.status_code}.")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise _unreachable("The answer is compressed, which was not asked for.")
        data = bytearray()
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) > limits.size_bytes:
                raise not_taken(CardFault.TOO_LARGE, f"It has more than {limits.size_bytes} bytes.")
    return None, bytes(data)


def _moved(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return ""


def _unreachable(why: str) -> CardError:
    return CardError(
        CardFault.UNREACHABLE,
        "The agent's card cannot be fetched.",
        why=why,
        fix="Check the address and that the agent runs.",
    )
