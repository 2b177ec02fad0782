"""May the node send a notification there? Asked when a client registers a URL, and again at each delivery.

The client chooses the URL and the node sends the request, so without this a stranger could make the node
speak to whatever only the node can reach: its own ports, its network, a cloud's metadata service. A
name is resolved once, *every* address of it must be public, and the connection then goes to the address
that was looked at, so a name that changes its answer in between gains nothing.
"""

import ipaddress
import socket
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

import anyio

URL_MAX_CHARS: Final = 2048
RESOLVE_TIMEOUT_S: Final = 5.0
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A URL and the one address that may be connected to for it."""

    scheme: str
    host: str
    port: int
    target: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """Why nothing is sent there; safe to tell."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationScreen:
    """Looks at push URLs. `allow_private` also lets plain HTTP and this network pass."""

    allow_private: bool = False

    async def look(self, url: str) -> Destination | Unfit:
        """Resolve a URL and return where to connect, or why not."""
        parts = _split(url)
        if parts is None or parts.hostname is None:
            return Unfit(reason="The push URL is not a plain absolute URL.")
        if parts.scheme != "https" and not (self.allow_private and parts.scheme == "http"):
            return Unfit(reason="The push URL is not https.")
        port = parts.port or _PORTS[parts.scheme]
        addresses = await _resolve(parts.hostname, port)
        if not addresses:
            return Unfit(reason="The host of the push URL cannot be resolved.")
        if not self.allow_private and not all(map(public, addresses)):
            return Unfit(reason="The push URL leads to an address that is not public.")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Destination(
            scheme=parts.scheme,
            host=parts.hostname,
            port=port,
            target=target,
            address=addresses[0],
        )


def public(address: str) -> bool:
    """Tell whether an address is one of the public internet, whatever form it hides in."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
    return ip.is_global and not ip.is_multicast


def _split(url: str) -> SplitResult | None:
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    if not plain or len(url) > URL_MAX_CHARS:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.username is not None or parts.password is not None or port == 0:
        return None
    return parts


async def _resolve(host: str, port: int) -> list[str]:
    try:
        with anyio.fail_after(RESOLVE_TIMEOUT_S):
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
