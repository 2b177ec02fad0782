"""An agent that runs elsewhere and is known by the URL of its card: each turn is passed on to it.

The sandbox has no network, so every connection goes through the node's proxy, which lets pass what the grant
names. TLS ends here, inside, with the machine's certificate authorities. The card is read in the first turn:
before it nobody may go out.
"""

from __future__ import annotations

import os
from http.client import HTTPConnection
from urllib.parse import urlsplit

from hive_guest.a2a_turns import PassedTurns, interface_of
from hive_guest.a2a_wire import A2AEndpoint, WireError, get_json
from hive_guest.loading import UnusableError
from hive_guest.shapes import Failure, Loaded

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from typing import Any, Final
    from urllib.parse import SplitResult

    from hive_guest.api import GuestTurn

CARD_TIMEOUT_S: Final = 30.0
BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_HERE: Final = ("127.0.0.1", "localhost", "0.0.0.0", "::1", "::")  # noqa: S104, names of a machine for itself


def load_remote(url: str) -> Loaded:
    """Stand for the agent whose card lies at a URL.

    Raises:
        UnusableError: it is no URL of a card.

    """
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise UnusableError(f"{url} is no URL of an agent card.", "Give an https URL.")
    remote = _Remote(parts)
    return Loaded("remote", remote.run, streams=True, waits=False, detail=url)


class _Remote:
    """A remote agent; its card is asked for until it was read once."""

    def __init__(self, card: SplitResult) -> None:
        self._card = card
        self._passed: PassedTurns | None = None

    def run(self, turn: GuestTurn) -> Iterator[Any]:
        """Pass one turn on."""
        try:
            passed = self._passed = self._passed or self._found()
        except WireError as error:
            yield Failure(f"The card of the remote agent at {self._card.hostname}: {error}")
            return
        except UnusableError as error:
            yield Failure(f"{error.error} {error.fix}".strip())
            return
        yield from passed.run(turn)

    def _found(self) -> PassedTurns:
        card = get_json(connection_to(self._card), _path(self._card), {}, timeout_s=CARD_TIMEOUT_S)
        if not isinstance(card, dict):
            message = "it is no object"
            raise WireError(message)
        offered = interface_of(card)
        there = _beside(self._card, urlsplit(offered.url))
        endpoint = A2AEndpoint(connection_to(there), _path(there), offered.version, {})
        return PassedTurns(endpoint, card, whose=f"The remote agent at {there.hostname}")


def connection_to(place: SplitResult) -> Callable[[float], HTTPConnection]:
    """Return what opens connections to the host of a URL, through the proxy where there is one.

    Raises:
        UnusableError: it is no URL of a host.

    """
    if place.scheme not in ("https", "http") or not place.hostname:
        raise UnusableError(f"The card names {place.geturl()!r}, which is no URL of an endpoint.")
    host, tls = place.hostname, place.scheme == "https"
    port = place.port or (443 if tls else 80)
    proxy = urlsplit(os.environ.get("HTTPS_PROXY", ""))

    def open_connection(timeout_s: float) -> HTTPConnection:
        near = (proxy.hostname or host, (proxy.port or 80) if proxy.hostname else port)
        if tls:
            from http.client import HTTPSConnection

            connection: HTTPConnection = HTTPSConnection(
                *near, timeout=timeout_s, context=trusted()
            )
        else:
            connection = HTTPConnection(*near, timeout=timeout_s)
        if proxy.hostname:
            connection.set_tunnel(host, port)
        return connection

    return open_connection


def trusted() -> ssl.SSLContext:
    """Return what checks certificates: the operator's authorities, else the machine's own."""
    import ssl

    named = os.environ.get("SSL_CERT_FILE", "")
    found = next((path for path in (named, *BUNDLES) if path and os.path.isfile(path)), None)
    return ssl.create_default_context(cafile=found)


def _path(place: SplitResult) -> str:
    return (place.path or "/") + (f"?{place.query}" if place.query else "")


def _beside(card: SplitResult, offered: SplitResult) -> SplitResult:
    """Read an endpoint as seen from its card: a server's name for itself is where the card lies."""
    if offered.hostname in _HERE and card.hostname not in (None, offered.hostname):
        host = f"[{card.hostname}]" if ":" in card.hostname else card.hostname
        port = f":{offered.port}" if offered.port else ""
        return offered._replace(netloc=f"{host}{port}")
    return offered
