"""May a notification be sent there? Asked when a client registers a URL, and again at each delivery.

The client chooses the URL and this machine sends the request, so without this a stranger could make it
speak to whatever only it can reach: its own ports, its network, a cloud's metadata service. A
name is resolved once, *every* address of it must be public, and the connection then goes to the addresses
that were looked at, so a name that changes its answer in between gains nothing.
"""

import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import SplitResult

import anyio

from hive_a2a.origins import clean_split

URL_MAX_CHARS: Final = 2048
RESOLVE_TIMEOUT_S: Final = 5.0
ADDRESSES_MAX: Final = 64
_UNICAST: Final = ipaddress.ip_network("2000::/3")
_EXAMPLES: Final = ipaddress.ip_network("3fff::/20")  # newer than Python's own list
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_PORTS: Final = {"https": 443, "http": 80}

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver: TypeAlias = Callable[[str, int], Awaitable[list[str]]]
"""Returns the addresses of a host and port, best first; none where there is no answer."""


async def resolve_host(host: str, port: int) -> list[str]:
    """Ask the machine's own resolver."""
    try:
        with anyio.fail_after(RESOLVE_TIMEOUT_S):
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A URL and the addresses that may be connected to for it."""

    scheme: str
    host: str
    port: int
    target: str
    addresses: tuple[str, ...]

    @property
    def address(self) -> str:
        """Return the best of the addresses."""
        return self.addresses[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """Why nothing is sent there; safe to tell."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationScreen:
    """Looks at push URLs. `allow_private` also lets plain HTTP and this network pass.

    `own_networks` are networks that have public addresses but belong to the operator, such as a NAT64
    prefix of one's own: they count as private.
    """

    allow_private: bool = False
    own_networks: tuple[Network, ...] = ()
    resolve: Resolver = resolve_host

    async def refusal(self, url: str) -> Unfit | None:
        """Tell why a URL may not be registered.

        Where any address would do, the name is not resolved: it may come to exist before it is needed.
        """
        if self.allow_private:
            read = self._read(url)
            return read if isinstance(read, Unfit) else None
        found = await self.look(url)
        return found if isinstance(found, Unfit) else None

    async def look(self, url: str) -> Destination | Unfit:
        """Resolve a URL and return where to connect, or why not."""
        read = self._read(url)
        if isinstance(read, Unfit):
            return read
        parts, host = read
        port = parts.port or _PORTS[parts.scheme]
        addresses = await self.resolve(host, port)
        if not addresses or len(addresses) > ADDRESSES_MAX:
            return Unfit(reason="The host of the push URL cannot be resolved.")
        if not self.allow_private and not all(map(self._may_reach, addresses)):
            return Unfit(reason="The push URL leads to an address that is not public.")
        return Destination(
            scheme=parts.scheme,
            host=host,
            port=port,
            target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            addresses=tuple(addresses),
        )

    def _read(self, url: str) -> tuple[SplitResult, str] | Unfit:
        parts = clean_split(url) if len(url) <= URL_MAX_CHARS else None
        if parts is None or not parts.hostname:
            return Unfit(reason="The push URL is not a plain absolute URL.")
        if parts.scheme != "https" and not (self.allow_private and parts.scheme == "http"):
            return Unfit(reason="The push URL is not https.")
        return parts, parts.hostname

    def _may_reach(self, address: str) -> bool:
        if not public(address):
            return False
        ip = ipaddress.ip_address(address.partition("%")[0])
        return not any(ip in network for network in self.own_networks)


def public(address: str) -> bool:
    """Tell whether an address is one of the public internet, whatever form it hides in."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return _is_open(ip)
    inner = _inner(ip)
    if inner is not None:
        return all(map(_is_open, inner))
    # Outside 2000::/3 nothing is given out: what is there is local, reserved, or an old way to write IPv4.
    return ip in _UNICAST and ip not in _EXAMPLES and _is_open(ip)


def _inner(ip: ipaddress.IPv6Address) -> tuple[ipaddress.IPv4Address, ...] | None:
    """Return the IPv4 addresses that an IPv6 address stands for."""
    if ip in _NAT64:
        return (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF),)
    if ip.teredo is not None:
        return ip.teredo
    inner = ip.ipv4_mapped or ip.sixtofour
    return None if inner is None else (inner,)


def _is_open(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return ip.is_global and not ip.is_multicast and not ip.is_reserved
